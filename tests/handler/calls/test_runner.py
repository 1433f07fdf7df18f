"""Run-a-call, in this process: requests in, answers out, and nothing that ends it."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from wrenla_handler.calls.broadcast import Ref
from wrenla_handler.calls.context import current_call
from wrenla_handler.calls.failure import Failure, RemoteError
from wrenla_handler.calls.messages import Request, Response, unsealed
from wrenla_handler.calls.runner import DATA, Runner, results_of
from wrenla_handler.errors import IntegrityError, StoreError, WrenlaError
from wrenla_handler.serialize.blobs import INLINE, Blob, Packed, bare, dump, load, pack
from wrenla_handler.serialize.modules import Source, encode_sources
from wrenla_handler.stores.base import Data, Store
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import join, open_store


class Fixture:
    """A callee and a store."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.url = f"memory://{self.name}"
        self.store: Store = open_store(self.url)
        self.callee = Runner("someone", bytes)
        self._number = 0

    def packed(self, value: Any, inline: int = INLINE) -> Packed:
        def put(number: int, part: Data) -> str:
            self._number += 1
            self.store.put(f"sent/{self._number}", part)
            return f"sent/{self._number}"

        return pack(dump(value), put, inline=inline)

    def request(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Request:
        return Request("call-1", 1, self.packed(fn), self.packed((args, kwargs)), store=self.url)

    def answer(self, request: Request) -> Response:
        """As if it came through a pipe."""
        return Response.decode(self.callee.answer(Request.decode(request.encode())).encode())

    def value(self, response: Response) -> Any:
        return load(response.value, self.store.get)

    def error(self, response: Response) -> Exception:
        failure = self.value(response)
        assert isinstance(failure, Failure)
        return failure.exception()

    def keys(self) -> list[str]:
        return [key for key in self.store.list() if not key.startswith("sent/")]


@pytest.fixture
def f() -> Iterator[Fixture]:
    """A callee and a store of its own."""
    path = list(sys.meta_path)
    made = Fixture()
    yield made
    made.callee.close()
    MemoryStore.drop(made.name)
    sys.meta_path[:] = path


def test_runner_answers_with_value(f: Fixture) -> None:
    response = f.answer(f.request(lambda a, b=1: a * b, 6, b=7))
    assert (response.id, response.attempt, response.ending, response.worker) == (
        "call-1",
        1,
        "value",
        "someone",
    )
    assert f.value(response) == 42
    assert response.logs == ()
    assert 0 <= response.seconds < 5
    assert response.peak > 1 << 20
    assert (response.gets, response.hits) == (0, 0)
    assert f.keys() == []


def test_large_arguments_and_results_go_through_the_store(f: Fixture) -> None:
    a = np.random.default_rng(0).standard_normal((300, 300))
    response = f.answer(f.request(lambda a: a.T + 1, a))
    np.testing.assert_array_equal(f.value(response), a.T + 1)
    assert response.gets == 1
    assert f.keys() == [f"{results_of('call-1', 1)}value-1"]


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (lambda: 1 / 0, ZeroDivisionError),
        (lambda: sys.exit(3), RemoteError),
        (lambda: (_ for _ in ()).throw(KeyboardInterrupt), RemoteError),
        (lambda x: x, TypeError),
    ],
)
def test_runner_answers_with_exception(f: Fixture, fn: Callable[..., Any], kind: type[Exception]) -> None:
    response = f.answer(f.request(fn))
    assert response.ending == "exception"
    assert type(f.error(response)) is kind
    assert f.value(f.answer(f.request(abs, -1))) == 1  # it goes on


@pytest.mark.parametrize("fn", [lambda: sys._getframe(), lambda: (_ for _ in ())])
def test_a_result_that_cannot_travel_says_so(f: Fixture, fn: Callable[..., Any]) -> None:
    response = f.answer(f.request(fn))
    assert response.ending == "unpicklable"
    assert type(f.error(response)) is TypeError
    assert "while pickling the result of the call" in f.error(response).__notes__


def test_runner_answers_unknown_function_until_sent(f: Fixture) -> None:
    full = f.request(lambda: "here")
    named = replace(full, function=bare(full.function))
    assert f.answer(named).ending == "unknown function"
    assert f.value(f.answer(full)) == "here"
    assert f.value(f.answer(named)) == "here"


