"""What a function forks ends where the function does, and leaves the answers to its parent."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from wrenla_handler.calls.fork_guard import ParentOnly
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.calls.runner import Runner
from wrenla_handler.serialize.blobs import dump, load, pack
from wrenla_handler.stores.memory import MemoryStore

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on: threads


def status_of_child(act: Callable[[], object]) -> int:
    """Fork in a block, let the child do something at its end, and return how it ended."""
    mine, child = os.getpid(), -1
    try:
        with ParentOnly():
            child = os.fork()
            if not child:
                act()
    finally:
        if os.getpid() != mine:
            os._exit(99)  # it has left the block
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fail() -> None:
    raise ValueError("the child's own")


@pytest.mark.process
@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda: None, 0),
        (lambda: sys.exit(), 0),
        (lambda: sys.exit(7), 7),
        (lambda: sys.exit(-1), 255),
        (lambda: sys.exit("why"), 1),
        (fail, 1),
    ],
    ids=["returns", "exit()", "exit(7)", "exit(-1)", "exit('why')", "raises"],
)
def test_forked_child_ends_with_a_programs_status(act: Callable[[], object], status: int) -> None:
    assert status_of_child(act) == status


@pytest.mark.process
@pytest.mark.parametrize(
    ("act", "said"), [(fail, "ValueError: the child's own"), (lambda: sys.exit("why"), "why"), (sys.exit, "")]
)
def test_forked_child_prints_why_it_ends(
    act: Callable[[], object], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    real = sys.__stderr__
    with os.fdopen(os.dup(2), "w") as captured:
        sys.__stderr__ = captured  # type: ignore[misc]  # pytest's own would be lost
        try:
            status_of_child(act)
        finally:
            sys.__stderr__ = real  # type: ignore[misc]
    error = capfd.readouterr().err
    assert (error.strip().splitlines() or [""])[-1] == said


def test_parent_only_block_raises_in_parent() -> None:
    with pytest.raises(ValueError, match="mine"), ParentOnly():
        raise ValueError("mine")


@pytest.fixture
def url() -> Iterator[str]:
    """Address of a store."""
    name = uuid.uuid4().hex
    yield f"memory://{name}"
    MemoryStore.drop(name)


def fork_and_exit() -> str:
    child = os.fork()
    if not child:
        sys.exit(0)
    return f"parent of one that ended with {os.waitpid(child, 0)[1]}"


class ForksWhenLoaded:
    """An argument whose loading forks."""

    def __reduce__(self) -> tuple[Callable[[], str], tuple[()]]:
        return fork_and_exit, ()


class ForksWhenPickled:
    """A result whose pickling forks."""

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (fork_and_exit(),)


@pytest.mark.process
@pytest.mark.parametrize(
    ("function", "arguments"),
    [(fork_and_exit, ()), (lambda x: x, (ForksWhenLoaded(),)), (ForksWhenPickled, ())],
    ids=["function", "argument", "result"],
)
def test_only_the_parent_answers(function: Callable[..., object], arguments: tuple, url: str) -> None:
    mine, callee, answer = os.getpid(), Runner("someone", bytes), None
    sent = [pack(dump(each), lambda number, part: "") for each in (function, (arguments, {}))]
    try:
        answer = callee.answer(Request("a", 1, *sent, store=url))
    finally:
        if os.getpid() != mine:
            os._exit(99)
        callee.close()
    assert isinstance(answer, Response)
    assert answer.ending == "value"
    assert load(answer.value, lambda key: b"") == "parent of one that ended with 0"
