"""Process at the other end of a connection, from the kernel's tables."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

__all__ = ["holds_other_end"]

_LOOKS = 3
"""The table is read in pieces: a row may be missed while others go, but hardly three times in a row."""


def holds_other_end(pid: int, connection: socket.socket, proc: Path = Path("/proc")) -> bool:
    """Tell whether a process has the other end of a connection from this machine open.

    The kernel itself names the socket of each end by a number that no process can choose, and which sockets a
    process has open. So nobody else passes, whatever he knows or sends: not with this process's environment
    in hand, as it would be with a secret, and not as the same user.

    Parameters
    ----------
    pid : int
    connection : socket
        Of version 4 of IP.
    proc : Path
        Where the kernel's tables are.
    """
    number = _inode(connection, proc)
    if number is None:
        return False
    wanted = f"socket:[{number}]"
    try:
        return any(
            _target(proc / str(pid) / "fd" / name) == wanted for name in os.listdir(proc / f"{pid}/fd")
        )
    except (FileNotFoundError, PermissionError):  # it has ended, or is another user's
        return False


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""


def _inode(connection: socket.socket, proc: Path) -> str | None:
    """Return the number of the socket at the other end, None if it is closed, or elsewhere."""
    try:
        theirs, ours = _hex(connection.getpeername()), _hex(connection.getsockname())
    except OSError:
        return None
    for _ in range(_LOOKS):
        for line in (proc / "net/tcp").read_text().splitlines():
            words = line.split()
            if words[1:3] == [theirs, ours]:
                return words[9] if words[9] != "0" else None  # 0: closed, and only remembered
    return None


def _hex(address: tuple[str, int]) -> str:
    """Return an address as the table has it: as a number in this machine's order of bytes."""
    host, port = address
    return f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}"
