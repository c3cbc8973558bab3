"""The tables of a report as DataFrames, with all digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.report.averages import Average
from rdp.report.study import Reported, Study
from rdp.selection.baselines import Gain, gain

if TYPE_CHECKING:
    import pandas as pd

NOTHING = float("nan")


def points_frame(study: Study) -> pd.DataFrame:
    """One row an operating point: images that have it, failed cells, averages, and how many images chose it.

    The count is missing where a selection was not allowed the point.
    """
    import pandas as pd

    data: dict[str, Any] = {"point": study.points, "images": study.images_of}
    data["failed"] = study.cells.grid.failed.sum(axis=0)
    for average in study.averages:
        if average.naming is None:
            data[average.key] = study.cells.point_averages(average)
    frame = pd.DataFrame(data)
    for one in study.selections:
        frame[count_column(study, one)] = pd.array(counts_of(study, one), dtype="Int64")
    return frame


def count_column(study: Study, one: Reported) -> str:
    """`chosen`, or `chosen_<name>` where there are several selections."""
    return "chosen" if len(study.selections) == 1 else f"chosen_{one.name}"


def counts_of(study: Study, one: Reported) -> list[int | None]:
    """How many images chose each point of the table; None for a point that the selection was not allowed."""
    counts: list[int | None] = [None] * len(study.points)
    if one.selection.choice is None:
        return counts
    numbers = np.bincount(one.selection.choice, minlength=len(one.numbers))
    for number, count in zip(one.numbers.tolist(), numbers.tolist(), strict=True):
        counts[number] = count
    return counts


def comparison_frame(study: Study) -> pd.DataFrame:
    """One row for each selection and average: the value of the selection and of both baselines, and the gains.

    A gain is positive where the selection is better, in the average's unit; `_percent` is the part of the baseline's
    value. There is none for a column of which no direction is known.
    """
    import pandas as pd

    rows = [_compared(study, one, average) for one in study.selections for average in study.averages]
    return pd.DataFrame(rows)


def _compared(study: Study, one: Reported, average: Average) -> dict[str, Any]:
    value = study.value(average, one.own)
    row: dict[str, Any] = {"selection": one.name, "average": average.key, "value": value}
    for name, baseline in (("single", one.single), ("mixture", one.mixture)):
        other = study.value(average, one.shares(baseline))
        won = gain_over(average, value, other)
        row |= {name: other, f"gain_{name}": won.absolute}
        row[f"gain_{name}_percent"] = NOTHING if won.relative is None else 100 * won.relative
    return row


def gain_over(average: Average, value: float, other: float) -> Gain:
    """The gain in one average; NaN where there is nothing to compare."""
    if average.direction is None or math.isnan(value) or math.isnan(other):
        return Gain(NOTHING, None)
    return gain(value, other, lower_is_better=average.direction == "lower", unit=average.unit)


def baselines_frame(study: Study) -> pd.DataFrame:
    """One row a point of a baseline, with its share; one row without a point, and the reason, where there is none."""
    import pandas as pd

    rows: list[tuple[str, str, str | None, float, str]] = []
    for one in study.selections:
        for name, baseline in (("single", one.single), ("mixture", one.mixture)):
            if baseline is None:
                rows.append((one.name, name, None, NOTHING, "there is no selection to compare it with"))
                continue
            rows += [(one.name, name, part.point, part.share, "") for part in baseline.parts]
            rows += [] if baseline.found else [(one.name, name, None, NOTHING, baseline.reason)]
    return pd.DataFrame(rows, columns=["selection", "baseline", "point", "share", "reason"])


def budgets_frame(study: Study) -> pd.DataFrame:
    """One row a budget: what it is, the selection's average, how much room is left, and the price.

    `group` names the group of images whose average it is, and is empty where it is that of all images.
    `mixture_limit` is what the time-shared mixture was held to, and `mixture_held_to` whether that is the selection's
    own `average` or the `budget`; both are missing without a selection.
    """
    import pandas as pd

    names = ["selection", "column", "sense", "budget", "group", "weighting", "average", "slack", "price", "sentence"]
    rows: list[tuple[Any, ...]] = []
    for one in study.selections:
        held = one.mixture.held if one.mixture is not None else ()
        for k, b in enumerate(one.selection.budgets):
            own = (one.name, b.column, b.sense, b.budget, b.group, b.weighting, b.average, b.slack, b.price)
            limit = (held[k].limit, held[k].to) if held else (NOTHING, "")
            rows.append((*own, b.sentence, *limit))
    numbers = dict.fromkeys(("average", "slack", "price", "mixture_limit"), float)
    return pd.DataFrame(rows, columns=[*names, "mixture_limit", "mixture_held_to"]).astype(numbers)


def chosen_frame(study: Study) -> pd.DataFrame:
    """One row an image and selection: the point that was chosen, and the values of the cell."""
    import pandas as pd

    grid = study.cells.grid
    columns = list(dict.fromkeys(average.column for average in study.averages))
    parts = []
    for one in study.selections:
        for share in one.own:
            data: dict[str, Any] = {"selection": one.name, "dataset": grid.datasets, "image": grid.images}
            data["point"] = [grid.points[k] for k in share.choice]
            rows = np.arange(len(share.choice))
            data |= {column: grid.values(column)[rows, share.choice] for column in columns}
            parts.append(pd.DataFrame(data))
    empty = pd.DataFrame(columns=["selection", "dataset", "image", "point", *columns])
    return pd.concat(parts, ignore_index=True) if parts else empty
