"""The metadata of a stored matrix: what is written, what is read, what is refused and why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from wrenla_handler.errors import MetadataError, NotAMatrixError
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import (
    DTYPES,
    METADATA_KEY,
    NUMBER_KEY,
    TILE_KEYS,
    TileLayout,
    new_generation,
    tile_key,
)


@pytest.fixture
def memory() -> Iterator[MemoryStore]:
    """An empty store."""
    store = MemoryStore()
    yield store
    store.close()


def layouts() -> Iterator[TileLayout]:
    for dtype in DTYPES:
        yield TileLayout(Grid((7, 5), (3, 4)), dtype)
        yield TileLayout(Grid((7, 1), (3, 1)), dtype, 1)
        yield TileLayout(Grid((1, 1), (1, 1)), dtype, 0)
        yield TileLayout(Grid((0, 5), (1, 4)), dtype)
        for structure in ("lower", "upper", "hermitian", "pos"):
            yield TileLayout(Grid((7, 7), (3, 3)), dtype, 2, structure)


@pytest.mark.parametrize(
    "layout", list(layouts()), ids=lambda x: f"{x.dtype} {x.ndim} {x.structure} {x.grid.shape}"
)
def test_round_trip(layout: TileLayout, memory: MemoryStore) -> None:
    layout.write(memory)
    assert TileLayout.read(memory) == layout
    layout.write(memory, "below/it")
    assert TileLayout.read(memory, "below/it") == layout


def test_every_writing_has_a_generation_of_its_own() -> None:
    grid = Grid((2, 2), (2, 2))
    assert TileLayout(grid, "float64").generation != TileLayout(grid, "float64").generation
    assert len({new_generation() for _ in range(100)}) == 100


def test_metadata_have_the_documented_fields() -> None:
    """Spelled out, as other software reads it too: a change here is a change of the format."""
    layout = TileLayout(Grid((7, 7), (3, 3)), "complex64", 2, "lower", "G1")
    assert json.loads(layout.to_json()) == {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [7, 7],
        "data_type": "complex64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": [0.0, 0.0],
        "codecs": [
            {"name": "transpose", "configuration": {"order": [1, 0]}},
            {"name": "bytes", "configuration": {"endian": "little"}},
        ],
        "attributes": {"wrenla": {"structure": "lower", "generation": "G1"}},
    }


@pytest.mark.parametrize(
    ("layout", "fill"),
    [
        (TileLayout(Grid((7, 7), (3, 3)), "float32"), "NaN"),
        (TileLayout(Grid((7, 7), (3, 3)), "complex128"), ["NaN", "NaN"]),
        (TileLayout(Grid((7, 7), (3, 3)), "float64", 2, "pos"), "NaN"),
        (TileLayout(Grid((7, 7), (3, 3)), "float64", 2, "upper"), 0.0),
    ],
)
def test_a_missing_tile_reads_as_nan_unless_it_is_zero(layout: TileLayout, fill: Any) -> None:
    assert json.loads(layout.to_json())["fill_value"] == fill


def test_tile_keys_have_the_layouts_separator() -> None:
    assert tile_key(2, 3) == "c/2/3"
    assert tile_key(2, 0, ndim=1) == "c/2"
    assert tile_key(0, 0, ndim=0) == "c"
    assert tile_key(2, 3, partial=5) == "partial/2/3/5"


def metadata(**changes: Any) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(TileLayout(Grid((7, 5), (3, 4)), "float64").to_json())
    return meta | changes


def read(memory: MemoryStore, meta: Any) -> TileLayout:
    memory.put(METADATA_KEY, json.dumps(meta).encode())
    return TileLayout.read(memory)


def regular(*chunk: Any) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}


def codecs(*names: Any) -> list[Any]:
    known = {
        "transpose": {"name": "transpose", "configuration": {"order": [1, 0]}},
        "identity": {"name": "transpose", "configuration": {"order": [0, 1]}},
        "little": {"name": "bytes", "configuration": {"endian": "little"}},
        "big": {"name": "bytes", "configuration": {"endian": "big"}},
        "bytes": {"name": "bytes"},
        "gzip": {"name": "gzip", "configuration": {"level": 5}},
        "listed": {"name": "transpose", "configuration": [1, 0]},
    }
    return [known.get(name, name) for name in names]


OTHER_LAYOUT = "wl.from_zarr copies"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "version 2": ({"zarr_format": 2}, "not a Zarr v3 array"),
    "group": ({"node_type": "group"}, "not a Zarr v3 array"),
    "no shape": ({"shape": None}, "shape None is not one of"),
    "shape of three": ({"shape": [1, 2, 3]}, "shape .* is not one of a scalar, vector or matrix"),
    "negative shape": ({"shape": [-1, 5]}, "shape .* is not one of"),
    "fractional shape": ({"shape": [7.0, 5]}, "shape .* is not one of"),
    "true shape": ({"shape": [True, 5]}, "shape .* is not one of"),
    "shape a number": ({"shape": 7}, "shape 7 is not one of"),
    "integers": ({"data_type": "int64"}, "data type 'int64' is not one of float32"),
    "strange type": ({"data_type": {"name": "float64"}}, "data type .* is not one of"),
    "type a list": ({"data_type": ["float64"]}, "data type .* is not one of"),
    "chunks of three": ({"chunk_grid": regular(3, 4, 5)}, "chunk shape .* does not fit"),
    "chunk of zero": ({"chunk_grid": regular(0, 4)}, "chunk shape .* does not fit"),
    "chunk missing": ({"chunk_grid": {"name": "regular"}}, "chunk shape None does not fit"),
    "chunks a string": ({"chunk_grid": "regular"}, "chunk shape None does not fit"),
    "irregular": ({"chunk_grid": {"name": "rectangular"}}, "chunk shape"),
    "vector chunk": ({"chunk_grid": regular(3)}, "does not fit shape"),
    "strokes in keys": (
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "-"}}},
        f"chunk keys are not c/i/j or c.i.j; {OTHER_LAYOUT}",
    ),
    "v2 keys": ({"chunk_key_encoding": {"name": "v2"}}, "chunk keys are not c/i/j or c.i.j"),
    "extension": ({"statistics": {"must_understand": True}}, "an extension 'statistics' that must be under"),
    "extension without a word": ({"statistics": {}}, "an extension 'statistics' that must be understood"),
    "no keys": ({"chunk_key_encoding": None}, "chunk keys are not c/i/j"),
    "C order": ({"codecs": codecs("little")}, f"codecs are not Fortran order.*{OTHER_LAYOUT}"),
    "identity": ({"codecs": codecs("identity", "little")}, "codecs are not"),
    "big endian": ({"codecs": codecs("transpose", "big")}, "codecs are not"),
    "no endian": ({"codecs": codecs("transpose", "bytes")}, "codecs are not"),
    "compressed": ({"codecs": codecs("transpose", "little", "gzip")}, "codecs are not"),
    "no codecs": ({"codecs": []}, "codecs are not"),
    "codecs None": ({"codecs": None}, "codecs are not"),
    "codecs strings": ({"codecs": ["transpose", "bytes"]}, "codecs are not"),
    "odd configuration": ({"codecs": codecs("listed", "little")}, "codecs are not"),
    "transformers": ({"storage_transformers": [{"name": "x"}]}, "storage transformers"),
    "unknown structure": ({"attributes": {"wrenla": {"structure": "banded"}}}, "unknown structure 'banded'"),
    "structure a list": ({"attributes": {"wrenla": {"structure": ["lower"]}}}, "unknown structure"),
    "attributes of ours a list": ({"attributes": {"wrenla": ["lower"]}}, "attributes"),
    "triangle not square": (
        {"attributes": {"wrenla": {"structure": "lower"}}},
        r"shape \[7, 5\] cannot be lower",
    ),
    "triangle in tiles not square": (
        {"shape": [7, 7], "attributes": {"wrenla": {"structure": "lower"}}},
        r"tiles of \[3, 4\] cannot be lower",
    ),
    "vector of structure": (
        {
            "shape": [7],
            "chunk_grid": regular(3),
            "codecs": codecs("little"),
            "attributes": {"wrenla": {"structure": "pos"}},
        },
        "cannot be pos",
    ),
    "generation a path": (
        {"attributes": {"wrenla": {"generation": "../x"}}},
        "generation '../x' is not a name",
    ),
    "generation a number": ({"attributes": {"wrenla": {"generation": 5}}}, "generation 5 is not a name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_metadata_are_metadata_error(name: str, memory: MemoryStore) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(MetadataError, match=message) as caught:
        read(memory, metadata(**changes))
    assert str(caught.value).startswith(f"{memory.url}: zarr.json: ")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"shape": [1}', b"nan", b'"text"', b"[]", b"7"]
)
def test_garbage_metadata_are_metadata_error(content: bytes, memory: MemoryStore) -> None:
    memory.put(METADATA_KEY, content)
    with pytest.raises(MetadataError, match=r"not JSON|not a JSON object"):
        TileLayout.read(memory)


def test_layout_of_empty_address_is_not_a_matrix_error(memory: MemoryStore) -> None:
    with pytest.raises(NotAMatrixError, match="no matrix here") as caught:
        TileLayout.read(memory)
    assert isinstance(caught.value, FileNotFoundError)
    assert memory.url in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": {}},
        {"attributes": {"units": "m"}},
        {"attributes": {"wrenla": {}}},
        {"attributes": None},
        {"dimension_names": ["x", "y"]},
        {"fill_value": 0},
        {"chunk_key_encoding": {"name": "default"}},
        {"storage_transformers": []},
    ],
)
def test_metadata_of_other_software_are_read(changes: dict[str, Any], memory: MemoryStore) -> None:
    layout = read(memory, metadata(**changes))
    assert (layout.grid, layout.dtype, layout.structure) == (Grid((7, 5), (3, 4)), "float64", "general")


def test_metadata_of_other_software_have_no_generation(memory: MemoryStore) -> None:
    assert read(memory, metadata(attributes={})).generation == ""


def test_tiles_of_either_separator_have_keys_of_their_own(memory: MemoryStore) -> None:
    """A matrix that replaces another lies beside it until its description takes the old one's place."""
    for ndim, shape in ((2, (7, 7)), (1, (7, 1)), (0, (1, 1))):
        layouts = [
            TileLayout(Grid(shape, (min(3, shape[0]), 1)), "float64", ndim, separator=s) for s in ("/", ".")
        ]
        keys = [{layout.key(i, 0) for i in range(3)} for layout in layouts]
        assert not keys[0] & keys[1]
        for layout in layouts:
            layout.write(memory)
            assert TileLayout.read(memory) == layout
            assert all(re.fullmatch(f"{TILE_KEYS}|{NUMBER_KEY}", layout.key(i, 0)) for i in range(3))
