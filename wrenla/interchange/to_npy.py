"""Matrices as NumPy's files: written tile by tile, in Fortran order."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from wrenla.evaluate.stored import check_current
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.interchange.tile_blocks import fill_region, readable, specs_of
from wrenla.planning.expression import Node
from wrenla.whole_file import check_replaceable, whole_file

__all__ = ["to_npy"]


def to_npy(node: Node, path: str | os.PathLike[str], executor: Executor | None, overwrite: bool) -> None:
    """Write a node as a file of NumPy: see `BigMatrix.to_npy`."""
    executor = check_executor(executor) or default_executor()
    target = Path(path).expanduser()
    check_replaceable(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: there is something already; overwrite=True replaces it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}; make it first")
    node = readable(node, executor)
    block = math.prod(node.grid.tile) * np.dtype(node.dtype).itemsize
    with whole_file(target) as file, executor.session({}, 2 * block):
        _write(node, file, executor)
        check_current([node])


def _write(node: Node, file: Any, executor: Executor) -> None:
    """Write header and entries. Not through a map: what is written there would count as memory of ours."""
    (m, n), ndim, dtype = node.grid.shape, node.ndim, np.dtype(node.dtype)
    header = {
        "shape": node.grid.shape[:ndim],
        "fortran_order": ndim == 2,
        "descr": np.lib.format.dtype_to_descr(dtype),
    }
    np.lib.format.write_array_header_1_0(file, header)
    start, specs = file.tell(), specs_of(node)
    file.truncate(start + m * n * dtype.itemsize)
    rows, cols = node.grid.counts
    for j in range(cols):
        for i in range(rows):
            (r, c), extent = node.grid.origin(i, j), node.grid.extent(i, j)
            block = np.empty(extent, dtype, order="F")
            region = (r, r + extent[0]), (c, c + extent[1])
            fill_region(node, lambda read: executor.home.value(read, specs, node.dtype), region, block)
            for k in range(extent[1]):
                file.seek(start + ((c + k) * m + r) * dtype.itemsize)
                file.write(block[:, k].data)
