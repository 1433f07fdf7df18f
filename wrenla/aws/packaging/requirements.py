"""Requirements of the user's functions: a file here, remembered in a variable of the function."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.build_cache import default_folder, digest
from wrenla.aws.spec import ResolvedSpec
from wrenla.whole_file import whole_file

__all__ = ["VARIABLE", "read_requirements", "with_requirements"]

VARIABLE = "DEPLOYED_REQUIREMENTS"
"""Name of the variable; `WRENLA_…` would be a setting over there."""

_NOT_KEPT = "not kept"

_MOST_VARIABLES = 3800
"""Bytes that variables may take: Lambda's 4 KB with room for those of ours that say where things are."""

_NOT_TO_BE_KEPT = re.compile(
    r"://[^/\s]*@"  # a password
    r"|(?:^|\s|@\s*)(?:\.|/|file:)|^(?!\s*#)(?!.*://).*\.whl\b",  # a file of this machine
    re.M,
)


def read_requirements(file: Path) -> str:
    """Return the text of a file of requirements.

    Raises
    ------
    DeployError
        It cannot be read.
    """
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"requirements {file}: {getattr(error, 'strerror', None) or error}") from None


def with_requirements(spec: ResolvedSpec) -> ResolvedSpec:
    """Return a spec with the file of requirements, and the note by which the function remembers it.

    Raises
    ------
    DeployError
        The file cannot be read; or none is given, and the function does not remember those that it has.
    """
    note = spec.remembered
    if spec.requirements is not None:
        text = read_requirements(spec.requirements)
        note = _note(text, note, _MOST_VARIABLES - len("".join(chain(*spec.environment.items())).encode()))
        return replace(spec, requirements=spec.requirements if note else None, remembered=note)
    text = _text_of(note)
    if note and not text:
        raise DeployError(
            f"function {spec.function} has requirements that could not be remembered, since they name "
            "files of one machine, or a password, or are too long: give --requirements FILE again, or "
            "--no-requirements"
        )
    return replace(spec, requirements=_written(text)) if text else spec


def _note(text: str, before: str, room: int) -> str:
    """Return the note for a text, at most `room` bytes; "" if nothing is required in it."""
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return ""
    if text == _text_of(before):
        return before  # the same text may be packed in other bytes by another zlib
    note = b64encode(zlib.compress(text.encode(), 9)).decode()
    return _NOT_KEPT if _NOT_TO_BE_KEPT.search(text) or len(note) > room else note


def _text_of(note: str) -> str:
    """Return the requirements that a note holds; "" if there are none, or if they were not kept."""
    try:
        return zlib.decompress(b64decode(note, validate=True)).decode() if note else ""
    except (ValueError, zlib.error):
        return ""


def _written(text: str) -> Path:
    """Write remembered requirements to where pip can read them; what fails here, building says."""
    folder = default_folder()
    path = folder / f"requirements-{digest(text)}.txt"
    if not path.exists():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as new:
                new.write(text.encode())
    return path
