"""Stores for tiles behind one small contract: memory, a folder, an S3 prefix."""

from wrenla_handler.stores.base import (
    LEASE,
    RUNS,
    SAVING,
    CopyingStore,
    Data,
    MovingStore,
    ObjectInfo,
    OwningStore,
    Reach,
    SharedStore,
    Store,
)
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import folder_of, join, open_store, reach_of

__all__ = [
    "LEASE",
    "RUNS",
    "SAVING",
    "CopyingStore",
    "Data",
    "LocalStore",
    "MemoryStore",
    "MovingStore",
    "ObjectInfo",
    "OwningStore",
    "Reach",
    "S3Store",
    "SharedStore",
    "Store",
    "folder_of",
    "join",
    "open_store",
    "reach_of",
]
