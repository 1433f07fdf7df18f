"""Imports go one way: wrenla → wrenla_handler → wrenla_kernels, and inside wrenla downwards (ADR 0001)."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "wrenla": ROOT / "wrenla",
    "wrenla_handler": ROOT / "handler/wrenla_handler",
    "wrenla_kernels": ROOT / "kernels/wrenla_kernels",
}

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(line.split())
    for line in (
        "__main__",
        "cli.main",
        "cli.algebra cli.aws cli.clean cli.cp cli.demo cli.doctor "
        "cli.emulator cli.map cli.report cli.settings cli.stored cli.version",
        "cli.parts",
        "demo",
        "emulator",
        "testing",
        "aws",
        "__init__",
        "numpy_functions",
        "linalg",
        "products",
        "array_api",
        "interchange.linear_operator",
        "interchange.from_dask interchange.sparse",
        "interchange.from_npy matrices.zarr_copies matrices.blocks matrices.saved_factors",
        "matrices.factorizations",
        "matrices.factors",
        "matrices.ldl_factor",
        "matrices.lu_factor matrices.creation matrices.compute_many",
        "matrices.matrix matrices.one_norm",
        "interchange.exports",
        "interchange.to_dask interchange.to_npy interchange.to_zarr",
        "interchange.tile_blocks interchange.dask_blocks",
        "matrices.linear_algebra",
        "matrices.reductions",
        "matrices.arithmetic",
        "matrices.operands",
        "display",
        "evaluate.products",
        "forecast",
        "evaluate.evaluation",
        "evaluate.options",
        "evaluate.cleaning",
        "evaluate.saving",
        "evaluate.saved_tiles",
        "evaluate.stored evaluate.storing evaluate.function_rates evaluate.rehearse",
        "evaluate.settle",
        "report",
        "procedures",
        "algorithms",
        "run",
        "executors",
        "workspace.workspace arrays array_like progress_bar",
        "workspace.ownership",
        "workspace.lease",
        "workspace.process_identity",
        "planning",
        "config",
        "config_files units",
        "tracebacks",
        "errors vocabulary late whole_file instead",
    )
)
"""The modules and folders of `wrenla`. Each imports from those below it, and a folder from itself."""

STRANGERS = (
    ("algorithms", "executors"),
    ("algorithms", "config"),
    ("planning", "config"),
    ("run", "config"),
)
"""Pairs of which the first must not know the second, although it stands above it."""

THIRD_PARTY = {
    "wrenla_kernels": {"numpy", "scipy", "threadpoolctl"},
    "wrenla_handler": {"numpy", "scipy", "boto3", "botocore", "urllib3", "cloudpickle", "msgspec"},
    "wrenla": {
        *("numpy", "scipy", "boto3", "botocore", "cloudpickle", "threadpoolctl", "click", "rich"),
        *("msgspec", "packaging", "xxhash"),
        *("dask", "distributed", "zarr", "matplotlib", "moto", "awslambdaric", "werkzeug", "pytest"),
        "IPython",  # which is there wherever a notebook is
    },
}

BELOW = {
    "wrenla_kernels": {"wrenla_kernels"},
    "wrenla_handler": {"wrenla_handler", "wrenla_kernels"},
    "wrenla": {"wrenla", "wrenla_handler", "wrenla_kernels"},
}

LAZY = {
    *("boto3", "botocore", "urllib3", "packaging"),
    *("dask", "distributed", "zarr", "matplotlib", "moto", "awslambdaric", "werkzeug", "IPython"),
}
"""What is imported where it is used: optional dependencies, and what is slow to import and rarely needed."""

LATE = {
    *(("wrenla_handler.stores.mmap", "numpy"), ("wrenla_handler.stores.s3.read", "numpy")),
    *(("wrenla", "importlib"), ("wrenla.run.conditioning", "scipy"), ("wrenla.matrices.one_norm", "scipy")),
    ("wrenla.linalg", "wrenla"),  # scipy.sparse behind it
    ("wrenla.evaluate.options", "wrenla"),  # the page of a run report, which few ask for
    *(("wrenla.progress_bar.pictures", name) for name in ("rich", "wrenla")),
    # metadata of installed packages behind it
    *((f"wrenla.executors.transport.{name}", "wrenla") for name in ("dependencies", "missing_modules")),
    ("wrenla_handler.versions", "importlib"),
    *(("wrenla_handler.stores.urls", name) for name in ("wrenla_handler", "difflib", "urllib")),
}
"""What is needed always, but not here: a worker process that handles no array starts in half the time."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    importer: str
    module: str
    line: int
    inside: bool

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for name, path in modules().items() for found in _imports_of(name, path.read_text()))


def _imports_of(name: str, text: str) -> list[Import]:
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(name, alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append(
                    Import(name, whole if whole in modules() else str(node.module), node.lineno, inside)
                )
        within = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, within)

    visit(ast.parse(text), False)
    return found


def part_of(module: str) -> str:
    """Return the module or folder of `wrenla` to which a module belongs, as `LAYERS` has it."""
    _, first, second, *_ = [*module.split("."), "__init__", ""]
    return f"{first}.{second}" if any(f"{first}.{second}" in layer for layer in LAYERS) else first


def layer_of(module: str) -> int:
    for number, layer in enumerate(LAYERS):
        if part_of(module) in layer:
            return number
    raise AssertionError(
        f"{module} has no layer: say where {part_of(module)!r} stands in LAYERS and in ADR 0001"
    )


