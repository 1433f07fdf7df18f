"""Function, with the environments that wait for its next call."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from wrenla.emulator.api.pending_state import Transition
from wrenla.emulator.runtime.environment import Environment
from wrenla.emulator.runtime.function_config import FunctionConfig

__all__ = ["Function"]


@dataclass(slots=True)
class Function:
    """A function that exists.

    Parameters
    ----------
    config : FunctionConfig
    reserved : int, optional
        Calls that may run at a time.
    transition : Transition, optional
        Why it is not ready.
    """

    config: FunctionConfig
    reserved: int | None = None
    transition: Transition | None = None
    running: int = 0
    deleted: bool = False
    idle: list[Environment] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
