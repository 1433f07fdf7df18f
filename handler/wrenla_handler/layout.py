"""Tiles on disk are an open format: a stored matrix is a Zarr v3 array.

`zarr.json` is written last, so a matrix exists when it is whole. Tiles are raw little-endian objects in
Fortran order (Zarr's `transpose` codec says so), padded to full size at the ragged edges, uncompressed.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

import numpy as np

from wrenla_handler.errors import MetadataError, NotAMatrixError
from wrenla_handler.grid import Grid, Pair
from wrenla_handler.stores import Store

__all__ = [
    "DTYPES",
    "METADATA_KEY",
    "UNFINISHED",
    "Structure",
    "TileLayout",
    "new_generation",
    "tile_key",
]

Structure: TypeAlias = Literal["general", "lower", "upper", "hermitian", "pos"]
"""What is known of a matrix: triangular, equal to its conjugate transpose, or positive definite as well."""

UNFINISHED = "wrenla-unfinished.json"
"""Stands beside the tiles of a matrix that is being saved, and says which one it is."""

METADATA_KEY = "zarr.json"

_FOREIGN = "foreign-"
"""Begins the generation of arrays that other software wrote: it gives them none."""

DTYPES = ("float32", "float64", "complex64", "complex128")


def new_generation() -> str:
    """Return a name that no other stored content has: it tells an overwritten matrix from the old one."""
    return uuid.uuid4().hex


def tile_key(i: int, j: int, ndim: int = 2, partial: int = 0) -> str:
    """Return the key of a tile below its matrix; partial sums stand beside the Zarr chunks.

    Examples
    --------
    >>> tile_key(3, 1), tile_key(3, 0, ndim=1), tile_key(0, 0, ndim=0), tile_key(3, 1, partial=4)
    ('c/3/1', 'c/3', 'c', 'partial/3/1/4')
    """
    if partial:
        return f"partial/{i}/{j}/{partial}"
    return "/".join(("c", str(i), str(j))[: ndim + 1])


@dataclass(frozen=True, slots=True)
class TileLayout:
    """The metadata of a stored matrix.

    Parameters
    ----------
    grid : Grid
        As two-dimensional; a vector has one column, a scalar is 1 × 1.
    dtype : str
        One of float32, float64, complex64, complex128.
    ndim : int
    structure : Structure
    generation : str
        Names the content; a fresh one with each writing.
    """

    grid: Grid
    dtype: str
    ndim: int = 2
    structure: Structure = "general"
    generation: str = field(default_factory=new_generation)

    @property
    def foreign(self) -> bool:
        """Whether other software wrote it, so that nothing tells whether it was overwritten."""
        return self.generation.startswith(_FOREIGN)

    def write(self, store: Store, prefix: str = "") -> None:
        """Declare the matrix whole: call it when every tile is there."""
        store.put(_below(prefix, METADATA_KEY), self.to_json().encode())

    def to_json(self) -> str:
        """Return the text of `zarr.json`."""
        complex_ = np.dtype(self.dtype).kind == "c"
        missing = 0.0 if self.structure in ("lower", "upper") else "NaN"
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.ndim == 2:
            codecs.insert(0, {"name": "transpose", "configuration": {"order": [1, 0]}})
        return json.dumps(
            {
                "zarr_format": 3,
                "node_type": "array",
                "shape": list(self.grid.shape[: self.ndim]),
                "data_type": self.dtype,
                "chunk_grid": {
                    "name": "regular",
                    "configuration": {"chunk_shape": list(self.grid.tile[: self.ndim])},
                },
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": [missing, missing] if complex_ else missing,
                "codecs": codecs,
                "attributes": {
                    "wrenla": {"structure": self.structure, "generation": self.generation},
                },
            },
            indent=1,
        )

    @classmethod
    def read(cls, store: Store, prefix: str = "") -> TileLayout:
        """Read the metadata of a stored matrix.

        Raises
        ------
        NotAMatrixError
            There is no `zarr.json`.
        MetadataError
            It is not JSON, or not an array in this layout; the message says what is different.
        """
        key = _below(prefix, METADATA_KEY)
        where = f"{store.url}: {key}"
        try:
            text = bytes(store.get(key))
        except KeyError:
            raise NotAMatrixError(
                f"{where}: there is no matrix here (no {METADATA_KEY}); "
                "an unfinished one is finished by running its script again"
            ) from None
        try:
            meta = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MetadataError(f"{where}: not JSON: {error}") from None
        if not isinstance(meta, dict):
            raise MetadataError(f"{where}: not a JSON object")
        return _parse(meta, where)


def _below(prefix: str, key: str) -> str:
    return f"{prefix}/{key}" if prefix else key


def _parse(meta: dict[str, Any], where: str) -> TileLayout:
    def refuse(what: str) -> MetadataError:
        return MetadataError(f"{where}: {what}; wl.from_zarr copies arrays of other layouts")

    def part(key: str, *path: str) -> Any:
        value: Any = meta.get(key)
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    if meta.get("zarr_format") != 3 or meta.get("node_type") != "array":
        raise refuse("not a Zarr v3 array")
    shape, dtype = meta.get("shape"), meta.get("data_type")
    if not _lengths(shape, least=0):
        raise MetadataError(f"{where}: shape {shape!r} is not one of a scalar, vector or matrix")
    if dtype not in DTYPES:
        raise MetadataError(f"{where}: data type {dtype!r} is not one of {', '.join(DTYPES)}")
    chunk = part("chunk_grid", "configuration", "chunk_shape")
    if part("chunk_grid", "name") != "regular" or not _lengths(chunk, least=1) or len(chunk) != len(shape):
        raise MetadataError(f"{where}: chunk shape {chunk!r} does not fit shape {shape!r}")
    if part("chunk_key_encoding", "name") != "default" or part(
        "chunk_key_encoding", "configuration", "separator"
    ) not in ("/", None):
        raise refuse("its chunk keys are not c/i/j")
    if not _codecs_fit(meta.get("codecs"), len(shape)):
        raise refuse("its codecs are not Fortran order, little-endian, uncompressed")
    if meta.get("storage_transformers"):
        raise refuse("it has storage transformers")
    wrenla = part("attributes", "wrenla") or {}
    if not isinstance(wrenla, dict):
        raise MetadataError(f"{where}: attributes {wrenla!r} are not wrenla's")
    structure, generation = wrenla.get("structure", "general"), wrenla.get("generation")
    if structure not in get_args(Structure):
        raise MetadataError(f"{where}: unknown structure {structure!r}")
    if structure != "general" and (len(shape) != 2 or shape[0] != shape[1]):
        raise MetadataError(f"{where}: a matrix of shape {shape!r} cannot be {structure}")
    if structure != "general" and chunk[0] != chunk[1]:
        raise MetadataError(f"{where}: a matrix in tiles of {chunk!r} cannot be {structure}")
    if generation is None:  # written by other software: its metadata and time of opening are all we know
        generation = f"{_FOREIGN}{new_generation()}"
    elif not (isinstance(generation, str) and re.fullmatch(r"[0-9A-Za-z-]{1,80}", generation)):
        raise MetadataError(f"{where}: generation {generation!r} is not a name")
    grid = Grid(_two_dimensional(shape), _two_dimensional(chunk))
    return TileLayout(grid, dtype, len(shape), structure, generation)


def _lengths(value: object, least: int) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in value)
    )


def _two_dimensional(lengths: list[int]) -> Pair:
    m, n = (*lengths, 1, 1)[:2]
    return m, n


def _codecs_fit(codecs: Any, ndim: int) -> bool:
    if not isinstance(codecs, list) or not all(isinstance(codec, dict) for codec in codecs):
        return False
    names = [codec.get("name") for codec in codecs]
    settings = [codec.get("configuration") or {} for codec in codecs]
    if not all(isinstance(setting, dict) for setting in settings):
        return False
    little = bool(settings) and settings[-1].get("endian") == "little"
    if ndim < 2:
        return names == ["bytes"] and little
    return names == ["transpose", "bytes"] and little and settings[0].get("order") == [1, 0]
