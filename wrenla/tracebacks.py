"""Short tracebacks: errors end at the user's line if their message is enough."""

from __future__ import annotations

import functools
import logging
import os
import sysconfig
from collections.abc import Callable
from types import FunctionType, TracebackType
from typing import ParamSpec, TypeVar

import wrenla_handler
import wrenla_kernels
from wrenla.errors import LinAlgError, WrenlaError

__all__ = ["short", "short_methods"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

logger = logging.getLogger("wrenla.tracebacks")

_OURS = tuple(
    os.path.join(os.path.dirname(os.path.abspath(str(file))), "")
    for file in (__file__, wrenla_handler.__file__, wrenla_kernels.__file__)
)
_ON_PURPOSE = (
    *(WrenlaError, ArithmeticError, ImportError, IndexError, MemoryError),
    *(NotImplementedError, OSError, TypeError, ValueError),
)
"""Other kinds are not raised on purpose: those who look for the reason need all of the traceback."""

_PYTHON = os.path.join(sysconfig.get_path("stdlib"), "")


def short(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: its errors leave out the frames inside wrenla.

    What wrenla raises on purpose ends at the user's line; what a user's function raises goes on there. The
    whole traceback goes to the logger ``wrenla.tracebacks`` at DEBUG. What nobody meant is left whole.
    """

    @functools.wraps(function)
    def public(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            theirs = _theirs(error.__traceback__)
            if theirs is None and not isinstance(error, _ON_PURPOSE):
                raise
            if theirs is not None and not _is_users(theirs.tb_frame.f_code.co_filename):
                raise
            logger.debug("%s was raised here:", type(error).__name__, exc_info=True)
            if isinstance(error, LinAlgError):  # where a worker met it is of no interest
                error.__cause__, error.__suppress_context__ = None, True
            error.with_traceback(theirs)
            raise  # which adds no line of this function

    return public


def short_methods(cls: C) -> C:
    """Make all public methods and operators of a class `short`."""
    for name, method in list(vars(cls).items()):
        if isinstance(method, FunctionType) and (name.endswith("__") or not name.startswith("_")):
            setattr(cls, name, short(method))
    return cls


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """Return what is left of a traceback without the frames of ours, and of Python, that it begins with."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (file.startswith((*_OURS, "<frozen ")) or (file.startswith(_PYTHON) and _is_users(file))):
            break
        trace = trace.tb_next
    return trace


def _is_users(file: str) -> bool:
    """Tell whether a file is none of an installed package."""
    return not any(f"{os.sep}{name}{os.sep}" in file for name in ("site-packages", "dist-packages"))
