"""What an explanation of impossible budgets says: numbers first, and their words for a person in a shell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rdp.selection.document import number
from rdp.selection.problem import Constraint, IntArray
from rdp.selection.statement import Sense

SHOWN = 5
"""Images and constraints that are named one by one."""
SAME = 5e-13
"""A number within this part of an average is the average: half of what a budget may be passed by."""


class Known(StrEnum):
    """What is known about a number."""

    PROVEN = "proven"
    FOUND = "found within time"
    """Some selection attains it; perhaps another is nearer."""
    IMPOSSIBLE = "impossible"
    """Proven: there is no selection at all with what is kept."""
    UNKNOWN = "not found within time"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Attainable:
    """What one constraint's average can be made: `alone`, and `given_others`, with the other budgets kept.

    None where there is no such number; the statuses say why. Without other budgets `given_others` is `alone`.
    `without_bounds` is `alone` without the bounds on each image, None where they make no difference. `reachable`: the
    budget can be met alone. `relative` is the excess of `given_others` (else of `alone`) as a part of the budget, 0 at
    least, None where the budget is too near zero to be a measure. `name` is `bpp <= 0.25`, with as many digits as tell
    the budget from what is attainable. `price` is its share of the prices at which the budgets exclude each other; all
    shares together are 1.
    """

    name: str
    column: str
    sense: Sense
    group: str
    budget: float
    price: float
    alone: float | None
    alone_status: Known
    given_others: float | None
    status: Known
    reachable: bool
    without_bounds: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class NewBudget:
    """One budget of the nearest ones that can be met together; `text` is the number as it is to be written."""

    column: str
    sense: Sense
    group: str
    was: float
    text: str

    @property
    def budget(self) -> float:
        """The number that `text` writes."""
        return float(self.text)


@dataclass(frozen=True, eq=False)
class Nearest:
    """Budgets that can be met together, none relaxed by more than `relaxation` (a part of itself).

    Relaxing all budgets by less than `lower_bound` is not enough; `proven`: the two agree to a thousandth, or in a
    small table to 1e-8 of the budgets. `choice` (N,) meets all of `budgets`. `by_range` names the columns whose budget
    is 0, or nearly: theirs is a part of the range of attainable averages.
    """

    relaxation: float
    lower_bound: float
    proven: bool
    budgets: tuple[NewBudget, ...]
    choice: IntArray
    by_range: tuple[str, ...] = ()

    @property
    def options(self) -> str:
        """`--at-most bpp=0.213 --at-least psnr=30.1`, to be copied; of one option for many groups the widest."""
        widest: dict[tuple[str, Sense, bool], NewBudget] = {}
        for new in self.budgets:
            key = (new.column, new.sense, bool(new.group))
            sign = 1.0 if new.sense == "at_most" else -1.0
            if key not in widest or sign * new.budget > sign * widest[key].budget:
                widest[key] = new
        return " ".join(option(new.column, new.sense, new.text, of_groups=bool(new.group)) for new in widest.values())


@dataclass(frozen=True)
class BindingImage:
    """An image that keeps the budgets from being met.

    `values` are (column, value) at the point that is best for the binding constraints together; for one constraint its
    least attainable value. `excess` is the image's part in the relaxation. Without the image, the same points of the
    others would need `fall` less of a relaxation, and the binding averages would fall by `falls` (negative: rise).
    """

    image: str
    values: tuple[tuple[str, float], ...]
    excess: float
    fall: float
    falls: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why no selection keeps all budgets, by how much, what to write instead, and which images bind.

    `binding` are the numbers of the constraints that exclude each other, those with a price. `within` says what else
    every selection keeps to. `nearest` is None when none was found.
    """

    constraints: tuple[Attainable, ...]
    nearest: Nearest | None
    images: tuple[BindingImage, ...]
    binding: tuple[int, ...] = ()
    within: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """The explanation in words, a few lines."""
        from rdp.selection.explaining.words import explanation_text

        return explanation_text(self)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without NaN and Infinity literals."""
        return {
            "constraints": [_constraint_entry(constraint) for constraint in self.constraints],
            "nearest": None if self.nearest is None else _nearest_entry(self.nearest),
            "binding": [self.constraints[k].name for k in self.binding],
            "images": [_image_entry(image) for image in self.images],
            "notes": list(self.notes),
        }


def _constraint_entry(constraint: Attainable) -> dict[str, Any]:
    return {
        "name": constraint.name,
        "column": constraint.column,
        "sense": constraint.sense,
        "group": constraint.group,
        **number("budget", constraint.budget),
        **number("price", constraint.price),
        "reachable": constraint.reachable,
        **number("alone", constraint.alone),
        "alone_status": constraint.alone_status.value,
        **number("without_bounds", constraint.without_bounds),
        **number("given_others", constraint.given_others),
        "status": constraint.status.value,
        **number("relative", constraint.relative),
    }


def _nearest_entry(nearest: Nearest) -> dict[str, Any]:
    return {
        **number("relaxation", nearest.relaxation),
        **number("lower_bound", nearest.lower_bound),
        "proven": nearest.proven,
        "options": nearest.options,
        "by_range": list(nearest.by_range),
        "budgets": [
            {"column": new.column, "sense": new.sense, "group": new.group, **number("budget", new.budget)}
            for new in nearest.budgets
        ],
    }


def _image_entry(image: BindingImage) -> dict[str, Any]:
    return {
        "image": image.image,
        "values": [{"column": column, **number("value", value)} for column, value in image.values],
        **number("excess", image.excess),
        **number("fall", image.fall),
        "falls": [number("fall", fall)["fall"] for fall in image.falls],
    }


def constraint_name(constraint: Constraint, others: Iterable[float | None]) -> str:
    """`bpp <= 0.25`, and of which group, with as many digits as tell the budget from the numbers beside it."""
    column, budget = constraint.term.column, constraint.budget
    count = max((digits(budget, other) for other in others if other is not None and other != budget), default=6)
    text = min(f"{budget:.{count}g}", exact(budget), key=len)
    where = f" in {constraint.group!r}" if constraint.group else ""
    return f"{column} {'<=' if constraint.sense == 'at_most' else '>='} {text}{where}"


def option(column: str, sense: Sense, budget: str, *, of_groups: bool = False) -> str:
    """`--at-most bpp=0.25`, or `--group-at-most bpp=0.25`."""
    return f"--{'group-' if of_groups else ''}{sense.replace('_', '-')} {column}={budget}"


def digits(value: float, other: float) -> int:
    """Significant digits, 6 to 17, that show the difference of two numbers to a tenth of it."""
    apart = abs(value - other)
    if value == 0 or apart == 0 or not (math.isfinite(value) and math.isfinite(apart)):
        return 6
    needed = math.floor(math.log10(abs(value))) - math.floor(math.log10(apart)) + 2
    return min(max(needed, 6), 17)


def safe(value: float, sense: str, beside: float | None = None) -> str:
    """Six significant digits, rounded to the side on which a budget copied from the text is feasible.

    There are more where six would not tell the number from the one `beside` it.
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    sign = 1.0 if sense == "at_most" else -1.0
    count = 6 if beside is None else digits(value, beside)
    text = f"{value:.{count}g}"
    if sign * (value - float(text)) > SAME * abs(value):
        unit = 10.0 ** (math.floor(math.log10(abs(value))) - count + 1)
        text = f"{float(text) + sign * unit:.{count}g}"
    return text


def exact(value: float) -> str:
    """A number as short as reads back as itself."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value)


def percent(part: float) -> str:
    """`6.31 %`."""
    return f"{100 * part:.3g} %"


def listed(names: list[str]) -> str:
    """`a and b and c`, and after the first few how many there are more."""
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return " and ".join([*names[:SHOWN], *more])
