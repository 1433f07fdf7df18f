"""Faults on demand."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from tests.waiting import slowed
from wrenla.emulator import Fault
from wrenla.emulator.faults import Faults
from wrenla.errors import WrenlaError

from .stand import Stand


@pytest.fixture
def marker(stand: Stand) -> tuple[str, str]:
    """A function that leaves a mark, and the bucket into which it does."""
    return stand.function("marks"), stand.bucket()


def test_killed_before(stand: Stand, marker: tuple[str, str]) -> None:
    function, bucket = marker
    event = {"bucket": bucket, "key": "k"}
    stand.faults({"kind": "kill-before", "calls": [2]})
    answers = [stand.call(function, event) for _ in range(3)]
    assert [answer.error for answer in answers] == [None, "Unhandled", None]
    assert "signal: killed" in answers[1].value["errorMessage"]
    assert answers[1].value["errorType"] == "Runtime.ExitError"
    assert stand.marks(bucket, "k") == 2


def test_killed_in_the_middle(stand: Stand, marker: tuple[str, str]) -> None:
    function, bucket = marker
    event = {"bucket": bucket, "key": "k", "seconds": 15}
    stand.call(function, event | {"seconds": 0})  # it has boto3 now
    stand.faults({"kind": "kill-during", "first": 1, "seconds": 1})
    begun = time.monotonic()
    answer = stand.call(function, event)
    assert 1 <= time.monotonic() - begun < slowed(15)
    assert "signal: killed" in answer.value["errorMessage"]
    assert stand.marks(bucket, "k") == 2, "it had begun"


def test_killed_after(stand: Stand, marker: tuple[str, str]) -> None:
    function, bucket = marker
    stand.faults({"kind": "kill-after", "first": 1})
    answers = [stand.call(function, {"bucket": bucket, "key": "k"}) for _ in range(2)]
    assert "signal: killed" in answers[0].value["errorMessage"]
    assert stand.marks(bucket, "k") == 2, "it had ended"
    assert "Init Duration" in answers[1].log, "its environment is gone"


def test_delayed(stand: Stand) -> None:
    function = stand.function("echo")
    stand.call(function)
    stand.faults({"kind": "delay", "first": 1, "seconds": 1})
    begun = time.monotonic()
    assert stand.call(function, {"n": 1}).value == {"n": 1}
    assert time.monotonic() - begun >= 1


def test_throttled(stand: Stand) -> None:
    function = stand.function("echo")
    before = stand.counts()
    stand.faults({"kind": "throttle", "calls": [1, 3]})
    found = []
    for _ in range(4):
        try:
            found.append(stand.call(function).status)
        except ClientError as error:
            found.append(error.response["Reason"])
    reason = "ConcurrentInvocationLimitExceeded"
    assert found == [reason, 200, reason, 200]
    after = stand.counts()
    assert after["throttles"] - before.get("throttles", 0) == 2
    assert after["faults"] - before.get("faults", 0) == 2
    assert after["invocations"] - before.get("invocations", 0) == 4


def test_run_twice(stand: Stand, marker: tuple[str, str]) -> None:
    function, bucket = marker
    stand.faults({"kind": "answer-twice", "first": 1})
    before = stand.counts()
    assert stand.call(function, {"bucket": bucket, "key": "k"}).value == "marked"
    assert stand.marks(bucket, "k") == 2
    after = stand.counts()
    assert after["invocations"] - before["invocations"] == 1
    assert after["executions"] - before["executions"] == 2


def test_never_answered(stand: Stand, marker: tuple[str, str]) -> None:
    function, bucket = marker
    stand.faults({"kind": "drop-connection", "first": 1})
    with pytest.raises(HTTPClientError):
        stand.call(function, {"bucket": bucket, "key": "k"})
    assert stand.marks(bucket, "k") == 1
    assert stand.call(function, {"bucket": bucket, "key": "k"}).value == "marked"


def test_a_share_of_the_calls(stand: Stand) -> None:
    function = stand.function("echo")

    def run() -> list[bool]:
        stand.faults({"kind": "kill-after", "share": 0.3, "seed": 5})
        return [stand.call(function).error is not None for _ in range(12)]

    first = run()
    assert first == run()
    assert 0 < sum(first) < 12


def test_the_first_rule_that_hits_decides() -> None:
    faults = Faults()
    rules = Fault("delay", calls=(2,)), Fault("throttle", first=3)
    faults.set(rules)
    assert [faults.next() for _ in range(4)] == [rules[1], rules[0], rules[1], None]
    faults.set(())
    assert faults.next() is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_shares_are_kept(share: float) -> None:
    rule = Fault("delay", share=share, first=0, calls=(0,))
    assert abs(sum(map(rule.hits, range(1, 4001))) / 4000 - share) < 0.03


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "burn", "first": 1},
        {"kind": "delay"},
        {"kind": "delay", "share": 2},
        {"kind": "delay", "frist": 1},
    ],
)
def test_rules_that_make_no_sense(stand: Stand, rule: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"kind of fault|hits no call|share is between|has no frist"):
        Fault.of(rule)
    with pytest.raises(WrenlaError, match="refuses"):
        stand.faults(rule)


def test_faults_under_load(stand: Stand) -> None:
    """Whatever goes wrong, each call is answered, and the next ones are not disturbed."""
    function = stand.function("echo")
    stand.faults(
        {"kind": "kill-during", "share": 0.1, "seconds": 0.0, "seed": 1},
        {"kind": "kill-after", "share": 0.1, "seed": 2},
        {"kind": "throttle", "share": 0.1, "seed": 3},
        {"kind": "delay", "share": 0.1, "seconds": 0.02, "seed": 4},
    )

    def call(number: int) -> str:
        try:
            answer = stand.call(function, {"n": number})
        except ClientError:
            return "throttled"
        assert answer.error or answer.value == {"n": number}
        return "killed" if answer.error else "answered"

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(call, range(80)))
    assert {what: found.count(what) > 2 for what in found} == dict.fromkeys(
        ("answered", "killed", "throttled"), True
    )
    stand.faults()
    assert stand.call(function, {"n": 1}).value == {"n": 1}
