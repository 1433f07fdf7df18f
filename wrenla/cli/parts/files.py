"""Files and folders that commands name: refused before anything runs if they are not as they must be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wrenla_handler.stores.base import Store

__all__ = ["OutputFile", "check_folder", "check_output", "complete_file", "why_no_folder"]


class OutputFile(click.ParamType[str]):
    """A file that is going to be written.

    Parameters
    ----------
    *suffixes : str
        Its name must have one of these: so a slip of the fingers replaces no matrix.
    makes_folder : bool
        The folder is made if it is not there.
    """

    name = "file"

    def __init__(self, *suffixes: str, makes_folder: bool = False) -> None:
        self._suffixes, self._makes_folder = suffixes, makes_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = os.path.expanduser(str(value))
        if os.path.splitext(path)[1].lower() not in self._suffixes:
            self.fail(f"{path}: name it {', '.join(f'*{each}' for each in self._suffixes)}", param, ctx)
        check_output(path, makes_folder=self._makes_folder)
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        return complete_file(ctx, param, incomplete)


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    """Let the shell complete the name of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def check_output(path: str, name: str = "", *, makes_folder: bool = False) -> None:
    """Refuse a file that cannot be written.

    Parameters
    ----------
    path, name : str
        `name` is what it was called, if that is not its path.
    makes_folder : bool
        The folder is made if it is not there.

    Raises
    ------
    click.UsageError
        It is no file, or there is no folder for it.
    PermissionError
        This user may not.
    """
    from wrenla.whole_file import check_replaceable

    name, folder = name or path, Path(path).parent
    try:
        check_replaceable(path)
    except IsADirectoryError:
        raise click.UsageError(f"{name}: this is a folder: name a file in it, or another one") from None
    except OSError as error:
        raise click.UsageError(f"{name}: {str(error.strerror).lower()}: name a file") from error
    if not (makes_folder or folder.is_dir()):
        raise click.UsageError(f"{name}: there is no folder {folder}; make it first")
    check_folder(folder, name)


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder, which may not be there yet, where this user may not write."""
    above = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not above.is_dir():
        raise click.UsageError(f"{name}: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: you may not write in {above}: name another place")


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
