"""`rdp solve` with distances of sets: which options go with them, and the answer as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdp.cli.text import aligned, number_text
from rdp.columns import is_set_level
from rdp.errors import SpecError

if TYPE_CHECKING:
    from rdp.selection import Selection
    from rdp.selection.setlevel.result import SetSelection, SetValue


def names_sets(source: str, words: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Whether the words of `rdp solve` name a distance of sets that is no column of the table."""
    if not any(is_set_level(name) for value in words.values() for name in _texts(value)):
        return False
    from rdp.report.solve_set import set_level_names

    return bool(set_level_names(source, words, columns))


def solve_sets(
    source: str,
    words: Mapping[str, Any],
    *,
    gap: float | None,
    seed: str,
    refused: Mapping[str, bool],
    options: Mapping[str, Any],
    quiet: bool,
    **how: Any,
) -> SetSelection:
    """The selection; `refused` maps options that do not go with distances of sets to whether they were given.

    `options` are what was typed of `rdp.cli.set_options`; `how` has time_limit and columns.
    """
    from rdp.cli.compare import whole_number
    from rdp.cli.progress import Terminal
    from rdp.cli.set_options import patch_grid
    from rdp.report.solve_set import solve_set
    from rdp.selection.setlevel.optimise import SET_GAP

    for option, given in refused.items():
        if given:
            raise SpecError(
                f"{option} does not go with distances of sets (fid, kid, swd and so on), which are of all images "
                "together: leave it out"
            )
    return solve_set(
        source,
        network=options["--network"],
        patches=patch_grid(options["--patches"], options["--small"]),
        device=options["--device"] or "cpu",
        originals=options["--images"],
        codec_files=options["--codec-file"] or (),
        convex_form="unbiased" if options["--unbiased"] else "biased",
        gap=SET_GAP if gap is None else gap,
        seed=whole_number("--seed", seed),
        progress=Terminal(quiet),
        **words,
        **how,
    )


def require_unused(options: Mapping[str, Any]) -> None:
    """Raise `SpecError` for an option about distances of sets where none is named."""
    for option, value in options.items():
        if value:
            raise SpecError(
                f"{option} is about distances of sets, and none is minimised or held to at most a value: name one, "
                "such as --minimize kid, or leave it out"
            )


def objective_words(selection: Selection) -> str:
    """What a selection optimises: the average of a column, or the convex form of a distance."""
    column = selection.problem.objective.column
    targets = [one for one in _values(selection) if one.role == "minimize"]
    return f"{column} ({_form(targets[0])})" if targets else f"average {column}"


def set_lines(selection: Selection) -> list[str]:
    """The distances of sets of a selection, and what its bound is of; nothing for a selection without any."""
    values = _values(selection)
    if not values:
        return []
    head = ("distance of sets", "as optimised or bounded", "as reported", "patches", "features")
    rows = [(_called(one), *_numbers(one)) for one in values]
    covers = getattr(selection, "covers", "")
    said = [one for one in (covers, *map(_negative, values), stopped_words(selection)) if one]
    return ["", *aligned([head, *rows], left=(0, 4)), *said]


def stopped_words(selection: Selection) -> str:
    """What ended the search for a selection with distances of sets before it was proven best; empty where it was."""
    stopped = getattr(selection, "stopped", "")
    if stopped == "time":
        return (
            f"the time ran out after {selection.elapsed_s:.0f} s: a longer --time-limit SECONDS looks further for "
            "better selections and for a better bound"
        )
    if stopped == "interrupted":
        return f"interrupted after {selection.elapsed_s:.0f} s: this is the best selection so far"
    return ""


def _negative(one: SetValue) -> str:
    """What a score below 0 means; empty for others."""
    if one.score is None or one.score >= 0 or "kernel" not in one.facts:
        return ""
    return (
        f"{one.name} is reported below 0: with {one.facts.get('patches')} patches, each of which meets its own "
        "reconstruction, the unbiased estimate comes out too small; compare differences, not the sign"
    )


def _numbers(one: SetValue) -> tuple[str, str, str, str]:
    features = one.facts.get("features", {})
    grid = features.get("patches")
    where = f" {grid['side']}@{','.join(map(str, grid['offsets']))}" if isinstance(grid, dict) else ""
    form, score = number_text(one.value), number_text(one.score)
    kind = _form(one)
    shown = form if kind == "the distance itself" else f"{form} {kind}"
    reported = f"{score} unbiased" if "kernel" in one.facts else score
    return shown, reported, str(one.facts.get("patches", "")), f"{features.get('name', '')}{where}"


def _called(one: SetValue) -> str:
    return one.name if one.name == one.scorer else f"{one.name} ({one.scorer})"


def _form(one: SetValue) -> str:
    """The convex form in a word or two."""
    kind = one.facts.get("convex_form")
    return {"biased": "V-statistic", "unbiased": "unbiased estimate"}.get(str(kind), "the distance itself")


def _values(selection: Selection) -> tuple[SetValue, ...]:
    return getattr(selection, "values", ())


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple, Mapping)) else []
