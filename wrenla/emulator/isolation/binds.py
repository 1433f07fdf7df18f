"""Bind mounts: what a function sees of this machine.

If root has started the emulator, its functions are root outside, whatever they are called inside: what they
must not read must not be there. So nothing is bound whole but what holds programs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from wrenla.emulator.runtime.runtime import PYTHON

__all__ = ["GROUP", "USER", "own_users", "system_binds"]

USER, GROUP = 993, 990
"""Who a function is on Lambda."""

_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

_SETTINGS = (
    *("ld.so.cache", "alternatives"),  # where programs and libraries are
    *("hosts", "resolv.conf", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols"),  # networks
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf"),  # whom TLS trusts, without private keys
    *("pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "pki/ca-trust/extracted"),
    *("crypto-policies", "localtime", "os-release", "mime.types"),
)
"""Of ``/etc``. Users and groups are the emulator's own."""


def system_binds() -> list[str]:
    """Return bubblewrap's arguments for what all functions see of this machine."""
    arguments = []
    for folder in _PROGRAMS:
        path = Path(folder)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), folder]
        elif path.exists():
            arguments += ["--ro-bind", folder, folder]
    for name in _SETTINGS:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return arguments + _python()


def own_users(folder: Path) -> list[str]:
    """Write users and groups into a folder, and return bubblewrap's arguments for them."""
    users = folder / "passwd"
    users.write_text(f"root:x:0:0:root:/root:/sbin/nologin\nemulator:x:{USER}:{GROUP}::/tmp:/sbin/nologin\n")
    groups = folder / "group"
    groups.write_text(f"root:x:0:\nemulator:x:{GROUP}:\n")
    return [*_read("/etc/passwd", users), *_read("/etc/group", groups)]


def _python() -> list[str]:
    """Return what Python needs, if it is not among the system's programs.

    Its packages are left out, and what is beside: conda has its environments there, pyenv other versions.
    """
    prefix = Path(os.path.realpath(sys.base_prefix))
    if prefix.is_relative_to("/usr"):
        return []
    arguments = _read(PYTHON, Path(PYTHON))
    for folder in (prefix / "lib", prefix / "lib64"):
        if folder.is_dir() and not folder.is_symlink():
            arguments += _read(str(folder), folder)
            for packages in sorted(folder.glob("python*/site-packages")):
                arguments += ["--tmpfs", str(packages), "--remount-ro", str(packages)]
    return arguments


def _read(where: str, what: Path) -> list[str]:
    return ["--ro-bind", str(what), where]
