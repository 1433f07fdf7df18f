"""Linear algebra for matrices larger than one machine, on functions that nobody has to manage."""

import importlib.metadata

from wrenla import linalg
from wrenla.creation import block, eye, from_array, from_function, map_tiles, open, random, zeros
from wrenla.errors import LinAlgError, WrenlaError
from wrenla.executors.aws_lambda import LambdaExecutor
from wrenla.executors.base import Executor, set_executor
from wrenla.executors.default import default_executor, store
from wrenla.executors.future import Future
from wrenla.executors.local import LocalExecutor
from wrenla.executors.prices import Prices
from wrenla.matrix import BigMatrix
from wrenla.stored_objects import StoredObject, objects
from wrenla.together import compute, plan
from wrenla.zarr_copies import from_zarr
from wrenla_handler.call.broadcast import Ref
from wrenla_handler.call.context import cancelled

__version__ = importlib.metadata.version("wrenla")

__all__ = [
    "BigMatrix",
    "Executor",
    "Future",
    "LambdaExecutor",
    "LinAlgError",
    "LocalExecutor",
    "Prices",
    "Ref",
    "StoredObject",
    "WrenlaError",
    "block",
    "cancelled",
    "compute",
    "default_executor",
    "eye",
    "from_array",
    "from_function",
    "from_zarr",
    "linalg",
    "map_tiles",
    "objects",
    "open",
    "plan",
    "random",
    "set_executor",
    "store",
    "zeros",
]


def __dir__() -> list[str]:
    """Offer what is public; the modules behind it are no part of the interface, `wrenla.errors` aside."""
    return [*__all__, "errors", *(name for name in globals() if name.startswith("__"))]
