"""What runs in one process: tests that share a server come first in it, and each server in another one.

Tests that run beside each other are dealt out in order, as many to each process, and taken over from the end:
the first ones stay where they are, and in the others no server of their own starts, which takes as long as a
hundred tests. What waits for a server also begins early.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

__all__ = ["SERVERS", "Together", "arranged"]

SERVERS: Sequence[Sequence[str]] = (("aws/lambda_", "dask_"), ("emulator",))
"""Folders of tests that share an emulator or a cluster, by process."""

T = TypeVar("T")


def arranged(items: Sequence[T], folder_of: Callable[[T], str], processes: int) -> list[T]:
    """Return tests in an order in which those of each server are the first ones of a process.

    Examples
    --------
    >>> arranged(["algebra", "dask_", "emulator", "run"], str, 2)
    ['dask_', 'algebra', 'emulator', 'run']
    >>> arranged(["algebra", "dask_", "emulator", "run"], str, 1)
    ['dask_', 'emulator', 'algebra', 'run']
    """
    groups = [[item for item in items if folder_of(item).startswith(tuple(names))] for names in SERVERS]
    grouped = {id(item) for group in groups for item in group}
    rest = [item for item in items if id(item) not in grouped]
    if processes < len(groups):
        return [*(item for group in groups for item in group), *rest]
    order: list[T] = []
    for k in range(processes):
        share = (len(items) - len(order)) // (processes - k)
        group = groups[k] if k < len(groups) else []
        others, rest = rest[: max(0, share - len(group))], rest[max(0, share - len(group)) :]
        order += [*group, *others]
    return [*order, *rest]


class Together:
    """Plugin that arranges the tests that marks and names have left."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None]:
        """Arrange the tests, the same in all processes."""
        yield
        processes = getattr(config, "workerinput", {}).get("workercount", 1)
        root = f"{Path(__file__).parent}/"
        items[:] = arranged(items, lambda item: str(item.path).removeprefix(root), processes)
