"""Linear algebra for matrices larger than one machine, on functions that nobody has to manage."""

import importlib
import threading
from typing import TYPE_CHECKING, Any

from wrenla.late import hand_down

if TYPE_CHECKING:
    from wrenla import errors as errors
    from wrenla import linalg
    from wrenla.errors import LinAlgError, WrenlaError
    from wrenla.executors.aws_lambda.executor import LambdaExecutor
    from wrenla.executors.aws_lambda.prices import Prices
    from wrenla.executors.base import Executor, set_executor
    from wrenla.executors.calls.future import Future
    from wrenla.executors.dask.executor import DaskExecutor
    from wrenla.executors.default import default_executor, store
    from wrenla.executors.local.executor import LocalExecutor
    from wrenla.executors.map_api.stored_objects import StoredObject, objects
    from wrenla.forecast.engine import Engine
    from wrenla.interchange.from_dask import from_dask
    from wrenla.interchange.from_npy import from_npy
    from wrenla.interchange.sparse import from_sparse
    from wrenla.matrices.blocks import block
    from wrenla.matrices.compute_many import compute, plan
    from wrenla.matrices.creation import eye, from_array, from_function, map_tiles, open, random, zeros
    from wrenla.matrices.matrix import BigMatrix
    from wrenla.matrices.saved_factors import open_factor
    from wrenla.matrices.zarr_copies import from_zarr
    from wrenla.report.page.html import write_report
    from wrenla.report.run_report import RunReport, read_report
    from wrenla_handler.calls.broadcast import Ref
    from wrenla_handler.calls.context import cancelled

    __version__: str

__all__ = [
    "BigMatrix",
    "DaskExecutor",
    "Engine",
    "Executor",
    "Future",
    "LambdaExecutor",
    "LinAlgError",
    "LocalExecutor",
    "Prices",
    "Ref",
    "RunReport",
    "StoredObject",
    "WrenlaError",
    "block",
    "cancelled",
    "compute",
    "default_executor",
    "eye",
    "from_array",
    "from_dask",
    "from_function",
    "from_npy",
    "from_sparse",
    "from_zarr",
    "linalg",
    "map_tiles",
    "objects",
    "open",
    "open_factor",
    "plan",
    "random",
    "read_report",
    "set_executor",
    "store",
    "write_report",
    "zeros",
]

_PLACES = {
    "wrenla.interchange.sparse": "from_sparse",
    "wrenla.interchange.from_dask": "from_dask",
    "wrenla.interchange.from_npy": "from_npy",
    "wrenla.matrices.blocks": "block",
    "wrenla.matrices.creation": "eye from_array from_function map_tiles open random zeros",
    "wrenla.matrices.saved_factors": "open_factor",
    "wrenla.errors": "LinAlgError WrenlaError",
    "wrenla.executors.aws_lambda.executor": "LambdaExecutor",
    "wrenla.executors.base": "Executor set_executor",
    "wrenla.executors.default": "default_executor store",
    "wrenla.executors.calls.future": "Future",
    "wrenla.executors.dask.executor": "DaskExecutor",
    "wrenla.executors.local.executor": "LocalExecutor",
    "wrenla.forecast.engine": "Engine",
    "wrenla.executors.aws_lambda.prices": "Prices",
    "wrenla.matrices.matrix": "BigMatrix",
    "wrenla.executors.map_api.stored_objects": "StoredObject objects",
    "wrenla.matrices.compute_many": "compute plan",
    "wrenla.matrices.zarr_copies": "from_zarr",
    "wrenla.report.page.html": "write_report",
    "wrenla.report.run_report": "RunReport read_report",
    "wrenla.numpy_functions.table": "array_function",
    "wrenla_handler.calls.broadcast": "Ref",
    "wrenla_handler.calls.context": "cancelled",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}
_importing = threading.RLock()
"""Python refuses to import when two threads, each within a package, would wait for each other."""


def _find(name: str) -> Any:
    """Import a public name when it is first used: scripts, commands and workers load what they need."""
    if name not in _PLACE_OF and name not in ("errors", "linalg", "__version__"):
        raise AttributeError(f"module 'wrenla' has no attribute {name!r}")
    with _importing:
        if name in globals():  # another thread was first
            return globals()[name]
        if name in _PLACE_OF:
            value = getattr(importlib.import_module(_PLACE_OF[name]), name)
        elif name == "__version__":
            from importlib.metadata import version

            value = version("wrenla")
        else:
            value = importlib.import_module(f"wrenla.{name}")
        globals()[name] = value
        return value


hand_down(_find)

if not TYPE_CHECKING:  # which shall refuse names that are not there
    __getattr__ = _find


def __dir__() -> list[str]:
    """Offer what is public; the modules behind it are no part of the interface, `wrenla.errors` aside."""
    return [*__all__, "errors", "__version__", *(name for name in globals() if name.startswith("__"))]
