"""Failed inputs: a note on the exception names the input of the call."""

from __future__ import annotations

import functools
import reprlib
from typing import Any

import numpy as np

from wrenla.errors import CallError, Cancelled
from wrenla.executors.calls.call import Batch, Call, Outcome, Transport

__all__ = ["note", "note_inputs", "short"]

_MOST = 80
"""Characters of an input that are shown."""

_PREFIX = "input "


class _Short(reprlib.Repr):
    """Short forms; of what is large only its type, so that nothing is brought into memory for it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = 4
        self.maxlevel = 3

    def repr_instance(self, value: Any, level: int) -> str:
        kind, shape = type(value).__name__, getattr(value, "shape", None)
        if isinstance(value, np.ndarray):
            return repr(value.tolist()) if value.size == 1 else f"<{kind} {shape} of {value.dtype}>"
        if isinstance(shape, tuple) and not isinstance(
            value, np.generic
        ):  # a data frame, a tensor, a BigMatrix
            return f"<{kind} {shape}>"
        if hasattr(value, "__len__"):
            return f"<{kind} of length {len(value)}>"
        return " ".join(super().repr_instance(value, level).split())

    repr_ndarray = repr_instance

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value) if len(value) <= self.maxstring else f"{value[:20]!r}… ({len(value)} bytes)"


_short = _Short()


def short(value: Any) -> str:
    """Return a few words for a value.

    Examples
    --------
    >>> short("data/00777.json"), short(np.zeros((3, 2)))
    ("'data/00777.json'", '<ndarray (3, 2) of float64>')
    """
    try:
        text = _short.repr(value)
    except Exception:  # whatever it is, it must not hide the error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def note(error: BaseException, text: str) -> None:
    """Note on an exception which input it is about. One that several have raised names the latest only."""
    if not text:
        return
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        notes[:] = [
            each for each in notes if not str(each).startswith((_PREFIX, f"one of the {_PREFIX.strip()}s "))
        ]
    if notes is None:
        object.__setattr__(error, "__notes__", [])  # which a frozen dataclass does not let `add_note` do
    if notes is None or isinstance(notes, list):  # who has put something else there gets no note
        error.add_note(text)


def note_inputs(call: Call, outcome: Outcome, transport: Transport) -> None:
    """Note on what a call of a map has come to which of the inputs have failed.

    Parameters
    ----------
    call : Call
    outcome : Outcome
    transport : Transport
        Knows the arguments of the call.
    """
    batch, error = call.batch, outcome.error
    if batch is None or not batch.inputs:
        return
    first = call.index * batch.inputs
    if error is not None:
        if isinstance(error, Cancelled) or not (outcome.function or isinstance(error, CallError)):
            return  # it is not about this call
        if call.inputs > 1:
            one = f"one of the inputs {first} to {first + call.inputs - 1}"
            note(error, "" if batch.name else one)
        else:
            note(error, _described(batch, first, _had(call, transport)))
    elif call.repeats_itself:
        failed = [number for number, (succeeded, _) in enumerate(outcome.value) if not succeeded]
        chunk = _had(call, transport) if failed else ()
        inputs = chunk[0] if isinstance(chunk, tuple) and chunk else ()
        for number in failed:
            positional = inputs[number] if number < len(inputs) else ()
            text = _described(batch, first + number, positional)
            call.future._notes[number] = functools.partial(_note_of_chunk, transport, text)


def _note_of_chunk(transport: Transport, text: str, error: BaseException) -> None:
    note(error, text)
    transport.explain(error)


def _described(batch: Batch, index: int, positional: Any) -> str:
    if batch.name is not None:  # whoever has named them names them in errors, too
        return ""
    name = str(index)
    if not positional:
        return f"{_PREFIX}{name}"
    if isinstance(positional, tuple):
        positional = short(positional[0] if len(positional) == 1 else positional)
    return f"{_PREFIX}{name}: {positional}"


def _had(call: Call, transport: Transport) -> Any:
    """Return the arguments of a call, or a text for them."""
    try:
        return transport.positional(call.arguments)
    except Exception:  # what cannot be loaded here is not shown
        return ()
