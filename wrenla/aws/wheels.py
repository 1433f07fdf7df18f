"""The wheels of what wrenla and a user's functions need, in exactly the versions that are installed here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from wrenla.aws.refusals import DeployError
from wrenla.aws.target import Target

__all__ = ["Wanted", "download_wheels", "wanted"]

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OTHER_FILES = re.compile(r"\s*(-r|--requirement|-c|--constraint|-e|--editable)\b")

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
    """

    pins: Mapping[str, str]
    file: Path | None
    digest: str


def wanted(file: Path | None) -> Wanted:
    """Find out what to take along: what `wrenla` requires, without extras, and what a file lists.

    Versions are those installed here: results are the same to the bit only with the same build of OpenBLAS,
    and a pickle needs the classes that it was made from.

    Raises
    ------
    DeployError
        The file cannot be read, or refers to others.
    """
    own = tuple(_without_extras(metadata.requires("wrenla") or ()))
    lines, content = _lines(file) if file is not None else ([], b"")
    pins = _pins([*own, *lines])
    return Wanted(pins, file, sha256(repr(sorted(pins.items())).encode() + content).hexdigest())


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
        own = re.sub(r"[-_.]+", "-", str(found.metadata["Name"])).lower()
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
