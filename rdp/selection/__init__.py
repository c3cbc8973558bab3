"""Selection: one operating point for every image, provably, within budgets.

    selection = solve(run, minimize="mse", at_most={"bpp": 0.25})

`Problem` and `Selection` are the types across package borders. Names are loaded when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdp.selection.backends import AUTO, BACKENDS
    from rdp.selection.baselines import best_single_point, fair_mixture, time_shared_mixture
    from rdp.selection.builder import build_problem
    from rdp.selection.loading import load_selection
    from rdp.selection.problem import Constraint, ImageBound, Problem, Term
    from rdp.selection.result import Budget, Selection
    from rdp.selection.solving import solve, solve_problem
    from rdp.selection.statement import Statement
    from rdp.selection.status import Status

_HOMES = {
    "AUTO": "backends",
    "BACKENDS": "backends",
    "Budget": "result",
    "Constraint": "problem",
    "ImageBound": "problem",
    "Problem": "problem",
    "Selection": "result",
    "Statement": "statement",
    "Status": "status",
    "Term": "problem",
    "best_single_point": "baselines",
    "build_problem": "builder",
    "fair_mixture": "baselines",
    "load_selection": "loading",
    "solve": "solving",
    "solve_problem": "solving",
    "time_shared_mixture": "baselines",
}

__all__ = [
    "AUTO",
    "BACKENDS",
    "Budget",
    "Constraint",
    "ImageBound",
    "Problem",
    "Selection",
    "Statement",
    "Status",
    "Term",
    "best_single_point",
    "build_problem",
    "fair_mixture",
    "load_selection",
    "solve",
    "solve_problem",
    "time_shared_mixture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
