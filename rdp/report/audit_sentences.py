"""An audit's comparisons as sentences: how far a selection lies from its alternatives, and at which rates these are.

A measure is compared in one way throughout an audit: by per cent where all that is compared is above 0, else by
differences in the measure's own unit. An unbiased kernel distance may be below 0, where a ratio says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdp.report.audit_mixtures import EQUAL
from rdp.report.audit_text import style_of, value_text
from rdp.report.text import percent

if TYPE_CHECKING:
    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, Comparison

_SAME = 1e-9
_SAME_RATE = 5e-5
"""Rates that differ by less than this part of one are the same in words: 0.00 %."""


def sentence(audit: Audit, one: Comparison) -> str:
    """The measure of a selection beside the best single point, the best curve and the random mixtures."""
    measure = next(measure for measure in audit.measures if measure.key == one.measure)
    own = audit.row(one.selection, "selection").rate
    places = style_of(measure, audit.rows)
    ratio = is_compared_by_ratio(audit, measure)

    def beside(other: float | None, name: str) -> str:
        return f"{_more(one.value, other, places, ratio)} {name}"

    parts = []
    if one.single is not None:
        short = audit.short.get(one.single, one.single)
        rate = "" if one.single_rate is None else f" at {rate_words(one.single_rate, own)}"
        parts.append(
            f"{beside(one.single_value, 'the best single point at or below its rate')}, {short} "
            f"({value_text(one.single_value, places)}{rate})"
        )
    if one.curve is not None:
        parts.append(
            f"{beside(one.curve_value, 'the best curve at its rate')}, {one.curve} "
            f"({value_text(one.curve_value, places)})"
        )
    if one.random is not None:
        rate = "" if one.random_rate is None else f" at {rate_words(one.random_rate, own)}"
        near = one.random_rate is None or abs(one.random_rate / own - 1) <= EQUAL
        parts.append(
            f"{beside(one.random, 'random mixtures' + (' of equal rate' if near else ' of another rate'))} "
            f"({spread_text(one.random, one.random_deviation, places)}{rate})"
        )
    said = "; ".join(parts) or "there is nothing at its rate to compare it with"
    return f"{measure.title} {value_text(one.value, places)}: {said}"


def rate_words(rate: float, own: float) -> str:
    """A rate, and how much more or less than the selection's `own` it is: `0.4783, 3.4 % less rate`."""
    part = rate / own - 1
    if abs(part) < _SAME_RATE:
        return f"{rate:.4g}, the same rate"
    return f"{rate:.4g}, {percent(abs(part), sign=False)} {'less' if part < 0 else 'more'} rate"


def spread_text(value: float | None, deviation: float | None, places: int | None) -> str:
    """`value ± deviation`, both with the decimals of the measure."""
    text = value_text(value, places)
    if deviation is None or not math.isfinite(deviation):
        return text
    return f"{text} ± {value_text(deviation, places)}"


def is_compared_by_ratio(audit: Audit, measure: Measure) -> bool:
    """Whether per cent say something: all values of a measure that are compared are finite and above 0."""
    values: list[float | None] = []
    for one in (one for one in audit.comparisons if one.measure == measure.key):
        values += [one.value, one.single_value, one.curve_value, one.random]
    return _all_positive([value for value in values if value is not None])


def _all_positive(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) and value > 0 for value in values)


def _more(value: float, other: float | None, places: int | None, ratio: bool) -> str:
    """`12.3 % below`, or `0.001 above`."""
    beside = math.nan if other is None else other
    if value == beside or math.isclose(value, beside, rel_tol=_SAME):
        return "the same as"
    side = "below" if value < beside else "above"
    apart = abs(value - beside)
    return f"{percent(apart / beside, sign=False) if ratio else value_text(apart, places)} {side}"
