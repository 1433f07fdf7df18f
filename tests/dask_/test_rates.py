"""Machines of a cluster are measured by one of their workers, and those that do not answer do without."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from tests.rates import RATES
from wrenla.executors.dask import rates as module
from wrenla.executors.dask.rates import cluster_rates
from wrenla.executors.dask.remote import Remote
from wrenla_handler.rates import Curve, Rates

pytestmark = pytest.mark.unit


class Machines:
    """Stands in for a connection: what each worker answers, and who was asked what."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[tuple[Any, ...]]()

    def run(self, address: str, function: Any, *args: Any) -> Future[Any]:
        self.asked.append((address, *args))
        answer: Future[Any] = Future()
        found = self.answers[address]
        if isinstance(found, Exception):
            answer.set_exception(found)
        elif found is not None:
            answer.set_result(found)
        return answer


def remote(address: str, threads: int = 1) -> Remote:
    return Remote(address, {}, threads, 1 << 30, 0)


def fast(flops: float) -> Rates:
    return replace(RATES, kernels=(Curve(flops), *RATES.kernels[1:]))


def test_one_worker_of_each_machine_is_asked() -> None:
    machines = Machines({"tcp://10.0.0.1:1": RATES.plain(), "tcp://10.0.0.2:1": RATES.plain()})
    remotes = [remote("tcp://10.0.0.1:1", 2), remote("tcp://10.0.0.1:2", 3), remote("tcp://10.0.0.2:1")]
    assert cluster_rates(machines, remotes, "/shared", 4) == RATES  # type: ignore[arg-type]
    assert machines.asked == [("tcp://10.0.0.1:1", "/shared", 5, 4), ("tcp://10.0.0.2:1", "/shared", 1, 4)]


def test_the_middle_machine_stands_for_all() -> None:
    flops = (3e9, 1e9, 2e9)
    machines = Machines({f"tcp://10.0.0.{n}:1": fast(speed).plain() for n, speed in enumerate(flops)})
    remotes = [remote(address) for address in machines.answers]
    assert cluster_rates(machines, remotes, "/shared", 1) == fast(2e9)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [OSError("gone"), {}, {"kernels": 1}, None], ids=repr)
def test_a_machine_that_does_not_answer_is_left_out(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    machines = Machines({"tcp://10.0.0.1:1": answer})
    assert cluster_rates(machines, [remote("tcp://10.0.0.1:1")], "/shared", 1) is None  # type: ignore[arg-type]
    machines.answers["tcp://10.0.0.2:1"] = RATES.plain()
    both = [remote(address) for address in machines.answers]
    assert cluster_rates(machines, both, "/shared", 1) == RATES  # type: ignore[arg-type]
    assert cluster_rates(machines, [], "/shared", 1) is None  # type: ignore[arg-type]
