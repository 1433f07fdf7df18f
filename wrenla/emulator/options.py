"""Options of an emulator, and what it reports when it is ready."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Isolation", "MemoryGuard", "Options", "Ready"]

Isolation = Literal["auto", "bubblewrap", "plain"]
"""How functions are kept apart from the machine; "auto" takes bubblewrap where it works."""

MemoryGuard = Literal["auto", "cgroup", "watcher"]
"""What holds functions to their memory; "auto" takes cgroups where they work."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one emulator.

    Parameters
    ----------
    parent : int
        The process with which it ends.
    isolation : {"auto", "bubblewrap", "plain"}
    memory_guard : {"auto", "cgroup", "watcher"}
    account_concurrency : int
        Calls that may run at a time, of all functions together.
    enforce_iam : bool
        Whether the policies of users and roles are checked.
    region : str
    port : int
        Of the Lambda API; 0 for one that is free.
    """

    parent: int
    isolation: Isolation = "auto"
    memory_guard: MemoryGuard = "auto"
    account_concurrency: int = 1000
    enforce_iam: bool = False
    region: str = "us-east-1"
    port: int = 0

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def decode(text: str) -> Options:
        """Read what `encode` has written."""
        return Options(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Ready:
    """Ready message of an emulator, in one line.

    Parameters
    ----------
    pid : int
    lambda_url, s3_url : str
        The latter also for IAM, STS and CloudWatch Logs.
    key, secret : str
        Credentials that are worth nothing anywhere else.
    account : str
    isolation, memory_guard : str
        What "auto" has come to.
    missing : tuple of str
        Protection that the real Lambda has and this one has not, in words.
    """

    pid: int
    lambda_url: str
    s3_url: str
    key: str
    secret: str
    account: str
    isolation: str
    memory_guard: str
    missing: tuple[str, ...]

    def encode(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def decode(text: str) -> Ready:
        """Read what `encode` has written."""
        fields = json.loads(text)
        return Ready(**{**fields, "missing": tuple(fields["missing"])})
