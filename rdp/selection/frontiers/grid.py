"""Which budgets a frontier is made of: ranges as they are written, and the order in which the grid is walked.

    values = item { "|" item }
    item   = number ".." number [ ".." step ] | number

as in the specs of operating points: decimal arithmetic, the end included and to be hit, the step 1 where none is given.
`auto` takes one range without a step, `0.1..0.6`, or none at all.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import numpy as np

from rdp.columns import Column, describe
from rdp.errors import SpecError
from rdp.selection.statement import Sense

MOST_BUDGETS = 10_000
"""More points than this are a slip of the pen: a step that is too small."""
MOST_SWEEPS = 2

SweepValues: TypeAlias = "str | float | Sequence[float] | None"
Sweeps: TypeAlias = "str | Mapping[str, SweepValues]"

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


@dataclass(frozen=True)
class Sweep:
    """One averaged budget that takes several values.

    `values` are different and rise; with `auto` they are the range's two ends, or empty for the attainable range.
    """

    column: str
    sense: Sense
    values: tuple[float, ...]

    @property
    def symbol(self) -> str:
        """`<=` or `>=`."""
        return "<=" if self.sense == "at_most" else ">="

    @property
    def loosest(self) -> float:
        """The value that leaves most room."""
        return self.values[-1] if self.sense == "at_most" else self.values[0]


def read_sweeps(
    given: Sweeps | None,
    senses: Mapping[str, Sense] | None,
    auto: bool,
    described: Mapping[str, Column] | None = None,
) -> tuple[Sweep, ...]:
    """The sweeps of one or two columns, in the order given; a text alone is the name of one column, for `auto`.

    `senses` override the sense that a column's direction gives; `described` are columns that `rdp.columns` does not
    list. Raises `SpecError` for what makes no sense.
    """
    asked = {given: None} if isinstance(given, str) else given
    if not isinstance(asked, Mapping) or not asked or not all(isinstance(c, str) and c for c in asked):
        raise SpecError("say what to sweep: a column and its budgets, such as {'bpp': '0.1..0.6..0.01'} (--sweep)")
    if len(asked) > MOST_SWEEPS:
        raise SpecError(f"at most {MOST_SWEEPS} columns are swept at once, not {len(asked)}: {', '.join(asked)}")
    if auto and len(asked) > 1:
        raise SpecError(
            "auto places the points of one sweep, as the range of one budget hangs on the other; "
            f"give both {' and '.join(asked)} a range with a step instead (--sweep COLUMN=a..b..step)"
        )
    for column in senses or {}:
        if column not in asked:
            raise SpecError(f"the sense of {column!r} is given, and it is not swept; swept: {', '.join(asked)}")
    sweeps = tuple(
        Sweep(
            column, _sense(column, senses, described), _range_ends(column, values) if auto else _values(column, values)
        )
        for column, values in asked.items()
    )
    if not auto and np.prod([len(sweep.values) for sweep in sweeps]) > MOST_BUDGETS:
        sizes = " x ".join(str(len(sweep.values)) for sweep in sweeps)
        raise SpecError(f"{sizes} points are more than {MOST_BUDGETS}: use larger steps")
    return sweeps


def snake(counts: Sequence[int]) -> list[tuple[int, ...]]:
    """Positions of a grid in an order in which each differs from the one before by one step in one place."""
    if not counts:
        return [()]
    rest = snake(counts[1:])
    return [(k, *position) for k in range(counts[0]) for position in (rest if k % 2 == 0 else reversed(rest))]


def _sense(column: str, senses: Mapping[str, Sense] | None, described: Mapping[str, Column] | None) -> Sense:
    given = (senses or {}).get(column)
    if given is not None:
        if given not in ("at_most", "at_least"):
            raise SpecError(f"the sense of {column!r} is 'at_most' or 'at_least', not {given!r}")
        return given
    direction = describe(column, described).direction
    if direction is None:
        raise SpecError(
            f"whether {column!r} is better low or high is not known: say 'at_most' or 'at_least' "
            f"(senses={{'{column}': 'at_most'}}, --sense {column}=at_most)"
        )
    return "at_most" if direction == "lower" else "at_least"


def _values(column: str, given: SweepValues) -> tuple[float, ...]:
    """The budgets, rising, each once."""
    if given is None or (isinstance(given, str) and not given.strip()):
        raise SpecError(
            f"say which budgets of {column!r}: a range with its step, such as {column}=0.1..0.6..0.01, a list, "
            "such as 0.1|0.2, or let auto place so many points (--auto N)"
        )
    if isinstance(given, str):
        found = {float(value) for item in given.split("|") for value in _item(column, item.strip())}
    else:
        found = {_real(column, value) for value in _listed(column, given)}
    if not found:
        raise SpecError(f"the sweep of {column!r} has no values")
    return tuple(sorted(found))


def _range_ends(column: str, given: SweepValues) -> tuple[float, ...]:
    """Lowest and highest budget of an automatic sweep; nothing for the attainable range."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return ()
    if isinstance(given, str):
        parts = [_decimal(part.strip()) for part in given.split("..")]
        ends = [float(part) for part in parts if part is not None]
        if len(parts) != 2 or len(ends) != 2:
            raise SpecError(
                f"auto places the points itself: {column}={given!r} must be a range without a step, such as 0.1..0.6, "
                f"or {column} alone for all that is attainable"
            )
    else:
        ends = [_real(column, value) for value in _listed(column, given)]
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise SpecError(f"{column}: an automatic sweep goes from a lower to a higher budget, not {given!r}")
    return tuple(ends)


def _listed(column: str, given: object) -> Iterable[object]:
    if isinstance(given, numbers.Real):
        return [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise SpecError(f"{column}: {given!r} is no range such as '0.1..0.6..0.01' and no list of numbers")
    return list(given)


def _real(column: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(float(value)):
        raise SpecError(f"{column}: {value!r} is not a finite number")
    return float(value)


def _item(column: str, item: str) -> list[Decimal]:
    parts = [_decimal(part.strip()) for part in item.split("..")]
    known = [part for part in parts if part is not None]
    if not 1 <= len(parts) <= 3 or len(known) != len(parts):
        raise SpecError(f"{column}={item!r} is no budget and no range; write 0.25, or start..end..step")
    if len(known) == 1:
        return known
    start, end, step = [*known, Decimal(1)][:3]
    if step <= 0:
        raise SpecError(f"{column}={item!r} has step {_plain(step)}; a step is above 0")
    if end < start:
        raise SpecError(f"{column}={item!r} runs backwards; write {_plain(end)}..{_plain(start)}")
    count = (end - start) / step
    if count > MOST_BUDGETS:
        raise SpecError(f"{column}={item!r} has over {MOST_BUDGETS} values: use a larger step")
    last = start + step * int(count)
    if last != end:
        raise SpecError(
            f"{column}={item!r} does not reach its end in steps of {_plain(step)}; "
            f"end it at {_plain(last)} or {_plain(last + step)}, or give another step"
        )
    return [start + step * k for k in range(int(count) + 1)]


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _plain(value: Decimal) -> str:
    return "0" if value == 0 else format(value.normalize(), "f")
