"""The selection with set-level values: what `Selection` says, and what stands beside it.

The document (`to_dict`, `selection.json`) is that of `rdp.selection.document` with `stopped` (gap, time, iterations,
or interrupted: what ended the search) and one more entry, `set_level`:

    covers       what the bound is of, in words
    values       one object a scorer: name (as in the words), scorer (what it calls itself), role (minimize, at_most),
                 convex_form (what is optimised or bounded, at the selection), score (as the distance is reported),
                 budget, slack, price, facts
    relaxed      the convex form's optimum (or the column's) where images may mix their points, as far as it was found
    passed       by how much of their range those shares pass the budgets
    iterations   evaluations of the convex forms
    looks        images whose points were looked at in the exchange
    stopped      as above
    seed

The fingerprint of its problem has a sum `set_level`: of the features that the values are of, and of their pictures.
`rdp.selection.setlevel.stored` reads it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rdp.selection.document import number, selection_document
from rdp.selection.fingerprint import fingerprint
from rdp.selection.result import Selection
from rdp.selection.setlevel.stating import with_constants

Role = Literal["minimize", "at_most"]
Stopped = Literal["gap", "time", "iterations", "interrupted"]
COVERS = (
    "the bound is of the convex form, not of the score, which is the distance as it is reported: of {kernel} the "
    "convex form is the V-statistic, whose diagonal depends on the selection and rewards features of small norm, and "
    "the score the unbiased estimate"
)
COVERS_PLAIN = "the bound is of the convex form, not of the score, which is the distance as it is reported"
COVERS_SCORE = "the bound is of the distance as it is reported: the score and the convex form are the same"
COVERS_COLUMN = "the bound is of the column, among selections whose convex forms keep the set-level budgets"
COVERS_KERNEL = "; of {kernel} that is the V-statistic, not the unbiased estimate that is reported as its score"


@dataclass(frozen=True, eq=False)
class SetValue:
    """One set-level value of a selection; `value` and `score` are None without one.

    `value` is the convex form, which is optimised or bounded; `score` the distance as it is reported. `budget`, `slack`
    and `price` (in units of the objective, by the relaxation) are None where it is not bounded.
    """

    name: str
    scorer: str
    role: Role
    value: float | None
    score: float | None
    budget: float | None = None
    slack: float | None = None
    price: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As in the document."""
        return {
            "name": self.name,
            "scorer": self.scorer,
            "role": self.role,
            **number("convex_form", self.value),
            **number("score", self.score),
            **number("budget", self.budget),
            **number("slack", self.slack),
            **number("price", self.price),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, eq=False)
class SetSelection(Selection):
    """A `Selection` whose objective or some of whose budgets are set-level values.

    Where a set-level value is minimised, `objective` is its convex form, `bound` is proven for that and `lp_bound` is
    what the relaxation proves; `score` is the distance as it is reported. In `problem` a set-level value is a column
    without values, and its budget a constraint on it.
    """

    values: tuple[SetValue, ...] = ()
    relaxed: float | None = None
    passed: float | None = None
    iterations: int = 0
    looks: int = 0
    stopped: Stopped = "iterations"
    seed: int = 0

    @property
    def score(self) -> float | None:
        """The reported distance of what is minimised; None where a column is optimised or there is no selection."""
        return next((one.score for one in self.values if one.role == "minimize"), None)

    @property
    def covers(self) -> str:
        """What the bound is of, in words."""
        said = [(one.value, one.score) for one in self.values if one.value is not None and one.score is not None]
        if said and all(math.isclose(value, score, rel_tol=1e-7, abs_tol=1e-12) for value, score in said):
            return COVERS_SCORE
        kernel = " and ".join(one.name for one in self.values if one.facts.get("convex_form") == "biased")
        if all(one.role != "minimize" for one in self.values):
            return COVERS_COLUMN + (COVERS_KERNEL.format(kernel=kernel) if kernel else "")
        return COVERS.format(kernel=kernel) if kernel else COVERS_PLAIN

    def with_columns(self) -> SetSelection:
        """The same with each set-level value in every cell of its column, for what looks at averages alone."""
        known = {one.name: one.value for one in self.values if one.value is not None}
        return replace(self, problem=with_constants(self.problem, known))

    def to_dict(self) -> dict[str, Any]:
        """The document; see the module."""
        # The fingerprint is of numbers.
        zeros = with_constants(self.problem, dict.fromkeys((one.name for one in self.values), 0.0))
        document = selection_document(replace(self, problem=zeros))
        document["problem"]["fingerprint"] = fingerprint(zeros, features_of(self.values))
        return document | {
            "stopped": self.stopped,
            "set_level": {
                "covers": self.covers,
                "values": [one.to_dict() for one in self.values],
                **number("relaxed", self.relaxed),
                **number("passed", self.passed),
                "iterations": self.iterations,
                "looks": self.looks,
                "stopped": self.stopped,
                "seed": self.seed,
            },
        }


class SolveInterrupted(KeyboardInterrupt):
    """The user stopped a solve; `selection` is the best that it had found."""

    def __init__(self, selection: SetSelection) -> None:
        super().__init__(f"interrupted; the best selection so far has {selection.objective}")
        self.selection = selection


def features_of(values: Iterable[SetValue]) -> dict[str, Any]:
    """What the facts of each value say of its features, by its name; empty for a scorer that says nothing."""
    return {one.name: dict(one.facts.get("features", {})) for one in values}
