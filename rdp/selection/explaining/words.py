"""The words of an explanation, in the order in which one asks: what, by how much, what instead, because of whom."""

from __future__ import annotations

from rdp.selection.explaining.explanation import (
    SHOWN,
    Attainable,
    BindingImage,
    Explanation,
    Known,
    Nearest,
    listed,
    option,
    percent,
    safe,
)
from rdp.selection.statement import Sense


def explanation_text(explanation: Explanation) -> str:
    """A headline, a line for each constraint, the budgets to write instead, and the images that bind."""
    lines = [_headline(explanation), *_constraint_lines(explanation)]
    if explanation.nearest is None:
        lines.append("nearest budgets that can be met together were not found within time")
    else:
        lines += _nearest_lines(explanation.nearest, len(explanation.constraints))
    lines += _single_lines(explanation)
    lines += _image_lines(explanation)
    return "\n".join([*lines, *explanation.notes])


def _headline(explanation: Explanation) -> str:
    names = [constraint.name for constraint in explanation.constraints if not constraint.reachable]
    within = f" {explanation.within}" if explanation.within else ""
    if names:
        bounds = any(c.without_bounds is not None for c in explanation.constraints if not c.reachable)
        within = within if bounds or "at most" in within else ""
        return f"no selection: {listed(names)} cannot be met by any{within}"
    if len(explanation.constraints) == 1:
        return f"no selection meets {explanation.constraints[0].name}{within}"
    return f"no selection meets all budgets together{within}"


def _constraint_lines(explanation: Explanation) -> list[str]:
    """The constraints that are furthest from their budgets, in their own order."""
    constraints = explanation.constraints
    worst = sorted(range(len(constraints)), key=lambda k: _distance(constraints[k], k))[:SHOWN]
    # Where some budget is out of reach whatever the others say, the headline says so: not every line once more.
    reachable = all(constraint.reachable for constraint in constraints)
    lines = [
        f"  {constraints[k].name}: {_attainable(constraints[k], len(constraints), reachable)}" for k in sorted(worst)
    ]
    if len(constraints) > len(lines):
        lines.append(f"  and {len(constraints) - len(lines)} more budgets")
    return lines


def _distance(constraint: Attainable, place: int) -> tuple[bool, float, float, int]:
    """Sorts what is out of reach alone first, the furthest before the others, and then by price."""
    alone = 0.0 if constraint.reachable else -(constraint.relative or 0.0)
    return (constraint.reachable, alone, -constraint.price, place)


def _attainable(constraint: Attainable, count: int, reachable: bool) -> str:
    if constraint.alone is None:
        return f"the attainable average is {_unknown(constraint.alone_status)}"
    word = "least" if constraint.sense == "at_most" else "largest"
    alone = safe(constraint.alone, constraint.sense, constraint.budget)
    text = f"the {word} attainable average is {alone} alone"
    if constraint.without_bounds is not None:
        wider = safe(constraint.without_bounds, constraint.sense, constraint.budget)
        text = f"within the bounds on each image {text} ({wider} without them)"
    given, others = "", ""
    if constraint.given_others is not None and count > 1:
        found = " (found within time; perhaps not the nearest)" if constraint.status is Known.FOUND else ""
        number = safe(constraint.given_others, constraint.sense, constraint.budget)
        given = f", and {number} with the other budgets kept{found}"
    elif constraint.status is Known.IMPOSSIBLE and reachable:
        others = "; with the other budgets kept there is no selection at all"
    elif constraint.status is Known.UNKNOWN:
        others = "; with the other budgets kept it was not found within time"
    return text + given + _amount(constraint) + others


def _unknown(status: Known) -> str:
    return "that of no selection: there is none" if status is Known.IMPOSSIBLE else "not found within time"


def _amount(constraint: Attainable) -> str:
    if not constraint.relative:
        return ""
    return f", {percent(constraint.relative)} {'above' if constraint.sense == 'at_most' else 'below'} the budget"


def _nearest_lines(nearest: Nearest, count: int) -> list[str]:
    known = ""
    if not nearest.proven and percent(nearest.lower_bound) != percent(nearest.relaxation):
        known = f" (perhaps less is enough, but not less than {percent(nearest.lower_bound)})"
    if count == 1:
        return [f"the nearest feasible budget is {nearest.options}{known}"]
    ranges = f" ({' and '.join(nearest.by_range)}: of the attainable range)" if nearest.by_range else ""
    together = f"the nearest feasible budgets, none relaxed by more than {percent(nearest.relaxation)}{ranges}{known}:"
    return [together, f"  {nearest.options}"]


def _single_lines(explanation: Explanation) -> list[str]:
    """What one budget alone would have to be, the others kept, where the nearest budgets do not say it already."""
    if len(explanation.constraints) == 1:
        return []
    changed = [new for new in explanation.nearest.budgets if new.budget != new.was] if explanation.nearest else []
    said = {option(new.column, new.sense, new.text) for new in changed} if len(changed) == 1 else set()
    options = [
        option(c.column, c.sense, safe(c.given_others, c.sense, c.budget))
        for c in explanation.constraints
        if c.given_others is not None and not c.group
    ]
    left = [text for text in options if text not in said]
    return [f"or one of them alone: {', or '.join(left[:SHOWN])}"] if left else []


def _image_lines(explanation: Explanation) -> list[str]:
    if not explanation.images:
        return []
    binding = [explanation.constraints[k] for k in explanation.binding]
    columns = listed(_columns(binding))
    if len(binding) == 1:
        sense = binding[0].sense
        head = f"the images that bind most, with their {'least' if sense == 'at_most' else 'largest'} {columns}:"
        return [head, *(f"  {_single_image(image, sense)}" for image in explanation.images)]
    head = f"the images that bind most, at their best point for {columns} together (and the relaxation without each):"
    return [head, *(f"  {_joint_image(image)}" for image in explanation.images)]


def _columns(constraints: list[Attainable]) -> list[str]:
    """`bpp`, `bpp in 'kodak'`, or `bpp in 40 groups`: each column once."""
    out = []
    for column in dict.fromkeys(c.column for c in constraints):
        groups = [c.group for c in constraints if c.column == column]
        named = dict.fromkeys(group for group in groups if group)
        where = f" in {next(iter(named))!r}" if len(named) == 1 else f" in {len(named)} groups"
        out.append(column if "" in groups else f"{column}{where}")
    return out


def _single_image(image: BindingImage, sense: Sense) -> str:
    verb = "fall" if sense == "at_most" else "rise"
    return f"{image.image}: {image.values[0][1]:.6g}; without it the average would {verb} by {abs(image.falls[0]):.3g}"


def _joint_image(image: BindingImage) -> str:
    values = ", ".join(f"{column} {value:.6g}" for column, value in image.values)
    return f"{image.image}: {values}; without it {percent(image.fall)} less"
