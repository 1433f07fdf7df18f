from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from wrenla_handler.stores.memory import MemoryStore

DTYPES = ("float32", "float64", "complex64", "complex128")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporaries in a store that is this test's alone, and no thread of it left."""
    name = f"interchange-{uuid.uuid4().hex}"
    monkeypatch.setenv("WRENLA_STORE", f"memory://{name}")
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    with warnings.catch_warnings():
        # zarr-python says that its complex types are not in the specification yet
        warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
        yield
    MemoryStore.drop(name)
    names = [thread.name.partition("_")[0] for thread in threading.enumerate()]
    assert not {"wrenla-dask", "wrenla-zarr"} & set(names)


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporaries."""
    store = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("WRENLA_STORE", str(store))
    return store


def numbers(shape: tuple[int, ...], dtype: str = "float64", seed: int = 7) -> npt.NDArray[Any]:
    source = np.random.default_rng(seed)
    a = source.standard_normal(shape)
    return (a + 1j * source.standard_normal(shape) if dtype[0] == "c" else a).astype(dtype)


def same(read: Any, expected: npt.NDArray[Any]) -> bool:
    """Tell whether two arrays are equal to the last bit, in shape and dtype as well."""
    found = np.asarray(read)
    return (found.shape, found.dtype) == (expected.shape, expected.dtype) and np.array_equal(
        np.ascontiguousarray(found).view(np.uint8), np.ascontiguousarray(expected).view(np.uint8)
    )
