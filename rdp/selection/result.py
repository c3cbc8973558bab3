"""A selection: the answer to a problem, checked, with what it costs and how good it provably is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import InfeasibleError, NoSelectionError
from rdp.selection.linear import allowance
from rdp.selection.problem import Constraint, FloatArray, IntArray, Problem, weighted_mean
from rdp.selection.statement import Sense, Weighting
from rdp.selection.status import Status

if TYPE_CHECKING:
    import pandas as pd

    from rdp.selection.explaining.explanation import Explanation

DEFAULT_GAP = 1e-9
"""Relative distance from the bound that counts as optimal, unless another is asked for."""
SMALLEST_OBJECTIVE = 1e-12
"""The gap is relative to the objective, and for an objective at zero to this."""


@dataclass(frozen=True)
class Budget:
    """One averaged constraint and what became of it.

    `average` and `slack` (how much room is left, 0 where that is no more than rounding) are None without a selection.
    `price` is what one unit more of room is worth in units of the objective by the linear relaxation, `sentence` says
    it in words. `group` names the group of images whose average it is, and is empty where it is that of all.
    """

    column: str
    sense: Sense
    budget: float
    weighting: Weighting
    average: float | None
    slack: float | None
    price: float | None
    sentence: str
    group: str = ""

    @property
    def symbol(self) -> str:
        """`<=` or `>=`."""
        return "<=" if self.sense == "at_most" else ">="


def relative_gap(objective: float, bound: float) -> float:
    """|objective - bound| / max(|objective|, 1e-12)."""
    return abs(objective - bound) / max(abs(objective), SMALLEST_OBJECTIVE)


def reaches(objective: float, bound: float | None, gap: float) -> bool:
    """Whether an objective with that bound is proven to be within the gap of the best."""
    return bound is not None and relative_gap(objective, bound) <= gap * (1 + 1e-6)


@dataclass(frozen=True, eq=False)
class Selection:
    """What `rdp.solve` returns, also when there is no selection.

    `choice` (N,) holds the number of each image's point, in the order of `problem.images` and `problem.points`, or is
    None. `objective` is the weighted average that was optimised, recomputed from the table; `bound` is what no
    selection can pass (below it for minimize, above it for maximize); None where not known. `averages` maps every
    numeric column to its weighted average over the chosen cells. `allowed_gap` is the relative distance from the bound
    up to which the status is optimal. `lp_bound` is the optimum of the linear relaxation, in which an image may mix its
    points, and `split_images` the number of images that it leaves undecided between some; None where not known.
    `explanation` says why there is no selection, `details` as data.
    """

    problem: Problem
    status: Status
    solver: str
    choice: IntArray | None
    objective: float | None
    bound: float | None
    budgets: tuple[Budget, ...] = ()
    averages: Mapping[str, float] = field(default_factory=dict)
    explanation: str = ""
    warnings: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    allowed_gap: float = DEFAULT_GAP
    lp_bound: float | None = None
    split_images: int | None = None
    details: Explanation | None = None

    @property
    def found(self) -> bool:
        """Whether there is a selection to read."""
        return self.choice is not None

    @property
    def gap(self) -> float | None:
        """|objective - bound| / max(|objective|, 1e-12), or None where either is not known."""
        if self.objective is None or self.bound is None:
            return None
        return relative_gap(self.objective, self.bound)

    @property
    def prices(self) -> dict[str, float | None]:
        """Price of every budget by column, or by `column sense` where a column is bounded on both sides.

        Those of a group's budgets are called `column in group`.
        """
        columns = [(budget.column, budget.group) for budget in self.budgets]
        names = [f"{column} in {group}" if group else column for column, group in columns]
        return {
            name if columns.count(column) == 1 else f"{name} {budget.sense}": budget.price
            for name, column, budget in zip(names, columns, self.budgets, strict=True)
        }

    @property
    def required_choice(self) -> IntArray:
        """`choice`; raises `InfeasibleError` or `NoSelectionError`, with the explanation, when there is none."""
        if self.choice is not None:
            return self.choice
        if self.status is Status.INFEASIBLE:
            raise InfeasibleError(self.explanation)
        raise NoSelectionError(self.explanation)

    @cached_property
    def chosen(self) -> Mapping[str, str]:
        """Image -> point, under the images' labels (dataset/image when there are several datasets). Raises as above."""
        points = self.problem.points
        return {label: points[j] for label, j in zip(self.problem.labels, self.required_choice.tolist(), strict=True)}

    def counts(self) -> dict[str, int]:
        """Number of images that take each point, in the points' order, those that none takes included."""
        count = np.bincount(self.required_choice, minlength=len(self.problem.points))
        return dict(zip(self.problem.points, count.tolist(), strict=True))

    @cached_property
    def averages_of_files(self) -> dict[str, float]:
        """The averages of columns that include bits beside the files (`Problem.naming`), without these; often empty."""
        naming, choice = self.problem.naming, self.choice
        if naming is None or choice is None:
            return {}
        terms = {column: self.problem.terms[column] for column in naming.columns if column in self.problem.terms}
        return {
            column: weighted_mean(term.picked(choice) - naming.at(column, choice), term.weights)
            for column, term in terms.items()
        }

    @property
    def total_bits(self) -> int | None:
        """Bits of all chosen files, rounded where those of decoders count; None when the table has no `nbytes`."""
        term = self.problem.terms.get("nbytes")
        if term is None or self.choice is None:
            return None
        picked = term.picked(self.choice)
        return round(8 * picked.sum()) if np.isfinite(picked).all() else None

    def summary(self) -> pd.DataFrame:
        """One row a column: its role, average, and for bounded ones budget, slack and price."""
        import pandas as pd

        rows = [_summary_row(self, name, budget) for name, budget in summary_order(self)]
        return pd.DataFrame(rows).set_index("column")

    def to_dict(self) -> dict[str, Any]:
        """The document of `selection.json`, described in `rdp.selection.document`."""
        from rdp.selection.document import selection_document

        return selection_document(self)

    def save(self, path: str | Path) -> Path:
        """Write `selection.json` (atomically) and return its path; raises `RdpError` when it cannot be written."""
        from rdp.selection.document import save_selection

        return save_selection(self, path)

    @classmethod
    def load(cls, path: str | Path, source: Any = None) -> Selection:
        """Read a `selection.json` and check it against its table; see `rdp.selection.load_selection`."""
        from rdp.selection.loading import load_selection

        return load_selection(path, source)


