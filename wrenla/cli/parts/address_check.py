"""Existence check of an address: a typo must not look like success."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wrenla_handler.stores.base import Store

__all__ = ["why_no_folder"]


def why_no_folder(store: Store, url: str, *, may_be_missing: bool = False) -> str:
    """Return why a store in a folder is not there, "" if it is, or if it is in memory or on S3.

    A prefix on S3 without objects is as good as any: there are no folders that could be missing. The folder
    of a setting may be: whoever writes to it first makes it.
    """
    from wrenla.executors.aws_lambda.names import BUCKET
    from wrenla_handler.stores.base import Reach
    from wrenla_handler.stores.urls import folder_of

    if store.reach != Reach.HOST:
        return ""
    path = folder_of(store.url)
    if os.path.isdir(path):
        return ""
    if os.path.lexists(path):
        return f"{url}: this is not a folder"
    if may_be_missing:
        return ""
    first, slash, _ = url.partition("/")
    # what is written as bucket/prefix, and is not there, was most likely meant to be on S3
    hint = f"; on S3 it would be s3://{url}" if slash and BUCKET.fullmatch(first) else ""
    return f"{url}: there is no such folder{hint}"