def inside_wrenla() -> list[Import]:
    return [found for found in imports() if found.importer.split(".")[0] == found.root == "wrenla"]


def test_import_scan_finds_all_packages() -> None:
    assert len(modules()) > 50
    assert {found.root for found in imports()} >= {"wrenla", "wrenla_handler", "wrenla_kernels", "numpy"}


@pytest.mark.parametrize("package", SOURCES)
def test_packages_import_downwards(package: str) -> None:
    """And nothing else than what they may depend on: the handler knows no Dask and no command line."""
    allowed = BELOW[package] | THIRD_PARTY[package] | sys.stdlib_module_names
    mine = [found for found in imports() if found.importer.split(".")[0] == package]
    assert [str(found) for found in mine if found.root not in allowed] == []


def test_layers_import_downwards() -> None:
    wrong = [
        str(found)
        for found in inside_wrenla()
        if part_of(found.importer) != part_of(found.module)
        and layer_of(found.importer) >= layer_of(found.module)
    ]
    assert wrong == []


def test_strangers_do_not_know_each_other() -> None:
    pairs = {(part_of(found.importer), part_of(found.module)): str(found) for found in inside_wrenla()}
    assert [pairs[pair] for pair in STRANGERS if pair in pairs] == []


def test_reports_read_events_only() -> None:
    known = {found.module for found in inside_wrenla() if part_of(found.importer) == "report"}
    below = {module for module in known if part_of(module) != "report"}
    assert below <= {
        "wrenla.errors",
        "wrenla.planning.plan",
        "wrenla.progress_bar.pictures",
        "wrenla.run.events",
        "wrenla.units",
        "wrenla.whole_file",
    }


def test_only_contract_suites_know_pytest() -> None:
    knowing = {part_of(found.importer) for found in imports() if found.root == "pytest"}
    assert knowing == {"testing"}


def test_the_scheduler_knows_no_executor_store_thread_or_clock() -> None:
    known = {found.module for found in imports() if found.importer == "wrenla.run.scheduler"}
    graphs = {"wrenla.planning.graph", "wrenla.planning.precedence"}
    assert {name for name in known if name.startswith("wrenla")} == graphs
    assert not known & {"asyncio", "concurrent", "concurrent.futures", "queue", "random", "threading", "time"}


def test_there_are_no_circles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in imports():
        if found.module in graph:
            graph[found.importer].add(found.module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' → '.join(error.args[1])}")


def test_only_optional_dependencies_are_imported_inside_functions() -> None:
    inside = [found for found in imports() if found.inside and found.root not in LAZY]
    # a command imports what it runs when it runs (ADR 0023)
    inside = [found for found in inside if not found.importer.startswith("wrenla.cli.")]
    assert [str(found) for found in inside if (found.importer, found.root) not in LATE] == []


def test_optional_dependencies_are_imported_inside_functions() -> None:
    assert [str(found) for found in imports() if not found.inside and found.root in LAZY] == []


def test_no_module_is_imported_by_name_at_run_time() -> None:
    wrong = []
    for name, path in modules().items():
        if name == "wrenla":
            continue  # its public names are imported when they are first used
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if getattr(called, "id", getattr(called, "attr", "")) in ("__import__", "import_module"):
                wrong.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("wrenla_kernels", "wrenla wrenla_handler scipy.linalg boto3 botocore cloudpickle dask"),
        ("wrenla_handler.tiles.worker", "wrenla scipy.linalg boto3 dask click rich zarr"),
        ("wrenla_handler.worker_process", "numpy boto3 asyncio wrenla_handler.stores.s3.store"),
        ("wrenla.executors.default, wrenla.evaluate.evaluation", "rich boto3 dask importlib.metadata"),
        ("wrenla_handler.lambda_entry", "wrenla importlib.metadata"),
        ("wrenla", "numpy scipy wrenla.errors rich click pytest"),
        (
            "wrenla; from wrenla import *",
            "scipy.linalg scipy.sparse boto3 distributed rich importlib.metadata concurrent.futures.process",
        ),
        (
            "wrenla.matrices.matrix, wrenla.linalg, wrenla.matrices.zarr_copies",
            "boto3 dask distributed zarr matplotlib pandas pytest",
        ),
    ],
)
def test_import_loads_no_unwanted_modules(module: str, unwanted: str) -> None:
    """The same for what is imported indirectly."""
    script = f"import sys, {module}; print(*(set({unwanted.split()!r}) & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_modules_of_a_package_that_imports_them_are_not_imported_by_others() -> None:
    """Of two threads that import two of them first, each would wait for the other: Python refuses one."""
    importing = {found.importer for found in imports() if found.module.startswith(f"{found.importer}.")}
    assert importing == {"wrenla", "wrenla.emulator", "wrenla.testing", "wrenla_kernels"}
    # `wrenla` when a name is first used
    wrong = [
        str(found)
        for found in imports()
        for package in importing - {"wrenla"}
        if found.module.startswith(f"{package}.") and not f"{found.importer}.".startswith(f"{package}.")
    ]
    assert wrong == []


def test_threads_may_import_stores_at_the_same_time() -> None:
    names = [f"wrenla_handler.stores{name}" for name in (".urls", "", ".s3.store", ".base", ".local")]
    script = f"""
import threading
from importlib import import_module

def load(name):
    together.wait()
    import_module(name)
    loaded.append(name)

names, loaded = {names!r}, []
together = threading.Barrier(len(names))
threads = [threading.Thread(target=load, args=[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*loaded)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert sorted(run.stdout.split()) == sorted(names), run.stderr
