"""How fast a service lets itself be called, with a clock of our own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla.executors.aws_lambda.rate_limiter import AdaptiveRateLimiter, backoff


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def let_through(pace: AdaptiveRateLimiter, clock: Time, seconds: float) -> int:
    """Take as many tokens as there are in some time."""
    until, taken = clock.now + seconds, 0
    while clock.now < until:
        pause = pace.take()
        taken += pause == 0
        clock.now += pause + 1e-9 * (pause > 0)
    return taken


def service(
    pace: AdaptiveRateLimiter, clock: Time, rate: float, seconds: float, burst: float = 1.0
) -> tuple[int, int]:
    """Call a service with a token bucket of its own; return how many calls it has taken and refused."""
    until, tokens, filled, taken, refused = clock.now + seconds, burst, clock.now, 0, 0
    while clock.now < until:
        pause = pace.take()
        if pause:
            clock.now += pause + 1e-9 * (pause > 0)
            continue
        clock.now += 1e-4  # a call takes a moment
        tokens, filled = min(burst, tokens + rate * (clock.now - filled)), clock.now
        if tokens >= 1:
            tokens, taken = tokens - 1, taken + 1
            pace.accepted()
        else:
            refused += 1
            pace.refused()
    return taken, refused


def test_limiter_without_refusal_has_no_limit() -> None:
    pace = AdaptiveRateLimiter(Time())
    assert [pace.take() for _ in range(10_000)] == [0.0] * 10_000
    for _ in range(100):
        pace.accepted()
    assert pace.rate is None


def test_first_refusal_sets_the_rate() -> None:
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    for _ in range(200):
        clock.now += 0.005
        pace.accepted()
    pace.refused()
    assert pace.rate == pytest.approx(0.7 * 200, rel=0.02)
    assert pace.take() > 0
    assert let_through(pace, clock, 1.0) == pytest.approx(140, rel=0.1)


def test_limiter_keeps_least_rate_after_many_refusals() -> None:
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    for _ in range(1000):
        clock.now += 0.6
        pace.refused()
    assert pace.rate == 25.0
    assert let_through(pace, clock, 1.0) >= 24


def test_refusals_of_one_moment_count_once() -> None:
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    for _ in range(500):
        pace.accepted()
    for _ in range(500):
        pace.refused()
    assert pace.rate == pytest.approx(350)
    assert pace.refusals == 500


def test_rate_grows_without_refusals_and_is_forgotten() -> None:
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    pace.refused()
    rates = []
    for _ in range(400):
        clock.now += 0.1
        pace.accepted()
        rates.append(pace.rate)
    known = [rate for rate in rates if rate is not None]
    assert all(a <= b for a, b in itertools.pairwise(known))
    assert rates[-1] is None
    assert pace.take() == 0


@pytest.mark.parametrize("rate", [40.0, 100.0, 500.0])  # below, it asks 25 times a second
def test_limiter_finds_the_rate_of_a_service(rate: float) -> None:
    """It uses most of what the service gives, and is seldom refused."""
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    service(pace, clock, rate, 5.0)
    taken, refused = service(pace, clock, rate, 20.0)
    assert taken > 0.6 * 20 * rate
    assert refused < 0.5 * taken


def test_limiter_follows_a_service_that_allows_more() -> None:
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    service(pace, clock, 20.0, 5.0)
    taken, _ = service(pace, clock, 500.0, 20.0)
    assert taken > 0.5 * 20 * 500


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("tar"), st.floats(0, 5)),
        max_size=60,
    )
)
def test_limiter_lets_through_no_more_than_rate_and_burst(steps: list[tuple[str, float]]) -> None:
    """There is always a token soon, and never more than the rate and a small burst allow."""
    clock = Time()
    pace = AdaptiveRateLimiter(clock)
    for what, seconds in steps:
        clock.now += seconds
        if what == "a":
            pace.accepted()
        elif what == "r":
            pace.refused()
        else:
            pause = pace.take()
            assert 0 <= pause <= 0.1 + 1e-9
            if pause:
                clock.now += pause + 1e-9
                assert pace.take() == 0
        assert pace.rate is None or pace.rate >= 10.0
    if pace.rate is not None:
        rate = pace.rate
        assert let_through(pace, clock, 2.0) <= 2.0 * rate + max(1.0, 0.1 * rate) + 1


@given(st.integers(1, 10_000))
def test_backoff_stays_within_bounds(refusals: int) -> None:
    assert 0.025 <= backoff(refusals) <= 3.0


def test_backoff_grows_and_is_jittered() -> None:
    means = [sum(backoff(n) for _ in range(300)) / 300 for n in (1, 3, 5, 7)]
    assert means == sorted(means)
    assert len({backoff(4) for _ in range(20)}) == 20
