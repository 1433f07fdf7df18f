"""Stored objects as inputs of functions: the address travels, the bytes are read where the function runs."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Reach, Store
from wrenla_handler.stores.urls import join, open_store

__all__ = ["StoredObject"]

_PIECE = 4 << 20
"""Bytes of one read: on S3 a request takes about as long to begin as to bring so much."""

_BEYOND = 64 << 10
"""Bytes of the first read behind the end of a part, where the last line mostly ends soon."""


@dataclass(frozen=True, slots=True, repr=False)
class StoredObject:
    r"""Reader of an object of a store, or of a part of one, for use where a function runs.

    It is small, can be pickled, and opens its store when it is read. The object should not change meanwhile.

    Attributes
    ----------
    root : str
        Address of the store.
    key : str
        Name of the object in it.
    start, stop : int
        The part: bytes ``[start, stop)`` of the object.
    size : int
        Bytes of the whole object when it was listed.

    Examples
    --------
    >>> from wrenla_handler.stores.urls import open_store
    >>> open_store("memory://greetings").put("en.txt", b"hello\ngood morning\n")
    True
    >>> first = StoredObject("memory://greetings", "en.txt", 0, 8, 19)
    >>> second = StoredObject("memory://greetings", "en.txt", 8, 19, 19)
    >>> first.read(), second.read()
    (b'hello\ngo', b'od morning\n')
    >>> list(first.lines()), list(second.lines())
    (['hello\n', 'good morning\n'], [])
    """

    root: str
    key: str
    start: int
    stop: int
    size: int

    def __repr__(self) -> str:
        whole = self.nbytes == self.size
        return f"StoredObject({self.url!r}{'' if whole else f', {self.start}:{self.stop} of {self.size}'})"

    @property
    def url(self) -> str:
        """Address of the object."""
        return join(self.root, self.key)

    @property
    def nbytes(self) -> int:
        """Bytes of the part."""
        return self.stop - self.start

    def read(self) -> bytes:
        """Return the bytes of the part, all at once.

        Raises
        ------
        StoreError
            If the object is not there any more, or has become shorter.
        """
        store = open_store(self.root)
        try:
            return bytes(self._get(store, self.start, self.stop))
        finally:
            store.close()

    def open(self) -> io.BufferedReader:
        r"""Open the part as a binary file, of which 4 MiB at a time are read and kept.

        It can seek, so it can be given to whatever reads files: `gzip.open`, `io.TextIOWrapper`,
        `pandas.read_csv`, `zipfile.ZipFile`.

        Examples
        --------
        >>> from wrenla_handler.stores.urls import open_store
        >>> open_store("memory://table").put("t.csv", b"a,b\n1,2\n")
        True
        >>> with StoredObject("memory://table", "t.csv", 0, 8, 8).open() as file:
        ...     file.readline(), file.seek(-4, 2), file.read()
        (b'a,b\n', 4, b'1,2\n')
        """
        return self._file(self.start, self.stop)

    def lines(self, encoding: str = "utf-8", errors: str = "strict") -> Iterator[str]:
        r"""Return an iterator over the lines of text that begin in the part.

        The last of them is read to its end, also behind the end of the part, so all parts of an object
        together yield each line once. Lines end with ``"\n"`` and nothing else, and keep it, as those of a
        file opened with ``newline="\n"``. Memory is needed for 4 MiB, and for the longest line.

        Parameters
        ----------
        encoding, errors : str
            As `bytes.decode` takes them.

        Raises
        ------
        ValueError
            If a line does not end with the byte 10 in this encoding (UTF-16, UTF-32).
        UnicodeDecodeError
            While iterating, with the object's address and the line's place.
        StoreError
            While iterating, if the object is not there any more, or has become shorter.
        """
        marked = codecs.lookup(encoding).name == "utf-8-sig"  # its mark is at the very beginning only
        if not marked and "\n".encode(encoding) != b"\n":
            raise ValueError(
                f"in {encoding!r} a line does not end with the byte 10, so parts cannot be cut into lines: "
                f"read whole objects, as io.TextIOWrapper(reader.open(), {encoding!r})"
            )
        return self._lines("utf-8" if marked else encoding, errors, marked)

    def _lines(self, encoding: str, errors: str, marked: bool) -> Iterator[str]:
        # from the byte before: if that ends a line, the line to leave out is this byte alone
        at = max(self.start - 1, 0)
        with self._file(at, self.size, edge=self.stop) as file:
            skipping = at < self.start
            while skipping and at < self.stop:
                skipped = file.readline(_PIECE)
                at += len(skipped)
                skipping = not skipped.endswith(b"\n")
            while at < self.stop:
                line = file.readline()
                try:
                    text = line.decode(encoding, errors)
                except UnicodeDecodeError as error:
                    error.reason += f" (in the line that begins at byte {at} of {self.url})"
                    raise
                yield text.removeprefix("\ufeff") if marked and at == 0 else text
                at += len(line)

    def _file(self, start: int, stop: int, edge: int | None = None) -> io.BufferedReader:
        pieces = _Pieces(self, start, stop, stop if edge is None else edge)
        return io.BufferedReader(pieces, min(_PIECE, max(stop - start, io.DEFAULT_BUFFER_SIZE)))

    def _get(self, store: Store, start: int, stop: int) -> memoryview:
        """Return bytes `[start, stop)` of the object, no fewer."""
        try:
            data = store.get(self.key, start, stop)
        except KeyError:
            why = "it was there when it was listed: was it deleted or renamed since?"
            if store.reach == Reach.PROCESS:
                why = "a store in memory is seen by the process that filled it only: use threads, or a folder"
            raise StoreError(f"{store.url}: {self.key}: there is no such object; {why}") from None
        if len(data) != stop - start:
            raise StoreError(
                f"{store.url}: {self.key}: ends at byte {start + len(data)}, but had {self.size} bytes when "
                "it was listed: list the objects again when nobody writes them"
            )
        return data


class _Pieces(io.RawIOBase):
    """A part of an object as a file without a buffer: each read is one request.

    Parameters
    ----------
    source : StoredObject
    start, stop : int
        The part.
    edge : int
        Reads do not cross this byte. Behind it they begin small and grow: only the end of a line is wanted.
    """

    def __init__(self, source: StoredObject, start: int, stop: int, edge: int) -> None:
        self._source, self._start, self._stop, self._edge = source, start, stop, edge
        self._at = start
        self._store = open_store(source.root)
        self.name = source.url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._check_open()
        most, behind = _PIECE, self._at - self._edge
        if behind < 0:
            most = min(most, -behind)
        elif self._edge < self._stop:
            most = min(most, max(behind, _BEYOND))
        target = memoryview(buffer).cast("B")
        count = min(len(target), most, self._stop - self._at)
        if count <= 0:
            return 0
        target[:count] = self._source._get(self._store, self._at, self._at + count)
        self._at += count
        return count

    def readall(self) -> bytes:
        self._check_open()
        if self._at >= self._stop:
            return b""
        data = bytes(self._source._get(self._store, self._at, self._stop))
        self._at = self._stop
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        origins = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._stop}
        if whence not in origins:
            raise ValueError(f"whence={whence}: 0, 1 or 2")
        at = origins[whence] + offset
        if at < self._start:
            raise ValueError(f"cannot seek to {at - self._start}, before the beginning")
        self._at = at
        return at - self._start

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._store.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
