"""Plan: tasks, waves and cost of some results, to be looked at before it is run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from wrenla.errors import PlanError
from wrenla.planning import in_words
from wrenla.planning.canonical import canonical, of_functions, of_process, topological
from wrenla.planning.choose_cut import choose_cut, simulate
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.costs import cost_in_words, costs, tasks_together
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.planning.fits import fitting_edge, largest_task, projected_bytes
from wrenla.planning.graph import Graph, TileGraph
from wrenla.units import counted, format_bytes, format_dollars
from wrenla_handler.tiles.arrays import object_bytes

__all__ = ["Plan", "make_plan", "plans_bytes"]

_SMALL_TILE = 16
"""Edge of tiles in which nobody computes: where only such would fit, it is the memory that is too small."""

_SIMULATE_TASKS = 100_000
"""Tasks up to which to play a run through takes about a second."""


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """The tasks of some results, levelled into waves and priced. Immutable; one plan serves many runs.

    Attributes
    ----------
    results : tuple of Node
        What is computed, over slots instead of data.
    graph : Graph
    cut : Cut
        How sums are cut into tasks.
    model : ExecutorModel
        The executor that it was made for.
    follows : tuple of str
        What may follow, as numbers decide.
    targets : tuple of Node
        What is computed, if `results` are only those of it that somebody has asked for.
    runs : int
        Runs that it is carried out in, one after the other: steps of procedures depend on numbers.
    """

    results: tuple[Node, ...]
    graph: Graph
    cut: Cut
    model: ExecutorModel
    follows: tuple[str, ...] = ()
    targets: tuple[Node, ...] = ()
    runs: int = 1

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.graph)

    @cached_property
    def waves(self) -> int:
        """Number of waves: tasks of one wave can run side by side."""
        return int(self.graph.level.max(initial=-1)) + 1

    @cached_property
    def parallelism(self) -> float:
        """The work of all tasks over that of the longest chain: how many workers can be busy on average."""
        return self.work / self.critical_path if self.critical_path else 0.0

    @cached_property
    def work(self) -> float:
        """Seconds that all tasks take together, by the model: what they have in common counts once."""
        return self._work(self.invocations)

    def _work(self, invocations: int) -> float:
        return float(self.graph.seconds.sum()) - (self.tasks - invocations) * self.model.handing

    @cached_property
    def _course(self) -> tuple[float, int]:
        """Seconds of a run and how often something is handed to a worker; of many tasks lower bounds."""
        if self.tasks <= _SIMULATE_TASKS:
            return simulate(self.graph, self.model.workers, self.batch, self.model.handing)
        return self.seconds_at_once, -(-self.tasks // self.batch)

    @property
    def invocations(self) -> int:
        """Number of times that something is handed to a worker: short tasks that are ready go together."""
        return self.tasks if self.batch == 1 else self._course[1]

    @cached_property
    def critical_path(self) -> float:
        """Seconds of the longest chain of tasks that wait for each other: no number of workers takes less."""
        return float(self.graph.paths.max(initial=0.0))

    @property
    def flops(self) -> float:
        """Floating point operations, in real arithmetic."""
        return float(self.graph.flops.sum())

    @property
    def reads(self) -> int:
        """Tiles read, wherever they come from."""
        return int(self.graph.reads.sum())

    @property
    def bytes_read(self) -> int:
        """Bytes read from stores, at most: what a worker still has at hand is not read again."""
        return int(self.graph.bytes_read.sum())

    @property
    def bytes_written(self) -> int:
        """Bytes written to the store."""
        return int(self.graph.bytes_written.sum())

    @cached_property
    def uploaded(self) -> tuple[int, int]:
        """Tiles of this process's arrays that go to the store before a run, at most, and their bytes.

        Workers elsewhere read them there. That takes seconds of the plan only if it was measured how fast.
        """
        arrays = of_process(self.results) if self.model.uploads else []
        objects = [(math.prod(A.grid.counts), object_bytes(A.grid, A.dtype, None)) for A in arrays]
        return sum(count for count, _ in objects), sum(count * nbytes for count, nbytes in objects)

    @property
    def requests(self) -> int:
        """Requests to stores, at most: formulas and functions ask for none."""
        return self.gets + self.tasks + self.uploaded[0]

    @property
    def bytes_read_expected(self) -> int:
        """Bytes read from stores, as expected: workers have the rest at hand."""
        return round(self.graph.fetched * self.bytes_read)

    @property
    def requests_expected(self) -> int:
        """Requests to stores, as expected."""
        return self.gets_expected + self.tasks + self.uploaded[0]

    @property
    def gets(self) -> int:
        """Tiles that stores are asked for, at most."""
        return int(self.graph.gets.sum())

    @property
    def gets_expected(self) -> int:
        """Tiles that stores are asked for, as expected."""
        return round(self.graph.fetched * self.gets)

    @cached_property
    def wanted(self) -> list[int]:
        """Tasks whose tiles belong to a result."""
        keys = {node.key for node in self.targets or self.results}
        tasks = enumerate(self.graph.tiles.tasks)
        return [int(self.graph.final[number]) for number, task in tasks if task.out.array in keys]

    @cached_property
    def kernels(self) -> dict[str, int]:
        """Tasks by what they do, in a word (`Task.kernel`)."""
        return dict(Counter(self.kernel_of_tasks).most_common())

    @property
    def kernel_of_tasks(self) -> list[str]:
        """Words for the tasks, as `Task.kernel` has them: one each."""
        whole = [task.kernel for task in self.graph.tiles.tasks]
        pairs = zip(self.graph.tile.tolist(), self.graph.last.tolist(), strict=True)
        return [whole[tile] if last else "gemm" for tile, last in pairs]

    @cached_property
    def projected(self) -> int:
        """Bytes of memory that the largest task needs."""
        return projected_bytes(self.graph.tiles)

    @cached_property
    def seconds(self) -> float:
        """Expected seconds of a run in which the most urgent task is always next.

        Of more than 100,000 tasks it is a lower bound: all work shared evenly, but not less than the longest
        chain of tasks. With measured rates, the beginning of a run counts, and bringing its results into
        memory, if they are not saved.
        """
        return self._course[0] + self.beside

    @property
    def beside(self) -> float:
        """Seconds of a run beside its tasks, by measured rates: beginning, end, results into memory."""
        rates = self.model.rates
        if rates is None or not self.tasks:
            return 0.0
        saved = self.graph.tiles.saved
        here = [node for node in self.results if node.key not in saved]
        nbytes = sum(math.prod(node.grid.shape) * np.dtype(node.dtype).itemsize for node in here)
        return rates.beside(self.runs, len(saved), nbytes, self.uploaded[1])

    @property
    def seconds_at_once(self) -> float:
        """A lower bound of `seconds` that is known at once."""
        least = self._work(-(-self.tasks // self.batch))
        return max(least / self.model.workers, self.critical_path)

    @cached_property
    def room(self) -> int:
        """Bytes of memory that tiles take at most instead of a store; 0 if they all go there."""
        return self.room_beside(0)

    def room_beside(self, held: int) -> int:
        """Return the room for tiles if those of other runs hold so many bytes of memory."""
        model = self.model
        if not (model.keeps(self.work) and model.keeps(self.critical_path * model.workers)):
            return 0
        left = min(model.tile_bytes, model.workers * (model.allowed_bytes - self.projected)) - held
        return max(0, min(left, self.bytes_written))

    @property
    def dollars(self) -> float:
        """Expected cost of the run by the model; 0 where workers and requests cost nothing."""
        return self.cost["total"]

    @cached_property
    def cost(self) -> dict[str, float]:
        """Expected dollars for compute, requests and storage, and in all."""
        # as if all that is written stayed for the whole run
        stays = self.bytes_written * self.seconds if self.model.dollars_per_gb_month else 0.0
        return costs(
            self.model,
            busy=self.work,
            invocations=self.invocations,
            puts=self.tasks + self.uploaded[0],
            gets=self.gets_expected,
            byte_seconds=stays,
        )

    @cached_property
    def batch(self) -> int:
        """Number of tasks that go to a worker at once, at most: short ones go together."""
        mean = float(self.graph.seconds.mean()) - self.model.handing if self.tasks else 0.0
        return tasks_together(mean, self.model.worthwhile)

    def summary(self) -> dict[str, Any]:
        """Return the plan's numbers as a dict of what JSON knows; bytes, seconds and dollars are so named."""
        graph, model = self.graph, self.model
        return {
            "title": self.title,
            "results": list(map(in_words.as_document, self.results)),
            "tasks": self.tasks,
            "waves": self.waves,
            "kernels": self.kernels,
            "tasks_by_wave": np.bincount(graph.level).tolist() if self.tasks else [],
            "cut": str(self.cut),
            "flops": self.flops,
            "reads": self.reads,
            "requests": self.requests,
            "requests_expected": self.requests_expected,
            "bytes_read": self.bytes_read,
            "bytes_read_expected": self.bytes_read_expected,
            "bytes_written": self.bytes_written,
            "bytes_uploaded": self.uploaded[1],
            "bytes_in_memory": self.room,
            "bytes_projected": self.projected,
            "bytes_allowed": model.allowed_bytes,
            "workers": model.workers,
            "batch": self.batch,
            "seconds": self.seconds,
            "seconds_of_work": self.work,
            "seconds_of_critical_path": self.critical_path,
            "dollars": self.cost,
            "may_follow": list(self.follows),
        }

    def to_json(self, indent: int | None = None) -> str:
        """Return `summary` as JSON, in one line or indented."""
        return json.dumps(self.summary(), indent=indent)

    def wave(self, number: int) -> list[int]:
        """Return the tasks of one wave."""
        return [int(p) for p in np.flatnonzero(self.graph.level == number)]

    def check(self, model: ExecutorModel | None = None) -> None:
        """Refuse a plan with a task that does not fit into a worker: the plan's, or another model's.

        Raises
        ------
        PlanError
        """
        model = model or self.model
        allowed = model.allowed_bytes
        if self.projected <= allowed:
            return
        (rows, cols), edge = largest_task(self.graph.tiles), fitting_edge(self.graph.tiles, allowed)
        ways = [f"use tile={edge} or smaller"] if edge >= _SMALL_TILE else []
        if model.function is None:
            ways.append("allow more memory (allowed_mem, WRENLA_ALLOWED_MEM)")
        elif least := model.function.memory_for(self.projected):
            ways.append(f"give the function {least:,} MB of memory or more (memory=, wrenla deploy --memory)")
        raise PlanError(
            f"a task on tiles of {rows} × {cols} needs {format_bytes(self.projected)} (projected), a worker "
            f"may use {format_bytes(allowed)} (allowed): {', or '.join(ways) or 'no function has so much'}"
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan in words: names and texts of its lines."""
        model = self.model
        longest = max((task.length for task in self.graph.tiles.tasks), default=0)
        memory = f"{format_bytes(self.projected)} a worker (projected)"
        rows = [
            ("tasks", in_words.tasks(self.kernels)),
            ("waves", f"{self.waves:,}, mean parallelism {self.parallelism:.1f}"),
            ("sums", in_words.sums(longest, self.cut)),
            ("arithmetic", f"{self.flops / 1e9:,.2f} GFLOP"),
            ("read", in_words.read(self.bytes_read, self.bytes_read_expected, self.reads)),
            ("written", f"{format_bytes(self.bytes_written)}, in {counted(self.tasks, 'tile')}"),
            *in_words.uploaded(*self.uploaded, timed=bool(model.rates and model.rates.sent)),
            ("requests", in_words.requests(self.requests, self.requests_expected)),
            ("memory", f"{memory} of {format_bytes(model.allowed_bytes)} (allowed)"),
            ("temporary", in_words.temporaries(self.room, self.tasks)),
            ("time", in_words.time(self.seconds, self.critical_path, model.workers)),
        ]
        if self.batch > 1:
            rows.append(("together", f"up to {self.batch} tasks go to a worker at once"))
        if self.dollars:
            rows.append(("cost", f"about {format_dollars(self.dollars)} ({cost_in_words(self.cost)})"))
        return rows + [("may follow", text) for text in self.follows]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {name:<11}{text}" for name, text in self.rows())])

    __repr__ = __str__

    @property
    def title(self) -> str:
        """The results and the largest input, in words."""
        return in_words.title(self.results)


# A plain dict: to list it is one step. An ordered one asks keys for their hashes, and other threads come.
_KNOWN: dict[tuple[object, ...], Plan] = {}
_KEEP = 16


def make_plan(
    results: Sequence[Node],
    model: ExecutorModel,
    *,
    cut: Cut | None = None,
    whole: Sequence[Node] = (),
) -> tuple[Plan, dict[str, Node]]:
    """Return the plan for some results, and the expression behind each of its array names.

    Parameters
    ----------
    results : sequence of Node
        Each is an operation: it has tiles of its own.
    model : ExecutorModel
    cut : Cut, optional
        How to cut sums; the model chooses by default.
    whole : sequence of Node
        Those of `results` that are stored with their mirrored tiles if they are symmetric.

    Notes
    -----
    The last few plans are kept: in a loop where only the data change, planning is done once.
    """
    twins, originals = canonical(results)
    wanted = {node.key for node in whole}
    mirrored = frozenset(twin.key for twin, node in zip(twins, results, strict=True) if node.key in wanted)
    keys, functions = tuple(twin.key for twin in twins), of_functions(originals, dict(model.functions))
    known = (keys, mirrored, replace(model, functions=()), functions, cut)
    plan = _KNOWN.pop(known, None)
    if plan is None:
        try:
            tiles = TileGraph(topological(twins), mirrored, frozenset(keys), dict(functions), model.uploads)
            chosen = cut or choose_cut(tiles, model)
            plan = Plan(tuple(twins), Graph(tiles, chosen, model), chosen, model)
        except MemoryError as error:
            count = sum(math.prod(twin.grid.counts) for twin in topological(twins) if not twin.is_leaf)
            raise PlanError(
                f"there is not enough memory for a plan of about {count:,} tiles ({error or 'no more'}): use "
                "larger tiles (tile=), take a part by slicing, or give the program more (ulimit -v)"
            ) from error
    _KNOWN[known] = plan
    for oldest in list(_KNOWN)[:-_KEEP]:
        _KNOWN.pop(oldest, None)
    return plan, originals


def plans_bytes() -> int:
    """Return the memory that the plans take that are kept, about."""
    return sum(plan.graph.tiles.nbytes for plan in list(_KNOWN.values()))
