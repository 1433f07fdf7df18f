"""Modules sent with a call: imported from their source text, dropped when they change."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import linecache
import logging
import sys
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = [
    "Finder",
    "Source",
    "decode_sources",
    "encode_sources",
    "hash_of",
    "join_function",
    "split_function",
]

logger = logging.getLogger("wrenla.call")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module.

    Attributes
    ----------
    name : str
        With dots.
    path : str
        Where it was on the sender's side: what `__file__` says and tracebacks show.
    package : bool
    sha256 : str
        Hash of the text.
    text : str
    """

    name: str
    path: str
    package: bool
    sha256: str
    text: str


def hash_of(text: str) -> str:
    """Return the hash of a module's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def encode_sources(sources: Sequence[Source]) -> bytes:
    """Return the sources as JSON: the same modules give the same bytes."""
    return json.dumps([asdict(s) for s in sorted(sources, key=lambda s: s.name)]).encode()


def decode_sources(text: bytes) -> list[Source]:
    """Read what `encode_sources` wrote."""
    return [Source(**found) for found in json.loads(text)]


_MAGIC = b"wrenla-function-1\n"


def join_function(sources: Sequence[Source], pickled: bytes) -> bytes:
    """Return the pickle of a function behind the sources of the modules that it needs."""
    text = encode_sources(sources)
    return b"%s%d\n%s%s" % (_MAGIC, len(text), text, pickled)


def split_function(blob: bytes) -> tuple[list[Source], bytes]:
    """Undo `join_function`; what begins otherwise is the mere pickle of a function that needs no sources."""
    if not blob.startswith(_MAGIC):
        return [], blob
    length, _, rest = blob[len(_MAGIC) :].partition(b"\n")
    return decode_sources(rest[: int(length)]), rest[int(length) :]


class Finder:
    """Finds the modules that came with calls, before any other place is looked at.

    It is what `importlib.abc` calls a source loader and a finder, without importing that: each worker process
    would import twelve modules more.
    """

    create_module = importlib.machinery.SourceFileLoader.create_module
    exec_module = importlib.machinery.SourceFileLoader.exec_module

    def __init__(self) -> None:
        self.purges = 0
        self._sources: dict[str, Source] = {}

    def install(self, sources: Sequence[Source]) -> bool:
        """Take modules over, and forget all that came before if one of them has changed since.

        Returns True if modules were forgotten, and counts it in `purges`, for others who use this finder:
        functions that refer to them must be loaded again.
        """
        changed = [source.name for source in sources if self._differs(source)]
        if changed:
            # not only these: another module may hold what it imported from them
            logger.debug("changed, imported anew: %s", ", ".join(changed))
            for name in {*self._sources, *changed}:
                sys.modules.pop(name, None)
            for source in (*self._sources.values(), *sources):
                linecache.cache.pop(source.path, None)  # or tracebacks would show lines as they were
            self._sources.clear()
            self.purges += 1
        self._sources |= {source.name: source for source in sources}
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        return bool(changed)

    def _differs(self, source: Source) -> bool:
        """Tell whether a module is there already, with another text."""
        if source.name in self._sources:
            return self._sources[source.name] != source
        path = getattr(sys.modules.get(source.name), "__file__", None)
        if path is None:
            return False
        try:
            with open(path, "rb") as file:
                return hash_of(importlib.util.decode_source(file.read())) != source.sha256
        except (OSError, SyntaxError, UnicodeDecodeError):
            return True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self._sources.get(fullname)
        if source is None:
            return self._around(fullname, path)
        # with the folder of a package, files beside its modules are found where there are any
        places = [source.path.rpartition("/")[0]] if source.package else None
        return importlib.util.spec_from_file_location(
            fullname,
            source.path,
            loader=self,  # type: ignore[arg-type]  # what is called deprecated is not there
            submodule_search_locations=places,
        )

    def _around(self, name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
        """Return a package without a source of its own, if there is none but there are modules in it."""
        if not any(known.startswith(f"{name}.") for known in self._sources):
            return None
        if importlib.machinery.PathFinder.find_spec(name, path) is not None:
            return None
        return importlib.machinery.ModuleSpec(name, None, is_package=True)

    def get_code(self, fullname: str) -> types.CodeType:
        source = self._source(fullname)  # as text: what encoding the file was in does not matter any more
        return compile(source.text, source.path, "exec", dont_inherit=True)

    def get_filename(self, fullname: str) -> str:
        return self._source(fullname).path

    def get_data(self, path: str | bytes) -> bytes:
        for source in self._sources.values():
            if source.path == path:
                return source.text.encode()
        raise OSError(f"{path!r}: no module that came with a call")

    def get_source(self, fullname: str) -> str:
        return self._source(fullname).text

    def is_package(self, fullname: str) -> bool:
        return self._source(fullname).package

    def _source(self, name: str) -> Source:
        try:
            return self._sources[name]
        except KeyError:
            raise ImportError(f"{name} did not come with a call", name=name) from None
