"""Learning rates over a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trapezoid:
    """From 0 to the full rate in `warmup` steps, constant, then straight down to `last` of it, reached after all steps.

    `decay`: the part of all steps that the way down takes. Compression networks gain most of their last decibel on the
    way down.
    """

    warmup: int = 100
    decay: float = 0.4
    last: float = 0.01

    def __post_init__(self) -> None:
        if not (self.warmup >= 0 and 0 <= self.decay <= 1 and 0 <= self.last <= 1):
            raise ValueError(f"a schedule has warmup >= 0, and decay and last from 0 to 1, not {self}")

    def factor(self, step: int, steps: int) -> float:
        """What the full rate is multiplied with at a step, 0 to steps - 1; from `steps` on it stays `last`."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        falling = steps * self.decay
        left = max(0.0, min(1.0, (steps - step) / falling)) if falling else 1.0
        return rise * (self.last + (1 - self.last) * left)
