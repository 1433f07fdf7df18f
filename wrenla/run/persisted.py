"""Persisted tiles: their folder is removed with the last matrix that uses them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator, Sequence

from wrenla.executors.base import Executor
from wrenla.planning.canonical import topological
from wrenla.planning.expression import Leaf, Node
from wrenla.workspace.workspace import Workspace
from wrenla_handler.tiles.arrays import StoredArray

__all__ = ["Owner", "folders_of", "let_last"]

logger = logging.getLogger("wrenla.run")


class Owner:
    """Ends with the last node over some persisted tiles, at the latest when the interpreter does.

    Then it removes them, and their folder with the last of its tiles. If a run that has used them was cut
    short, the folder is given back instead: the same script goes on with these tiles, too.
    """

    def __init__(self, folder: Workspace, executor: Executor, specs: Sequence[StoredArray]) -> None:
        self.folder = folder
        self.lasts = False
        """Whether it is wanted beyond the evaluation that has made it: else it ends with that."""
        self.token = folder.keep(spec.identity for spec in specs)
        weakref.finalize(self, _disown, folder, self.token, executor, specs)


def _disown(folder: Workspace, token: int, executor: Executor, specs: Sequence[StoredArray]) -> None:
    """Remove tiles. It raises nothing, Ctrl-C neither: Python would print a traceback, and go on as well."""
    try:
        for spec in specs:
            executor.forget_array(spec)  # a mapped file takes space even when it is deleted
        folder.let_go(token)
    except BaseException as error:
        logger.warning(
            "persisted tiles may stay in %s: %s; wrenla clean removes them", folder.url, repr(error)
        )
        logger.debug("why they were not removed", exc_info=True)


def let_last(nodes: Iterable[Node]) -> None:
    """Let results outlast the evaluation that has made them."""
    for node in topological(nodes):
        for keeper in node.op.keepers if isinstance(node.op, Leaf) else ():
            if isinstance(keeper, Owner):
                keeper.lasts = True


def folders_of(nodes: Iterable[Node]) -> Iterator[Workspace]:
    """Yield the folders of the persisted tiles among some nodes."""
    for node in nodes:
        if isinstance(node.op, Leaf):
            yield from (keeper.folder for keeper in node.op.keepers if isinstance(keeper, Owner))
