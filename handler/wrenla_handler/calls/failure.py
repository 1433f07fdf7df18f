"""Exceptions as data: they travel as text always, and as objects where they can."""

from __future__ import annotations

import io
import pickle
import traceback
from dataclasses import dataclass, replace
from typing import Any

from wrenla_handler.errors import WrenlaError
from wrenla_handler.serialize.blobs import Packed, dump, pack
from wrenla_handler.serialize.pickling import Pickler, reduced_exception

__all__ = ["Failure", "RemoteError", "RemoteTraceback", "packed_failure"]

_LIMIT = 64 << 10
"""Characters of a message or a traceback that travel."""

_MOST = 4 << 20
"""Bytes of a failure that travel: what Lambda takes as an answer, in base 64, is 6 MB."""


class RemoteTraceback(Exception):
    """Traceback of the other side: the `__cause__` of the exception that is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.tb = text  # as in the standard library

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(WrenlaError):
    """A function ended by an exception that cannot be raised here: it is not picklable, or no `Exception`.

    Parameters
    ----------
    type_name : str
        The exception's class, with its module.
    message : str
    traceback_text : str
        The traceback as it was printed on the other side.
    """

    def __init__(self, type_name: str, message: str, traceback_text: str) -> None:
        super().__init__(type_name, message, traceback_text)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, on its way.

    Attributes
    ----------
    type_name, message, traceback_text : str
    pickled : bytes
        The exception as it was raised, b"" if it cannot travel.
    """

    type_name: str
    message: str
    traceback_text: str
    pickled: bytes = b""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Take an exception down, in the `except` block that caught it.

        Examples
        --------
        >>> Failure.of(KeyError("place")).exception()
        KeyError('place')
        >>> Failure.of(SystemExit(2)).exception()
        RemoteError('SystemExit', '2', 'SystemExit: 2\\n')
        """
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        return cls(name, _text(error), _traceback(error), _pickled(error))

    def exception(self) -> Exception:
        """Return the exception to raise here; what was printed there is its cause."""
        error: Exception
        try:
            error = pickle.loads(self.pickled) if self.pickled else self._as_remote_error()
        except Exception:  # its class may exist on the other side only
            error = self._as_remote_error()
        if not isinstance(error, Exception):
            error = self._as_remote_error()
        # a frozen dataclass would refuse the assignment
        object.__setattr__(error, "__cause__", RemoteTraceback(self.traceback_text))
        return error

    def _as_remote_error(self) -> RemoteError:
        return RemoteError(self.type_name, self.message, self.traceback_text)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_LIMIT]
    except Exception as broken:  # a broken __str__ must not hide that there was an error
        return f"(its message cannot be had: {type(broken).__name__})"


def _traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, without our own frames."""
    trace = error.__traceback__
    while trace is not None and _ours(trace.tb_frame.f_globals.get("__name__", "")):
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        text = f"{type(error).__name__}: {_text(error)}\n"
    return text if len(text) <= _LIMIT else f"{text[: _LIMIT // 2]}\n…\n{text[-_LIMIT // 2 :]}"


def _ours(module: str) -> bool:
    return module.startswith("wrenla_handler.calls")


class _Pickler(Pickler):
    """Pickles exceptions as Python does, without their tracebacks, also where tblib has changed that."""

    def reducer_override(self, obj: Any) -> Any:
        return reduced_exception(obj) if isinstance(obj, BaseException) else super().reducer_override(obj)


def _pickled(error: BaseException) -> bytes:
    """Return the pickle of an exception that will come out of it again, b"" if there is none."""
    # SystemExit or KeyboardInterrupt would end the program that merely asks for a result
    if not isinstance(error, Exception):
        return b""
    try:
        file = io.BytesIO()
        _Pickler(file, protocol=5).dump(error)
        pickled = file.getvalue()
        # an __init__ of its own is often not what unpickling calls
        return pickled if type(pickle.loads(pickled)) is type(error) else b""
    except Exception:
        return b""


def packed_failure(error: BaseException, most: int = _MOST) -> Packed:
    """Return a failure that travels inside a message, as text only if it is larger than so many bytes."""
    failure = Failure.of(error)
    if len(failure.pickled) > most // 2:
        failure = replace(failure, pickled=b"")
    return pack(dump(failure), lambda number, part: "", inline=_MOST)
