"""Prices of AWS for invocations and requests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Prices"]

_FREE_STORAGE = 512
"""Megabytes of storage that every function has for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars, by default those of us-east-1 as of 2025, without free tier, discounts and transfer.

    Attributes
    ----------
    gb_second_x86, gb_second_arm : float
        One gigabyte of a function's memory for one second, by its processor.
    invocation : float
    storage_gb_second : float
        One gigabyte of a function's temporary storage (``/tmp``) for one second, beyond the first 512 MB.
    put, get : float
        One request to S3.

    Examples
    --------
    >>> f"{Prices().call(seconds=1.0, memory=1769, arm=False):.8f}"
    '0.00002899'
    """

    gb_second_x86: float = 0.0000166667
    gb_second_arm: float = 0.0000133334
    invocation: float = 0.20e-6
    storage_gb_second: float = 0.0000000309
    put: float = 5e-6
    get: float = 0.4e-6

    def per_second(self, memory: int, *, arm: bool, storage: int = _FREE_STORAGE) -> float:
        """Return the price per second of a function by its megabytes of memory and storage."""
        of_memory = memory / 1024 * (self.gb_second_arm if arm else self.gb_second_x86)
        return of_memory + max(0, storage - _FREE_STORAGE) / 1024 * self.storage_gb_second

    def call(self, seconds: float, memory: int, *, arm: bool, storage: int = _FREE_STORAGE) -> float:
        """Return the price of one call by its billed seconds."""
        return self.invocation + seconds * self.per_second(memory, arm=arm, storage=storage)
