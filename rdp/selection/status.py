"""What is known about a selection."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Mapped from what solvers say by ourselves, and only after the check against the table."""

    OPTIMAL = "optimal"
    """A selection, proven to be within the gap of the best."""
    FEASIBLE = "feasible"
    """A selection within the budgets, whose distance from the best is only bounded by the gap that is stated."""
    INFEASIBLE = "infeasible"
    """Proven: there is no selection within the budgets."""
    UNKNOWN = "unknown"
    """Neither a selection nor a proof that there is none, within the time limit."""
