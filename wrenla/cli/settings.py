"""`wrenla settings`: the settings in force, and their origins."""

from __future__ import annotations

from dataclasses import asdict

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.units import format_bytes

__all__ = ["show_settings"]

_CHOSEN = {
    "shared_folders": "none",
    "workers": "one for each processor",
    "allowed_mem": "half of what there is",
    "tile": "chosen for each matrix",
    "progress": "on a terminal, if it lasts",
    "record": "none",
    "prices": "those of us-east-1",
}
"""What a setting that was left open stands for."""


@click.command(
    name="settings",
    cls=Command,
    short_help="Show the settings in force and where each comes from.",
    examples=("wrenla settings", "wrenla settings --json"),
)
def show_settings() -> None:
    """Show the settings in force and where each comes from.

    An environment variable comes before wrenla.toml or [tool.wrenla] in pyproject.toml (of this folder or the
    nearest one above it), and these before wrenla/config.toml in the user's configuration folder. Files that
    others own or may write do not count; they are named at the end.
    """
    from wrenla.config import ignored_files, origins, settings

    values, found = asdict(settings()), origins()
    for name, origin in found.items():
        value = values[name]
        text = format_bytes(value) if name in ("allowed_mem", "max_compute_bytes") else str(value)
        if value is None or value == "" or (value == 0 and value is not False):
            text = _CHOSEN[name]
        source = f"WRENLA_{name.upper()}" if origin == "environment variable" else origin
        told(f"{name:<18} {text:<36} {source}")
    ignored = ignored_files()
    for file in ignored:
        told(f"ignored: {file.path}: {file.why}")
    document(
        {
            "settings": {name: {"value": values[name], "origin": found[name]} for name in found},
            "ignored": [{"path": str(file.path), "why": file.why} for file in ignored],
        }
    )
