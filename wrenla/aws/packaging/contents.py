"""Contents of a function's package: which files of a wheel, and their byte code."""

from __future__ import annotations

import importlib.util
import marshal
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

__all__ = ["byte_code", "chosen_members", "own_files", "runs"]

_DATA = re.compile(r"[^/]+\.data/(purelib|platlib)/(.+)|[^/]+\.data/.*")
"""Where a wheel keeps what does not simply lie beside each other; scripts and headers are left out."""

_KEPT_ABOUT = frozenset({"METADATA", "entry_points.txt", "top_level.txt"})
"""What `importlib.metadata` reads: versions and entry points."""

_TESTS = frozenset({"test", "tests"})

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+\(?[ \t]*(\w*)|import[ \t]+([\w.]+))", re.M
)


_NOT_IN_A_FUNCTION = ("wrenla/emulator/", "wrenla/cli/", "wrenla/testing/")
"""Of ours: a fifth of the code, and nothing that a function runs."""


def own_files(packages: Mapping[str, Path]) -> dict[str, bytes]:
    """Read import packages from where they lie, an installed or a source folder; keys are paths."""
    found = {}
    for name, folder in packages.items():
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and "__pycache__" not in inside.parts and path.suffix not in (".pyc", ".pyi"):
                found[f"{name}/{inside.as_posix()}"] = path.read_bytes()
    return {path: data for path, data in found.items() if not path.startswith(_NOT_IN_A_FUNCTION)}


def chosen_members(wheel: zipfile.ZipFile) -> dict[str, str]:
    """Return what to take from a wheel: path in the package → name in the wheel.

    Left out are stubs, byte code, scripts, most of what stands in `.dist-info`, and tests. Shared libraries
    are taken as they are: shortening those of NumPy with `strip` breaks them.
    """
    placed = dict(_placed(wheel.namelist()))
    tests = _unused_tests(wheel, placed)
    return {path: member for path, member in placed.items() if not tests & set(_folders(path))}


def runs(member: zipfile.ZipInfo) -> bool:
    """Return whether a wheel says that a file is a program: pip makes it one, so the package does, too."""
    return bool(member.external_attr >> 16 & 0o111)


def _placed(members: Iterable[str]) -> Iterator[tuple[str, str]]:
    for member in members:
        special = _DATA.fullmatch(member)
        path = PurePosixPath(member if special is None else special[2] or "")
        if special is not None and special[2] is None:
            continue
        if member.endswith("/") or path.suffix in (".pyi", ".pyc") or "__pycache__" in path.parts:
            continue
        if path.parts[0].endswith(".dist-info") and path.name not in _KEPT_ABOUT:
            continue
        yield str(path), member


def _folders(path: str) -> Iterator[str]:
    return (str(parent) for parent in PurePosixPath(path).parents)


def _unused_tests(wheel: zipfile.ZipFile, placed: Mapping[str, str]) -> set[str]:
    """Return the folders of tests which nothing outside of tests imports, as far as can be seen."""
    folders = {folder for path in placed for folder in _folders(path) if PurePosixPath(folder).name in _TESTS}
    if not folders:
        return folders
    used: set[str] = set()
    for path, member in placed.items():
        if path.endswith(".py") and not folders & set(_folders(path)):
            used |= {name for name in _imported(path, wheel.read(member)) if name in folders}
    # what is kept is kept whole, with the tests inside it and the tests that it is inside of
    return {folder for folder in folders if not any(f"{each}/".startswith(f"{folder}/") for each in used)} - {
        inner for inner in folders for each in used if inner.startswith(f"{each}/")
    }


def _imported(path: str, source: bytes) -> Iterator[str]:
    """Yield the folders that the modules which a file imports may lie in."""
    if b"test" not in source:
        return
    package = PurePosixPath(path).parent
    for dots, module, name, plain in _IMPORT.findall(source):
        base = PurePosixPath()
        if dots:
            base = package
            for _ in dots[1:]:
                base = base.parent
        whole = base.joinpath(*(module or plain).decode().split("."))
        for candidate in (whole / name.decode() if name else whole, whole):
            yield str(candidate)
            yield from _folders(str(candidate))


def byte_code(path: str, source: bytes) -> tuple[str, bytes] | None:
    """Compile a module for this interpreter; return where its byte code belongs, and the byte code.

    A function's folder cannot be written, so without it every cold start would compile again. Of the kind
    that is not compared with the source, since dates in a package mean nothing. None if it is no valid
    module, as a template.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, in other people's sources
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return None
    # Later formats of `marshal` write references that depend on what else this process has seen.
    body = marshal.dumps(code, 2)
    flags = (0b01).to_bytes(4, "little")
    head = importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source)
    return importlib.util.cache_from_source(path, optimization=""), head + body
