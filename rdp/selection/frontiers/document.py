"""A frontier as a table and as a JSON document.

The table has a row a point:

    number                    the row, from 1
    budget_COLUMN             the budget of each swept column
    status                    optimal, feasible, infeasible or unknown
    objective, bound, gap     of the selection; lp_bound: of the linear relaxation, where known
    average_COLUMN            of every numeric column
    average_COLUMN_of_files   where bits that name decoders are charged: of bpp and nbytes, without these bits
    slack_COLUMN, price_COLUMN  of every budget (COLUMN_at_most and COLUMN_at_least where it has both)
    dominated                 another row is no worse in the objective and the swept averages, and better in one
    on_hull                   an optimum of the linear relaxation that is not dominated; where lp_bound or a price is
                              not known: on the convex hull of the table's points (see `FrontierPoint`)
    points_used               how many operating points some image takes

The document:

    version, kind             1, "frontier"
    problem                   as in selection.json, the swept budgets at their loosest
    objective                 column, goal, weighting
    sweeps                    one object each: column, sense, weighting, values
    gap, auto                 what was asked for; auto is null where the budgets were given
    points                    one object each: number, budgets, status, objective, bound, gap, lp_bound, averages,
                              slacks, prices, counts, dominated, on_hull; averages_of_files where bits that name
                              decoders are charged
    warnings

There are no NaN or Infinity literals: such a number is null, and beside `name` stands `name_is`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rdp
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.document import number
from rdp.selection.fingerprint import fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from rdp.selection.frontiers.point import FrontierPoint
    from rdp.selection.frontiers.verb import Frontier

VERSION = 1
KIND = "frontier"
_NOTHING = float("nan")


def frontier_frame(frontier: Frontier) -> pd.DataFrame:
    """The table with all digits; what is not known is NaN."""
    import pandas as pd

    return pd.DataFrame([_row(frontier, point) for point in frontier.points])


def counts_frame(frontier: Frontier) -> pd.DataFrame:
    """Which operating points each point of the frontier uses, for how many images."""
    import pandas as pd

    rows = [(one.number, point, count) for one in frontier.points for point, count in one.counts.items()]
    return pd.DataFrame(rows, columns=["number", "point", "images"])


def frontier_document(frontier: Frontier) -> dict[str, Any]:
    """The document, ready for `json.dumps(..., allow_nan=False)`."""
    problem = frontier.problem
    return {
        "version": VERSION,
        "kind": KIND,
        "rdp_version": rdp.__version__,
        "problem": {
            "source": problem.source,
            "statement": problem.statement.to_dict(),
            "images": len(problem.images),
            "points": list(problem.points),
            "fingerprint": fingerprint(problem),
        },
        "objective": {
            "column": problem.objective.column,
            "goal": problem.goal,
            "weighting": problem.objective.weighting,
        },
        "sweeps": [
            {
                "column": sweep.column,
                "sense": sweep.sense,
                "weighting": problem.terms[sweep.column].weighting,
                "values": list(sweep.values),
            }
            for sweep in frontier.sweeps
        ],
        "gap": frontier.gap,
        "auto": frontier.auto,
        "points": [_entry(frontier, point) for point in frontier.points],
        "warnings": list(frontier.warnings),
    }


def _row(frontier: Frontier, point: FrontierPoint) -> dict[str, Any]:
    row: dict[str, Any] = {"number": point.number}
    row |= {f"budget_{name}": budget for name, budget in zip(frontier.swept, point.budgets, strict=True)}
    row["status"] = point.status.value
    row |= {name: _real(getattr(point, name)) for name in ("objective", "bound", "gap", "lp_bound")}
    row |= {f"average_{name}": point.averages.get(name, _NOTHING) for name in frontier.problem.terms}
    charged = frontier.problem.naming
    for name in charged.columns if isinstance(charged, DecoderCost) else ():
        row[f"average_{name}_of_files"] = point.averages_of_files.get(name, _NOTHING)
    for kind, values in (("slack", point.slacks), ("price", point.prices)):
        row |= {f"{kind}_{name.replace(' ', '_')}": _real(value) for name, value in values.items()}
    return row | {"dominated": point.dominated, "on_hull": point.on_hull, "points_used": len(point.counts)}


def _real(value: float | None) -> float:
    return _NOTHING if value is None else value


def _entry(frontier: Frontier, point: FrontierPoint) -> dict[str, Any]:
    return {
        "number": point.number,
        "budgets": dict(zip(frontier.swept, point.budgets, strict=True)),
        "status": point.status.value,
        **number("objective", point.objective),
        **number("bound", point.bound),
        **number("gap", point.gap),
        **number("lp_bound", point.lp_bound),
        "averages": _numbers(point.averages),
        **_of_files(frontier, point),
        "slacks": _numbers(point.slacks),
        "prices": _numbers(point.prices),
        "counts": dict(point.counts),
        "dominated": point.dominated,
        "on_hull": point.on_hull,
    }


def _of_files(frontier: Frontier, point: FrontierPoint) -> dict[str, Any]:
    charged = isinstance(frontier.problem.naming, DecoderCost)
    return {"averages_of_files": _numbers(point.averages_of_files)} if charged else {}


def _numbers(values: Mapping[str, float | None]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= number(name, value)
    return out
