"""Tile format on disk: a stored matrix is a Zarr v3 array.

`zarr.json` is written last, so a matrix exists when it is whole. Tiles are raw little-endian objects in
Fortran order (Zarr's `transpose` codec says so), padded to full size at the ragged edges, uncompressed.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

import numpy as np
import numpy.typing as npt

from wrenla_handler.errors import MetadataError, NotAMatrixError
from wrenla_handler.stores.base import SAVING, Store
from wrenla_handler.tiles.grid import Grid, Pair, absent_tiles
from wrenla_handler.tiles.other_formats import in_place_of_a_matrix

__all__ = [
    "DTYPES",
    "METADATA_KEY",
    "NUMBER_KEY",
    "TILE_KEYS",
    "Separator",
    "Structure",
    "TileLayout",
    "is_ours",
    "new_generation",
    "other_separator",
    "owned_folder",
    "pivots_in_text",
    "rows_of_pivots",
    "tile_key",
]

Structure: TypeAlias = Literal["general", "lower", "upper", "hermitian", "pos"]
"""What is known of a matrix: triangular, equal to its conjugate transpose, or positive definite as well."""

Separator: TypeAlias = Literal["/", "."]
"""What stands in the key of a tile between its indices. A matrix that replaces another has the other one, so
that the tiles of both can be there until its description takes the place of the old one."""

METADATA_KEY = "zarr.json"

TILE_KEYS = r"c(?:/\d+){0,2}|c(?:\.\d+){1,2}"
"""Regular expression of the keys that tiles can have, but for one."""

NUMBER_KEY = "0"
"""Key of the only tile of a matrix that is a number, with the other separator."""

DTYPES = ("float32", "float64", "complex64", "complex128")


def new_generation() -> str:
    """Return a name that no other stored content has: it tells an overwritten matrix from the old one."""
    return uuid.uuid4().hex


def other_separator(separator: Separator) -> Separator:
    """Return the separator whose tiles are never in the place of those with this one."""
    return "." if separator == "/" else "/"


def tile_key(i: int, j: int, ndim: int = 2, partial: int = 0, separator: Separator = "/") -> str:
    """Return the key of a tile below its matrix; partial sums stand beside the Zarr chunks.

    Examples
    --------
    >>> tile_key(3, 1), tile_key(3, 0, ndim=1), tile_key(0, 0, ndim=0), tile_key(3, 1, partial=4)
    ('c/3/1', 'c/3', 'c', 'partial/3/1/4')
    >>> tile_key(3, 1, separator="."), tile_key(0, 0, ndim=0, separator=".")
    ('c.3.1', '0')
    """
    if partial:
        return f"partial/{i}/{j}/{partial}"
    if ndim == 0 and separator == ".":
        return NUMBER_KEY  # as Zarr's encoding "v2" says; with "default" a number has one key only
    return separator.join(("c", str(i), str(j))[: ndim + 1])


def owned_folder(owner: str) -> str:
    """Return the folder, below a matrix, of what belongs to one result while that is being saved."""
    return f"{SAVING}/tiles-{owner}"


def is_ours(text: bytes) -> bool:
    """Tell whether the text of a `zarr.json` says that wrenla has written the matrix."""
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError):
        return False
    attributes = meta.get("attributes") if isinstance(meta, dict) else None
    return isinstance(attributes, dict) and isinstance(attributes.get("wrenla"), dict)


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
        A fresh one with each writing; "" if other software has written it, which gives it none.
    separator : {"/", "."}
        Of the keys of its tiles.
    result : str
        Which expression it is the result of, "" if that is not known.
    factor : {"", "cholesky", "lu", "ldlh", "ldlt"}
        Of which factorization it is the factor, if it was saved as one: of a Hermitian matrix LDLᴴ, of a
        symmetric one LDLᵀ.
    pivots : str
        Of LU, as `pivots_in_text` has them.
    absent : str
        Tiles that are zero and not stored, as `absent_in_text` has them.
    """

    grid: Grid
    dtype: str
    ndim: int = 2
    structure: Structure = "general"
    generation: str = field(default_factory=new_generation)
    separator: Separator = "/"
    result: str = ""
    factor: str = ""
    pivots: str = ""
    absent: str = ""

    def key(self, i: int, j: int) -> str:
        """Return the key of a tile."""
        return tile_key(i, j, self.ndim, separator=self.separator)

    def keys(self) -> Iterator[str]:
        """Yield the keys of all tiles, those that are not stored included."""
        rows, cols = self.grid.counts
        return (self.key(i, j) for i in range(rows) for j in range(cols))

    @classmethod
    def of(cls, text: str | bytes, where: str = "description") -> TileLayout:
        """Read a description. Raises MetadataError, with the place in front, if it is none."""
        try:
            meta = json.loads(text)
        except (ValueError, RecursionError) as error:
            why = str(error) if text else "it is empty, as after a power cut; save the matrix again elsewhere"
            raise MetadataError(f"{where}: not JSON: {why}") from None
        if not isinstance(meta, dict):
            raise MetadataError(f"{where}: not a JSON object")
        return _parse(meta, where)

    def write(self, store: Store, prefix: str = "", *, create: bool = False) -> bool:
        """Declare the matrix whole: call it when every tile is there.

        With `create` nothing is written, and False returned, if another one has been declared there.
        """
        return store.put(_below(prefix, METADATA_KEY), self.to_json().encode(), create=create, durable=True)

    def to_json(self) -> str:
        """Return the text of `zarr.json`."""
        complex_ = np.dtype(self.dtype).kind == "c"
        missing = 0.0 if self.structure in ("lower", "upper") or self.absent else "NaN"
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.ndim == 2:
            codecs.insert(0, {"name": "transpose", "configuration": {"order": [1, 0]}})
        encoding = "v2" if self.ndim == 0 and self.separator == "." else "default"
        known = {"structure": self.structure, "generation": self.generation}
        known |= {"result": self.result} if self.result else {}
        known |= {"factor": self.factor} if self.factor else {}
        known |= {"pivots": self.pivots} if self.factor == "lu" else {}
        known |= {"absent": self.absent} if self.absent else {}
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
                "chunk_key_encoding": {
                    "name": encoding,
                    "configuration": {"separator": self.separator},
                },
                "fill_value": [missing, missing] if complex_ else missing,
                "codecs": codecs,
                "attributes": {"wrenla": known},
            },
            indent=1,
        )

    @classmethod
    def read(cls, store: Store, prefix: str = "") -> TileLayout:
        """Read the metadata of a stored matrix.

        Raises
        ------
        NotAMatrixError
            There is no `zarr.json`. The message says what is there instead, if it is known.
        MetadataError
            It is not JSON, or not an array in this layout; the message says what is different.
        """
        key = _below(prefix, METADATA_KEY)
        where = f"{store.url}: {key}"
        try:
            text = bytes(store.get(key))
        except KeyError:
            instead = "" if prefix else in_place_of_a_matrix(store)
            raise NotAMatrixError(
                f"{where}: there is no matrix here (no {METADATA_KEY}); "
                + (instead or "an unfinished one is finished by running its script again")
            ) from None
        return cls.of(text, where)


