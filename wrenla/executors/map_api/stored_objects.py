"""`wl.objects`: objects of a folder or a prefix as inputs of a function."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import itertools
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

from wrenla.executors.calls.options import memory_bytes
from wrenla_handler.calls.objects import StoredObject
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Reach, SharedStore, Store
from wrenla_handler.stores.urls import open_store

__all__ = ["StoredObject", "objects", "pattern_for"]

_NAMED = 5
"""What cannot be passed, of which a message gives the names."""


def objects(
    url: str | os.PathLike[str], *, pattern: str | None = None, chunk: int | str | None = None
) -> Iterator[StoredObject]:
    r"""Iterate over the objects of a folder or an S3 prefix, to map a function over them.

    What is passed to the function is a reader: it says where the object is, and reads it where the function
    runs. So texts of any size are read by workers, in parallel, and never by the process that asks for it.

    Parameters
    ----------
    url : str or path
        A folder, ``file:///…``, ``s3://bucket/prefix`` or ``memory://name``. Objects in folders below it are
        among them.
    pattern : str, optional
        Only objects whose key, which is their name relative to `url`, matches: ``"*.txt"``, ``"2024/*"``. As
        in `fnmatch.fnmatchcase`, ``*`` also matches ``/``.
    chunk : int or str, optional
        Larger objects are passed in parts of so many bytes, e.g. ``"64 MiB"``. The lines of a part are those
        that begin in it.

    Returns
    -------
    iterator of StoredObject
        Sorted by key, and by part. They have ``key``, ``url``, ``nbytes``, and the methods ``read()``
        (bytes), ``open()`` (a binary file) and ``lines()`` (text, line by line); the latter two read 4 MiB at
        a time.

    Raises
    ------
    FileNotFoundError
        If there is no object there, or none that matches.
    ValueError, TypeError
        If the address is of no known kind, or `chunk` is no positive number of bytes.
    StoreError
        If the store cannot be listed; if there is something that cannot be passed, although it matches: a
        name that is not UTF-8 or has a control character, a link to a file or a folder, which is not
        followed (on S3, while iterating); or, while iterating, if an object vanishes.

    Notes
    -----
    Objects are listed as they are asked for. The size of each is asked for by one request, about 20 ms on S3;
    a million tiny objects are better joined to larger ones first.

    Examples
    --------
    >>> import pathlib, tempfile, wrenla as wl
    >>> def count_words(reader):
    ...     return reader.key, sum(len(line.split()) for line in reader.lines())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {"a.txt": "to be or\nnot to be\n", "b.txt": "that is\n"}.items():
    ...         _ = pathlib.Path(folder, name).write_text(text)
    ...     list(wl.default_executor().map(count_words, wl.objects(folder, pattern="*.txt")))
    [('a.txt', 6), ('b.txt', 2)]
    """
    if not isinstance(url, str | os.PathLike):
        if isinstance(url, Iterable) and not isinstance(url, bytes):
            hint = "; a list of paths is as good an input as it is: executor.map(f, paths)"
        else:
            hint = ""
        raise TypeError(
            f"url={reprlib.repr(url)}: the address of a folder: a path, file:///…, s3://bucket/prefix{hint}"
        )
    if pattern is not None and not isinstance(pattern, str):
        raise TypeError(f"pattern={pattern!r}: a text like '*.txt', or None for all objects")
    limit = None if chunk is None else memory_bytes("chunk", chunk, "64 MiB")
    store = open_store(url)
    if store.reach == Reach.HOST:  # there it is quick, and better known before anything has been done
        _refuse_left_out(store, pattern)
    found = _parts(store, pattern, limit)
    first = next(found, None)  # now, so that a wrong address is an error of this call
    if first is None:
        raise FileNotFoundError(_why_none(store, os.fspath(url), pattern))
    return itertools.chain((first,), found)


def _parts(store: Store, pattern: str | None, limit: int | None) -> Iterator[StoredObject]:
    try:
        for key in _keys(store, pattern):
            if pattern is not None and not fnmatch.fnmatchcase(key, pattern):
                continue
            try:
                size = store.size(key)
            except KeyError:
                raise StoreError(f"{store.url}: {key}: vanished while the objects were listed") from None
            step = limit or max(size, 1)
            for start in range(0, max(size, 1), step):  # one part of an empty object, too
                yield StoredObject(store.url, key, start, min(start + step, size), size)
    finally:
        store.close()


def _keys(store: Store, pattern: str | None) -> Iterator[str]:
    """Yield the keys of a store; raise for objects in its place that have none."""
    if not isinstance(store, SharedStore):
        return store.list(_literal(pattern))

    def note(key: str, why: str) -> None:
        if _is_wanted(key, pattern):
            raise _left_out(store, [(key, why)])

    return (info.key for info in store.scan_noting(_literal(pattern), note))


def _refuse_left_out(store: Store, pattern: str | None) -> None:
    """Raise for all that is in a folder and would not be passed, although it matches."""
    left_out: list[tuple[str, str]] = []
    if isinstance(store, SharedStore):
        for _ in store.scan_noting(_literal(pattern), lambda key, why: left_out.append((key, why))):
            pass
    if left_out := [(key, why) for key, why in left_out if _is_wanted(key, pattern)]:
        raise _left_out(store, left_out)


def _is_wanted(key: str, pattern: str | None) -> bool:
    """Tell whether an object of that key, or one in a folder of that name, may match."""
    return pattern is None or key.endswith("/") or fnmatch.fnmatchcase(key, pattern)


def _left_out(store: Store, left_out: Sequence[tuple[str, str]]) -> StoreError:
    named = "; ".join(f"{key!r}: {why}" for key, why in left_out[:_NAMED])
    more = f"; … ({len(left_out)} in all)" if len(left_out) > _NAMED else ""
    return StoreError(
        f"{store.url}: what is there cannot all be passed: {named}{more}. Rename it, put the "
        "files themselves in the place of links, or choose others by a pattern"
    )


def _literal(pattern: str | None) -> str:
    """Return what all keys that match a pattern begin with: the store has to list no others."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0] if pattern else ""


