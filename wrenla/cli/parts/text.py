"""One-line texts of errors and numbers for commands."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

__all__ = [
    "described",
    "in_words_of_options",
    "one_line",
    "times",
    "trace",
    "warnings_in_one_line",
]

_WITH_A = "solve with A itself, or in Python by "

_OPTIONS = {
    "overwrite=True": "--overwrite",
    "A.shift(c), which adds c to": "--shift C, which adds C to",
    "run the same script again": "run the same command again",
    "Run the script again": "run the same command again",
    "running its script again": "running its command again",
    "use tile=": "use --tile ",
    "(allowed_mem, WRENLA_ALLOWED_MEM)": "(--allowed-mem, WRENLA_ALLOWED_MEM)",
    "say assume_a=": "say --assume-a ",
    "wrenla.linalg.CholeskyFactor(L).solve(b) solves with L Lᴴ; if it is a half of the matrix, make it with "
    'structure="pos", check=False, of which the lower half is read': (
        f"{_WITH_A}wl.linalg.CholeskyFactor(wl.open(url)).solve(b); if it is a half of the matrix, make it "
        "whole first"
    ),
    "of A it is wrenla.linalg.CholeskyFactor(L).solve, of the triangle CholeskyFactor(L).L.solve": (
        f"{_WITH_A}wl.open_factor(url).solve(b)"
    ),
    "wrenla.open_factor(url) solves with A": f"{_WITH_A}wl.open_factor(url).solve(b)",
    "wrenla.open_factor(url, A) solves with A": f"{_WITH_A}wl.open_factor(url, A).solve(b)",
    "(tile=)": "(--tile)",
    "(memory=, wrenla deploy --memory)": "(--functions, wrenla deploy --memory)",
    "(allowed_mem=)": "(--allowed-mem)",
    "max_dollars=": "--max-dollars ",
    'precision="mixed"': "--precision mixed",
    'method="rbt"': "--method rbt",
    'schedule="dataflow"': "--schedule dataflow",
    "compute(record='run.jsonl')": "--record run.jsonl",
    "record='": "--record '",
    "report='": "--report '",
    "wl.from_zarr needs zarr for paths": "Zarr arrays of other layouts need zarr",
    "wl.from_zarr copies": "`wrenla cp` copies",
    "wl.from_array takes what other readers return, as np.fromfile or np.loadtxt": "numpy.save writes one",
    'take one matrix of a stack, wl.from_array(np.load(path, mmap_mode="r")[0])': (
        "save one matrix of a stack by numpy.save"
    ),
    "check=False": "--no-check",
}
"""Words of Python in messages, and the options of commands that mean the same: the longer ones first."""

_CONVERTED = re.compile(r"convert it, a\.astype\(('\w+')\); what is too large .* returns a part of it")


def one_line(error: BaseException | str) -> str:
    """Return a message, or that of an error, in one line; its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def in_words_of_options(message: str) -> str:
    """Return a message with options in place of arguments of Python's.

    Examples
    --------
    >>> in_words_of_options("x: there is a matrix already; overwrite=True replaces it")
    'x: there is a matrix already; --overwrite replaces it'
    """
    for word, option in _OPTIONS.items():
        message = message.replace(word, option)
    return _CONVERTED.sub(r"convert it in Python: numpy.save(new, numpy.load(old).astype(\1))", message)


def times(lengths: Sequence[int]) -> str:
    """Return a shape as text.

    Examples
    --------
    >>> times((5, 7)), times(())
    ('5 × 7', 'a number')
    """
    return " × ".join(map(str, lengths)) or "a number"


def described(error: BaseException) -> str:
    """Return kind and message of an error, and its notes, in one line."""
    from wrenla.errors import RemoteError

    text = " ".join(str(error).split())
    if not isinstance(error, RemoteError):  # which says what it was
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    notes = " ".join(" ".join(getattr(error, "__notes__", ())).split())
    return f"{text} ({notes})" if notes else text


def trace(error: BaseException) -> str:
    """Return the traceback of the worker, or of a thread."""
    import traceback

    from wrenla.errors import RemoteTraceback

    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.text
    return "".join(traceback.format_exception(error))


@contextmanager
def warnings_in_one_line() -> Iterator[list[str]]:
    """Show warnings, also logged ones, on standard error, each in a line; hand out those that have come."""
    found: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = in_words_of_options(one_line(str(message)))
        found.append(text)
        click.echo(f"Warning: {text}", err=True)

    logged = logging.Handler(logging.WARNING)
    logged.emit = lambda record: show(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("wrenla")
    logger.addHandler(logged)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RuntimeWarning)  # SciPy's LinAlgWarning is one
            warnings.showwarning = show
            yield found
    finally:
        logger.removeHandler(logged)
