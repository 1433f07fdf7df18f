"""Linear algebra for matrices larger than one machine, on functions that nobody has to manage."""

import importlib.metadata

from wrenla import linalg
from wrenla.creation import block, eye, from_array, from_function, from_zarr, map_tiles, open, random, zeros
from wrenla.errors import LinAlgError, WrenlaError
from wrenla.executors.base import Executor
from wrenla.executors.default import default_executor
from wrenla.executors.local import LocalExecutor
from wrenla.matrix import BigMatrix, compute, plan

__version__ = importlib.metadata.version("wrenla")

__all__ = [
    "BigMatrix",
    "Executor",
    "LinAlgError",
    "LocalExecutor",
    "WrenlaError",
    "block",
    "compute",
    "default_executor",
    "eye",
    "from_array",
    "from_function",
    "from_zarr",
    "linalg",
    "map_tiles",
    "open",
    "plan",
    "random",
    "zeros",
]