def summary_order(selection: Selection) -> list[tuple[str, Budget | None]]:
    """Columns with their budget, if any: the objective, the bounded ones (each budget once), the reported ones."""
    bounded = {budget.column for budget in selection.budgets}
    objective = selection.problem.objective.column
    rows: list[tuple[str, Budget | None]] = [] if objective in bounded else [(objective, None)]
    rows += [(budget.column, budget) for budget in selection.budgets]
    rows.sort(key=lambda row: row[0] != objective)
    return rows + [(name, None) for name in selection.problem.columns]


def role_of(selection: Selection, column: str, budget: Budget | None) -> str:
    """`minimize`, `at_most`, `reported`, ..."""
    roles = [selection.problem.goal] if column == selection.problem.objective.column else []
    return ", ".join([*roles, *([budget.sense] if budget else [])]) or "reported"


def _summary_row(selection: Selection, name: str, budget: Budget | None) -> dict[str, Any]:
    nothing = float("nan")
    return {
        "column": name,
        "role": role_of(selection, name, budget),
        "weights": selection.problem.terms[name].weighting,
        "average": selection.averages.get(name, nothing),
        "budget": nothing if budget is None else budget.budget,
        "slack": nothing if budget is None or budget.slack is None else budget.slack,
        "price": nothing if budget is None or budget.price is None else budget.price,
    }


def make_budget(
    constraint: Constraint,
    choice: IntArray | None,
    price: float | None,
    sentence: str,
    picked: FloatArray | None = None,
) -> Budget:
    """The record of one constraint at a choice; `picked` (N,) are the values of its column there, if known."""
    average = slack = None
    if choice is not None:
        values = constraint.term.picked(choice) if picked is None else picked
        average = weighted_mean(values, constraint.term.weights)
        slack = constraint.budget - average if constraint.sense == "at_most" else average - constraint.budget
        if abs(slack) <= allowance(constraint.budget, values, constraint.term.weights):
            slack = 0.0  # the rounding of a mean
    return Budget(
        column=constraint.term.column,
        sense=constraint.sense,
        budget=constraint.budget,
        weighting=constraint.term.weighting,
        average=average,
        slack=slack,
        price=price,
        sentence=sentence,
        group=constraint.group,
    )
