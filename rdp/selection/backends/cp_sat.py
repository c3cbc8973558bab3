"""CP-SAT through OR-Tools: the form in scaled integers, rounded so that its bound is a bound of the true problem.

Costs and coefficients are rounded down and budgets too, which loses no selection: with integers on the left, a sum
that is at most s * b is at most floor(s * b). The scaled problem is thus a relaxation, and its bound holds for the
form. What it finds may pass a budget by less than one unit an image, and is checked like every answer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer
from rdp.selection.backends.interrupt import run_interruptibly
from rdp.selection.backends.ortools import load_ortools
from rdp.selection.backends.scaling import power_of_two
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray
from rdp.selection.status import Status

LARGEST_SUM = 2.0**50
"""No sum over a selection passes this: sums of it and of its multiples stay far inside 64 bits, and doubles hold it."""


class CpSat:
    """CP-SAT, one worker, fixed seed."""

    name = "cp-sat"

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; see `Backend`."""
        load_ortools()
        from ortools.sat.python import cp_model

        cost, cost_scale = scaled_down(form.cost)
        model, variables = self._model(cp_model, form, cost)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        # Presolve of 9.15 "proves" wrong optima of such problems when coefficients pass 2^32 (four of a thousand small
        # random ones; or-tools issue 5293), and without it the search takes about as long.
        solver.parameters.cp_model_presolve = False
        solver.parameters.relative_gap_limit = 0.0
        solver.parameters.absolute_gap_limit = math.floor(gap_abs * cost_scale)
        if time_limit is not None:
            solver.parameters.max_time_in_seconds = max(time_limit, 0.0)
        # Otherwise it takes Ctrl-C as the end of its time, and a selection that nobody waited for is reported.
        solver.parameters.catch_sigint_signal = False
        status = run_interruptibly(lambda: solver.solve(model))
        if status == cp_model.INFEASIBLE:
            return RawAnswer(Status.INFEASIBLE, None)
        if status == cp_model.MODEL_INVALID:
            raise SolverError(f"cp-sat refused the problem: {model.validate()}")
        # The bound is an integer below 2^50, which a double holds; it starts far below any sum.
        bound = max(solver.best_objective_bound, 0.0) / cost_scale
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return RawAnswer(Status.UNKNOWN, None, bound)
        taken = np.array([solver.boolean_value(variable) for variable in variables])
        grid = np.zeros(form.allowed.shape, dtype=np.bool_)
        grid[form.cells] = taken
        optimal = status == cp_model.OPTIMAL
        return RawAnswer(Status.OPTIMAL if optimal else Status.FEASIBLE, grid.argmax(axis=1), bound)

    def _model(self, cp_model: Any, form: LinearForm, cost: FloatArray) -> tuple[Any, list[Any]]:
        image, point = form.cells
        model = cp_model.CpModel()
        variables = [model.new_bool_var("") for _ in range(len(image))]
        starts = np.flatnonzero(np.diff(image, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(image)], strict=True):
            model.add_exactly_one(variables[start:end])

        def weighted(values: FloatArray) -> Any:
            whole = values[image, point].astype(np.int64)
            used = np.flatnonzero(whole)
            return cp_model.LinearExpr.weighted_sum([variables[k] for k in used], whole[used].tolist())

        for row, budget in zip(form.coefficients, form.budgets, strict=True):
            whole, scale = scaled_down(row)
            model.add(weighted(whole) <= math.floor(budget * scale))
        for mask in form.cuts:
            model.add(weighted(mask.astype(np.float64)) <= form.images - 1)
        model.minimize(weighted(cost))
        return model, variables


def scaled_down(values: FloatArray) -> tuple[FloatArray, float]:
    """Whole numbers floor(scale * values) (N, M), and the power of two that keeps every selection's sum under
    `LARGEST_SUM`; the values are non-negative."""
    scale = power_of_two(float(values.max(axis=1).sum()), LARGEST_SUM)
    return np.floor(values * scale), scale
