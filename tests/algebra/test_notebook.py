"""Matrices in notebooks: HTML that is well-formed, small, safe, and cheap to make."""

from __future__ import annotations

import html
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.algorithms.procedure import Procedure
from wrenla.display import notebook
from wrenla.display.grid_picture import grid_picture, is_kept
from wrenla.display.notebook import public_url
from wrenla.planning.expression import Operation, View, leaf
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"


def page_of(A: wl.BigMatrix) -> ElementTree.Element:
    text = A._repr_html_()
    assert len(text.encode()) <= 20_000
    page = ElementTree.fromstring(text)
    for element in page.iter():
        assert element.tag.removeprefix(SVG) in (
            *("div", "table", "caption", "b", "tbody", "tr", "th", "td"),
            *("svg", "title", "path"),
        )
        for name, value in element.attrib.items():
            assert name in (
                "style",
                "d",
                "fill",
                "fill-opacity",
                "stroke",
                "stroke-opacity",
                "stroke-width",
            ) or (element.tag == f"{SVG}svg" and name in ("width", "height", "viewBox", "role", "aria-label"))
            assert "url(" not in value
    return page


def facts(A: wl.BigMatrix) -> dict[str, str]:
    return {row[0].text or "": row[1].text or "" for row in page_of(A).iter("tr")}


def shaded(A: wl.BigMatrix) -> list[str]:
    """Return the boxes of tiles that are there."""
    paths = [path for path in page_of(A).iter(f"{SVG}path") if path.get("fill") == "currentColor"]
    return [box for path in paths for box in path.get("d", "").split("z") if box]


def test_facts_of_lazy_matrices() -> None:
    A = wl.random((1000, 700), tile=(100, 200))
    assert facts(A @ A.T) == {
        "shape": "1,000 × 1,000",
        "dtype": "float64",
        "bytes": "7.63 MiB",
        "tiles": "100 × 100 (78.12 KiB)",
        "grid": "10 × 10",
        "structure": "pos",
        "lazy": "gram",
    }
    z = wl.zeros((4, 3), dtype="complex64")
    made: tuple[tuple[Any, str], ...] = (
        (A, "random normal 0"),
        (A.T, "transpose"),
        (z.H, "conjugate transpose"),
        (np.exp(A), "exp"),
        (A.norm(), "reduction"),
        (A[:5], "slices, blocks or other tiles"),
        (A.gram().solve(np.ones(1000)), "solve"),
        (wl.linalg.solve_triangular(A @ A.T, np.ones(1000)), "solve triangular"),
        (
            wl.from_function(lambda i, j: i[:, None] + j, (5, 5), structure="pos"),
            "a function, called for each tile",
        ),
    )
    for B, word in made:
        assert facts(B)["lazy"] == word
        assert not shaded(B)
    assert facts(wl.from_array(np.eye(3)))["array"] == "in the memory of this process"
    assert facts(A.sum()).keys() == {"shape", "dtype", "bytes", "structure", "lazy"}
    assert facts(wl.zeros((0, 5)))["bytes"] == "0 B"
    assert page_of(wl.zeros((0, 5))).find(f"{SVG}svg") is None


def test_words_are_of_operations() -> None:
    def below(kind: type) -> Iterator[str]:
        each: type
        for each in kind.__subclasses__():
            yield each.__name__.strip("_")
            yield from below(each)

    assert notebook._WORDS.keys() <= {name for kind in (Operation, View, Procedure) for name in below(kind)}


def test_stored_tiles_are_shaded(tmp_path: Path) -> None:
    A = wl.random((7, 5), tile=2).save(str(tmp_path / "a"))
    assert facts(A)["stored"] == f"file://{tmp_path}/a"
    assert facts(A)["grid"] == "4 × 3, 12 of 12 stored"
    assert len(shaded(A)) == 4, "one box for each row of cells"
    (tmp_path / "a/c/1/1").unlink()
    assert facts(A)["grid"] == "4 × 3, 11 of 12 stored"
    assert len(shaded(A)) == 5
    L = wl.eye(7, tile=2).cholesky().save(str(tmp_path / "l"))
    assert facts(L)["grid"] == "4 × 4, 10 of 10 stored"
    v = wl.random(7, tile=2).save("memory://docs/vector", overwrite=True)
    x = v.norm().save("memory://docs/number", overwrite=True)
    assert (facts(v)["grid"], len(shaded(v))) == ("4, 4 of 4 stored", 4)
    assert facts(x)["stored"] == "memory://docs/number"
    assert "persisted" in facts(wl.eye(4).shift(1).persist())


