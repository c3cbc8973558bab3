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
    from rdp.selection.explaining.explanation import Explanation
    from rdp.selection.frontiers.point import FrontierPoint
    from rdp.selection.frontiers.verb import Frontier
    from rdp.selection.loading import load_selection
    from rdp.selection.problem import Constraint, ImageBound, Problem, Term
    from rdp.selection.result import Budget, Selection
    from rdp.selection.sampling.bootstrap import Bootstrap, bootstrap
    from rdp.selection.sampling.comparison import compare, paired_test
    from rdp.selection.sampling.holdout import Holdout
    from rdp.selection.sampling.paired_result import Comparison, PairedTest
    from rdp.selection.solving import solve, solve_problem
    from rdp.selection.statement import Statement
    from rdp.selection.status import Status
    from rdp.selection.sweeping import solve_many

_HOMES = {
    "AUTO": "backends",
    "BACKENDS": "backends",
    "Bootstrap": "sampling.bootstrap",
    "Budget": "result",
    "Comparison": "sampling.paired_result",
    "Constraint": "problem",
    "Explanation": "explaining.explanation",
    "Frontier": "frontiers.verb",
    "FrontierPoint": "frontiers.point",
    "Holdout": "sampling.holdout",
    "ImageBound": "problem",
    "PairedTest": "sampling.paired_result",
    "Problem": "problem",
    "Selection": "result",
    "Statement": "statement",
    "Status": "status",
    "Term": "problem",
    "best_single_point": "baselines",
    "bootstrap": "sampling.bootstrap",
    "build_problem": "builder",
    "compare": "sampling.comparison",
    "fair_mixture": "baselines",
    "load_selection": "loading",
    "paired_test": "sampling.comparison",
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
