"""Files of settings: a file that others may write does not decide where temporaries go."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from wrenla.errors import SettingError

__all__ = ["Ignored", "read_settings"]

_PROJECT = "pyproject.toml"
_TABLE = re.compile(rb"tool\s*\.\s*[\"']?wrenla|^\s*wrenla\s*[.=]", re.MULTILINE)
"""What a project that may have settings of ours has somewhere; a few have it that have none."""

_INSTEAD = "or set WRENLA_… variables instead"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that does not count.

    Attributes
    ----------
    path : Path
    why : str
        With what to do about it.
    mentions_us : bool
        Whether it could hold settings; a project of others has a pyproject.toml that mostly does not.
    """

    path: Path
    why: str
    mentions_us: bool = True


def read_settings(path: Path) -> str | Ignored | None:
    """Return what is in a file, None if there is none, or why it does not count.

    Only a file of this user or of root counts, that nobody else may write; so does their link to one. The
    file that is looked at is the one that is read, whatever is put in its place meanwhile.

    Raises
    ------
    SettingError
        It counts, and cannot be read.
    """
    try:
        why = _why_not(os.lstat(path))
        # a FIFO would keep us waiting for somebody to write
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            why = why or _why_not(status)
            content = file.read(_MOST if why else -1)
    except PermissionError as error:
        return _unreadable(path, error)
    except OSError:
        return None  # it is not there, or a link to nothing or to itself, or a socket
    if why:
        return Ignored(path, why, path.name != _PROJECT or _TABLE.search(content) is not None)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: {error}") from None


_MOST = 1 << 20
"""Bytes that are read of a file that does not count."""


def _unreadable(path: Path, error: PermissionError) -> Ignored | None:
    try:
        linked, status = os.lstat(path), os.stat(path)
    except OSError:  # in a folder that is closed to us
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if why := _why_not(linked) or _why_not(status):
        return Ignored(path, why, path.name != _PROJECT)
    raise SettingError(f"{path}: {error.strerror}: let yourself read it, {_INSTEAD}") from error


def _why_not(status: os.stat_result) -> str:
    """Return why a file, or a link, is ignored; "" if it counts."""
    me = os.geteuid()
    if status.st_uid not in (me, 0):
        owner, mine = _name_of(status.st_uid), _name_of(me)
        also = "" if me == 0 else " and of root"
        return f"it belongs to {owner}, and only files of {mine}{also} count: chown {mine} it, {_INSTEAD}"
    if stat.S_ISLNK(status.st_mode):  # which has no permissions of its own
        return ""
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write it: chmod o-w it, {_INSTEAD}"
    # where each user has a group of their own, files are open to that
    if status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), 0):
        return f"group {_group(status.st_gid)} may write it: chmod g-w it, {_INSTEAD}"
    return ""


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
