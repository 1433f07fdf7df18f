"""Configuration of a function in the emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FunctionConfig"]


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """Configuration of environments; a change means new environments.

    Parameters
    ----------
    name, arn, handler, runtime, role : str
    memory : int
        MB.
    timeout : int
        Seconds.
    ephemeral : int
        MB of ``/tmp``.
    variables : mapping
        Environment variables.
    code : Path
        The unpacked package.
    code_sha256 : str
        Of the package.
    """

    name: str
    arn: str
    handler: str
    runtime: str
    role: str
    memory: int
    timeout: int
    ephemeral: int
    variables: Mapping[str, str]
    code: Path
    code_sha256: str
