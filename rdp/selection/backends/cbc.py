"""CBC through PuLP, as a child process.

PuLP reports "Optimal" also when CBC stopped at its time limit with some selection, so its status is not read:
`sol_status` and CBC's own log are. Everything it writes goes into a folder that is deleted.
"""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from rdp.errors import DependencyError, SolverError
from rdp.selection.backends import RawAnswer
from rdp.selection.backends.ortools import ortools_loads
from rdp.selection.backends.scaling import objective_scale, row_scales
from rdp.selection.linear import LinearForm
from rdp.selection.status import Status

OBJECTIVE_TARGET = 1e7
"""Largest sum of the cost that CBC sees: its smallest step between objectives, 1e-5, is then 1e-12 of the range, and
its log, which prints bounds with three decimals, tells them to 1e-10."""
ROW_TARGET = 1e4

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
_INFEASIBLE = re.compile(
    r"Problem is infeasible|Problem proven infeasible|Linear relaxation infeasible|Pre-processing says infeasible"
)
_LOWER_BOUND = re.compile(rf"^Lower bound:\s+{_NUMBER}\s*$", re.MULTILINE)


class Cbc:
    """CBC, one thread."""

    name = "cbc"

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; see `Backend`."""
        pulp = load_pulp()
        cost_scale = objective_scale(form, OBJECTIVE_TARGET)
        with warnings.catch_warnings():
            # PuLP 3 warns of what PuLP 4 will do otherwise; we stay below 4.
            warnings.simplefilter("ignore", DeprecationWarning)
            problem, variables = self._model(pulp, form, cost_scale)
        with tempfile.TemporaryDirectory(prefix="rdp-cbc-", dir=_place_for_files()) as folder:
            log = Path(folder) / "log.txt"
            solver = pulp.COIN_CMD(
                path=cbc_path(),
                msg=False,
                threads=1,
                gapRel=0.0,
                gapAbs=gap_abs * cost_scale,
                timeLimit=None if time_limit is None else max(time_limit, 0.0),
                logPath=str(log),
                options=["primalTolerance 1e-9", "randomCbcSeed 1"],
            )
            solver.tmpDir = folder
            started = perf_counter()
            try:
                problem.solve(solver)
            except pulp.PulpSolverError as error:
                tail = " ".join(log.read_text().split()[-40:]) if log.exists() else ""
                raise SolverError(f"cbc failed: {error} {tail}") from error
            text = log.read_text()
            late = time_limit is not None and perf_counter() - started >= time_limit
        raw = self._answer(pulp, problem, variables, form, text, cost_scale)
        # Preprocessing that the time limit ends says infeasible too.
        return RawAnswer(Status.UNKNOWN, None, raw.bound) if late and raw.status is Status.INFEASIBLE else raw

    def _model(self, pulp: Any, form: LinearForm, cost_scale: float) -> tuple[Any, list[Any]]:
        image, point = form.cells
        variables = [pulp.LpVariable(f"x{k}", cat="Binary") for k in range(len(image))]
        problem = pulp.LpProblem("selection", pulp.LpMinimize)

        def weighted(values: np.ndarray) -> Any:
            inside = values[image, point]
            used = np.flatnonzero(inside)
            return pulp.LpAffineExpression([(variables[k], float(inside[k])) for k in used])

        problem += weighted(form.cost * cost_scale)
        starts = np.flatnonzero(np.diff(image, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(image)], strict=True):
            problem += pulp.LpAffineExpression([(v, 1) for v in variables[start:end]]) == 1
        for row, budget, scale in zip(form.coefficients, form.budgets, row_scales(form, ROW_TARGET), strict=True):
            problem += weighted(row * scale) <= float(budget * scale)
        for mask in form.cuts:
            problem += weighted(mask.astype(np.float64)) <= form.images - 1
        return problem, variables

    def _answer(
        self, pulp: Any, problem: Any, variables: list[Any], form: LinearForm, log: str, cost_scale: float
    ) -> RawAnswer:
        state = problem.sol_status
        if state == pulp.LpSolutionInfeasible:
            return RawAnswer(Status.INFEASIBLE, None)
        bound = logged_bound(log) / cost_scale
        if state not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            # When preprocessing finds infeasibility, PuLP knows no status; only the log tells.
            infeasible = _INFEASIBLE.search(log) is not None
            return RawAnswer(Status.INFEASIBLE if infeasible else Status.UNKNOWN, None, bound)
        grid = np.full(form.allowed.shape, -1.0)
        grid[form.cells] = [variable.value() or 0.0 for variable in variables]
        choice = grid.argmax(axis=1)
        if state == pulp.LpSolutionIntegerFeasible:
            return RawAnswer(Status.FEASIBLE, choice, bound)
        # Optimal without a bound in the log: closed down to the objective; with one, down to that bound.
        return RawAnswer(Status.OPTIMAL, choice, bound if math.isfinite(bound) else form.cost_of(choice))


def logged_bound(log: str) -> float:
    """The lower bound that CBC's log ends with, less what printing may have rounded up; -inf when there is none."""
    found = _LOWER_BOUND.findall(log)
    if not found:
        return -math.inf
    digits = found[-1].partition("e")[0].partition(".")[2]
    return float(found[-1]) - 10.0 ** -len(digits)


def _place_for_files() -> str:
    """A folder for temporary files without white space in its path, at which PuLP parts CBC's command line."""
    for place in (tempfile.gettempdir(), "/tmp"):
        if not any(letter.isspace() for letter in place) and Path(place).is_dir():
            return place
    raise SolverError(
        f"cbc cannot work in {tempfile.gettempdir()!r}: the path has a space. Set TMPDIR to a folder without one, or "
        "use another --solver"
    )


def load_pulp() -> Any:
    """PuLP, after OR-Tools: PuLP imports `highspy` where it is installed, after which OR-Tools could not be loaded."""
    ortools_loads()
    try:
        import pulp
    except ImportError as error:
        raise DependencyError("the solver cbc needs PuLP: pip install 'pulp<4'") from error
    return pulp


def cbc_path() -> str:
    """The CBC program that PuLP brings, or the one on the PATH; raises `DependencyError` when there is neither."""
    import os
    import shutil

    from pulp.apis import coin_api

    bundled = Path(coin_api.pulp_cbc_path).resolve()
    if bundled.exists() and os.access(bundled, os.X_OK):
        return str(bundled)
    installed = shutil.which("cbc")
    if installed is None:
        raise DependencyError("there is no CBC: PuLP brings none for this machine and none is on the PATH")
    return installed
