"""Missing modules: an import failed in a worker; say what installs it there."""

from __future__ import annotations

import re
import sys
from typing import Literal

from wrenla.executors.transport.local_modules import find, is_local

__all__ = ["explain_import"]

_COMPILED = re.compile(r"\.so\b|shared object|ELF|GLIBC|C.extension|compiled|DLL|symbol", re.IGNORECASE)

_DEPLOY = "wrenla deploy --requirements FILE"


def explain_import(error: BaseException, where: Literal["process", "lambda"]) -> None:
    """Note on an ImportError that a function has raised on a worker what to do, if that is known.

    Parameters
    ----------
    error : BaseException
        Others are left as they are.
    where : {"process", "lambda"}
        Where the worker is.
    """
    if not isinstance(error, ImportError) or not error.name:
        return
    text = _text(error.name, isinstance(error, ModuleNotFoundError), str(error), where)
    if text and text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def _text(name: str, missing: bool, message: str, where: Literal["process", "lambda"]) -> str:
    top = name.partition(".")[0]
    spec = find(name)
    if missing and spec is None and name in sys.modules:
        return f"the module {name} is in the memory of this process only: write it into a file"
    if missing and spec is not None and is_local(top, spec.origin or ""):
        return (
            f"the module {name} of yours did not travel, since nothing shows that the function needs it: "
            f"executor.options(include_modules=[{name!r}])"
        )
    if where == "lambda" and missing:
        lacks = (
            f"has no package {_package(top)}"
            if name == top
            else f"has another {_package(top)}, without {name}"
        )
        return f"the deployed function {lacks}: write it into a file of requirements and run: {_DEPLOY}"
    if where == "lambda" and _COMPILED.search(message):
        return (
            f"a compiled part of {_package(top)} does not fit the deployed function: write a version with "
            f"wheels for AWS Lambda into a file of requirements and run: {_DEPLOY}"
        )
    if missing and spec is not None:
        return (
            f"this process has it ({spec.origin}), but worker processes do not find it: was it installed, "
            "or sys.path changed, after they started? Make a new executor"
        )
    return ""


def _package(module: str) -> str:
    """Return the name by which a module is installed: scikit-learn for sklearn."""
    from wrenla.executors.transport.distributions import distributions  # here: only errors need it

    names = distributions().get(module)
    return names[0] if names else module
