"""What may be spent never is exceeded: however calls grow, are lost, found again, or race."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack

import pytest

from wrenla.errors import NeverStarted, OverBudget
from wrenla.executors.aws_lambda.budget import Budget, Reserved
from wrenla.executors.aws_lambda.client import Billing, FunctionFacts
from wrenla.executors.aws_lambda.prices import Prices


def facts(memory: int = 1769, timeout: int = 900, storage: int = 512, arm: bool = False) -> FunctionFacts:
    return FunctionFacts("f", "arn", "1", "us-east-1", "python3.12", memory, timeout, arm, "b", "p", storage)


def told(*, now: bool = False) -> threading.Event:
    event = threading.Event()
    if now:
        event.set()
    return event


def test_prices_of_memory_and_storage() -> None:
    """By hand, from AWS's list: a gigabyte of storage costs the same with either processor."""
    for memory, storage, arm, second in (
        (1769, 512, False, 2.87923753e-5),
        (1769, 128, False, 2.87923753e-5),
        (128, 10240, False, 2.0833375e-6 + 9.5 * 3.09e-8),
        (128, 10240, True, 1.666675e-6 + 9.5 * 3.09e-8),
        (10240, 1024, True, 1.333340e-4 + 0.5 * 3.09e-8),
    ):
        assert Prices().per_second(memory, arm=arm, storage=storage) == pytest.approx(second, rel=1e-6)
        assert Prices().call(10, memory, arm=arm, storage=storage) == pytest.approx(2e-7 + 10 * second)
    budget = Budget(facts(128, 60, 10240), Prices())
    with budget.reserve("f", told()) as cost:
        assert cost.pay(Billing(2.0), 5.0) == (2.0, pytest.approx(2e-7 + 2 * 2.3768875e-6))


def test_budget_of_two_dollars_lets_76_calls_begin() -> None:
    """The number that the guide to Lambda names."""
    budget = Budget(facts(), Prices(), 2.0)
    with ExitStack() as flying:
        for _ in range(76):
            flying.enter_context(budget.reserve("f", told()))
        with pytest.raises(NeverStarted), budget.reserve("f", told(now=True)):
            pass
    with budget.reserve("f", told()):
        pass


def test_budget_is_spent_exactly_without_rounding() -> None:
    """No rounding: three that may cost a third each, and do."""
    for timeout in range(1, 60):
        one = Prices().call(timeout + 10, 1769, arm=False)
        budget = Budget(facts(timeout=timeout), Prices(), one + one + one)
        for _ in range(2):
            with budget.reserve("f", told()) as cost:
                cost.pay(Billing(timeout + 10.0), 0.0)
        assert budget.spent == one + one
    with pytest.raises(OverBudget), Budget(facts(timeout=5), Prices(), 1e-9).reserve("f", told()):
        pass


def test_budget_is_never_exceeded_in_simulations() -> None:
    for seed in range(40):
        simulate(seed)


def simulate(seed: int) -> None:
    """Any order of beginnings and ends, with costs that grow, losses, and answers that are found later."""
    dice = random.Random(seed)
    function = facts(dice.choice([128, 1769, 10240]), dice.choice([1, 60, 900]), dice.choice([512, 10240]))
    worst = Budget(function, Prices()).price(function.timeout + 10)
    most = worst * dice.uniform(0.5, 12)
    budget = Budget(function, Prices(), most)
    flying: list[tuple[ExitStack, Reserved]] = []
    refused = begun = alone = 0
    for step in range(400):
        if dice.random() < 0.6:
            one = ExitStack()
            try:
                flying.append((one, one.enter_context(budget.reserve("f", told(now=True)))))
                begun += 1
            except (OverBudget, NeverStarted) as error:
                refused += 1
                alone += isinstance(error, NeverStarted) and not flying
        elif flying:
            one, cost = flying.pop(dice.randrange(len(flying)))
            longest = (function.timeout + 10) * min(1.0, step / 200)
            seconds = dice.choice([longest, dice.uniform(0.0, longest)])
            match dice.randrange(4):
                case 0:
                    cost.pay(Billing(seconds), 0.0)
                case 1:  # without a report, and the answer took its time
                    cost.pay(Billing(), dice.choice([seconds, 10 * function.timeout + 1000.0]))
                case 2:
                    cost.lose(seconds)
                case 3:  # lost, and its stored answer found
                    cost.lose(dice.uniform(0.0, seconds))
                    cost.pay(Billing(), seconds)
            one.close()
        assert budget.spent + budget.risked <= most
        assert budget.risked >= 0
    for one, _ in flying:
        one.close()
    assert refused
    assert alone == 0  # nobody waits where nothing is under way
    assert (begun > 0) is (most >= worst)


def test_budget_is_never_exceeded_by_many_threads() -> None:
    """As many as may begin together all wait for one gate, and each costs the most that it can."""
    function = facts(timeout=5)
    worst = Budget(function, Prices()).price(15)
    budget = Budget(function, Prices(), 8.5 * worst)
    gate, ends = threading.Barrier(16), []

    def call() -> None:
        gate.wait(60)
        try:
            with budget.reserve("f", told()) as cost:
                cost.pay(Billing(15.0), 0.0)
            ends.append("done")
        except OverBudget:
            ends.append("refused")

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (ends.count("done"), ends.count("refused")) == (8, 8)
    assert budget.spent == pytest.approx(8 * worst)
