"""Exceptions on their way: as objects where they can travel, as text always."""

from __future__ import annotations

import pickle
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from wrenla_handler import errors, linalg_errors
from wrenla_handler.calls.failure import Failure, RemoteError, RemoteTraceback
from wrenla_handler.calls.runner import Runner


def caught(raising: Callable[[], Any]) -> Failure:
    try:
        raising()
    except BaseException as error:
        return Failure.of(error)
    raise AssertionError("nothing was raised")


def sent(failure: Failure) -> Exception:
    return pickle.loads(pickle.dumps(failure, 5)).exception()


class TwoArgumentsError(Exception):
    """Pickles, but does not unpickle: its args are one, its __init__ wants two."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}")


class LockError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class BrokenError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError("even this fails")


class OtherWhenUnpickledError(Exception):
    """Comes out of its pickle as something else."""

    def __reduce__(self) -> Any:
        return int, (3,)


def fail(error: BaseException) -> Any:
    raise error


def test_an_exception_comes_back_with_its_attributes_and_notes() -> None:
    def raising() -> None:
        error = ValueError("bad", 17)
        error.add_note("while reading row 3")
        error.place = (1, 2)  # type: ignore[attr-defined]
        raise error

    error = sent(caught(raising))
    assert type(error) is ValueError
    assert error.args == ("bad", 17)
    assert error.__notes__ == ["while reading row 3"]
    assert error.place == (1, 2)  # type: ignore[attr-defined]
    assert isinstance(error.__cause__, RemoteTraceback)
    for text in ("in raising", "raise error", "ValueError: ('bad', 17)", "while reading row 3"):
        assert text in error.__cause__.text
    assert error.__cause__.text in "".join(traceback.format_exception(error))


class SlottedError(OSError):
    """Its `__init__` cannot be called with its `args`, and one attribute is a slot."""

    __slots__ = ("place",)

    def __init__(self, *, place: int) -> None:
        super().__init__(2, "not there", "file.txt")
        self.place = place
        self.more = [place]


def test_an_exception_comes_back_whatever_its_init_wants() -> None:
    error = sent(caught(lambda: fail(TwoArgumentsError("here", "so"))))
    assert (type(error), str(error)) == (TwoArgumentsError, "here: so")
    error = sent(caught(lambda: fail(SlottedError(place=3))))
    assert isinstance(error, SlottedError)
    assert (error.place, error.more, error.errno, error.filename) == (3, [3], 2, "file.txt")
    group = sent(caught(lambda: fail(ExceptionGroup("both", [TwoArgumentsError("a", "b"), KeyError(1)]))))
    assert isinstance(group, ExceptionGroup)
    assert str(group.exceptions[0]) == "a: b"


def test_causes_and_contexts_are_in_the_text() -> None:
    def raising() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            raise TypeError("third")  # noqa: B904

    error = sent(caught(raising))
    text = str(error.__cause__)
    assert type(error) is TypeError
    assert text.index("first") < text.index("direct cause") < text.index("second")
    assert text.index("second") < text.index("another exception occurred") < text.index("third")


def test_groups_come_back_as_groups() -> None:
    inner = [ValueError("one"), ExceptionGroup("in it", [KeyError("two")])]
    error = sent(caught(lambda: fail(ExceptionGroup("several", inner))))
    assert isinstance(error, ExceptionGroup)
    assert error.message == "several"
    assert [type(each) for each in error.exceptions] == [ValueError, ExceptionGroup]
    assert "two" in str(error.__cause__)


@pytest.mark.parametrize(
    "error",
    [
        LockError(),
        OtherWhenUnpickledError("odd"),
        BaseExceptionGroup("no Exception", [SystemExit(1)]),
        KeyboardInterrupt("stop"),
        SystemExit("told to"),
        GeneratorExit("closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failure_that_cannot_be_raised_is_remote_error(error: BaseException) -> None:
    found = sent(caught(lambda: fail(error)))
    assert isinstance(found, RemoteError)
    assert found.type_name.endswith(type(error).__qualname__)
    assert found.message == str(error)
    assert str(error) in str(found)
    assert str(found).startswith(found.type_name)
    assert type(error).__name__ in found.traceback_text
    assert isinstance(found.__cause__, RemoteTraceback)
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), again.args) == (RemoteError, found.args)


def test_an_exception_without_a_message() -> None:
    assert str(sent(caught(lambda: fail(SystemExit())))) == "SystemExit"


def test_a_class_that_is_only_there_falls_back_to_text() -> None:
    failure = Failure("there.OnlyThereError", "gone", "Traceback…", b"cthere\nOnlyThereError\n.")
    error = failure.exception()
    assert isinstance(error, RemoteError)
    assert str(error) == "there.OnlyThereError: gone"


def test_a_broken_message_hides_nothing() -> None:
    failure = caught(lambda: fail(BrokenError(1)))
    assert "BrokenError" in failure.type_name
    assert "ZeroDivisionError" in failure.message
    assert "BrokenError" in failure.traceback_text
    assert type(sent(failure)) is BrokenError


def test_huge_messages_and_deep_tracebacks_are_cut() -> None:
    failure = caught(lambda: fail(LockError.__base__("a" * 10_000_000)))  # type: ignore[misc]
    assert len(failure.message) <= 64 << 10
    assert len(failure.traceback_text) <= (64 << 10) + 10
    assert failure.traceback_text.startswith("Traceback")

    def deep(n: int) -> Any:
        return deep(n - 1) if n else 1 / 0

    assert "ZeroDivisionError" in caught(lambda: deep(500)).traceback_text

    def endless() -> Any:
        return endless()

    assert type(sent(caught(endless))) is RecursionError


def test_the_text_shows_the_function_and_none_of_our_frames() -> None:
    callee = Runner("me", bytes)
    from wrenla_handler.calls.messages import Request
    from wrenla_handler.serialize.blobs import dump, load, pack

    def nowhere(number: int, part: Any) -> str:
        raise AssertionError

    def mine() -> None:
        raise ValueError("mine")

    request = Request("a", 1, pack(dump(mine), nowhere), pack(dump(((), {})), nowhere))
    response = callee.answer(request)
    error = load(response.value, lambda key: b"").exception()
    assert response.ending == "exception"
    text = error.__cause__.text
    assert text.startswith("Traceback")
    assert "in mine" in text
    assert "callee.py" not in text
    assert "wrenla_handler" not in text


@pytest.mark.parametrize("name", [*errors.__all__, *linalg_errors.__all__])
def test_our_own_errors_travel(name: str) -> None:
    kind = getattr(errors if name in errors.__all__ else linalg_errors, name)
    known = {
        "StructureError": ("pos", 2, 1, 3.0, 4.0),
        "NotPositiveDefiniteError": (3,),
        "NotFiniteError": (1,),
        "SingularMatrixError": (1,),
    }
    error = kind(*known.get(name, ("what", "where")))
    found = sent(caught(lambda: fail(error)))
    assert type(found) is kind
    assert found.args == error.args
