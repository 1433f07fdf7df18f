"""`wrenla map`: a function of a script, called with each line of a file or with each object of a folder."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import queue
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import click

from wrenla.config import settings
from wrenla.errors import RemoteError, RemoteTraceback, SettingError, WrenlaError
from wrenla.executors.base import Executor
from wrenla.executors.default import default_executor
from wrenla.executors.future import Future
from wrenla.executors.local import LocalExecutor
from wrenla.stored_objects import objects
from wrenla_handler.call.chunk import Chunk

__all__ = ["map_command"]

_RUN_NAME = "__wrenla_map__"
"""What `__name__` is in the script: no module's name, so that its functions travel by value."""

_LEAST = 100
"""Inputs that are under way or wait to be taken, at least."""

_LONGEST = 80
"""Characters of an input in a message."""


class _Input(NamedTuple):
    """What one call gets, and which line or object it is."""

    kind: str
    number: int
    value: Any

    def __str__(self) -> str:
        text = repr(self.value)
        return f"{self.kind} {self.number} ({text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'})"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the call with one input has ended."""

    input: _Input
    value: Any = None
    error: Exception | None = None


@click.command(name="map")
@click.argument("target", metavar="SCRIPT.py:FUNCTION")
@click.argument("inputs", metavar="INPUTS")
@click.option("--objects", "as_objects", is_flag=True, help="INPUTS is a folder or an S3 prefix; see above.")
@click.option("--pattern", metavar="GLOB", help="With --objects: only those whose key matches.")
@click.option("--chunk", metavar="BYTES", help="With --objects: pass larger ones in parts, e.g. '64 MiB'.")
@click.option("--workers", type=click.IntRange(min=1), help="Calls at the same time.  [default: the setting]")
@click.option("--kind", type=click.Choice(["process", "thread"]), help="Where calls run.  [default: process]")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="Seconds that a call may run.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0),
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
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one to a line.")
@click.option("--traceback", "show_trace", is_flag=True, help="Show where the function failed.")
@click.option("-o", "--output", metavar="FILE", help="Write results to FILE.  [default: standard output]")
@click.pass_context
def map_command(
    context: click.Context,
    /,
    target: str,
    inputs: str,
    as_objects: bool,
    pattern: str | None,
    chunk: str | None,
    workers: int | None,
    kind: Literal["process", "thread"] | None,
    chunksize: int,
    unordered: bool,
    keep_going: bool,
    as_json: bool,
    show_trace: bool,
    output: str | None,
    **options: Any,
) -> None:
    """Call a function with each input, in parallel, and print the results.

    Each line of the file INPUTS that is not empty, without its end, is one input, a str; "-" is standard
    input. With --objects an input is a reader of one object of the folder or S3 prefix INPUTS instead, as
    from wrenla.objects(): it has read(), open() and lines().

    \b
        # words.py
        def count(reader):
            return reader.key, sum(len(line.split()) for line in reader.lines())

    \b
        wrenla map words.py:count --objects s3://bucket/texts --json

    Results are printed as they come, one to a line, in the order of the inputs. The first failure ends the
    command with 1, unless there is --keep-going. What a function prints itself is not shown by worker
    processes. In the script, __name__ is not "__main__", so what stands below that condition does not run.
    """
    _check_usage(inputs, output, as_objects, pattern, chunk)
    failures = 0
    try:
        with ExitStack() as stack:
            function = stack.enter_context(_function(target, show_trace))
            given = _objects(inputs, pattern, chunk) if as_objects else _lines(stack, inputs)
            executor = stack.enter_context(_executor(workers, kind, options))
            stream = stack.enter_context(_opened(output or "-", "w"))
            callee = Chunk(function, options["retries"], keep_going) if chunksize > 1 else None
            for outcome in _outcomes(executor, function, callee, given, chunksize, ordered=not unordered):
                failure = _print(outcome, as_json, stream)
                if failure is None:
                    continue
                failures += 1
                if show_trace:
                    click.echo(_trace(failure).rstrip(), err=True)
                message = f"{outcome.input}: {_described(failure)}"
                if not keep_going:
                    raise click.ClickException(message)
                click.echo(message, err=True)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        context.exit(130)  # as a shell says of what Ctrl-C has ended
    if failures:
        raise click.ClickException(f"{failures} input{'s' if failures > 1 else ''} failed")


def _outcomes(
    executor: Executor,
    function: Callable[..., Any],
    chunk: Chunk | None,
    inputs: Iterator[_Input],
    chunksize: int,
    *,
    ordered: bool,
) -> Iterator[_Outcome]:
    """Call a function with each input, and yield how that ended.

    Inputs are taken some at a time, so that there may be any number of them. This is not `Executor.map`
    because a failure must name its input, in whatever order results come.
    """
    most = max(4 * executor.workers, -(-_LEAST // chunksize))
    groups = iter(lambda: list(itertools.islice(inputs, chunksize)), [])
    waiting: dict[Future[Any], list[_Input]] = {}
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    while True:
        # many at once, since the function is pickled each time
        if len(waiting) <= most // 2 and (more := list(itertools.islice(groups, most - len(waiting)))):
            futures = _submitted(executor, function, chunk, more)
            waiting.update(zip(futures, more, strict=True))
            for future in () if ordered else futures:
                future.add_done_callback(ended.put)  # type: ignore[arg-type]
        if not waiting:
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
            yield _Outcome(each, value) if succeeded else _Outcome(each, error=value.exception())


def _submitted(
    executor: Executor, function: Callable[..., Any], chunk: Chunk | None, groups: Iterable[list[_Input]]
) -> list[Future[Any]]:
    try:
        if chunk is None:
            return executor.submit_many(function, [group[0].value for group in groups])
        return executor.submit_many(chunk, [[(each.value,) for each in group] for group in groups])
    except WrenlaError:
        raise
    except Exception as error:
        raise click.ClickException(
            f"the function cannot be sent to workers: {_described(error)}; let it make for itself "
            "what cannot be pickled, or use --kind thread"
        ) from error


def _print(outcome: _Outcome, as_json: bool, stream: TextIO) -> Exception | None:
    """Print a result; return the error if there is none, or if it cannot be printed."""
    if outcome.error is not None:
        return outcome.error
    try:
        text = json.dumps(outcome.value, default=_plain) if as_json else str(outcome.value)
    except Exception as error:
        return error
    click.echo(text, file=stream)
    return None


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the result contains a {type(value).__name__}, which JSON does not know")


# inputs


def _check_usage(
    inputs: str, output: str | None, as_objects: bool, pattern: str | None, chunk: str | None
) -> None:
    if not as_objects:
        for name, value in {"--pattern": pattern, "--chunk": chunk}.items():
            if value is not None:
                raise click.UsageError(f"{name} is about objects: add --objects, with a folder as INPUTS")
        if inputs != "-" and os.path.isdir(inputs):
            raise click.UsageError(f"{inputs} is a folder: add --objects to pass what is in it")
        if inputs != "-" and not os.path.exists(inputs):
            hint = "add --objects to pass objects" if "://" in inputs else "'-' is standard input"
            raise click.UsageError(f"there is no file {inputs!r} to take inputs from; {hint}")
    elif inputs == "-":
        raise click.UsageError("--objects needs a folder or s3://bucket/prefix, not standard input")
    if output and os.path.exists(output) and os.path.exists(inputs) and os.path.samefile(output, inputs):
        raise click.UsageError(f"{output}: results would overwrite the inputs; name another file")


def _lines(stack: ExitStack, path: str) -> Iterator[_Input]:
    stream = stack.enter_context(_opened(path, "r"))
    return (
        _Input("line", number, text)
        for number, line in enumerate(stream, 1)
        if (text := line.removesuffix("\n"))
    )


def _objects(url: str, pattern: str | None, chunk: str | None) -> Iterator[_Input]:
    try:
        found = objects(url, pattern=pattern, chunk=chunk)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(_one_line(error)) from error
    return (_Input("object", number, reader) for number, reader in enumerate(found, 1))


def _opened(path: str, mode: str) -> Any:
    """Open a file, or standard input or output. Bytes that are no UTF-8 (names of files) pass through."""
    try:
        return click.open_file(path, mode, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error


# the function


@contextmanager
def _function(target: str, show_trace: bool) -> Iterator[Callable[..., Any]]:
    """Load a function from a script; as long as it is in use, modules beside the script can be imported."""
    script, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        raise click.UsageError(
            f"{target!r} names no function: write SCRIPT.py:FUNCTION, as in words.py:count"
        )
    path = Path(script)
    if not path.is_file():
        raise click.UsageError(f"there is no script {script!r}{_nearest(path.name, _scripts_beside(path))}")
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield _found(_executed(script, show_trace), script, name)
    finally:
        if folder in sys.path:  # the script may have changed it
            sys.path.remove(folder)


def _executed(script: str, show_trace: bool) -> dict[str, Any]:
    try:
        return runpy.run_path(script, run_name=_RUN_NAME)
    except SystemExit as error:
        raise click.UsageError(
            f"{script} ended itself ({error}) when it was loaded: let what only a program does stand below "
            'if __name__ == "__main__":'
        ) from error
    except Exception as error:
        if show_trace:
            click.echo(traceback.format_exc().rstrip(), err=True)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [each.lineno for each in frames if os.path.abspath(each.filename) == os.path.abspath(script)]
        place = f"{script}, line {lines[-1]}" if lines else script
        hint = "" if show_trace else " (--traceback shows where)"
        raise click.UsageError(f"{place}: loading the script failed: {_described(error)}{hint}") from error


def _found(names: dict[str, Any], script: str, name: str) -> Callable[..., Any]:
    functions = [
        key
        for key, value in names.items()
        if callable(value) and getattr(value, "__module__", None) == _RUN_NAME and not key.startswith("_")
    ]
    if name not in names:
        raise click.UsageError(f"{script} has no function {name!r}{_nearest(name, functions)}")
    function = names[name]
    if not callable(function):
        kind = type(function).__name__
        raise click.UsageError(
            f"{name!r} in {script} cannot be called, it is of type {kind}{_nearest(name, functions)}"
        )
    return function  # type: ignore[no-any-return]


def _nearest(name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name, others, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is: {', '.join(sorted(others)[:10])}" if others else "; there is none"


def _scripts_beside(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []


# the executor


@contextmanager
def _executor(
    workers: int | None, kind: Literal["process", "thread"] | None, options: dict[str, Any]
) -> Iterator[Executor]:
    """Return the default executor or one of its own; what still runs when the block fails is ended."""
    with ExitStack() as stack:
        try:
            if workers is None and kind is None:
                executor = default_executor()
            else:
                now = settings()
                workers, memory = workers or now.workers or None, now.allowed_mem or None
                executor = LocalExecutor(
                    workers, kind or "process", allowed_mem=memory, blas_threads=now.blas_threads
                )
                stack.enter_context(executor)
            view = executor.options(**options)
        except SettingError:
            raise
        except ValueError as error:
            raise click.UsageError(_one_line(error)) from error
        try:
            yield view
        except BaseException:
            executor.calls.stop()
            raise


# errors


def _described(error: BaseException) -> str:
    """Return kind and message of an error, and its notes, in one line."""
    text = _one_line(error)
    if not isinstance(error, RemoteError):  # which says what it was
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    notes = " ".join(" ".join(getattr(error, "__notes__", ())).split())
    return f"{text} ({notes})" if notes else text


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _trace(error: BaseException) -> str:
    """Return the traceback of the worker, or of a thread."""
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.text
    return "".join(traceback.format_exception(error))
