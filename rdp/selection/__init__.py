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
    from rdp.selection.comparison import compare, paired_test
    from rdp.selection.explanation import Explanation
    from rdp.selection.frontier import Frontier
    from rdp.selection.frontier_point import FrontierPoint
    from rdp.selection.holdout import Holdout
    from rdp.selection.loading import load_selection
    from rdp.selection.paired_result import Comparison, PairedTest
    from rdp.selection.problem import Constraint, ImageBound, Problem, Term
    from rdp.selection.result import Budget, Selection
    from rdp.selection.solving import solve, solve_problem
    from rdp.selection.statement import Statement
    from rdp.selection.status import Status
    from rdp.selection.sweeping import solve_many
    from rdp.selection.uncertainty import Bootstrap, bootstrap

_HOMES = {
    "AUTO": "backends",
    "BACKENDS": "backends",
    "Bootstrap": "uncertainty",
    "Budget": "result",
    "Comparison": "paired_result",
    "Constraint": "problem",
    "Explanation": "explanation",
    "Frontier": "frontier",
    "FrontierPoint": "frontier_point",
    "Holdout": "holdout",
    "ImageBound": "problem",
    "PairedTest": "paired_result",
    "Problem": "problem",
    "Selection": "result",
    "Statement": "statement",
    "Status": "status",
    "Term": "problem",
    "best_single_point": "baselines",
    "bootstrap": "uncertainty",
    "build_problem": "builder",
    "compare": "comparison",
    "fair_mixture": "baselines",
    "load_selection": "loading",
    "paired_test": "comparison",
    "solve": "solving",
    "solve_many": "sweeping",
    "solve_problem": "solving",
    "time_shared_mixture": "baselines",
}

__all__ = [
    "AUTO",
    "BACKENDS",
    "Bootstrap",
    "Budget",
    "Comparison",
    "Constraint",
    "Explanation",
    "Frontier",
    "FrontierPoint",
    "Holdout",
    "ImageBound",
    "PairedTest",
    "Problem",
    "Selection",
    "Statement",
    "Status",
    "Term",
    "best_single_point",
    "bootstrap",
    "build_problem",
    "compare",
    "fair_mixture",
    "load_selection",
    "paired_test",
    "solve",
    "solve_many",
    "solve_problem",
    "time_shared_mixture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
