"""`wrenla version`: versions of wrenla and of what results depend on."""

from __future__ import annotations

import importlib.metadata

import click

from wrenla.cli.parts.command import Command, document, is_json, told

__all__ = ["version"]

_OTHERS = ("boto3", "dask", "distributed", "zarr", "matplotlib")


@click.command(
    cls=Command,
    short_help="Show versions of wrenla and of what it computes with.",
    examples=("wrenla version", "wrenla version --verbose", "wrenla version --json"),
)
@click.option("--verbose", is_flag=True, help="Also Python, NumPy, SciPy, BLAS and the platform.")
def version(verbose: bool) -> None:
    """Show the version of wrenla; with --verbose, or as JSON, also of what its results depend on."""
    own = importlib.metadata.version("wrenla")
    if not (verbose or is_json()):
        click.echo(f"wrenla {own}")
        return
    import platform

    from wrenla_handler.machine import processors
    from wrenla_kernels import scipy_blas_info

    blas = scipy_blas_info()
    said = {
        "wrenla": own,
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
        "scipy": importlib.metadata.version("scipy"),
        "blas": {
            "name": blas.internal_api,
            "version": blas.version,
            "architecture": blas.architecture,
            "file": blas.filepath,
        },
        "platform": platform.platform(),
        "processors": processors(),
        **{name: _installed(name) for name in _OTHERS},
    }
    for name, value in said.items():
        if isinstance(value, dict):
            value = ", ".join(str(part) for part in value.values() if part)
        told(f"{name:<11} {'not installed' if value is None else value}")
    document(said)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
