"""Completion of matrices in shells: paths, and addresses on S3."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

__all__ = ["complete_matrix", "prepare"]

_VARIABLE = "_WRENLA_COMPLETE"

_SECONDS = 2.0
"""Time that a look at S3 may take: somebody waits at the keyboard."""


def complete_matrix(incomplete: str) -> list[CompletionItem[str]]:
    """Return what a matrix's address may go on with; of paths, the shell itself knows that best.

    Examples
    --------
    >>> [(item.value, item.type) for item in complete_matrix("A.n")], complete_matrix("s3:")[0].value
    ([('A.n', 'file')], 's3://')
    """
    if incomplete in ("s3", "s3:", "s3:/"):
        return [CompletionItem("s3://")]
    if not incomplete.startswith("s3://"):
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(f"s3://{name}") for name in _on_s3(incomplete.removeprefix("s3://"))]


def _on_s3(begun: str) -> list[str]:
    """Return buckets, or prefixes in one, with a slash behind; nothing if S3 does not answer at once."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from wrenla_handler.stores.s3.credentials import renewing_session

    patience = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    bucket, slash, prefix = begun.partition("/")
    try:
        client: Any = renewing_session(None, None).client("s3", config=patience)
        if not slash:
            names = [f"{each['Name']}/" for each in client.list_buckets().get("Buckets", ())]
            return [name for name in names if name.startswith(begun)]
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=1000)
    except (BotoCoreError, ClientError):
        return []
    return [f"{bucket}/{each['Prefix']}" for each in found.get("CommonPrefixes", ())]


class _Bash(BashComplete):
    """Completion for Bash, which takes what stands before a colon for a word of its own."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n", "    [[ $COMPREPLY == */ ]] && compopt -o nospace\n\n    return 0\n"
    )
    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        words = os.environ["COMP_WORDS"].split("\n")
        current = int(os.environ["COMP_CWORD"])
        whole: list[str] = []  # up to the cursor, put together again, without quotes
        for number, word in enumerate(words[: current + 1]):
            if number and ":" in (word, words[number - 1]):
                whole[-1] += word
            else:
                whole.append("".join(split_arg_string(word)))
        _, *args, incomplete = whole
        self._before = incomplete[: incomplete.rfind(":") + 1]
        return args, incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{item.value.removeprefix(self._before)}"


def prepare() -> None:
    """Let click use this completion in Bash; its own ones do for other shells.

    Raises
    ------
    click.UsageError
        What the environment asks for is no completion.
    """
    add_completion_class(_Bash)
    asked = os.environ.get(_VARIABLE)
    known = [f"{shell}_{what}" for what in ("source", "complete") for shell in ("bash", "zsh", "fish")]
    if asked and asked not in known:
        raise click.UsageError(
            f"{_VARIABLE}={asked}: write {', '.join(known[:2])} or {known[2]}, or unset it"
        )
