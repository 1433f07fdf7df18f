"""Wheels of wrenla's and the user's dependencies, in the versions that are installed here."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.requirements import read_requirements
from wrenla.aws.packaging.target import Target

__all__ = ["WheelSpec", "download_wheels", "select_wheels", "wheel_spec"]

_OTHER_FILES = re.compile(r"\s*(-r|--requirement|-c|--constraint|-e|--editable)\b")

_WHEEL = re.compile(r"([A-Za-z0-9][\w.]*)-[^/\s]*\.whl\b(\[[^\]]*\])?")
"""The name in a wheel's file name, at the end of a path or an address, and extras behind it."""

_REST = re.compile(r"(^|\s)(#|--).*")
"""What pip allows behind a requirement: a comment, and options."""

_ABOUT = re.compile(r"[^/]+\.dist-info/METADATA")

_DRIVER_ONLY = frozenset({"click", "markdown-it-py", "packaging", "pygments"})
"""What nothing in a function imports, though something there requires it.

`wrenla` itself is there, for `wrenla.store()` and `wrenla.cancelled()`, and it imports `rich`, which requires
more for what is not used: coloured sources and Markdown. Our own command line does not run there either,
and no package is built there.
"""

_OLD_GLIBC_REMEDY = (
    "use Python 3.12 or newer on this side (Lambda's runtime for it has glibc 2.34), "
    "or install versions with older wheels here: pip install 'numpy<2.3' 'scipy<1.17'"
)


@dataclass(frozen=True, slots=True)
class WheelSpec:
    """Wanted content of a package beside wrenla.

    Attributes
    ----------
    pins : mapping
        Names and versions of what wrenla and the user's requirements need, as far as it is installed here.
    file : Path or None
        The user's requirements.
    digest : str
        Hash of all of it.
    requirements : tuple of packaging.requirements.Requirement
        What stands in the file.
    """

    pins: Mapping[str, str]
    file: Path | None
    digest: str
    requirements: tuple[Any, ...] = ()


def wheel_spec(file: Path | None, target: Target) -> WheelSpec:
    """Find out what to take along: what `wrenla` requires, without extras, and what a file lists.

    Versions are those installed here: results are the same to the bit only with the same build of OpenBLAS,
    and a pickle needs the classes that it was made from.

    Raises
    ------
    DeployError
        The file cannot be read, or refers to others.
    """
    lines, content = _lines(file) if file is not None else ([], b"")
    requirements = parsed(lines)
    names = _reached([*_own(), *requirements], _required_by_installed, target)
    pins = {name: metadata.version(name) for name in names}
    digest = sha256(repr(sorted(pins.items())).encode() + content).hexdigest()
    return WheelSpec(pins, file, digest, requirements)


def parsed(lines: Iterable[str]) -> tuple[Any, ...]:
    """Return the requirements in lines for pip: a wheel's path or address requires what it is called by."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for line in lines:
        text = _REST.sub("", line)
        wheel = _WHEEL.search(text) if " @ " not in text else None
        with suppress(InvalidRequirement):  # of options, and of what is no requirement for pip either
            found.append(Requirement(text if wheel is None else "".join(wheel.groups(""))))
    return tuple(found)


def _own() -> tuple[Any, ...]:
    return parsed(metadata.requires("wrenla") or ())


def _lines(file: Path) -> tuple[list[str], bytes]:
    """Return the requirements in a file, and all the bytes that they stand for."""
    text = read_requirements(file)
    content = text.encode()
    whole = text.replace("\\\n", " ").splitlines()  # hashes often stand in lines of their own
    lines = [line.strip() for line in whole if line.strip() and not line.lstrip().startswith("#")]
    for line in lines:
        if _OTHER_FILES.match(line):
            raise DeployError(
                f"requirements {file}: {line!r} refers to something else; "
                "write every requirement into this one file, and give packages of your own as wheels"
            )
        if line.endswith(".whl") and Path(line).is_file():
            content += Path(line).read_bytes()
    return lines, content


def _reached(
    requirements: Iterable[Any],
    required_by: Callable[[str], Iterable[Any] | None],
    target: Target,
    never: Collection[str] = (),
) -> set[str]:
    """Return which distributions some requirements lead to, with their markers and extras.

    Parameters
    ----------
    required_by : callable
        What a distribution requires; None if it is not looked into.
    """
    from packaging.utils import canonicalize_name

    markers = target.markers()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(each, frozenset({""})) for each in requirements]
    while waiting:
        each, extras = waiting.pop()
        if each.marker and not any(each.marker.evaluate({**markers, "extra": extra}) for extra in extras):
            continue
        found = canonicalize_name(each.name), frozenset({"", *each.extras})
        requires = None if found in seen or found[0] in never else required_by(found[0])
        if requires is not None:
            seen.add(found)
            waiting += [(one, found[1]) for one in requires]
    return {name for name, _ in seen}


def _required_by_installed(name: str) -> tuple[Any, ...] | None:
    try:
        return parsed(metadata.requires(name) or ())
    except metadata.PackageNotFoundError:
        return None  # not needed here, or only over there


def download_wheels(spec: WheelSpec, target: Target, folder: Path) -> list[Path]:
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
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.python}"]
    command += [f"--platform={tag}" for tag in target.tags()]
    command += [f"--dest={folder}", *(f"{name}=={version}" for name, version in sorted(spec.pins.items()))]
    command += ["--requirement", str(spec.file)] if spec.file is not None else []
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise DeployError(_explained(run.stdout + run.stderr, spec, target))
    return sorted(folder.glob("*.whl"))


def select_wheels(wheels: Iterable[Path], spec: WheelSpec, target: Target) -> list[Path]:
    """Choose from the wheels that pip has found those which a function needs.

    Left out is what only the driver imports, unless the user's requirements ask for it, however indirectly.
    pip cannot be told so: it always downloads what a distribution requires, too.
    """
    from packaging.utils import canonicalize_name

    found = {str(canonicalize_name(wheel.name.split("-")[0])): wheel for wheel in wheels}
    requires = {name: _required_by_wheel(wheel) for name, wheel in found.items()}
    # whatever wrenla does not account for has come with the user's, from somewhere
    others = parsed(found.keys() - _reached(_own(), requires.get, target))
    kept = _reached(_own(), requires.get, target, never=_DRIVER_ONLY)
    kept |= _reached([*spec.requirements, *others], requires.get, target)
    return sorted(wheel for name, wheel in found.items() if name in kept)


def _required_by_wheel(wheel: Path) -> tuple[Any, ...]:
    with zipfile.ZipFile(wheel) as opened:
        about = b"".join(opened.read(name) for name in opened.namelist() if _ABOUT.fullmatch(name))
    return parsed(message_from_bytes(about).get_all("Requires-Dist", []))


def _explained(output: str, spec: WheelSpec, target: Target) -> str:
    """Return cause and remedy of a failure of pip, in one line."""
    if "No module named pip" in output:
        return f"pip is not installed beside {sys.executable}: run {sys.executable} -m ensurepip"
    if clash := re.search(r"Cannot install (.+?) because", output):
        return (
            f"{spec.file}: {clash[1]} contradict each other: what is installed here must be in the package "
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