def pattern_for(url: str) -> tuple[str, str] | None:
    """Return folder and pattern for an address that is not of a folder: of one object, or with ``*`` in it.

    Examples
    --------
    >>> _of_wildcards("s3://bucket/texts/2024/*.txt"), pattern_for("*.py"), pattern_for("/no/such/folder")
    (('s3://bucket/texts/2024', '*.txt'), ('.', '*.py'), None)
    """
    return _of_object(url) or _of_wildcards(url)


def _of_object(url: str) -> tuple[str, str] | None:
    folder, name = _cut(url, -1)
    # the folder may be none that can be opened, as "s3:" of "s3://bucket"
    with contextlib.suppress(ValueError, StoreError):
        store = open_store(folder)
        try:
            if store.exists(name):
                return folder, glob.escape(name)
        finally:
            store.close()
    return None


def _of_wildcards(url: str) -> tuple[str, str] | None:
    parts = url.rstrip("/").split("/")
    wild = [number for number, part in enumerate(parts) if glob.has_magic(part)]
    if not wild or ("://" in url and wild[0] < 3):
        return None
    return _cut(url, wild[0])


def _cut(url: str, at: int) -> tuple[str, str]:
    """Cut an address into a folder and what is in it, before one of its segments."""
    parts = url.rstrip("/").split("/")
    folder = "/".join(parts[:at]) or ("/" if url.startswith("/") else ".")
    name = "/".join(parts[at:])
    return folder, os.fsdecode(unquote_to_bytes(name)) if folder.startswith("file:") else name


def _why_none(store: Store, url: str, pattern: str | None) -> str:
    """Return what to say if there are no objects."""
    if pattern is not None:
        example = next(store.list(), None)
        if example is not None:
            return f"{store.url}: no object's key matches {pattern!r}; there is, for example, {example!r}"
    if found := _of_object(url):
        return f"{url}: this is an object, not a folder: take wl.objects({found[0]!r}, pattern={found[1]!r})"
    if found := _of_wildcards(url):
        return (
            f"{url}: there is no such folder: to choose objects by their names take "
            f"wl.objects({found[0]!r}, pattern={found[1]!r})"
        )
    return f"{store.url}: there are no objects here; check the address"
