"""`rdp compare`: two selections over the same images, image by image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdp.cli.options import number
from rdp.cli.text import aligned, number_text
from rdp.errors import SpecError

if TYPE_CHECKING:
    from rdp.selection.sampling.paired_result import Comparison


def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A selection, as rdp solve --out writes it.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one, over the same images.")],
    column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What the sentence is about; what they optimise, if not given.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Run folder or table of both; where the selections say, if not given."),
    ] = None,
    resamples: Annotated[
        str, typer.Option(metavar="N", help="Resamples of the intervals, and sign flips of the test.")
    ] = "10000",
    seed: Annotated[str, typer.Option(metavar="N", help="Seed of both.")] = "0",
    confidence: Annotated[
        str, typer.Option(metavar="NUMBER", help="Of the intervals; 1 less this is the level of the test.")
    ] = "0.95",
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as one JSON document.")] = False,
) -> None:
    """Compare two selections: is the difference of their averages more than chance?

    Differences (A minus B) are taken image by image. Each average that both have gets a bootstrap interval (BCa), the
    p-value of a sign-flip permutation test, and that of the Wilcoxon signed-rank test. The p-values are of one column
    each, not corrected for their number.
    """
    from rdp.selection import load_selection
    from rdp.selection.sampling.comparison import compare

    comparison = compare(
        load_selection(a, table),
        load_selection(b, table),
        column,
        resamples=whole_number("--resamples", resamples),
        seed=whole_number("--seed", seed),
        confidence=number("--confidence", confidence),
        names=(str(a), str(b)),
    )
    for name, reason in comparison.left_out.items():
        typer.echo(f"warning: {name} is left out: {reason}", err=True)
    if json:
        from json import dumps

        typer.echo(dumps(comparison.to_dict(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(describe_comparison(comparison))


def whole_number(option: str, text: str) -> int:
    """A whole number as it was typed; raises `SpecError` that names the option."""
    try:
        return int(text)
    except ValueError as error:
        raise SpecError(f"{option}: {text!r} is not a whole number, such as 1000") from error


def describe_comparison(comparison: Comparison) -> str:
    """The comparison for people: a row for each column, and the sentences."""
    tests = list(comparison.tests.values())
    percent = f"{100 * tests[0].confidence:g} % interval"
    head = ("average", "A", "B", "A - B", percent, "p", "Wilcoxon p", "A better", "worse", "equal")
    rows = [
        (
            test.column,
            number_text(test.average_a),
            number_text(test.average_b),
            number_text(test.difference, 4),
            f"{number_text(test.interval.low, 4)} to {number_text(test.interval.high, 4)}",
            probability(test.p_value),
            probability(test.wilcoxon),
            *_counts(test.direction is not None, test.better_images, test.worse_images),
            str(test.equal_images),
        )
        for test in tests
    ]
    lines = [f"A: {comparison.names[0]}", f"B: {comparison.names[1]}", "", *aligned([head, *rows], left=(0,))]
    return "\n".join([*lines, "", *comparison.sentences]).rstrip()


def _counts(known: bool, better: int, worse: int) -> tuple[str, str]:
    """Images on which A is better and worse, where it is known which way is better."""
    return (str(better), str(worse)) if known else ("-", "-")


def probability(value: float) -> str:
    """Two digits, and no smaller than can be read."""
    if math.isnan(value):
        return "-"
    return f"{value:.2g}" if value >= 1e-4 else "<0.0001"
