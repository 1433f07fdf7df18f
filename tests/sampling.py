"""Samples of parametrized tests: some parameter sets of a function, with each value and most pairs of values.

Of a unit test's parameter sets six run every day, more if some value would be in none of them; the others
are slow tests. `@pytest.mark.every_day(4)` is another number, for tests of any tier. With `--most=2` no
function runs more than two, as on another Python: what differs there is hardly ever a number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import pytest

EVERY_DAY = 6


def sample(sets: Sequence[Mapping[str, object]], number: int, *, each: bool = True) -> list[int]:
    """Choose parameter sets: each value of each parameter once, then as many pairs of values as possible.

    Parameters
    ----------
    sets
        Parameter sets: values by the names of their parameters. Values are the same if they look the same.
    number
        Number of sets to choose.
    each
        Choose more of them if some value would be in none.

    Returns
    -------
    list of int
        Indices of those that are chosen, in ascending order.

    Examples
    --------
    >>> sets = [{"shape": i, "dtype": j} for i in range(3) for j in range(2)]
    >>> [sets[k] for k in sample(sets, 1)]
    [{'shape': 0, 'dtype': 0}, {'shape': 1, 'dtype': 1}, {'shape': 2, 'dtype': 0}]
    """
    values = [set(zip(one, map(repr, one.values()), strict=True)) for one in sets]
    pairs = [set(combinations(sorted(one), 2)) for one in values]
    left, missing_values, missing_pairs = list(range(len(sets))), set().union(*values), set().union(*pairs)
    times: defaultdict[tuple[str, str], int] = defaultdict(int)
    while left and (len(sets) - len(left) < number or (each and missing_values)):
        # of those that are as good, one with values that are rare so far
        best = max(
            left,
            key=lambda k: (
                len(values[k] & missing_values),
                len(pairs[k] & missing_pairs),
                -sum(times[value] for value in values[k]),
            ),
        )
        left.remove(best)
        missing_values -= values[best]
        missing_pairs -= pairs[best]
        for value in values[best]:
            times[value] += 1
    return sorted(set(range(len(sets))) - set(left))


def by_function(items: Sequence[pytest.Item]) -> list[list[pytest.Item]]:
    """Return the parameter sets of each function that has some."""
    functions = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec"):
            functions[item.nodeid.partition("[")[0]].append(item)
    return list(functions.values())


def left_out(items: Sequence[pytest.Item], number: int, *, each: bool = True) -> list[pytest.Item]:
    """Return the parameter sets of one function that are not in the sample."""
    chosen = set(sample([item.callspec.params for item in items], number, each=each))  # type: ignore[attr-defined]
    return [item for k, item in enumerate(items) if k not in chosen]


def mark_slow(items: Sequence[pytest.Item]) -> None:
    """Mark those slow that their functions do not run every day."""
    for of_one in by_function(items):
        mark = of_one[0].get_closest_marker("every_day")
        some = of_one if mark else [item for item in of_one if item.get_closest_marker("unit")]
        daily = [item for item in some if not item.get_closest_marker("slow")]
        for item in left_out(daily, mark.args[0] if mark else EVERY_DAY):
            item.add_marker("slow")


class Sampling:
    """Plugin that leaves out what is in no sample of the tests that are left."""

    def __init__(self, most: int) -> None:
        self.most = most

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Sample what marks and names have left."""
        dropped = {item for of_one in by_function(items) for item in left_out(of_one, self.most, each=False)}
        config.hook.pytest_deselected(items=list(dropped))
        items[:] = [item for item in items if item not in dropped]
