"""HiGHS and SCIP through OR-Tools' MathOpt, one thread, fixed seed, tolerances at what they can do.

The model goes over as a protocol buffer filled from arrays: building it costs milliseconds, not one call a variable.
"""

from __future__ import annotations

import datetime
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer
from rdp.selection.backends.interrupt import run_interruptibly
from rdp.selection.backends.ortools import load_ortools
from rdp.selection.backends.scaling import objective_scale, row_scales
from rdp.selection.linear import LinearForm
from rdp.selection.status import Status

OBJECTIVE_TARGET = 1e6
"""Largest sum of the cost that a solver sees: its tolerances of 1e-9 are then 1e-15 of the range of the objective."""
ROW_TARGET = 1e4
"""Largest number of a constraint that a solver sees."""


def model_proto(form: LinearForm, cost_scale: float, scales: np.ndarray, integers: bool) -> Any:
    """The form as a MathOpt model: a variable for each allowed cell in canonical order; the images' rows come first."""
    load_ortools()
    from ortools.math_opt import model_pb2

    image, point = form.cells
    count = len(image)
    rows = [
        (row[image, point] * scale, budget * scale)
        for row, budget, scale in zip(form.coefficients, form.budgets, scales, strict=True)
    ]
    rows += [(mask[image, point].astype(np.float64), form.images - 1.0) for mask in form.cuts]

    model = model_pb2.ModelProto()
    model.variables.ids.extend(range(count))
    model.variables.lower_bounds.extend([0.0] * count)
    model.variables.upper_bounds.extend([1.0] * count)
    model.variables.integers.extend([integers] * count)
    cost = form.cost[image, point] * cost_scale
    used = np.flatnonzero(cost)
    model.objective.linear_coefficients.ids.extend(used.tolist())
    model.objective.linear_coefficients.values.extend(cost[used].tolist())

    constraints = model.linear_constraints
    constraints.ids.extend(range(form.images + len(rows)))
    constraints.lower_bounds.extend([1.0] * form.images + [-math.inf] * len(rows))
    constraints.upper_bounds.extend([1.0] * form.images + [float(budget) for _, budget in rows])
    # Cells come image by image, so this is already sorted by row, which MathOpt requires.
    matrix = model.linear_constraint_matrix
    matrix.row_ids.extend(image.tolist())
    matrix.column_ids.extend(range(count))
    matrix.coefficients.extend([1.0] * count)
    for k, (values, _) in enumerate(rows):
        nonzero = np.flatnonzero(values)
        matrix.row_ids.extend([form.images + k] * len(nonzero))
        matrix.column_ids.extend(nonzero.tolist())
        matrix.coefficients.extend(values[nonzero].tolist())
    return model


def run_mathopt(model: Any, solver: str, parameters: Any) -> Any:
    """Solve; a refusal of the solver becomes `SolverError`."""
    from ortools.math_opt.python import mathopt

    def call() -> Any:
        return mathopt.solve(
            mathopt.Model.from_model_proto(model), getattr(mathopt.SolverType, solver), params=parameters
        )

    try:
        return run_interruptibly(call)
    except (ValueError, RuntimeError, AttributeError) as error:
        # OR-Tools 9.15 looks for an attribute that its own status object has not.
        raise SolverError(f"{solver} refused the problem: {error}") from error


class _MathOpt(ABC):
    """What HiGHS and SCIP share."""

    name: str
    solver: str

    @abstractmethod
    def _parameters(self, mathopt: Any) -> Any:
        """What makes the solver exact, deterministic and single-threaded."""

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; see `Backend`."""
        load_ortools()
        from ortools.math_opt.python import mathopt

        cost_scale = objective_scale(form, OBJECTIVE_TARGET)
        model = model_proto(form, cost_scale, row_scales(form, ROW_TARGET), integers=True)
        parameters = self._parameters(mathopt)
        parameters.relative_gap_tolerance = 0.0
        parameters.absolute_gap_tolerance = gap_abs * cost_scale
        if time_limit is not None:
            parameters.time_limit = datetime.timedelta(seconds=max(time_limit, 0.0))
        result = run_mathopt(model, self.solver, parameters)
        reason = result.termination.reason
        reasons = mathopt.TerminationReason
        if reason in (reasons.INFEASIBLE, reasons.INFEASIBLE_OR_UNBOUNDED):
            return RawAnswer(Status.INFEASIBLE, None)
        bound = result.termination.objective_bounds.dual_bound / cost_scale
        if not math.isfinite(bound):
            bound = -math.inf
        if not result.has_primal_feasible_solution():
            if reason in (reasons.FEASIBLE, reasons.NO_SOLUTION_FOUND):
                return RawAnswer(Status.UNKNOWN, None, bound)
            raise SolverError(f"{self.name} ended with {reason.name}: {result.termination.detail or 'no detail'}")
        values = np.zeros(int(form.allowed.sum()))
        for variable, value in result.variable_values().items():
            values[variable.id] = value
        choice = choice_from(form, values)
        return RawAnswer(Status.OPTIMAL if reason is reasons.OPTIMAL else Status.FEASIBLE, choice, bound)


def choice_from(form: LinearForm, values: np.ndarray) -> np.ndarray:
    """The choice (N,) of solution values (one for each allowed cell): each image's largest, the first of equals."""
    grid = np.full(form.allowed.shape, -1.0)
    grid[form.cells] = values
    return np.asarray(grid.argmax(axis=1))


class Highs(_MathOpt):
    """HiGHS."""

    name = "highs"
    solver = "HIGHS"

    def _parameters(self, mathopt: Any) -> Any:
        from ortools.math_opt.solvers import highs_pb2

        options = highs_pb2.HighsOptionsProto()
        options.string_options["parallel"] = "off"
        options.int_options["random_seed"] = 0
        for tolerance in ("mip_feasibility_tolerance", "primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            options.double_options[tolerance] = 1e-9
        return mathopt.SolveParameters(highs=options)


class Scip(_MathOpt):
    """SCIP."""

    name = "scip"
    solver = "GSCIP"

    def _parameters(self, mathopt: Any) -> Any:
        from ortools.math_opt.solvers.gscip import gscip_pb2

        options = gscip_pb2.GScipParameters()
        options.real_params["numerics/feastol"] = 1e-9
        options.real_params["numerics/dualfeastol"] = 1e-9
        return mathopt.SolveParameters(gscip=options, threads=1, random_seed=1)
