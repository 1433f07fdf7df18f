"""`wrenla map`: a function of a script, called with each line of a file or with each object of a folder."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from wrenla.cli.parts.command import Command, as_json
from wrenla.cli.parts.files import complete_file
from wrenla.cli.parts.inputs import Encoding, Input, check_usage, lines_of, objects_of, results_in
from wrenla.cli.parts.results import overwrite_option
from wrenla.cli.parts.running import local_executor
from wrenla.cli.parts.script import function_of
from wrenla.cli.parts.text import described, one_line, trace
from wrenla.units import counted

if TYPE_CHECKING:
    from wrenla.executors.base import Executor
    from wrenla.executors.calls.future import Future
    from wrenla.executors.map_api.map_progress import MapCounts
    from wrenla_handler.calls.chunk import Chunk

__all__ = ["map_command"]

_LEAST = 100
"""Inputs that are under way or wait to be taken, at least."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Outcome of the call with one input."""

    input: Input
    value: Any = None
    error: Exception | None = None


@click.command(
    name="map",
    cls=Command,
    has_json=False,
    short_help="Call a function with each line or object, in parallel.",
    examples=(
        "wrenla map words.py:count lines.txt",
        "wrenla map words.py:count lines.txt --json --workers 2 -o counts.jsonl",
        "wrenla map words.py:count --objects s3://bucket/texts --json",
    ),
)
@click.argument("target", metavar="SCRIPT.py:FUNCTION", shell_complete=complete_file)
@click.argument("inputs", metavar="INPUTS", shell_complete=complete_file)
@click.option("--objects", "as_objects", is_flag=True, help="INPUTS is a folder or an S3 prefix; see above.")
@click.option("--pattern", metavar="GLOB", help="With --objects: only those whose key matches.")
@click.option("--chunk", metavar="BYTES", help="With --objects: pass larger ones in parts, e.g. '64 MiB'.")
@click.option(
    "--encoding", type=Encoding(), default="utf-8", metavar="NAME", help="Of the lines.  [default: utf-8]"
)
@click.option("--workers", type=click.IntRange(min=1), help="Calls at the same time.  [default: the setting]")
@click.option("--kind", type=click.Choice(["process", "thread"]), help="Where calls run.  [default: process]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds that a call may run.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds for a call, with waiting and retries.",
)
@click.option(
    "--retries", type=click.IntRange(min=0), default=0, help="Try again so often when the function raises."
)
@click.option("--idempotent", is_flag=True, help="The function may run twice: also when a worker died.")
@click.option(
    "--chunksize", type=click.IntRange(min=1), default=1, help="So many inputs travel and run as one call."
)
@click.option("--unordered", is_flag=True, help="Print results as they end, not in the order of the inputs.")
@click.option("--keep-going", is_flag=True, help="Go on after a failure, and end with 1 when all is done.")
@click.option("--json", "in_json", is_flag=True, help="Print results as JSON, one to a line.")
@click.option("--quiet", is_flag=True, help="Do not show what the function prints itself.")
@click.option("--traceback", "show_trace", is_flag=True, help="Show where the function failed.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write results to FILE, which appears when all is done.  [default: standard output]",
)
@overwrite_option
def map_command(
    target: str,
    inputs: str,
    as_objects: bool,
    pattern: str | None,
    chunk: str | None,
    encoding: str,
    workers: int | None,
    kind: Literal["process", "thread"] | None,
    chunksize: int,
    unordered: bool,
    keep_going: bool,
    in_json: bool,
    quiet: bool,
    show_trace: bool,
    output: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Call a function with each input, in parallel, and print the results.

    Each line of the file INPUTS that is not empty, without its end, is one input, a str; "-" is standard
    input. Bytes that are no text in its encoding end the command. With --objects an input is a reader of one
    object of the folder or S3 prefix INPUTS instead, as from wrenla.objects(): it has read(), open() and
    lines().

    \b
        # words.py
        def count(reader):
            return reader.key, sum(len(line.split()) for line in reader.lines())

    \b
        wrenla map words.py:count --objects s3://bucket/texts --json

    Results are printed as they come, one to a line, in the order of the inputs. NaN and infinity are null in
    JSON, which knows neither. On a terminal, how many have ended is shown while results go to a file or a
    pipe. The first failure ends the command with 1, unless there is --keep-going. What a function prints
    itself goes to standard error, where several calls run with the input's name before each line. In the
    script, __name__ is not "__main__", so
    what stands below that condition does not run.
    """
    from wrenla_handler.calls.chunk import Chunk

    check_usage(inputs, output, as_objects, pattern, chunk)
    failures = 0
    with ExitStack() as stack:
        stream = stack.enter_context(results_in(output or "-", overwrite))
        function = stack.enter_context(function_of(target, show_trace))
        given = objects_of(inputs, pattern, chunk) if as_objects else lines_of(stack, inputs, encoding)
        options["logs"] = "quiet" if quiet else "stderr"  # results are on standard output
        executor = stack.enter_context(_executor(workers, kind, options))
        callee = Chunk(function, options["retries"], keep_going) if chunksize > 1 else None
        counts = stack.enter_context(_counts(executor, function, stream))
        for outcome in _outcomes(
            executor, function, callee, given, chunksize, ordered=not unordered, counts=counts
        ):
            failure = _print(outcome, in_json, stream)
            if failure is None:
                continue
            failures += 1
            if show_trace:
                click.echo(trace(failure).rstrip(), err=True)
            message = f"{outcome.input}: {described(failure)}"
            if not keep_going:
                raise click.ClickException(message)
            click.echo(f"{counts.erased if counts else ''}{message}", err=True)
    if failures:
        raise click.ClickException(f"{counted(failures, 'input')} failed")


def _outcomes(
    executor: Executor,
    function: Callable[..., Any],
    chunk: Chunk | None,
    inputs: Iterator[Input],
    chunksize: int,
    *,
    ordered: bool,
    counts: MapCounts | None = None,
) -> Iterator[_Outcome]:
    """Call a function with each input, and yield how that ended.

    Inputs are taken some at a time, so that there may be any number of them. This is not `Executor.map`
    because a failure must name its input, in whatever order results come.
    """
    from wrenla.executors.calls.retry_policy import raised
    from wrenla.executors.transport.functions import label_of

    most = max(4 * executor.workers, -(-_LEAST // chunksize))
    groups = iter(lambda: list(itertools.islice(inputs, chunksize)), [])
    waiting: dict[Future[Any], list[Input]] = {}
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    while True:
        # many at once, since the function is pickled each time
        if len(waiting) <= most // 2 and (more := list(itertools.islice(groups, most - len(waiting)))):
            futures = _submitted(executor, function, chunk, more, chunksize)
            waiting.update(zip(futures, more, strict=True))
            for future in () if ordered else futures:
                future.add_done_callback(ended.put)  # type: ignore[arg-type]
            for future, group in zip(futures, more, strict=True) if counts else ():
                counts.add(future, len(group) if chunk else None)  # type: ignore[union-attr]
        if not waiting:
            if counts is not None:
                counts.complete()
            return
        future = next(iter(waiting)) if ordered else ended.get()
        group = waiting.pop(future)
        try:
            result = future.result()
        except Exception as error:
            yield from (_Outcome(each, error=error) for each in group)
            continue
        if chunk is None:
            yield _Outcome(group[0], result)
            continue
        for each, (succeeded, value) in zip(group, result, strict=False):  # it may end with a failure
            yield (
                _Outcome(each, value)
                if succeeded
                else _Outcome(each, error=raised(value, label_of(function)))
            )


@contextmanager
def _counts(executor: Executor, function: Callable[..., Any], stream: TextIO) -> Iterator[MapCounts | None]:
    """Show how far the calls are on a terminal, unless the results go there."""
    from wrenla.config import settings
    from wrenla.executors.map_api.map_progress import MapCounts
    from wrenla.executors.transport.functions import label_of
    from wrenla.progress_bar.pictures import picture_for

    picture = None if stream.isatty() else picture_for(settings().progress)
    if picture is None:
        yield None
        return
    counts = MapCounts(picture, label_of(function), executor.workers, None)
    try:
        yield counts
    finally:
        counts.leave(at_the_end=counts.total is not None)


def _submitted(
    executor: Executor,
    function: Callable[..., Any],
    chunk: Chunk | None,
    groups: Sequence[list[Input]],
    chunksize: int,
) -> list[Future[Any]]:
    from wrenla.errors import WrenlaError
    from wrenla.executors.calls.call import Batch

    names = [f"{each.kind} {each.number}" for group in groups for each in group]
    batch = Batch(chunksize, names.__getitem__)
    try:
        if chunk is None:
            return executor._submit_batch(function, [(group[0].value,) for group in groups], batch)
        return executor._submit_batch(
            chunk, [([(each.value,) for each in group],) for group in groups], batch
        )
    except WrenlaError:
        raise
    except Exception as error:
        raise click.ClickException(
            f"the function cannot be sent to workers: {described(error)}; let it make for itself "
            "what cannot be pickled, or use --kind thread"
        ) from error


def _print(outcome: _Outcome, in_json: bool, stream: TextIO) -> Exception | None:
    """Print a result; return the error if there is none, or if it cannot be printed."""
    if outcome.error is not None:
        return outcome.error
    try:
        text = as_json(outcome.value) if in_json else str(outcome.value)
        text.encode("utf-8", "surrogateescape")  # names of files may have bytes that are no text
    except Exception as error:
        return error
    click.echo(text, file=stream)
    return None


@contextmanager
def _executor(
    workers: int | None, kind: Literal["process", "thread"] | None, options: dict[str, Any]
) -> Iterator[Executor]:
    """Hand out the default executor or a new one; end running calls if the block fails."""
    from wrenla.errors import SettingError
    from wrenla.executors.default import default_executor

    with ExitStack() as stack:
        if workers is None and kind is None:
            executor: Executor = default_executor()
        else:
            executor = stack.enter_context(local_executor(workers, kind=kind or "process"))
        try:
            view = executor.options(**options)
        except SettingError:
            raise
        except ValueError as error:
            raise click.UsageError(one_line(error)) from error
        try:
            yield view
        except BaseException:
            executor.calls.stop()
            raise
