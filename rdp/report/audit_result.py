"""What an audit found: rows, comparisons, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rdp.analysis.bootstrap import BootstrapInterval
from rdp.errors import SpecError, suggest
from rdp.report.audit_measures import Measure

RowKind = Literal["point", "selection", "against", "curve", "random"]


@dataclass(frozen=True)
class AuditRow:
    """One line of an audit.

    `kind`: a single point, a selection, one `against` it, a curve of single points at the rate of the selection `of`,
    or random mixtures of that rate. `rate` in bit/pixel; of random mixtures the mean. `points` is how many points it
    uses. `values` by the key of the measure; a value that there is not (a curve that does not reach the rate) is left
    out. `deviations`: of random mixtures the standard deviation over the draws; of a kernel distance that is a mean
    over random subsets, that over the subsets.
    """

    kind: RowKind
    name: str
    rate: float
    points: int
    values: Mapping[str, float]
    of: str = ""
    deviations: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One measure of one selection beside the alternatives of equal rate.

    `single` is the best single point at or below the selection's rate, `curve` the best curve at it; None where there
    is none, and for a measure of which no direction is known. `random` and `random_deviation` are over the draws, and
    so is `random_rate`, their mean rate, which of few images may not be the selection's.
    """

    selection: str
    measure: str
    value: float
    single: str | None
    single_value: float | None
    single_rate: float | None
    curve: str | None
    curve_value: float | None
    random: float | None
    random_deviation: float | None
    random_rate: float | None = None


@dataclass(frozen=True)
class AuditInterval:
    """The interval of a measure of a row (a mixture, or a best single point), or of it less that of `less`."""

    row: str
    measure: str
    less: str
    interval: BootstrapInterval


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found.

    `rate` is the measure that rows are compared at. `measures` are the columns, averages first. `short` are
    short names of points. `notes` say what is left out, `warnings` what numbers depend on.
    `facts`: images, patches, draws, resamples, seeds, grids, files of the selections by name (JSON).
    """

    source: str
    rate: Measure
    measures: tuple[Measure, ...]
    rows: tuple[AuditRow, ...]
    comparisons: tuple[Comparison, ...]
    intervals: tuple[AuditInterval, ...]
    short: Mapping[str, str]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def row(self, name: str, kind: RowKind | None = None) -> AuditRow:
        """The row of that name. Raises `SpecError` where there is none."""
        for row in self.rows:
            if row.name == name and kind in (None, row.kind):
                return row
        known = tuple(row.name for row in self.rows)
        raise SpecError(f"the audit has no row {name!r}.{suggest(name, known)}")

    @property
    def selections(self) -> tuple[AuditRow, ...]:
        """The rows of selections, those that they are held against last."""
        return tuple(row for kind in ("selection", "against") for row in self.rows if row.kind == kind)
