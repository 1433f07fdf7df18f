"""Answers as the driver reads them: whose they are, and whether they are what was sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from wrenla.errors import Lost
from wrenla.executors.calls.call import Call
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.transport.remote import RemoteTransport
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.calls.runner import Runner
from wrenla_handler.serialize.blobs import Blob, Packed, dump, pack
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.memory import MemoryStore


@pytest.fixture
def envelopes() -> Iterator[RemoteTransport]:
    """An executor's, with a store of its own."""
    name = uuid.uuid4().hex
    place = ScratchSpace("x", Reach.PROCESS, lambda: f"memory://{name}")
    transport = RemoteTransport(place)
    transport.unrecorded = 0.0
    yield transport
    place.close()
    MemoryStore.drop(name)


def packed(value: Any) -> Packed:
    return pack(dump(value), lambda number, part: "")


def a_call(envelopes: RemoteTransport, id: str, fn: Any = abs) -> Call:
    options = CallOptions(record=True)
    function = envelopes.function(fn, "f", options)
    return Call(Future(id), options, "f", function, envelopes.arguments((-1,), {}, "f"))


def answered(request: Request, output: bytes = b"") -> Response:
    callee = Runner("someone", lambda: output)
    response = callee.answer(request)
    callee.close()
    return response


def test_a_record_is_the_answer_to_its_request_only(envelopes: RemoteTransport) -> None:
    """Who may write to the store cannot make one, nor put one in another's place."""
    store = envelopes.scratch.store
    call, other = a_call(envelopes, "calls-1"), a_call(envelopes, "calls-2", str)
    request = envelopes.request(call, Attempt(1, 0.0))
    response = answered(request)
    assert envelopes.recorded(request) == response
    elsewhere = envelopes.request(other, Attempt(1, 0.0))
    again = envelopes.request(call, Attempt(2, 0.0))
    for wrong in (elsewhere, again):
        assert envelopes.recorded(wrong) is None
        store.put(wrong.record, store.get(request.record))
        assert envelopes.recorded(wrong) is None
    store.delete(elsewhere.record)
    assert envelopes.recorded(elsewhere) is None
    assert envelopes.read(answered(elsewhere), other).value == "-1"
    assert envelopes.recorded(elsewhere) is not None


@pytest.mark.parametrize("where", ["store", "message"])
def test_logs_are_what_was_printed(where: str, envelopes: RemoteTransport) -> None:
    """What has not their hash is not shown; the call has succeeded all the same."""
    place, call = envelopes.scratch, a_call(envelopes, "calls-1")
    text = b"x" * (300_000 if where == "store" else 3)
    for forged in (False, True):
        response = answered(envelopes.request(call, Attempt(1, 0.0)), text)
        (blob,) = response.logs
        assert bool(blob.key) == (where == "store")
        if forged and blob.key:
            place.store.put(blob.key, b"y" * blob.nbytes)
        elif forged:
            response = replace(response, logs=(blob._replace(data=b"yyy"),))
        outcome = envelopes.read(response, call)
        assert (outcome.value, outcome.error) == (1, None)
        if forged:
            assert b"yyy" not in outcome.logs
            assert b"is not what its sender wrote" in outcome.logs
        else:
            assert outcome.logs == text
        assert list(place.store.list("results/")) == []
        envelopes.forget_record(envelopes.request(call, Attempt(1, 0.0)))


def test_parts_of_unsaved_result_are_removed(envelopes: RemoteTransport) -> None:
    store = envelopes.scratch.store
    for key in ("a-1-value-0", "a-1-value-1", "a-11-value-0", "a-2-value-0"):
        store.put(f"results/{key}", b"x")
    response = Response("a", 1, "unsaved", packed(Failure.of(OSError("full"))))
    outcome = envelopes.read(response, a_call(envelopes, "a"))
    assert isinstance(outcome.error, Lost)
    assert "could not be stored: full" in str(outcome.error)
    assert sorted(store.list("results/")) == ["results/a-11-value-0", "results/a-2-value-0"]


def test_logs_that_are_gone_hide_nothing(envelopes: RemoteTransport) -> None:
    logs = (Blob("0" * 64, 6, b"", "results/gone"),)
    outcome = envelopes.read(Response("a", 1, "value", packed(3), logs), a_call(envelopes, "a"))
    assert (outcome.value, outcome.error) == (3, None)
    assert b"is not there any more" in outcome.logs
