"""The uncertainty of a selection for `rdp solve`: what it measures, as text for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.cli.solve_text import worth_showing
from rdp.cli.text import aligned, number_text
from rdp.errors import SpecError

if TYPE_CHECKING:
    from rdp.execution import Progress
    from rdp.selection import Selection
    from rdp.selection.sampling.bootstrap import Bootstrap
    from rdp.selection.sampling.holdout import Holdout, Moments
    from rdp.selection.sampling.intervals import Interval, Spread


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What was asked for of a selection: its bootstrap, its holdout, both, or nothing."""

    selection: Selection
    bootstrap: Bootstrap | None = None
    holdout: Holdout | None = None

    def to_dict(self) -> dict[str, Any]:
        """Entries to stand beside those of the selection's document."""
        entries = {"bootstrap": self.bootstrap, "holdout": self.holdout}
        return {name: found.to_dict() for name, found in entries.items() if found is not None}

    def document(self) -> str:
        """The selection's document with those entries, as JSON text that ends with a line feed."""
        from rdp.selection.document import json_text

        return json_text(self.selection.to_dict() | self.to_dict())

    def text(self) -> str:
        """For people; empty when nothing was asked for."""
        shown = [name for name in self.selection.problem.terms if _shown(self.selection, name)]
        parts = [] if self.bootstrap is None else [describe_bootstrap(self.bootstrap, shown)]
        parts += [] if self.holdout is None else [describe_holdout(self.holdout, shown)]
        return "\n\n".join(parts)

    def notes(self) -> list[str]:
        """What weakens the numbers, each a line for stderr."""
        out = [] if self.bootstrap is None else [f"bootstrap: {note}" for note in self.bootstrap.notes]
        return out + ([] if self.holdout is None else [f"holdout: {note}" for note in self.holdout.notes])


def measure(
    selection: Selection,
    *,
    bootstrap: str | None = None,
    holdout: bool = False,
    seed: str = "0",
    progress: Progress | None = None,
) -> Uncertainty:
    """What `--bootstrap N`, `--holdout` and `--seed N` ask for. Without a selection there is nothing to measure.

    Raises `SpecError` for options that are no whole numbers, or out of range.
    """
    from rdp.selection.sampling.bootstrap import bootstrap as resample
    from rdp.selection.sampling.holdout import holdout as hold

    count, start = read_options(bootstrap, seed)
    if not selection.found:
        return Uncertainty(selection)
    return Uncertainty(
        selection,
        None if count is None else resample(selection, count, seed=start, progress=progress),
        hold(selection.problem, seed=start, progress=progress) if holdout else None,
    )


def read_options(bootstrap: str | None, seed: str) -> tuple[int | None, int]:
    """The numbers of `--bootstrap` and `--seed`: to be called before anything is solved, so that errors come first."""
    from rdp.cli.compare import whole_number

    count = None if bootstrap is None else whole_number("--bootstrap", bootstrap)
    if count is not None and count < 2:
        raise SpecError(f"--bootstrap: {count} is too few resamples; 1000 is usual")
    start = whole_number("--seed", seed)
    if start < 0:
        raise SpecError(f"--seed: {start} is below 0")
    return count, start


def describe_bootstrap(found: Bootstrap, columns: Sequence[str] | None = None) -> str:
    """The bootstrap for people: gains, averages when solved again, averages of the kept choice.

    `columns` are the averages that are shown, all unless given. A question mark stands behind an interval that is not
    reliable, as too many resamples have no such number.
    """
    shown = [name for name in found.averages if columns is None or name in columns]
    percent = f"{100 * found.confidence:g} %"
    head = ("value", "std. error", f"{percent} percentile", f"{percent} BCa")
    lines = [f"bootstrap over {found.images} images, {found.resamples} resamples (seed {found.seed})", ""]
    rows: list[Sequence[str]] = [("each resample solved again", *head)]
    rows += [(name, *_spread_cells(found.averages[name])) for name in shown]
    for one in found.gains:
        rows.append((f"gain in {found.objective_column} over {one.baseline}", *_spread_cells(one.absolute)))
        if one.relative.count:
            rows.append(("  of it, in %", *_spread_cells(one.relative, 100.0)))
    lines += aligned(rows, left=(0,))
    lines += [f"no {one.baseline}: {one.reason}" for one in found.gains if one.reason]
    kept = [(name, *_spread_cells(found.kept[name])) for name in shown]
    lines += ["", *aligned([("the chosen points kept, only averaged again", *head), *kept], left=(0,))]
    return "\n".join(lines)


def _spread_cells(spread: Spread, scale: float = 1.0) -> tuple[str, ...]:
    """Value, standard error and both intervals."""
    value = None if spread.value is None else spread.value * scale
    mark = "" if spread.reliable else " ?"
    ends = [_ends(interval, scale, mark) for interval in (spread.percentile, spread.bca)]
    return number_text(value), number_text(spread.deviation * scale, 2), *ends


def _ends(interval: Interval | None, scale: float, mark: str) -> str:
    return (
        "-"
        if interval is None
        else f"{number_text(interval.low * scale, 4)} to {number_text(interval.high * scale, 4)}{mark}"
    )


def describe_holdout(found: Holdout, columns: Sequence[str] | None = None) -> str:
    """The holdout for people: averages on images that did not choose, budgets, and the price of not knowing."""
    shown = [name for name in found.averages if columns is None or name in columns]
    chose, reported = found.images
    lines = [
        f"holdout: prices chosen on {chose} images, reported on {reported} others;"
        f" {len(found.splits)} random splits (seed {found.seed}); mean ± standard deviation over splits",
        "",
    ]
    head = ("average", "by prices", "", "solved directly", "", "single point", "", "where chosen", "")
    rows: list[Sequence[str]] = [head]
    for name in shown:
        one = found.averages[name]
        rows.append((name, *(cell for m in (one.priced, one.solved, one.single, one.there) for cell in _moments(m))))
    lines += aligned(rows, left=(0, 2, 4, 6, 8))
    if found.budgets:
        rows = [("budget", "price", "", "passed by", "", "at most by", "in splits", "single point in")]
        for budget in found.budgets:
            worst = number_text(max(budget.excess.largest, 0.0) if budget.excess.count else None, 3)
            of = f" of {budget.excess.count}"
            single = f"{budget.single_violated} of {budget.single_excess.count}"
            cells = (*_moments(budget.price, 4), *_moments(budget.excess, 3))
            rows.append((budget.name, *cells, worst, f"{budget.violated}{of}", single))
        lines += ["", *aligned(rows, left=(0, 2, 4))]
    lines += ["", _regret(found)]
    return "\n".join(lines)


def _moments(moments: Moments, digits: int = 6) -> tuple[str, str]:
    if not moments.count:
        return "-", ""
    return number_text(moments.mean, digits), f"± {number_text(moments.deviation, 2)}"


def _regret(found: Holdout) -> str:
    if not found.regret.count:
        return "the price of not knowing is not known: there is no split with prices on both sides"
    part = "" if not found.regret_part.count else f" ({100 * found.regret_part.mean:.2g} %)"
    return (
        f"the price of not knowing these images: {found.objective_column} is worse by {found.regret.mean:.3g}{part} on "
        "average than solved directly, budgets charged at their prices"
    )


def _shown(selection: Selection, column: str) -> bool:
    """Columns that `rdp solve` shows: used ones, and of the others those that say how good."""
    used = {selection.problem.objective.column, *(budget.column for budget in selection.budgets)}
    return column in used or worth_showing(selection, column)
