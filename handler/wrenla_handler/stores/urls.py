"""URLs of stores: open the store of an address.

Every worker process imports this when it starts: what few addresses need is imported where it is needed.
"""

from __future__ import annotations

import os
import re
from contextlib import closing

from wrenla_handler.stores.base import Reach, Store
from wrenla_handler.stores.checks import check_key
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.room import RoomStore

__all__ = ["folder_of", "join", "open_store", "reach_of"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_SCHEMES = ("file", "s3", "memory", "room")


def open_store(url: str | bytes | os.PathLike[str]) -> Store:
    """Open the store at an address. Nothing is read or written yet.

    Parameters
    ----------
    url : str or path
        A folder's path, ``file:///folder``, ``s3://bucket/prefix`` or ``memory://name``.

    Raises
    ------
    ValueError
        If the address is of no known kind.

    Examples
    --------
    >>> open_store("memory://example").url
    'memory://example'
    >>> open_store("gs://bucket/matrix")
    Traceback (most recent call last):
      ...
    ValueError: 'gs://bucket/matrix': there is no store of kind 'gs'; ...
    """
    text = os.fsdecode(url)
    if not text:
        raise ValueError("the address of a store is empty")
    scheme, rest = _split(text)
    match scheme:
        case "":
            return LocalStore(text)
        case "memory":
            return MemoryStore(rest)
        case "room":
            return RoomStore(rest)
        case "s3":
            from wrenla_handler.stores.s3.store import S3Store

            bucket, _, prefix = rest.partition("/")
            return S3Store(bucket, prefix)
        case _:
            path = folder_of(text)
            if not path.startswith("/"):
                raise ValueError(f"{text!r}: a file URL has an absolute path: file:///folder")
            return LocalStore(path)


def reach_of(url: str, shared: str = "") -> Reach:
    """Return how far away what is at an address can be seen.

    Parameters
    ----------
    url : str
    shared : str
        Folders that several machines have at the same paths, separated as in ``PATH``.

    Examples
    --------
    >>> reach_of("/scratch/a", "/data:/scratch"), str(reach_of("/scratches", "/scratch"))
    (<Reach.SHARED: 2>, 'host')
    """
    with closing(open_store(url)) as store:
        inside = f"{store.url}/"
        if store.reach == Reach.HOST and any(
            inside.startswith(f"{LocalStore(folder).url.rstrip('/')}/")
            for folder in filter(None, shared.split(os.pathsep))
        ):
            return Reach.SHARED
        return store.reach


def folder_of(url: str) -> str:
    r"""Return the path that a ``file:`` URL names, in any encoding that file names have; "" for others.

    Examples
    --------
    >>> folder_of("file:///data/a%20b"), folder_of("file:///caf%E9"), folder_of("s3://bucket")
    ('/data/a b', '/caf\udce9', '')
    """
    scheme, rest = _split(url)
    if scheme != "file":
        return ""
    from urllib.parse import unquote_to_bytes

    # as Path.as_uri quotes the bytes of a name, which need not be UTF-8
    return os.fsdecode(unquote_to_bytes(rest.removeprefix("localhost")))


def join(url: str, *parts: str) -> str:
    """Append path segments to an address of any kind.

    The store at ``join(url, "a")`` holds, under shorter keys, the objects of `url` that begin with ``a/``.

    Examples
    --------
    >>> join("s3://bucket/run", "tiles", "L")
    's3://bucket/run/tiles/L'
    >>> join("file:///data/", "a b"), join("data", "a b")
    ('file:///data/a%20b', 'data/a b')
    """
    scheme, _ = _split(url)
    tail = "/".join(check_key(part.strip("/")) for part in parts)
    if not tail:
        return url
    if scheme == "file":
        from urllib.parse import quote

        tail = quote(os.fsencode(tail))
    return f"{url}{tail}" if url.endswith("/") else f"{url}/{tail}"


def _split(url: str) -> tuple[str, str]:
    """Return the scheme, empty for a path, and what follows it."""
    found = _SCHEME.match(url)
    if found is None:
        return "", url
    scheme = found[1].lower()
    if found[2] is None:
        if scheme not in _SCHEMES:
            return "", url  # A path may contain a colon.
        raise ValueError(f"{url!r}: write {scheme}:// with two slashes")
    if scheme not in _SCHEMES:
        from difflib import get_close_matches

        near = get_close_matches(scheme, _SCHEMES, n=1)
        hint = f"did you mean {near[0]}://…? " if near else ""
        raise ValueError(
            f"{url!r}: there is no store of kind {scheme!r}; {hint}"
            "use a folder's path, file:///folder, s3://bucket/prefix or memory://name"
        )
    return scheme, url[found.end() :]
