"""A measured figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Figure"]


@dataclass(frozen=True)
class Figure:
    """One line of the table: a measured figure beside what it must reach and what we want."""

    HEAD: ClassVar = ("work", "figure", "measured", "must", "goal", "verdict", "note")
    ABOUT: ClassVar = ""

    work: str
    figure: str
    value: float
    must: float | None
    goal: float | None
    unit: str = "×"
    smaller_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.must is None or self.goal is None:  # it says where we stand
            return ""

        def reached(bound: float) -> bool:
            return self.value <= bound if self.smaller_is_better else self.value >= bound

        return "goal" if reached(self.goal) else "reached" if reached(self.must) else "MISSED"

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        sign = "≤" if self.smaller_is_better else "≥"
        bounds = ("" if bound is None else f"{sign} {bound:g}" for bound in (self.must, self.goal))
        return (self.work, self.figure, f"{self.value:.3g} {self.unit}", *bounds, self.verdict, self.note)
