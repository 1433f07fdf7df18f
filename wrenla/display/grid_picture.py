"""Picture of a grid of tiles, as SVG: outlines of what is kept, shades of what is stored."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator

from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import Structure

__all__ = ["grid_picture", "is_kept", "span"]

_MOST = 32
"""Cells along a side; of larger grids one stands for several tiles."""

_SIDE, _THINNEST = 144, 10
"""Points of the longer side, and of the shorter one at least."""

_LEVELS = 4
"""Shades of a cell of which some tiles are stored, and others are not."""


def is_kept(structure: Structure, i: int, j: int) -> bool:
    """Tell whether tile `(i, j)` is one that a matrix keeps: of Hermitian ones the lower half."""
    return structure == "general" or (i <= j if structure == "upper" else i >= j)


def span(count: int) -> int:
    """Return how many tiles, at most, a cell stands for along a side of `count`.

    Examples
    --------
    >>> span(32), span(33), span(1000)
    (1, 2, 32)
    """
    return max(1, -(-count // _MOST))


def grid_picture(grid: Grid, structure: Structure, stored: Collection[Pair] | None, title: str) -> str:
    """Return the SVG of a grid, in the color of the text around it.

    Parameters
    ----------
    grid : Grid
        Without tiles there is no picture, "".
    structure : str
        The half that is not kept is drawn faintly if it mirrors the other one, and not if it is zero.
    stored : collection of (int, int), optional
        Tiles that are there, which are shaded; None: nothing is known, so the time this takes is that of a
        grid of 32 × 32 cells.
    title : str
        What a screen reader says.
    """
    if 0 in grid.counts:
        return ""
    height, width = _size(grid.shape)
    rows, cols = (_edges(count) for count in grid.counts)
    ys, xs = (
        [min(edge * tile, length) * side / length for edge in edges]
        for edges, tile, length, side in zip(
            (rows, cols), grid.tile, grid.shape, (height, width), strict=True
        )
    )

    def kept(r: int, c: int) -> bool:  # the corner of a cell that is nearest to the half that is kept
        near = (rows[r], cols[c + 1] - 1) if structure == "upper" else (rows[r + 1] - 1, cols[c])
        return is_kept(structure, *near)

    parts = (
        [_path(_outline(lambda r, c: not kept(r, c), ys, xs), 0.2)]
        if structure in ("hermitian", "pos")
        else []
    )
    for level, runs in _shades(grid, structure, stored, rows, cols).items():
        boxes = (f"M{_n(xs[a])} {_n(ys[r])}H{_n(xs[b])}V{_n(ys[r + 1])}H{_n(xs[a])}z" for r, a, b in runs)
        opacity = 0.15 + 0.45 * level / _LEVELS
        parts.append(f'<path d="{"".join(boxes)}" fill="currentColor" fill-opacity="{opacity:.2f}"/>')
    parts.append(_path(_outline(kept, ys, xs), 0.7))
    text = html.escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width + 2)}" height="{_n(height + 2)}" '
        f'viewBox="-1 -1 {_n(width + 2)} {_n(height + 2)}" role="img" aria-label="{text}" '
        f'style="color: inherit; background: transparent; flex: none"><title>{text}</title>'
        f"{''.join(parts)}</svg>"
    )


def _size(shape: Pair) -> tuple[float, float]:
    """Return height and width of a picture, in the proportions of the matrix as far as it can be seen."""
    longer = max(shape)
    height, width = (max(_THINNEST, _SIDE * length / longer) for length in shape)
    return height, width


def _edges(count: int) -> list[int]:
    """Return the first tile of each cell along a side, and the end."""
    cells = -(-count // span(count))
    return [k * count // cells for k in range(cells + 1)]


def _shades(
    grid: Grid, structure: Structure, stored: Collection[Pair] | None, rows: list[int], cols: list[int]
) -> dict[int, list[tuple[int, int, int]]]:
    """Return runs of cells, as row, first and last column, by how many of their tiles are stored."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    if not stored:
        return found
    for r in range(len(rows) - 1):
        for c in range(len(cols) - 1):
            tiles = [(i, j) for i in range(rows[r], rows[r + 1]) for j in range(cols[c], cols[c + 1])]
            there = sum(tile in stored for tile in tiles)
            if not there:
                continue
            needed = sum(is_kept(structure, *tile) or tile in stored for tile in tiles)
            runs = found.setdefault(-(-_LEVELS * there // needed), [])
            if runs and runs[-1][0] == r and runs[-1][2] == c:
                runs[-1] = (r, runs[-1][1], c + 1)
            else:
                runs.append((r, c, c + 1))
    return found


def _outline(cell: Callable[[int, int], bool], ys: list[float], xs: list[float]) -> Iterator[str]:
    """Yield the lines around some of the cells, each drawn once."""
    m, n = len(ys) - 1, len(xs) - 1
    inside = [[cell(r, c) for c in range(n)] for r in range(m)]
    for r in range(m + 1):
        edge = [(r < m and inside[r][c]) or (r > 0 and inside[r - 1][c]) for c in range(n)]
        yield from (f"M{_n(xs[a])} {_n(ys[r])}H{_n(xs[b])}" for a, b in _runs(edge))
    for c in range(n + 1):
        edge = [(c < n and inside[r][c]) or (c > 0 and inside[r][c - 1]) for r in range(m)]
        yield from (f"M{_n(xs[c])} {_n(ys[a])}V{_n(ys[b])}" for a, b in _runs(edge))


def _runs(flags: list[bool]) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the runs that are true."""
    start = None
    for k, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = k
        elif not flag and start is not None:
            yield start, k
            start = None


def _path(lines: Iterator[str], opacity: float) -> str:
    return (
        f'<path d="{"".join(lines)}" fill="none" stroke="currentColor" stroke-opacity="{opacity}" '
        'stroke-width="0.7"/>'
    )


def _n(x: float) -> str:
    return f"{x:.1f}".removesuffix(".0")