@pytest.mark.parametrize("inline", [0, 100_000, INLINE])
def test_a_function_that_is_only_named_and_large(f: Fixture, inline: int) -> None:
    text, table = b"x" * 300_000, np.arange(10_000)
    full = f.request(lambda: (len(text), int(table.sum())))
    full.function = f.packed(lambda: (len(text), int(table.sum())), inline)
    named = replace(full, function=bare(full.function))
    assert f.answer(named).ending in ("unknown function", "value")  # what is in the store can be read
    assert f.value(f.answer(full)) == (300_000, 49995000)
    assert f.value(f.answer(named)) == (300_000, 49995000)


def test_functions_are_kept_and_the_oldest_forgotten(f: Fixture) -> None:
    requests = [f.request(eval(f"lambda: {n}")) for n in range(65)]
    named = [replace(each, function=bare(each.function)) for each in requests]
    for each in requests[:64]:
        f.answer(each)
    assert f.value(f.answer(named[0])) == 0  # used again
    f.answer(requests[64])
    assert f.answer(named[1]).ending == "unknown function"
    assert [f.value(f.answer(named[n])) for n in (0, 2, 63, 64)] == [0, 2, 63, 64]


def test_a_kept_function_is_the_same_object(f: Fixture) -> None:
    def count(seen: list[int] = []) -> int:  # noqa: B006
        seen.append(1)
        return len(seen)

    request = f.request(count)
    assert [f.value(f.answer(request)) for _ in range(3)] == [1, 2, 3]


def test_request_with_missing_object_is_refused(f: Fixture, tmp_path: Any) -> None:
    ran = tmp_path / "ran"
    request = f.request(lambda a: ran.touch(), np.zeros(100_000))
    f.store.delete(request.arguments[1].key)
    response = f.answer(request)
    assert response.ending == "refused"
    assert request.arguments[1].key in str(f.error(response))
    assert not ran.exists()
    assert response.seconds == 0


@pytest.mark.parametrize("part", ["function", "arguments", "modules"])
def test_request_with_other_hash_is_refused(f: Fixture, part: str) -> None:
    request = f.request(abs, -1)
    bad = Blob("0" * 64, 3, b"abc", "")
    response = f.answer(replace(request, **{part: (bad,)}))
    assert response.ending == "refused"
    assert isinstance(f.error(response), IntegrityError)
    assert f.value(f.answer(request)) == 1


def test_arguments_that_cannot_be_loaded_are_refused(f: Fixture) -> None:
    text = b"cno_such_module\nthing\n."
    request = replace(
        f.request(abs), arguments=(Blob(hashlib.sha256(text).hexdigest(), len(text), text, ""),)
    )
    response = f.answer(request)
    assert response.ending == "refused"
    assert isinstance(f.error(response), ModuleNotFoundError)


def test_a_result_that_cannot_be_stored_is_unsaved(f: Fixture, tmp_path: Any) -> None:
    ran = tmp_path / "ran"
    file = tmp_path / "file"
    file.write_text("no folder")
    request = f.request(lambda: (ran.touch(), bytes(300_000))[1])
    response = f.answer(replace(request, store=str(file)))
    assert response.ending == "unsaved"
    assert isinstance(f.error(response), StoreError)
    assert ran.exists()
    assert response.seconds > 0


def test_values_of_request_arrive_as_one_list(f: Fixture) -> None:
    values = tuple(f.packed(value) for value in (1, np.arange(100_000), "three", Ref("memory://x", ())))
    response = f.answer(
        Request(
            "a", 1, f.packed(lambda v: (type(v), v[0], int(v[1].sum()), v[2])), values=values[:3], store=f.url
        )
    )
    assert f.value(response) == (list, 1, 4999950000, "three")


def test_the_answer_is_recorded_once(f: Fixture) -> None:
    request = replace(f.request(os.getpid), record="outcomes/a", secret="s")
    response = f.answer(request)
    kept = bytes(f.store.get("outcomes/a"))
    assert Response.decode(unsealed(kept, "s")) == response
    with pytest.raises(IntegrityError):
        unsealed(kept, "other")
    f.answer(replace(request, attempt=2))
    assert bytes(f.store.get("outcomes/a")) == kept  # the first one stays


