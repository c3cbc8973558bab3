"""`solve_set_level`: from a table, scorers of set-level distances and the user's words to a selection.

solve_set_level(run, {"kid_inception": scorer}, minimize="kid_inception", at_most={"bpp": 0.28},
                at_least={"psnr": 31})
solve_set_level(run, {"swd": scorer}, minimize="bpp", at_most={"swd": 0.4})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from rdp.analysis.sets.base import SetScorer
from rdp.errors import SpecError
from rdp.execution import Progress
from rdp.selection.problem import Problem
from rdp.selection.setlevel.enumerate import MOST_CHOICES
from rdp.selection.setlevel.optimise import ITERATIONS, SET_GAP, optimise
from rdp.selection.setlevel.result import SetSelection
from rdp.selection.setlevel.stating import state_set_problem
from rdp.selection.setlevel.terms import SetProblem
from rdp.selection.statement import Statement
from rdp.tables import read_table

Scorers: TypeAlias = Mapping[str, SetScorer | Callable[[Problem], SetScorer]]
"""Scorers by the names that the words use, or what makes one for the images and points of a problem, in its order."""
PER_IMAGE = ("each_at_most", "each_at_least", "group_at_most", "group_at_least", "weights", "cap")


def solve_set_level(
    source: Any,
    scorers: Scorers,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    progress: Progress | None = None,
    columns: Mapping[str, str] | None = None,
    **words: Any,
) -> SetSelection:
    """Choose one operating point for every image, where what is minimised or bounded may be of the whole set.

    `source` is what `rdp.solve` takes, or a `Problem`, which brings its own averaged budgets (and its objective, unless
    `minimize` names a scorer); then only set-level names are said here. A name of `scorers` in `minimize` or `at_most`
    is a set-level value, counted in its convex form (of kid the V-statistic; the reported score stands beside it), any
    other a column. `words` are the others of `rdp.solve`: weights, points, fix, forbid, cap and so on.
    `gap`, `time_limit`, `iterations`, `seed`: see `minimise`.

    Returns also when there is no selection. Raises `TableError` and `SpecError` for what cannot be solved as stated.
    """
    _check_names(scorers, maximize, at_least, words)
    upper = dict(at_most or {})
    bounds = {name: upper.pop(name) for name in list(upper) if name in scorers}
    if minimize not in scorers and not bounds:
        raise SpecError(
            f"nothing set-level is optimised or bounded; name one of {', '.join(scorers)} in minimize or at_most, or "
            "use rdp.solve"
        )
    target = minimize if minimize in scorers else None
    if isinstance(source, Problem):
        if words or upper or at_least or maximize or columns or (minimize and target is None):
            raise SpecError("a Problem brings its own words; say only the set-level ones, or give the table instead")
        problem = source
    else:
        said: dict[str, Any] = {"at_most": {**upper, **bounds}, "at_least": at_least, "columns": columns}
        statement = Statement.of(minimize=minimize, maximize=maximize, **said, **words)
        problem = state_set_problem(read_table(source, columns), statement, target, bounds)
    made = {
        name: _made(name, scorers[name], problem) for name in dict.fromkeys([*([target] if target else []), *bounds])
    }
    limits = tuple((made[name], value) for name, value in bounds.items())
    names = {id(scorer): name for name, scorer in made.items()}
    asked = SetProblem.of(problem, made[target] if target else None, limits, names)
    return optimise(asked, gap=gap, time_limit=time_limit, iterations=iterations, seed=seed, progress=progress)


def minimise(
    problem: Problem,
    scorer: SetScorer,
    *,
    at_most: Sequence[tuple[SetScorer, float]] = (),
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    enumerated: int = MOST_CHOICES,
    seed: int = 0,
    progress: Progress | None = None,
) -> SetSelection:
    """Minimise the convex form of a scorer within the averaged budgets of a problem, whose objective is not looked at.

    `at_most` are set-level budgets (scorer, value of its convex form). The search ends when the value is within `gap`
    (relative) of the proven bound, after `time_limit` seconds (`DEFAULT_S` unless given), or with its steps; with the
    same `seed` it is the same, unless the time runs out. `iterations` are the most evaluations of the convex forms in
    a relaxation. Where no more than `enumerated` choices keep the averaged budgets, and scoring them takes well below
    a minute, all are looked at, and the best is proven so. Every point for all images is looked at in any case.
    Returns also when there is no selection: read `status`. Raises `SpecError` for scorers of other images or points,
    `MetricError` for a scorer whose values are not finite, and `SolverError` where its gradients are none. Ctrl-C
    raises `SolveInterrupted`, which has the best selection so far, once there is one within all budgets.
    """
    asked = SetProblem.of(problem, scorer, tuple(at_most))
    how: dict[str, Any] = {"iterations": iterations, "enumerated": enumerated, "seed": seed, "progress": progress}
    return optimise(asked, gap=gap, time_limit=time_limit, **how)


def bounded(
    problem: Problem,
    at_most: Sequence[tuple[SetScorer, float]],
    *,
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    enumerated: int = MOST_CHOICES,
    seed: int = 0,
    progress: Progress | None = None,
) -> SetSelection:
    """Optimise the column of a problem within its averaged budgets and set-level ones; see `minimise`.

    Infeasible is only said where it is proven: by the relaxation (a convex form is above its budget whatever the
    mixture) or by tangent planes that no choice keeps.
    """
    asked = SetProblem.of(problem, None, tuple(at_most))
    how: dict[str, Any] = {"iterations": iterations, "enumerated": enumerated, "seed": seed, "progress": progress}
    return optimise(asked, gap=gap, time_limit=time_limit, **how)


def _check_names(
    scorers: Scorers, maximize: str | None, at_least: Mapping[str, float] | None, words: Mapping[str, Any]
) -> None:
    if maximize in scorers or any(name in scorers for name in at_least or {}):
        name = maximize if maximize in scorers else next(name for name in at_least or {} if name in scorers)
        raise SpecError(
            f"{name} is a distance of sets: it can be minimised or held to at most a value, not maximised or held to "
            "at least one"
        )
    for word in PER_IMAGE:
        for name in words.get(word) or {}:
            if name in scorers:
                raise SpecError(f"{word}: {name} is of all images together, and no image or group has one of its own")


def _made(name: str, scorer: SetScorer | Callable[[Problem], SetScorer], problem: Problem) -> SetScorer:
    made: Any = scorer(problem) if callable(scorer) and not hasattr(scorer, "relaxed") else scorer
    if not hasattr(made, "relaxed"):
        raise SpecError(f"the scorer of {name} is a {type(made).__name__}, which scores no sets")
    return made  # type: ignore[no-any-return]
