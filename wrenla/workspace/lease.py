"""Leases: which process uses a place in a store now.

A lease is an object that only one process can create. Its holder counts it up every few seconds. Whoever
wants the place reads it: a holder of the same kernel and the same process namespace is looked for by its
process number; any other one is watched for a while, and is at work if the count moves. Clocks and host names
decide nothing, as those of two machines or containers may differ, or be the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

from wrenla.workspace.process_identity import boot, is_running, namespace, start_of
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Store
from wrenla_handler.threads import no_thread

__all__ = ["Holder", "Lease", "Standing", "are_free", "is_free", "lease_keys", "standing"]

logger = logging.getLogger("wrenla.run")

RENEW_SECONDS = 5.0
"""How often a holder counts its lease up."""

WATCH_SECONDS = 30.0
"""How long a lease that is not counted up is watched before its holder is taken for dead."""

_POLL_SECONDS = 0.5
_KIND = "lease"
_LAST = 99_999_999

_BEAT = "-count"
"""Ends the key of the object that counts a lease up. The lease itself is not written again while it is held:
a holder that was stopped in the middle, and goes on after a minute, would make one again that is gone."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Holder of a lease: a process, and its purpose.

    Attributes
    ----------
    owner : str
        A name that no other lease has had.
    count : int
        Raised with every renewal.
    ended : bool
        Whether it was given back.
    host, pid : str, int
        For messages; numbers of processes mean nothing outside their namespace.
    boot, namespace : str
        Of the kernel and of the process numbers; "" where the system does not say.
    started : str
        When the process began: numbers are used again.
    note : mapping of str to str
        What the lease is for.
    """

    owner: str
    count: int = 0
    ended: bool = False
    host: str = ""
    pid: int = 0
    boot: str = ""
    namespace: str = ""
    started: str = ""
    note: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def mine(cls, owner: str, note: Mapping[str, str]) -> Holder:
        """Return this process as a holder."""
        pid = os.getpid()
        return cls(owner, 0, False, socket.gethostname(), pid, boot(), namespace(), start_of(pid), note)

    @property
    def alive(self) -> bool | None:
        """Whether the holder is at work; None if that has to be watched."""
        if self.ended:
            return False
        if self.boot and self.namespace and (self.boot, self.namespace) == (boot(), namespace()):
            if self.pid == os.getpid() and start_of(self.pid) == self.started:
                # ours may have been interrupted just when it was taken, so that nobody would give it back
                return self.owner in _held
            return is_running(self.pid, self.started)
        return None

    def __str__(self) -> str:
        host = "".join(char if char.isprintable() else "?" for char in self.host)
        return f"process {self.pid} on {host}" if host else "an unknown process"

    def encode(self) -> bytes:
        """Return the content of the object."""
        return json.dumps({"wrenla": _KIND, **asdict(self)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Holder | None:
        """Return a holder from the content of an object, None if it is damaged or no lease."""
        try:
            plain = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(plain, dict) or plain.pop("wrenla", None) != _KIND:
            return None
        types = {f.name: type(f.default) for f in fields(cls) if f.name not in ("owner", "note")}
        types |= {"owner": str, "note": dict}
        if plain.keys() != types.keys() or any(type(plain[name]) is not types[name] for name in types):
            return None
        if not all(isinstance(value, str) for value in plain["note"].values()):
            return None
        return cls(**plain)


_held: set[str] = set()
"""Owners of the leases of this process."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The latest lease of a place.

    Attributes
    ----------
    number : int
    holder : Holder or None
        None if the object is damaged: what it said is not known.
    data : bytes
        The object's content.
    """

    number: int
    holder: Holder | None
    data: bytes

    @property
    def alive(self) -> bool | None:
        """Whether its holder is at work; None if that has to be watched."""
        return None if self.holder is None else self.holder.alive

    def __str__(self) -> str:
        return str(self.holder or "an unknown process (its lease is damaged)")


def standing(store: Store, prefix: str) -> Standing | None:
    """Return the latest lease whose key begins with `prefix`, None if there is none."""
    numbers = _numbers(store, prefix)
    for number in sorted(numbers, reverse=True):
        try:
            data = bytes(store.get(_key(prefix, number)))
        except KeyError:  # given back, or succeeded, between the two requests
            continue
        holder = Holder.decode(data)
        with contextlib.suppress(KeyError):  # there is none in the first seconds
            beat = bytes(store.get(_key(prefix, number) + _BEAT))
            data, counted = data + beat, Holder.decode(beat)
            if counted is not None and (holder is None or holder.owner == counted.owner):
                holder = replace(counted, ended=counted.ended or (holder is not None and holder.ended))
        return Standing(number, holder, data)
    return None


def _numbers(store: Store, prefix: str) -> list[int]:
    keys = (key.removeprefix(prefix) for key in store.list(prefix))
    return [int(key) for key in keys if re.fullmatch("[0-9]{8}", key)]


def lease_keys(store: Store, prefix: str) -> list[str]:
    """Return the keys of all leases of a place, and of what counts them."""
    form = re.compile(f"[0-9]{{8}}({_BEAT})?")
    return [key for key in store.list(prefix) if form.fullmatch(key.removeprefix(prefix))]


def _key(prefix: str, number: int) -> str:
    return f"{prefix}{number:08d}"


def is_free(store: Store, prefix: str, found: Standing | None) -> bool:
    """Tell whether the holder of a lease is gone. It may take half a minute: see `are_free`."""
    return found is None or are_free([(store, prefix, found)])[0]


def are_free(places: Sequence[tuple[Store, str, Standing]]) -> list[bool]:
    """Tell of some leases whether their holders are gone.

    Those of which this machine cannot tell are all watched together, for `WATCH_SECONDS` at most.
    """
    free = {n: not found.alive for n, (_, _, found) in enumerate(places) if found.alive is not None}
    watched = [n for n in range(len(places)) if n not in free]
    if watched:
        store, _, found = places[watched[0]]
        others = f" and {len(watched) - 1} more" if len(watched) > 1 else ""
        logger.warning(
            "%s: watching for %.0f s whether %s%s still works there",
            *(store.url, WATCH_SECONDS, found, others),
        )
    deadline = time.monotonic() + WATCH_SECONDS
    while watched:
        # Before the look: the last look comes after all of the time, or a slow holder would be taken for
        # dead.
        last = time.monotonic() >= deadline
        for n in list(watched):
            moved = _moved(*places[n])
            if moved or last:
                free[n] = not moved
                watched.remove(n)
        if watched:
            time.sleep(_POLL_SECONDS)
    return [free[n] for n in range(len(places))]


def _moved(store: Store, prefix: str, found: Standing) -> bool:
    """Tell whether somebody has counted a lease up, or taken the next one, since it was read."""
    now = standing(store, prefix)
    return now is not None and (now.number, now.data) != (found.number, found.data)


class Lease:
    """A lease of this process, counted up by a thread until it is given back.

    Parameters
    ----------
    store : Store
    prefix : str
        What its key begins with.
    number : int
    holder : Holder
    """

    def __init__(self, store: Store, prefix: str, number: int, holder: Holder) -> None:
        self.store, self.prefix, self.number, self.holder = store, prefix, number, holder
        self._process = os.getpid()
        self._ended, self._lost = threading.Event(), threading.Event()
        # Not `self`: a thread that knows the lease would keep it alive, and the finalizer below would never
        # end it.
        arguments = (store, self.key, holder, self._ended, self._lost)
        self._renewing = threading.Thread(target=_renew, args=arguments, name="lease-renewal", daemon=True)
        try:
            self._renewing.start()
        except RuntimeError as error:
            store.delete(self.key)  # nobody would renew it
            raise no_thread("the thread that renews a lease", error) from error
        # the renewing thread must not outlive a lease that nobody has given back
        self._finalizer = weakref.finalize(self, _let_go, holder.owner, self._ended)

    @classmethod
    def succeed(
        cls, store: Store, prefix: str, found: Standing | None, note: Mapping[str, str], durable: bool = False
    ) -> Lease | None:
        """Take the lease after a dead holder's; None if another process was faster.

        Each lease is a new, create-only object: of two processes that find a dead one only one succeeds it.
        """
        number = 0 if found is None else found.number + 1
        if number > _LAST:
            raise StoreError(f"{store.url}: {_key(prefix, number - 1)}: no lease of wrenla's; remove it")
        holder = Holder.mine(uuid.uuid4().hex, note)
        # Before the object exists: a thread of this process that reads it at once takes an owner who is not
        # in `_held` for dead.
        _held.add(holder.owner)
        try:
            taken = store.put(_key(prefix, number), holder.encode(), create=True, durable=durable)
            # Create-only is not enough. Since we looked, somebody may have succeeded `found`, ended, and
            # removed all leases: then our number is free again, but the next holder begins at 0, and two
            # would hold the place.
            if taken and not _still_stands(store, prefix, found):
                store.delete(_key(prefix, number))
                taken = False
            if not taken:
                _held.discard(holder.owner)
                return None
            # After ours is there: without any lease the place would look free.
            for old in lease_keys(store, prefix):
                if old < _key(prefix, number):
                    store.delete(old)
            return cls(store, prefix, number, holder)
        except BaseException:
            _held.discard(holder.owner)
            raise

    @property
    def key(self) -> str:
        """Key of the object."""
        return _key(self.prefix, self.number)

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken this process for dead."""
        return self._lost.is_set()

    def still_held(self) -> bool:
        """Tell whether no other process has taken the place."""
        numbers = _numbers(self.store, self.prefix)
        return max(numbers, default=-1) == self.number and _is_ours(self.store, self.key, self.holder)

    def release(self) -> None:
        """Give it back and leave the object, which lets the next holder use what is there."""
        if os.getpid() != self._process:
            return  # a forked child has inherited it, and its parent goes on with it
        self.end_renewing()
        # if the store has failed, which may be why we end, the count stands still from now on
        with contextlib.suppress(StoreError):
            # Otherwise the object would be there again after the next holder has removed it.
            if self.still_held():
                self.store.put(self.key, replace(self.holder, ended=True).encode())
        self.stop()

    def remove(self) -> None:
        """Give it back and remove the object."""
        if os.getpid() != self._process:
            return
        self.end_renewing()
        try:
            # The count first. If this process dies in between, a lease without a count is still found, and
            # its holder is dead; a count without a lease is nobody's, so no clean-up would remove it.
            for key in (self.key + _BEAT, self.key):
                self.store.delete(key)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop the count, and leave the object for the caller to remove."""
        self.end_renewing()
        _let_go(self.holder.owner, self._ended)
        self._finalizer.detach()

    def end_renewing(self) -> None:
        """Stop the count: before the objects go, or the thread might write one after them."""
        self._ended.set()
        # The garbage collector may end what holds a lease in any thread, this one too, which cannot join
        # itself.
        if self._renewing is not threading.current_thread():
            self._renewing.join(timeout=5)


def _let_go(owner: str, ended: threading.Event) -> None:
    ended.set()
    _held.discard(owner)


def _renew(store: Store, key: str, holder: Holder, ended: threading.Event, lost: threading.Event) -> None:
    """Count a lease up, as long as it is ours."""
    count = 0
    while not ended.wait(RENEW_SECONDS):
        count += 1
        # a store that does not answer now may do so the next time
        with contextlib.suppress(StoreError):
            # A process that was stopped for a minute may have lost the place: it must not write there again.
            if not _is_ours(store, key, holder):
                lost.set()
                return
            store.put(key + _BEAT, replace(holder, count=count).encode())


def _still_stands(store: Store, prefix: str, found: Standing | None) -> bool:
    """Tell whether a lease is still there; if not, it was succeeded, and the place has begun anew."""
    with contextlib.suppress(KeyError):
        return found is None or found.data.startswith(bytes(store.get(_key(prefix, found.number))))
    return False


def _is_ours(store: Store, key: str, holder: Holder) -> bool:
    try:
        found = Holder.decode(bytes(store.get(key)))
    except KeyError:
        return False
    return found is None or found.owner == holder.owner  # a damaged one is still nobody else's
