"""Matrices in notebooks: HTML with shape, tiles, bytes, origin, and a picture of the grid.

Plain tables and SVG, without scripts, styles of a page or anything to be loaded, in the color of the text
around. All that comes from elsewhere is escaped: addresses and names are not trusted.
"""

from __future__ import annotations

import html
import math
import re
from contextlib import closing

from wrenla.algorithms.claims import Looked
from wrenla.algorithms.elementwise import Elementwise
from wrenla.algorithms.flips import Flip
from wrenla.algorithms.procedure import Memo, Result
from wrenla.display.grid_picture import grid_picture, is_kept, span
from wrenla.planning.expression import Leaf, Node
from wrenla.units import format_bytes
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import FormulaArray, FunctionArray, StoredArray, TileRef, object_bytes
from wrenla_handler.tiles.grid import Pair

__all__ = ["html_of", "public_url"]

_LISTED = 4096
"""Tiles up to which a listing is a matter of milliseconds."""

_LONGEST = 160
"""Letters of an address that are shown."""

_WORDS = {
    "AddParts": "matmul",
    "AddUp": "sum",
    "Assemble": "slices, blocks or other tiles",
    "Beside": "reduction",
    "Copy": "copy or another dtype",
    "DiagonalParts": "diagonal",
    "Lay": "reduction",
    "SolveAsPlanned": "solve",
    "SolveFactored": "solve",
    "Total": "matmul",
    "Trapezoid": "triangle",
    "Weigh": "scale rows or columns",
}
"""Operations whose names say how a thing is made, and not what was asked for."""

_FLIPS = {"T": "transpose", "C": "conjugate transpose", "R": "conjugate"}


def html_of(node: Node) -> str:
    """Return a matrix as HTML, for `BigMatrix._repr_html_`.

    Of stored tiles those are shaded that are there, by one listing. That is made on this machine only, and
    of a few thousand tiles at most: a cell of a notebook must not wait for a network, whose deadlines are
    those of downloads, nor must a listing cost money. A store that is gone or broken is no error.
    """
    grid, dims = node.grid, node.ndim
    cells = "number" if dims == 0 else " × ".join(f"{n:,}" for n in grid.shape[:dims])
    tile = " × ".join(f"{n:,}" for n in grid.tile[:dims])
    counts = " × ".join(f"{n:,}" for n in grid.counts[:dims])
    tile_bytes = object_bytes(grid, node.dtype, None)
    nbytes = math.prod(grid.shape) * (tile_bytes // math.prod(grid.tile))
    kind, origin = _origin(node)
    stored, said = _stored(node)
    rows = [
        ("shape", cells),
        ("dtype", node.dtype),
        ("bytes", format_bytes(nbytes)),
        ("tiles", f"{tile} ({format_bytes(tile_bytes)})" if dims else ""),
        ("grid", f"{counts}{said}" if dims else ""),
        ("structure", node.structure),
        (kind, origin),
    ]
    most = max(span(n) for n in grid.counts)
    note = f", one cell for up to {span(grid.counts[0])} × {span(grid.counts[1])} tiles" if most > 1 else ""
    picture = grid_picture(grid, node.structure, stored, f"grid of {counts} tiles{note}") if dims else ""
    body = "".join(_row(name, value) for name, value in rows if value)
    return (
        '<div style="display: flex; flex-wrap: wrap; gap: 1.5em; align-items: center; color: inherit; '
        f'background: transparent"><table style="margin: 0"><caption style="text-align: left; '
        f'color: inherit"><b>BigMatrix</b></caption><tbody>{body}</tbody></table>{picture}</div>'
    )


def _row(name: str, value: str) -> str:
    style = "text-align: left; background: transparent; color: inherit"
    return (
        f'<tr style="background: transparent"><th style="{style}">{_text(name)}</th>'
        f'<td style="{style}; overflow-wrap: anywhere; max-width: 32em">{_text(value)}</td></tr>'
    )


def _text(value: str) -> str:
    """Return a text for HTML, in which a mark stands for what is not to be seen, or turns what is around."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value))


def _origin(node: Node) -> tuple[str, str]:
    """Return what a matrix is, in a word, and where it is or what it is made by."""
    while isinstance(node.op, Looked | Memo):
        node = node.args[node.op.number if isinstance(node.op, Memo) else 0]
    match node.op:
        case Leaf(spec=StoredArray() as spec) as leaf:
            return "persisted" if leaf.keepers else "stored", public_url(spec.url)
        case Leaf(spec=FunctionArray()):
            return "lazy", "a function, called for each tile"
        case Leaf(spec=FormulaArray() as spec):
            return "lazy", spec.formula
        case Leaf():
            return "array", "in the memory of this process"
        case Flip(op=op):
            return "lazy", _FLIPS[op]
        case Elementwise(function=function):
            return "lazy", function
        case Result(procedure=procedure):
            return "lazy", _words(procedure)
    return "lazy", _words(node.op)


def _words(operation: object) -> str:
    """Return the name of an operation's class in words."""
    name = type(operation).__name__.strip("_")
    return _WORDS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def public_url(url: str) -> str:
    """Return an address without what may be secret in it: a user, a password, a query.

    Examples
    --------
    >>> public_url("s3://key:secret@bucket/a?token=x#y"), public_url("/data/a?b")
    ('s3://bucket/a', '/data/a?b')
    """
    scheme, mark, rest = url.partition("://")
    if mark:
        host, slash, path = rest.partition("/")
        rest = re.split("[?#]", f"{host.rpartition('@')[2]}{slash}{path}")[0]
    url = f"{scheme}{mark}{rest}"
    half = _LONGEST // 2
    return url if len(url) <= _LONGEST else f"{url[:half]}…{url[-half:]}"


def _stored(node: Node) -> tuple[set[Pair] | None, str]:
    """Return the tiles of a stored matrix that are there, if that is known, and what to say of them."""
    spec = node.op.spec if isinstance(node.op, Leaf) else None
    if not isinstance(spec, StoredArray):
        return None, ""
    rows, cols = node.grid.counts
    if rows * cols > _LISTED:
        return None, ", not listed: too many"
    first = spec.key(TileRef("", 0, 0))
    try:
        with closing(open_store(spec.url)) as store:
            if store.reach > Reach.HOST:
                return None, ", not listed: not on this machine"
            keys = set(store.list(first[:2] if node.ndim else first))
    except (StoreError, OSError, ValueError):
        return None, ", which cannot be listed"
    pairs = [(i, j) for i in range(rows) for j in range(cols)]
    there = {pair for pair in pairs if spec.key(TileRef("", *pair)) in keys}
    needed = {pair for pair in pairs if is_kept(node.structure, *pair)}
    return there, f", {len(needed & there):,} of {len(needed):,} stored"