_FIELDS = frozenset(
    (
        *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"),
        *("codecs", "attributes", "dimension_names", "storage_transformers"),
    )
)
"""What the core of Zarr v3 knows; any other member is an extension."""


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

    if meta.get("zarr_format") == 3 and meta.get("node_type") == "group":
        group = where.removesuffix(METADATA_KEY).replace(": ", "/").rstrip("/")
        raise MetadataError(
            f"{where}: not a Zarr v3 array, but a group: open one of the arrays in it, {group}/NAME; "
            "wl.from_zarr copies those of other layouts"
        )
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
    separator: Any = part("chunk_key_encoding", "configuration", "separator") or "/"
    encoding = "v2" if shape == [] and separator == "." else "default"
    if part("chunk_key_encoding", "name") != encoding or separator not in get_args(Separator):
        raise refuse("its chunk keys are not c/i/j or c.i.j")
    if not _codecs_fit(meta.get("codecs"), len(shape)):
        raise refuse("its codecs are not Fortran order, little-endian, uncompressed")
    if meta.get("storage_transformers"):
        raise refuse("it has storage transformers")
    for name, extension in meta.items():
        if name not in _FIELDS and not (
            isinstance(extension, dict) and extension.get("must_understand") is False
        ):
            raise refuse(f"it has an extension {name!r} that must be understood")
    wrenla = part("attributes", "wrenla") or {}
    if not isinstance(wrenla, dict):
        raise MetadataError(f"{where}: attributes {wrenla!r} are not wrenla's")
    structure, generation = wrenla.get("structure", "general"), wrenla.get("generation")
    result, factor = wrenla.get("result", ""), wrenla.get("factor", "")
    if structure not in get_args(Structure):
        raise MetadataError(f"{where}: unknown structure {structure!r}")
    if structure != "general" and (len(shape) != 2 or shape[0] != shape[1]):
        raise MetadataError(f"{where}: a matrix of shape {shape!r} cannot be {structure}")
    if structure != "general" and chunk[0] != chunk[1]:
        raise MetadataError(f"{where}: a matrix in tiles of {chunk!r} cannot be {structure}")
    if generation is None:  # written by other software
        generation = ""
    elif not (isinstance(generation, str) and re.fullmatch(r"[0-9A-Za-z-]{1,80}", generation)):
        raise MetadataError(f"{where}: generation {generation!r} is not a name")
    if not isinstance(result, str):
        raise MetadataError(f"{where}: result {result!r} is not a name")
    if factor not in ("", "cholesky", "lu", "ldlh", "ldlt"):
        raise MetadataError(f"{where}: unknown factor {factor!r}")
    grid, pivots = Grid(_two_dimensional(shape), _two_dimensional(chunk)), wrenla.get("pivots", "")
    if factor == "lu" and rows_of_pivots(pivots, grid.shape) is None:
        raise MetadataError(f"{where}: its pivots are not {min(grid.shape)} rows of {grid.shape[0]}")
    absent = wrenla.get("absent", "")
    try:
        absent_tiles(absent, grid.counts)
    except (ValueError, TypeError) as error:
        raise MetadataError(f"{where}: absent: {error}") from None
    return TileLayout(
        grid, dtype, len(shape), structure, generation, separator, result, factor, pivots, absent
    )


def pivots_in_text(rows: npt.NDArray[Any]) -> str:
    """Return pivots as they stand in a description: four bytes each, little-endian, in base 64."""
    return base64.b64encode(np.ascontiguousarray(rows, "<i4").tobytes()).decode()


def rows_of_pivots(text: object, shape: Pair) -> npt.NDArray[np.int64] | None:
    """Return the pivots of a matrix of some shape, None if the text is not such.

    Examples
    --------
    >>> rows_of_pivots(pivots_in_text(np.array([2, 1])), (3, 2)), rows_of_pivots("AAAA", (3, 2))
    (array([2, 1]), None)
    """
    if not isinstance(text, str):
        return None
    try:
        rows = np.frombuffer(base64.b64decode(text, validate=True), "<i4").astype(np.int64)
    except ValueError:  # binascii's is one
        return None
    fits = rows.size == min(shape) and bool(((np.arange(rows.size) <= rows) & (rows < shape[0])).all())
    return rows if fits else None


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
