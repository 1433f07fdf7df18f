"""Function package: a zip with wrenla and its dependencies, reproducible byte for byte."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import wrenla
import wrenla_handler
import wrenla_kernels
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.build_cache import default_folder, digest, forget_old
from wrenla.aws.packaging.contents import byte_code, chosen_members, own_files, runs
from wrenla.aws.packaging.target import Target, lambda_target, running_python
from wrenla.aws.packaging.wheels import WheelSpec, download_wheels, select_wheels, wheel_spec
from wrenla.whole_file import whole_file

__all__ = ["Package", "build_package"]

logger = logging.getLogger("wrenla.aws")

_FORMAT = 2
"""Raise it when the same inputs shall make another package: it is part of a name in the cache."""

_MOST_UNZIPPED = 250 << 20
"""Bytes that Lambda takes."""

_RESERVED = 8 << 20
"""Bytes that are left for wrenla itself."""

_KEPT = {"wheels-*.zip": 2, "package-*.zip": 1, ".*": 0}
"""How many files of a pattern stay in the cache, those used last; each of the zips has some 80 MB.

From the wheels another package is made within a second; to have them again takes a minute. What a killed
process has left begins with a dot.
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A built package.

    Attributes
    ----------
    path : Path
        The zip, in the cache.
    sha256, base64 : str
        Its SHA-256, in hexadecimal and as Lambda tells it.
    zipped, unzipped : int
        Bytes.
    versions : mapping
        Of the distributions inside, by name.
    crowded : bool
        There was no room for byte code of the distributions.
    """

    path: Path
    sha256: str
    base64: str
    zipped: int
    unzipped: int
    versions: Mapping[str, str]
    crowded: bool = False

    @property
    def remark(self) -> str:
        """Remark for the deployer, in one line; empty if there is none."""
        if not self.crowded:
            return ""
        return (
            f"no room for byte code in the {_MOST_UNZIPPED >> 20} MB that Lambda takes: cold starts take "
            "longer, since each compiles what it imports; fewer requirements make room"
        )


def build_package(
    *,
    python: str = "",
    arch: str = "x86_64",
    requirements: Path | None = None,
    cache: Path | None = None,
    target: Target | None = None,
) -> Package:
    """Build the package of a function, or find it in the cache.

    It is built in two steps: first the wheels, which takes long and is rarely needed again, then wrenla.

    Parameters
    ----------
    python : str, optional
        Minor version of the function's Python; by default this one's.
    arch : {"x86_64", "arm64"}
    requirements : Path, optional
        What else the user's functions need, as for pip, in one file.
    cache : Path, optional
        By default ``wrenla/packages`` in the user's cache folder (``XDG_CACHE_HOME``).
    target : Target, optional
        Instead of `python` and `arch`: another machine than Lambda's own.

    Raises
    ------
    DeployError
        There is no wheel of some version, or the package is larger than Lambda takes.
    """
    target = target or lambda_target(python or running_python(), arch)
    folder = (cache or default_folder()).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    spec = wheel_spec(requirements, target)
    same_python = target.python == running_python()  # byte code is another one in each minor version
    wheels = folder / f"wheels-{digest(_FORMAT, target, running_python(), spec.digest)}.zip"
    own = dict(sorted((own_files(_own_packages()) | _own_about()).items()))
    contents = [(path, hashlib.sha256(data).hexdigest()) for path, data in own.items()]
    whole = folder / f"package-{digest(wheels.name, contents)}.zip"
    if (found := _remembered(whole)) is not None:
        return found
    if not wheels.exists():
        with whole_file(wheels) as file:
            _write_wheels(file, spec, target, same_python)
        logger.info("the wheels are in %s, for next time", folder)
    os.utime(wheels)  # in use: not to be forgotten
    with whole_file(whole) as file:
        with wheels.open("rb") as source:
            shutil.copyfileobj(source, file)
        with zipfile.ZipFile(file, "a") as archive:
            _add(archive, own, same_python)
        found = _measured(file, whole, same_python)
    with whole_file(whole.with_suffix(".json")) as notes:
        notes.write(json.dumps(asdict(found), default=str).encode())
    for pattern, kept in _KEPT.items():
        forget_old(folder, pattern, kept)
    return found


def _remembered(whole: Path) -> Package | None:
    """Return a package that was built before."""
    try:
        notes = json.loads(whole.with_suffix(".json").read_text())
        found = Package(**{**notes, "path": whole})
        complete = whole.stat().st_size == found.zipped
        os.utime(whole)
    except (OSError, ValueError, TypeError):
        return None
    return found if complete else None


def _own_packages() -> dict[str, Path]:
    modules = (wrenla, wrenla_handler, wrenla_kernels)
    return {module.__name__: Path(str(module.__file__)).parent for module in modules}


def _own_about() -> dict[str, bytes]:
    """Return what `importlib.metadata` shall find of wrenla, however it is installed here."""
    found = metadata.distribution("wrenla")
    return {f"wrenla-{found.version}.dist-info/METADATA": str(found.read_text("METADATA")).encode()}


def _write_wheels(file: IO[bytes], spec: WheelSpec, target: Target, same_python: bool) -> None:
    """Write what is needed, with byte code if there is room for it."""
    with tempfile.TemporaryDirectory(prefix="wrenla-wheels-") as folder:
        logger.info("downloading NumPy, SciPy and what else a function needs, for %s: up to a minute", target)
        wheels = select_wheels(download_wheels(spec, target, Path(folder)), spec, target)
        for compiled in dict.fromkeys((same_python, False)):
            file.seek(0)
            file.truncate()
            with zipfile.ZipFile(file, "w") as archive:
                for number, wheel in enumerate(wheels, 1):
                    logger.info(
                        "packing %s (%d of %d)", "-".join(wheel.name.split("-")[:2]), number, len(wheels)
                    )
                    with zipfile.ZipFile(wheel) as opened:
                        members = dict(sorted(chosen_members(opened).items()))
                        files = {where: opened.read(member) for where, member in members.items()}
                        programs = {where for where in members if runs(opened.getinfo(members[where]))}
                        _add(archive, files, compiled, programs)
                size = sum(entry.file_size for entry in archive.infolist())
            if size <= _MOST_UNZIPPED - _RESERVED:
                return


def _add(
    archive: zipfile.ZipFile, files: Mapping[str, bytes], compiled: bool, programs: Collection[str] = ()
) -> None:
    for path, data in files.items():
        if path in archive.NameToInfo:
            continue  # two wheels that share a folder, each with its `__init__.py`
        _write(archive, path, data, path in programs or ".so" in Path(path).suffixes)
        if compiled and path.endswith(".py") and (code := byte_code(path, data)) is not None:
            _write(archive, *code)


def _write(archive: zipfile.ZipFile, path: str, data: bytes, program: bool = False) -> None:
    entry = zipfile.ZipInfo(path)  # its date is always the same, in 1980
    entry.create_system = 3
    entry.external_attr = (0o100755 if program else 0o100644) << 16  # two modes, whoever has built the wheel
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def _measured(file: IO[bytes], final: Path, same_python: bool) -> Package:
    with zipfile.ZipFile(file) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    unzipped = sum(sizes.values())
    if unzipped > _MOST_UNZIPPED:
        raise DeployError(_too_large(sizes, unzipped))
    about = [name.partition(".dist-info/") for name in sizes if name.endswith(".dist-info/METADATA")]
    versions = dict(sorted(folder.split("-", 1) for folder, _, _ in about))
    file.seek(0)
    hashed = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    zipped = file.tell()
    # our own always has byte code; what wheels bring has it all, or none
    theirs = (name for name in sizes if name.split("/")[0] not in _own_packages())
    crowded = same_python and not any(name.endswith(".pyc") for name in theirs)
    return Package(final, hashed.hex(), b64encode(hashed).decode(), zipped, unzipped, versions, crowded)


def _too_large(sizes: Mapping[str, int], unzipped: int) -> str:
    totals: Counter[str] = Counter()
    for path, size in sizes.items():
        totals[path.split("/")[0].removesuffix(".libs").removesuffix(".dist-info")] += size
    largest = ", ".join(f"{name} {size >> 20} MB" for name, size in totals.most_common(6))
    return (
        f"the package has {unzipped / 2**20:.0f} MB, Lambda takes {_MOST_UNZIPPED >> 20} MB (unzipped); "
        f"the largest are {largest}: take some out of the requirements"
    )