@pytest.mark.parametrize("fn", [lambda: 1 / 0, lambda: sys._getframe()])
def test_failures_are_recorded_too(f: Fixture, fn: Callable[..., Any]) -> None:
    response = f.answer(replace(f.request(fn), record="outcomes/a", secret="s"))
    assert Response.decode(unsealed(bytes(f.store.get("outcomes/a")), "s")) == response


def test_a_record_that_cannot_be_written_does_not_hide_the_answer(f: Fixture, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("no folder")
    request = replace(f.request(abs, -2), record="outcomes/a", secret="s", store=str(tmp_path / "file"))
    assert f.value(f.answer(request)) == 2


def test_answer_has_what_the_function_printed(f: Fixture) -> None:
    f.callee = Runner("someone", lambda: b"printed \xff")
    response = f.answer(f.request(abs, -1))
    assert [blob.data for blob in response.logs] == [b"printed \xff"]


def test_much_output_goes_through_the_store_or_is_cut(f: Fixture, tmp_path: Any) -> None:
    f.callee = Runner("someone", lambda: b"x" * 300_000 + b"end")
    (blob,) = f.answer(f.request(abs, -1)).logs
    assert bytes(f.store.get(blob.key)).endswith(b"end")
    (tmp_path / "file").write_text("no folder")
    response = f.answer(replace(f.request(abs, -1), store=str(tmp_path / "file")))
    assert (response.ending, f.value(response)) == ("value", 1)
    assert response.logs[0].data.endswith(b"end")


def test_the_function_knows_its_call_and_its_store(f: Fixture) -> None:
    def ask() -> tuple[str, int]:
        call = current_call()
        assert call is not None
        call.open_store().put("mine", b"data")
        return call.id, call.attempt

    assert f.value(f.answer(replace(f.request(ask), attempt=7))) == ("call-1", 7)
    assert bytes(open_store(join(f.url, DATA)).get("mine")) == b"data"
    assert current_call() is None
    assert f.callee.context is None


def test_broadcast_reference_arrives_as_value(f: Fixture) -> None:
    ref = Ref(f.url, f.packed(np.arange(100_000), inline=0))
    request = f.request(
        lambda a, *, b, c: (a is b, a.flags.writeable, type(c[0]).__name__), ref, b=ref, c=[ref]
    )
    response = f.answer(request)
    assert f.value(response) == (True, False, "Ref")
    assert (response.gets, response.hits) == (2, 1)  # two parts read, once
    again = f.answer(request)
    assert (again.gets, again.hits) == (0, 2)
    ref.delete()
    assert isinstance(f.error(f.answer(request)), StoreError)


def module(name: str, text: str) -> Source:
    return Source(name, f"/nowhere/{name}.py", False, hashlib.sha256(text.encode()).hexdigest(), text)


def test_modules_are_there_before_the_function_is_loaded(f: Fixture) -> None:
    def with_modules(request: Request, text: str) -> Request:
        data = encode_sources([module("shipped_to_callee", text)])
        return replace(request, modules=(Blob(hashlib.sha256(data).hexdigest(), len(data), data, ""),))

    by_name = b"cshipped_to_callee\nrun\n."
    request = f.request(abs)
    request.function = (Blob(hashlib.sha256(by_name).hexdigest(), len(by_name), by_name, ""),)
    try:
        assert f.answer(request).ending == "refused"
        first = with_modules(request, "def run(): return 1\n")
        assert f.value(f.answer(first)) == 1
        assert f.value(f.answer(replace(first, modules=bare(first.modules)))) == 1
        # the same pickle, another code
        assert f.value(f.answer(with_modules(request, "def run(): return 22\n"))) == 22
        broken = f.answer(with_modules(request, "1 / 0\n"))
        assert broken.ending == "refused"
        assert isinstance(f.error(broken), ZeroDivisionError)
        assert f.value(f.answer(first)) == 1
    finally:
        sys.modules.pop("shipped_to_callee", None)


def test_our_own_error_is_not_taken_for_the_functions(f: Fixture) -> None:
    response = f.answer(replace(f.request(abs, 1), arguments=(Blob("0" * 64, 10, b"", "not/there"),)))
    assert response.ending == "refused"
    assert isinstance(f.error(response), WrenlaError)


def test_runner_leaves_logging_handlers_unchanged(f: Fixture) -> None:
    before = list(logging.getLogger().handlers)
    f.answer(f.request(logging.getLogger("x").info, "hello"))
    assert logging.getLogger().handlers == before
