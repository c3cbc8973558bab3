"""One point of a frontier, and which constraint of a problem a sweep is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.frontiers.grid import Sweep
from rdp.selection.problem import Constraint, Problem
from rdp.selection.result import Selection
from rdp.selection.statement import Sense
from rdp.selection.status import Status


@dataclass(frozen=True, eq=False)
class FrontierPoint:
    """One point: the swept budgets (K,), and what the selection within them is.

    `number` counts the rows of the table from 1. `objective`, `bound` and `gap` are those of the selection, `lp_bound`
    is the optimum of the linear relaxation, where known. `averages` maps every numeric column to its average, `prices`
    and `slacks` every budget (see `budget_names`), `counts` every point that some image takes to their number; all but
    prices empty without a selection. `averages_of_files` has, where the problem charges bits that name decoders, the
    averages of the charged columns without them. `swept_prices` (K,) are those of the swept budgets. `dominated`:
    another point of the frontier is no worse in the objective and in the swept averages, and better in one of them.
    `on_hull`: not dominated, and an optimum of the linear relaxation, in which images may mix their points: at some
    prices every image's chosen cell has the least priced cost. Where `lp_bound`, a price or a slack is not known (as
    with `max_points`), it says instead that no mixture of the frontier's points is better, which is less; how it is
    found, `rdp.selection.frontiers.whereabouts.on_hull` tells. `selection` is kept on request.
    """

    number: int
    budgets: tuple[float, ...]
    status: Status
    objective: float | None
    bound: float | None
    gap: float | None
    lp_bound: float | None
    averages: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, float | None] = field(default_factory=dict)
    slacks: Mapping[str, float | None] = field(default_factory=dict)
    swept_prices: tuple[float | None, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    dominated: bool = False
    on_hull: bool = False
    selection: Selection | None = field(default=None, repr=False)
    averages_of_files: Mapping[str, float] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether there is a selection within these budgets, and it was found."""
        return self.objective is not None


def distinct(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """The first point of each selection, in order; those without a selection are left out.

    Selections count as the same that have the same averages and use the same operating points as often.
    """
    first: dict[str, FrontierPoint] = {}
    for point in points:
        if point.found:
            # As text, since NaN is not equal to itself.
            first.setdefault(repr((sorted(point.averages.items()), sorted(point.counts.items()))), point)
    return tuple(first.values())


def make_point(selection: Selection, sweeps: Sequence[Sweep], budgets: tuple[float, ...], keep: bool) -> FrontierPoint:
    """The point of a selection within these swept budgets; its number and place are still to be found."""
    problem = selection.problem
    names, prices = budget_names(problem), [budget.price for budget in selection.budgets]
    slacks = [budget.slack for budget in selection.budgets]
    # A selection that is saved is loaded by its statement.
    kept = replace(selection, problem=restated(problem, sweeps, budgets)) if keep else None
    return FrontierPoint(
        number=0,
        budgets=budgets,
        status=selection.status,
        objective=selection.objective,
        bound=selection.bound,
        gap=selection.gap,
        lp_bound=selection.lp_bound,
        averages=dict(selection.averages),
        prices=dict(zip(names, prices, strict=True)),
        slacks=dict(zip(names, slacks, strict=True)) if selection.found else {},
        swept_prices=tuple(prices[place] for place in swept_places(problem, sweeps)),
        counts={point: count for point, count in selection.counts().items() if count} if selection.found else {},
        selection=kept,
        averages_of_files=selection.averages_of_files if isinstance(problem.naming, DecoderCost) else {},
    )


def budget_names(problem: Problem) -> tuple[str, ...]:
    """A name for each constraint: its column, with `at_most` or `at_least` where both sides are bounded, and group."""
    columns = [constraint.term.column for constraint in problem.constraints if not constraint.group]
    names = []
    for constraint in problem.constraints:
        column = constraint.term.column
        if constraint.group:
            names.append(f"{column} {constraint.sense} {constraint.group}")
        else:
            names.append(column if columns.count(column) == 1 else f"{column} {constraint.sense}")
    return tuple(names)


def swept_places(problem: Problem, sweeps: Sequence[Sweep]) -> list[int]:
    """Which constraint of the problem each sweep is."""
    return [next(k for k, c in enumerate(problem.constraints) if is_of(c, sweep)) for sweep in sweeps]


def is_of(constraint: Constraint, sweep: Sweep) -> bool:
    """Whether a constraint is the swept one: on the average of all images, of that column, on that side."""
    return not constraint.group and (constraint.term.column, constraint.sense) == (sweep.column, sweep.sense)


def restated(problem: Problem, sweeps: Sequence[Sweep], budgets: Sequence[float]) -> Problem:
    """The problem with these swept budgets, in its constraints and in its statement."""
    constraints = list(problem.constraints)
    words: dict[Sense, dict[str, float]] = {
        "at_most": dict(problem.statement.at_most),
        "at_least": dict(problem.statement.at_least),
    }
    for sweep, place, budget in zip(sweeps, swept_places(problem, sweeps), budgets, strict=True):
        constraints[place] = replace(constraints[place], budget=budget)
        words[sweep.sense][sweep.column] = budget
    sorted_words = {sense: dict(sorted(values.items())) for sense, values in words.items()}
    statement = replace(problem.statement, at_most=sorted_words["at_most"], at_least=sorted_words["at_least"])
    return replace(problem, constraints=tuple(constraints), statement=statement)