def test_a_store_that_is_gone_is_no_error(tmp_path: Path) -> None:
    A = wl.random((4, 4), tile=2).save(str(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a")
    assert facts(A)["grid"] == "2 × 2, 0 of 4 stored"
    (tmp_path / "a").write_text("a file")
    assert facts(A)["grid"].startswith("2 × 2, ")
    assert not shaded(A)


def stored_at(url: str, shape: tuple[int, int] = (4, 4)) -> wl.BigMatrix:
    return wl.BigMatrix(leaf(StoredArray(Grid(shape, (2, 2)), "float64", 2, "identity", url)))


def test_what_is_not_on_this_machine_is_not_asked() -> None:
    """A unit test may not connect: so nobody does."""
    found = facts(stored_at("s3://bucket/a@b?X-Amz-Signature=1#2"))
    assert found["grid"] == "2 × 2, not listed: not on this machine"
    assert found["stored"] == "s3://bucket/a@b"
    assert facts(stored_at("gs://bucket/a"))["grid"] == "2 × 2, which cannot be listed"
    assert facts(stored_at("memory://docs/a", (1000, 1000)))["grid"] == "500 × 500, not listed: too many"


@settings(max_examples=25)
@given(st.text(min_size=1).filter(lambda name: "/" not in name))
def test_hostile_addresses_are_escaped(name: str) -> None:
    said = facts(stored_at(f"gs://bucket/{name}"))["stored"]
    shown = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in public_url(f"gs://bucket/{name}")
    )
    assert said == shown


def test_hostile_folders(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)</script>\"' onload=x &amp;\u202e\x1b[31m"
    A = wl.eye(4, tile=2).save(str(folder))
    text = A._repr_html_()
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert facts(A)["grid"] == "2 × 2, 3 of 3 stored"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://user:pass@host/a/b?versionId=3", "s3://host/a/b"),
        ("s3://bucket/x@y", "s3://bucket/x@y"),
        ("https://host?token=a/b", "https://host"),
        ("/data/what?/a@b#c", "/data/what?/a@b#c"),
        ("file:///data/a%3Fb", "file:///data/a%3Fb"),
        ("memory://" + 400 * "x", "memory://" + 71 * "x" + "…" + 80 * "x"),
    ],
)
def test_addresses_lose_what_may_be_secret(url: str, shown: str) -> None:
    assert public_url(url) == shown


STRUCTURES: tuple[Structure, ...] = ("general", "lower", "upper", "hermitian", "pos")


@given(
    m=st.integers(1, 200),
    n=st.integers(1, 200),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    structure=st.sampled_from(STRUCTURES),
    there=st.sampled_from([None, "all", "odd", "none"]),
)
def test_pictures_of_any_grid(m: int, n: int, tile: Any, structure: Structure, there: str | None) -> None:
    if structure != "general":
        n, tile = m, (tile[0], tile[0])
    grid = Grid((m, n), tile)
    rows, cols = grid.counts
    choose: dict[str | None, Callable[[int, int], bool]] = {
        "all": lambda i, j: is_kept(structure, i, j),
        "odd": lambda i, j: (i + j) % 2 == 1,
        "none": lambda i, j: False,
    }
    stored = (
        None if there is None else {(i, j) for i in range(rows) for j in range(cols) if choose[there](i, j)}
    )
    text = grid_picture(grid, structure, stored, "<a>")
    assert len(text) < 17_000
    picture = ElementTree.fromstring(text)
    height, width = float(picture.get("height", "")) - 2, float(picture.get("width", "")) - 2
    assert max(height, width) == 144
    for path in picture.iter(f"{SVG}path"):
        for sign, x in re.findall(r"([MHV ])([\d.]+)", path.get("d", "")):
            assert 0 <= float(x) <= (width if sign in "MH" else height) + 0.05
    assert (picture.find(f".//{SVG}path[@fill='currentColor']") is not None) == bool(stored)


def test_half_that_is_kept_is_drawn() -> None:
    def area(structure: Structure) -> dict[str, float]:
        """Return the length of the lines, by their opacity."""
        picture = ElementTree.fromstring(grid_picture(Grid((8, 8), (2, 2)), structure, None, "grid"))
        lengths = {}
        for path in picture.iter(f"{SVG}path"):
            lines = re.findall(r"M([\d.]+) ([\d.]+)([HV])([\d.]+)", path.get("d", ""))
            ends = [float(x if way == "H" else y) for x, y, way, _ in lines]
            lengths[path.get("stroke-opacity", "")] = sum(
                float(stop) - start for start, (_, _, _, stop) in zip(ends, lines, strict=True)
            )
        return lengths

    side = 144 / 4  # ten cells of a staircase have 4 + 4 + 3 + 2 + 1 sides each way, sixteen have 5 × 4
    assert area("general") == {"0.7": 40 * side}
    assert area("lower") == area("upper") == {"0.7": 28 * side}
    assert area("pos") == {"0.7": 28 * side, "0.2": 18 * side}


def test_the_largest_grid_is_cheap() -> None:
    """A picture of 10¹² tiles takes as long as one of a thousand."""
    A = wl.eye(10**9, tile=1000).shift(2)
    label = page_of(A).find(f"{SVG}svg").get("aria-label")  # type: ignore[union-attr]
    assert label == "grid of 1,000,000 × 1,000,000 tiles, one cell for up to 31250 × 31250 tiles"
    assert html.escape("×") in A._repr_html_()
