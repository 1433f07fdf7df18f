"""Record of runs: each event as one line of JSON, in a file that outlives them."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from wrenla.errors import RecordError
from wrenla.run.events import Event, RunStarted, described

__all__ = ["VERSION", "Recorder", "events_of", "read_record", "recording", "refuse_address"]

logger = logging.getLogger("wrenla.report")

VERSION = 1
"""Of the format; a reader refuses others."""

_WHAT = "wrenla record"


def _item(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item()


_json = msgspec.json.Encoder(enc_hook=_item)


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return _json.encode(line)
    except UnicodeEncodeError:  # of an error that names a file whose name is no UTF-8
        return _json.encode(_printable(msgspec.to_builtins(line, enc_hook=_item)))


def _printable(value: Any) -> Any:
    """Return plain data whose texts have an escape sequence in place of each byte that is no character."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_printable(each) for each in value]
        case dict():
            return {name: _printable(each) for name, each in value.items()}
    return value


@contextmanager
def recording(path: str | Path) -> Iterator[Recorder]:
    """Hand out a listener that writes what it is told into a file, and close the file.

    Parameters
    ----------
    path : str or path
        A file, which a record may stand in already: it is replaced. Or a folder, which ends in "/" or is
        there: a new file in it, named by the time of day.

    Raises
    ------
    RecordError
        Something else is there, or another evaluation is writing it, or it cannot be written.
    """
    recorder = Recorder(path)
    try:
        with recorder.until_the_end():
            yield recorder
    finally:
        recorder.close()


class Recorder:
    """A listener that writes events to a file, a line for each as soon as it happens."""

    def __init__(self, path: str | Path) -> None:
        self._file: IO[bytes] | None = None
        refuse_address("record", path)
        try:
            self.path = _place(path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # in one line each, so that of a killed run all but the last event are there
            self._file = _opened(self.path, path)
        except OSError as error:
            raise RecordError(f"record={str(path)!r} cannot be written: {error.strerror or error}") from error
        self._write({"event": _WHAT, "version": VERSION, "time": time.time()})

    def __call__(self, event: Event) -> None:
        line = {field.name: getattr(event, field.name) for field in fields(event)}
        if isinstance(event, RunStarted):
            line["plan"] = None if event.plan is None else event.plan.summary()
        elif is_dataclass(line.get("report")):
            line["kind"] = type(line["report"]).__name__
        self._write({"event": type(event).__name__, **line})

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Write a last line when a block ends, with the error that has ended it: without one, who knows."""
        error = ""
        try:
            yield
        except BaseException as reason:
            error = described(reason)
            raise
        finally:
            self._write({"event": "RecordFinished", "time": time.time(), "error": error})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # by hand, as a forked child may have the file, too
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(_encoded(line) + b"\n")
        except OSError as error:  # a full disk is no reason to give the work up
            logger.warning("the record of this run ends here, as %s cannot be written: %s", self.path, error)
            self.close()


def _opened(place: Path, path: str | Path) -> IO[bytes]:
    """Open a file to write, and empty it, unless another evaluation is writing it, here or in any process."""
    # it keeps what is in it until it is ours
    file = open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb", buffering=0)  # noqa: SIM115
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a device takes the lines of many
            _lock(file, path)
            file.truncate()
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: IO[bytes], path: str | Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordError(
            f"record={str(path)!r}: another evaluation is writing this file: name a folder, as "
            "record='records/', where each evaluation gets a file of its own"
        ) from None
    except OSError as error:  # not all file systems have locks, and there nobody can tell
        logger.debug("%s is not locked: %s", path, error)


def refuse_address(option: str, path: str | os.PathLike[str]) -> None:
    """Refuse an address: a record grows line by line, and only a file can."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)):
        raise RecordError(
            f"{option}={str(path)!r} is an address, and a {option} is a file of this machine: name one, "
            "and copy it when it is complete"
        )


def _place(path: str | Path) -> Path:
    """Return the file to write, and refuse to replace what is no record."""
    place = Path(path).expanduser()
    if str(path).endswith("/") or place.is_dir():
        return place / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}.jsonl"
    if not place.is_file():  # there is none; if it is something else, opening it says so
        return place
    with open(place, "rb") as file:
        first = file.readline(1 << 16)
    if first and _parsed(first).get("event") != _WHAT:
        raise RecordError(
            f"record={str(path)!r}: a file is there that is no record of wrenla, and stays: name another one"
        )
    return place


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line of a record, {} if it is none."""
    try:
        found = msgspec.json.decode(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_record(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the events of a record, as dicts with the fields of `wrenla.run.events` and ``"event"``.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    list of dict
        A last line that is cut off, as that of a killed run may be, is left out.

    Raises
    ------
    RecordError
        It is no record, or one of another version of the format, or damaged.
    """
    return list(events_of(path))


def events_of(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a record one by one, as `read_record` has them: it may be larger than memory."""
    try:
        with open(Path(path).expanduser(), "rb") as file:
            head = _parsed(file.readline())
            if head.get("event") != _WHAT:
                raise RecordError(f"{path} is no record of a run: make one by compute(record='run.jsonl')")
            if head.get("version") != VERSION:
                raise RecordError(
                    f"{path} is a record of format {head.get('version')}, and this wrenla reads {VERSION}: "
                    "use the wrenla that has written it"
                )
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):  # cut off
                    return
                event = _parsed(line)
                if "event" not in event:
                    raise RecordError(f"{path}, line {number}: damaged; it is no event")
                yield event
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error
