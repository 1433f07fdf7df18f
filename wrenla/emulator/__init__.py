"""Lambda emulator: a Lambda on this machine, as strict as the real one: for tests, and to try things."""

from __future__ import annotations

from wrenla.emulator.faults import Fault
from wrenla.emulator.lambda_emulator import LambdaEmulator

__all__ = ["Fault", "LambdaEmulator"]
