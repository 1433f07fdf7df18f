"""Wheels of wrenla's and the user's dependencies, in the versions that are installed here."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.target import Target

__all__ = ["Wanted", "download_wheels", "needed", "wanted"]

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OTHER_FILES = re.compile(r"\s*(-r|--requirement|-c|--constraint|-e|--editable)\b")

_WHEEL = re.compile(r"([A-Za-z0-9][\w.]*)-[^/\s]*\.whl\b")
"""The name in a wheel's file name, at the end of a path or an address."""

_ABOUT = re.compile(r"[^/]+\.dist-info/METADATA")

_DRIVER_ONLY = frozenset({"click", "markdown-it-py", "pygments"})
"""What nothing in a function imports, though something there requires it.

`wrenla` itself is there, for `wrenla.store()` and `wrenla.cancelled()`, and it imports `rich`, which requires
more for what is not used: coloured sources and Markdown. Our own command line does not run there either.
"""

_OLD_GLIBC_REMEDY = (
    "use Python 3.12 or newer on this side (Lambda's runtime for it has glibc 2.34), "
    "or install versions with older wheels here: pip install 'numpy<2.3' 'scipy<1.17'"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a package shall hold beside wrenla.

    Attributes
    ----------
    pins : mapping
        Names and versions of what wrenla and the user's requirements need, as far as it is installed here.
    file : Path or None
        The user's requirements.
    digest : str
        Hash of all of it.
    lines : tuple of str
        What stands in the file.
    """

    pins: Mapping[str, str]
    file: Path | None
    digest: str
    lines: tuple[str, ...] = ()


def wanted(file: Path | None) -> Wanted:
    """Find out what to take along: what `wrenla` requires, without extras, and what a file lists.

    Versions are those installed here: results are the same to the bit only with the same build of OpenBLAS,
    and a pickle needs the classes that it was made from.

    Raises
    ------
    DeployError
        The file cannot be read, or refers to others.
    """
    lines, content = _lines(file) if file is not None else ([], b"")
    pins = _pins([*_own(), *lines])
    digest = sha256(repr(sorted(pins.items())).encode() + content).hexdigest()
    return Wanted(pins, file, digest, tuple(lines))


def _own() -> list[str]:
    return list(_without_extras(metadata.requires("wrenla") or ()))


def _named(requirement: str) -> str:
    """Return which distribution a requirement is about, in the normal form of names; "" if it says none."""
    found = _WHEEL.search(requirement) or _NAME.match(requirement)
    return _normal(found[1]) if found is not None else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _without_extras(requirements: Iterable[str]) -> Iterator[str]:
    return (line for line in requirements if not re.search(r";.*\bextra\s*==", line))


def _lines(file: Path) -> tuple[list[str], bytes]:
    """Return the requirements in a file, and all the bytes that they stand for."""
    try:
        content = file.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"requirements {file}: {getattr(error, 'strerror', None) or error}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in lines:
        if _OTHER_FILES.match(line):
            raise DeployError(
                f"requirements {file}: {line!r} refers to something else; "
                "write every requirement into this one file, and give packages of your own as wheels"
            )
        if line.endswith(".whl") and Path(line).is_file():
            content += Path(line).read_bytes()
    return lines, content


def _pins(requirements: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of some requirements and of what they require, and so on.

    Environment markers are not looked at: a pin of what is not needed does nothing.
    """
    pins: dict[str, str] = {}
    waiting = list(requirements)
    while waiting:
        name = _NAME.match(waiting.pop())
        if name is None:
            continue
        try:
            found = metadata.distribution(name[1])
        except metadata.PackageNotFoundError:
            continue  # not needed here, or only over there
        own = _normal(str(found.metadata["Name"]))
        if own not in pins:
            pins[own] = found.version
            waiting.extend(_without_extras(found.requires or ()))
    return pins


def download_wheels(wants: Wanted, target: Target, folder: Path) -> list[Path]:
    """Download wheels for a target into an empty folder, and return them in the order of their names.

    Raises
    ------
    DeployError
        There is no wheel for a version and a target, requirements contradict each other, or pip fails.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
        "--quiet",
    ]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.python}"]
    command += [f"--platform={tag}" for tag in target.tags()]
    command += [f"--dest={folder}", *(f"{name}=={version}" for name, version in sorted(wants.pins.items()))]
    command += ["--requirement", str(wants.file)] if wants.file is not None else []
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise DeployError(_explained(run.stdout + run.stderr, wants, target))
    return sorted(folder.glob("*.whl"))


def needed(wheels: Iterable[Path], wants: Wanted) -> list[Path]:
    """Choose from the wheels that pip has found those which a function needs.

    Left out is what only the driver imports, unless the user's requirements ask for it, however indirectly.
    pip cannot be told so: it always downloads what a distribution requires, too.
    """
    found = {_normal(wheel.name.split("-")[0]): wheel for wheel in wheels}
    requires = {name: _requirements(wheel) for name, wheel in found.items()}
    # whatever wrenla does not account for has come with the user's, from somewhere
    theirs = _reached([*wants.lines, *(found.keys() - _reached(_own(), requires))], requires)
    kept = _reached(_own(), requires, never=_DRIVER_ONLY) | theirs
    return sorted(wheel for name, wheel in found.items() if name in kept)


def _reached(
    lines: Iterable[str], requires: Mapping[str, Iterable[str]], never: Collection[str] = ()
) -> set[str]:
    """Return which distributions some requirements lead to, among those whose requirements are given.

    Which extras are meant is not looked at: all, or none.
    """
    seen: set[tuple[str, bool]] = set()
    waiting = list(lines)
    while waiting:
        line = waiting.pop()
        name, extras = _named(line), "[" in line.partition(";")[0]
        if name in requires and name not in never and (name, extras) not in seen:
            seen.add((name, extras))
            waiting += requires[name] if extras else _without_extras(requires[name])
    return {name for name, _ in seen}


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        about = b"".join(opened.read(name) for name in opened.namelist() if _ABOUT.fullmatch(name))
    return message_from_bytes(about).get_all("Requires-Dist", [])


def _explained(output: str, wants: Wanted, target: Target) -> str:
    """Say in one line why pip has failed, and what to do."""
    if "No module named pip" in output:
        return f"pip is not installed beside {sys.executable}: run {sys.executable} -m ensurepip"
    if clash := re.search(r"Cannot install (.+?) because", output):
        return (
            f"{wants.file}: {clash[1]} contradict each other: what is installed here must be in the package "
            "too, so install the other version here, or change the file"
        )
    if missing := re.search(r"No matching distribution found for ([^\s(]+)", output):
        return f"there is no wheel of {missing[1].replace('==', ' ')} for {target}: {_remedy(target)}"
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")] or output.split("\n")[-2:]
    return f"pip could not download the packages: {' '.join(errors).removeprefix('ERROR: ')}"


def _remedy(target: Target) -> str:
    if target.glibc < (2, 28):
        return _OLD_GLIBC_REMEDY
    return "install a version here that has one, or build it and name the .whl file in the requirements"
