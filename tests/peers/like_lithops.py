"""The names of Lithops for what wrenla has: so much of them as Lithops' functional tests ask for."""

from __future__ import annotations

import inspect
import io
import itertools
import os
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import wrenla as wl
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store

__all__ = ["FunctionExecutor", "Storage"]


class Result:
    """A future, with the states that Lithops' have."""

    def __init__(self, future: wl.Future[Any], owner: FunctionExecutor) -> None:
        self.future, self.owner = future, owner
        self.alone = self.spent = False

    running = property(lambda self: self.future.running())
    ready = success = done = property(lambda self: self.future.done())

    def result(self) -> Any:
        return _resolved(self.future.result(timeout=60))


class Results(list[Result]):
    """Futures of one job."""

    def map(self, fn: Callable[..., Any]) -> Results:
        return self[0].owner.map(fn, self)

    def get_result(self) -> Any:
        return self[0].owner.get_result(self)

    def __getitem__(self, at: Any) -> Any:
        return Results(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def __add__(self, other: Any) -> Results:
        return Results([*self, *other])


def _resolved(value: Any) -> Any:
    """Wait for futures that a function has returned."""
    if isinstance(value, Result):
        return value.result()
    return [each.result() for each in value] if isinstance(value, Results) else value


class FunctionExecutor:
    """A `wl.LocalExecutor`, by the names of Lithops."""

    kind: ClassVar[Any] = "process"
    opened: ClassVar[weakref.WeakSet[FunctionExecutor]] = weakref.WeakSet()

    def __init__(self, config: Any = None, max_workers: int = 2, **_: Any) -> None:
        self.executor = wl.LocalExecutor(max_workers=max_workers, kind=self.kind, allowed_mem="600 MiB")
        self._pending: list[Result] = []
        self.opened.add(self)

    def __enter__(self) -> FunctionExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()

    def call_async(self, fn: Callable[..., Any], data: Any, **_: Any) -> Result:
        made = self._added([self.executor.submit(_Call(fn), data)])[0]
        made.alone = True
        return made

    def map(
        self,
        fn: Callable[..., Any],
        iterdata: Any,
        extra_args: Any = (),
        extra_env: dict[str, str] | None = None,
        obj_chunk_size: int | None = None,
        obj_chunk_number: int | None = None,
        **_: Any,
    ) -> Results:
        inputs = list(_inputs(iterdata, obj_chunk_size, obj_chunk_number))
        call = _Call(fn, extra_args, extra_env or {})
        return self._added(self.executor.submit_many(call, inputs, range(len(inputs))))

    def map_reduce(
        self,
        fn: Callable[..., Any],
        iterdata: Any,
        reduce: Callable[[list[Any]], Any],
        obj_reduce_by_key: bool = False,
        obj_chunk_size: int | None = None,
        obj_chunk_number: int | None = None,
    ) -> Results:
        inputs = list(_inputs(iterdata, obj_chunk_size, obj_chunk_number))
        if not (obj_reduce_by_key or obj_chunk_size or obj_chunk_number):
            # one reduction of all, since what it returns is another kind of thing than what it gets
            whole = self.executor.map_reduce(_Call(fn), inputs, reduce, fan_in=max(2, len(inputs)))
            return self._added([whole], alone=True)
        mapped = self.map(fn, inputs)
        groups: dict[str, list[Result]] = {}
        for given, result in zip(inputs, mapped, strict=True):
            groups.setdefault(given.key if obj_reduce_by_key else "", []).append(result)
            result.spent = True
        reduced = [
            self.executor.submit(reduce, [each.result() for each in group]) for group in groups.values()
        ]
        return mapped + self._added(reduced, alone=not obj_reduce_by_key)

    def wait(self, fs: Any = None, **_: Any) -> tuple[list[Result], list[Result]]:
        results = list(fs) if fs is not None else self._pending
        for each in results:
            each.future.exception(timeout=60)
        return results, []

    def get_result(self, fs: Any = None, **_: Any) -> Any:
        results, self._pending = list(self._pending if fs is None else fs), []
        wanted = [each for each in results if not each.spent]
        for each in results:
            each.spent = True
        if len(wanted) == 1 and wanted[0].alone:
            return wanted[0].result()
        return [each.result() for each in wanted]

    def clean(self, cs: Iterable[Any] = (), **_: Any) -> None:
        Storage().delete_cloudobjects(cs)

    def _added(self, futures: Sequence[wl.Future[Any]], *, alone: bool = False) -> Results:
        made = Results(Result(future, self) for future in futures)
        for each in made:
            each.alone = alone
        self._pending = [each for each in self._pending if not each.spent] + made
        return made


def _inputs(iterdata: Any, chunk_size: int | None, chunk_number: int | None) -> Iterator[Any]:
    """Yield inputs: values of futures, objects of addresses, and all else as it is."""
    for each in [iterdata] if isinstance(iterdata, str) else iterdata:
        if isinstance(each, Result):
            each.spent = True
            yield each.result()
        elif isinstance(each, str) and each.startswith(f"{Storage.backend}://"):
            folder, _, name = each.partition("://")[2].rpartition("/")
            bucket, _, prefix = folder.partition("/")
            for found in wl.objects(Storage.address(bucket) / prefix, pattern=name or None):
                whole = SimpleNamespace(nbytes=found.size, key=f"{prefix}/{found.key}")
                step = chunk_size or -(-whole.nbytes // (chunk_number or 1))
                parts = wl.objects(Storage.address(bucket) / prefix, pattern=found.key, chunk=step)
                yield from (Object(part, bucket, whole.key, n) for n, part in enumerate(parts))
        else:
            yield each


@dataclass
class Object:
    """A part of an object, as a function gets it."""

    stored: wl.StoredObject
    bucket: str
    key: str
    part: int

    @property
    def chunk_size(self) -> int:
        return self.stored.nbytes

    @property
    def data_byte_range(self) -> tuple[int, int]:
        return self.stored.start, self.stored.stop

    @property
    def data_stream(self) -> io.BytesIO:
        return io.BytesIO("".join(self.stored.lines()).encode())


@dataclass(frozen=True)
class _Call:
    """Calls a function as Lithops binds what it is given."""

    function: Callable[..., Any]
    more: Any = ()
    variables: Any = None

    def __call__(self, data: Any, number: int = 0) -> Any:
        os.environ.update(self.variables or {})
        taken = inspect.signature(self.function).parameters
        positional, keywords = _bound(data, taken)
        if isinstance(self.more, dict):
            keywords |= self.more
        else:
            positional += tuple(self.more)
        for name, value in {"id": number, "storage": Storage()}.items():
            if name in taken:
                keywords.setdefault(name, value)
        if isinstance(data, Object) and "obj" in taken:
            positional, keywords = (), keywords | {"obj": data}
        return self.function(*positional, **keywords)


def _bound(data: Any, taken: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(data, tuple):
        return data, {}
    if not isinstance(data, dict):
        return (data,), {}
    keywords = dict(data)
    positional = tuple(keywords.pop("args", ()))
    return positional, keywords | keywords.pop("kwargs", {})


class Storage:
    """A folder of ours, by the names of Lithops."""

    backend = "localhost"
    bucket = "bucket"

    def __init__(self, storage_config: Any = None) -> None:
        """It is where the variable TEST_LITHOPS_STORAGE says, also in workers."""

    @staticmethod
    def address(bucket: str) -> Any:
        from pathlib import Path

        return Path(os.environ["TEST_LITHOPS_STORAGE"]) / bucket

    def _store(self, bucket: str) -> Any:
        return closing(open_store(self.address(bucket)))

    def put_object(self, bucket: str, key: str, body: Any) -> None:
        data = body.read() if hasattr(body, "read") else body
        with self._store(bucket) as store:
            store.put(key, data.encode() if isinstance(data, str) else data)

    def get_object(self, bucket: str, key: str, stream: bool = False, extra_get_args: Any = None) -> Any:
        start, stop = 0, None
        if extra_get_args:
            first, _, last = extra_get_args["Range"].removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1
        with self._store(bucket) as store:
            data = bytes(_there(store, bucket, key).get(key, start, stop))
        return io.BytesIO(data) if stream else data

    def head_object(self, bucket: str, key: str) -> dict[str, str]:
        with self._store(bucket) as store:
            return {"content-length": str(_there(store, bucket, key).size(key))}

    def head_bucket(self, bucket: str) -> Any:
        return {"ResponseMetadata": {"HTTPStatusCode": 200 if self.address(bucket).exists() else 404}}

    def list_objects(self, bucket: str, prefix: str | None = None) -> list[dict[str, Any]]:
        with self._store(bucket) as store:
            return [{"Key": found.key, "Size": found.nbytes} for found in store.scan(prefix or "")]

    def list_keys(self, bucket: str, prefix: str | None = None) -> list[str]:
        return [found["Key"] for found in self.list_objects(bucket, prefix)]

    def delete_object(self, bucket: str, key: str) -> None:
        with self._store(bucket) as store:
            store.delete(key)

    def delete_objects(self, bucket: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete_object(bucket, key)

    def put_cloudobject(self, body: Any) -> Any:
        from lithops.storage.utils import CloudObject

        key = f"cloud/{uuid.uuid4().hex}"
        self.put_object(self.bucket, key, body)
        return CloudObject(self.backend, self.bucket, key)

    def get_cloudobject(self, cloudobject: Any) -> Any:
        return self.get_object(cloudobject.bucket, cloudobject.key)

    def delete_cloudobject(self, cloudobject: Any) -> None:
        self.delete_object(cloudobject.bucket, cloudobject.key)

    def delete_cloudobjects(self, cloudobjects: Iterable[Any]) -> None:
        for each in itertools.chain(cloudobjects):
            self.delete_cloudobject(each)


def _there(store: Store, bucket: str, key: str) -> Store:
    from lithops.storage.utils import StorageNoSuchKeyError

    if not store.exists(key):
        raise StorageNoSuchKeyError(bucket, key)
    return store
