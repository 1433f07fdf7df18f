"""Target machine of a package: which wheels fit it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from wrenla.errors import SettingError

__all__ = ["Architecture", "Target", "here", "lambda_target", "running_python"]

Architecture = Literal["x86_64", "arm64"]

_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""What wheels call Lambda's architectures."""

_LEGACY_TAGS = {(2, 5): "manylinux1", (2, 12): "manylinux2010", (2, 17): "manylinux2014"}


def running_python() -> str:
    """Return this interpreter's minor version, as "3.11"."""
    return "{}.{}".format(*sys.version_info)


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that a package is made for.

    Attributes
    ----------
    python : str
        Minor version, as "3.12".
    arch : {"x86_64", "arm64"}
        As Lambda calls it.
    glibc : tuple of int
        Its C library: wheels that need a later one do not load.
    """

    python: str
    arch: Architecture
    glibc: tuple[int, int]

    def tags(self) -> Iterator[str]:
        """Yield the platform tags of wheels that fit, the latest first.

        pip must be told every one: of `manylinux_2_34` it does not conclude `manylinux_2_28`.
        """
        machine = _MACHINES[self.arch]
        for minor in range(self.glibc[1], 4, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if (2, minor) in _LEGACY_TAGS:
                yield f"{_LEGACY_TAGS[2, minor]}_{machine}"

    def markers(self) -> dict[str, str]:
        """Return what environment markers of requirements mean there."""
        from packaging.markers import default_environment

        here = {name: str(value) for name, value in default_environment().items()}
        there = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
        there["platform_machine"] = _MACHINES[self.arch]
        if here["python_version"] != self.python:
            there |= {"python_version": self.python, "python_full_version": f"{self.python}.0"}
        return here | there

    def __str__(self) -> str:
        return f"Python {self.python} on {self.arch} with glibc {self.glibc[0]}.{self.glibc[1]}"


def lambda_target(python: str, arch: str) -> Target:
    """Return what Lambda's runtime for a Python is like.

    Up to Python 3.11 it is Amazon Linux 2, with a C library of 2017; from 3.12 on Amazon Linux 2023.
    """
    glibc = (2, 26) if _minor(python) < 12 else (2, 34)
    return Target(python, _architecture(arch), glibc)


def here(python: str, arch: str) -> Target:
    """Return what this machine is like: a Lambda that is not AWS's runs functions on it."""
    found = re.fullmatch(r"(\d+)\.(\d+).*", platform.libc_ver()[1] or "2.17")
    assert found is not None
    _minor(python)
    return Target(python, _architecture(arch), (int(found[1]), int(found[2])))


def _minor(python: str) -> int:
    found = re.fullmatch(r"3\.(\d+)", python)
    if found is None or int(found[1]) < 11:
        raise SettingError(f"python = {python!r}: write a minor version from 3.11 on, as 3.12")
    return int(found[1])


def _architecture(arch: str) -> Architecture:
    if arch not in get_args(Architecture):
        raise SettingError(f"arch = {arch!r}: Lambda has x86_64 and arm64")
    return cast("Architecture", arch)
