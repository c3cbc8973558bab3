"""`rdp knee`: the knee of every perception-distortion curve of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli import problem_options as options
from rdp.cli.options import number, pairs, require_folder
from rdp.cli.table import read_column_map
from rdp.cli.telling import tell_result
from rdp.cli.text import aligned, number_text

if TYPE_CHECKING:
    from rdp.analysis.knee import EndPointSensitivity
    from rdp.report.averages import Average
    from rdp.report.knee import Knees
    from rdp.report.knee_curves import KneeCurve, KneePoint

_SHOWN = 3
"""Points that dominate another one and are named."""


def knee_command(
    source: options.Source,
    x: Annotated[str, typer.Option(metavar="COLUMN", help="The distortion.")] = "psnr",
    y: Annotated[str, typer.Option(metavar="COLUMN", help="The perceptual metric.")] = "lpips_squeeze",
    points: options.Points = None,
    one_curve: Annotated[
        bool, typer.Option("--one-curve", help="All points make one curve, whatever their encoders.")
    ] = False,
    better: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=lower|higher", help="Which side of a column of your own is the better one."),
    ] = None,
    sensitivity: Annotated[
        str, typer.Option(metavar="NUMBER", help="Kneedle's S: how far the curve must fall after a knee.")
    ] = "1",
    resamples: Annotated[
        str, typer.Option(metavar="N", help="Draw the images anew so often, and say how often each point is the knee.")
    ] = "0",
    seed: Annotated[str, typer.Option(metavar="N", help="Seed of the resamples.")] = "0",
    column: options.Column = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write tables and figure into this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the knees as one JSON document.")] = False,
) -> None:
    """Find the knee of the perception-distortion curve of every encoder: the decoder to take.

    Points that share their encoder (decoder=... of one codec) make a curve of their averages. Dominated points are no
    part of it. The knee is the point farthest from the chord between the curve's ends, both averages scaled to 0..1;
    beside it stands that of Kneedle, and how often either is found again when end points are left out.
    """
    from rdp.cli.compare import whole_number
    from rdp.report.knee import knee
    from rdp.report.knee_files import document_text, write_knee

    if out is not None:
        require_folder(out)
    sides: dict[str, Any] = {**pairs("--better", better)}
    found = knee(
        source,
        x,
        y,
        points or (),
        better=sides,
        columns=read_column_map(column),
        one_curve=one_curve,
        sensitivity=number("--sensitivity", sensitivity),
        resamples=whole_number("--resamples", resamples),
        seed=whole_number("--seed", seed),
    )
    written = write_knee(found, out) if out is not None else ()
    tell_result(
        lambda: describe_knees(found),
        lambda: document_text(found),
        json=json,
        notes=found.notes,
        out=out,
        written=written,
    )


def describe_knees(knees: Knees) -> str:
    """The knees for people: for each curve a row a point, and sentences about its knee."""
    return "\n\n".join("\n".join(_curve_lines(knees, curve)) for curve in knees.curves)


def _curve_lines(knees: Knees, curve: KneeCurve) -> list[str]:
    from rdp.selection.words import counted

    rate = "" if curve.rate is None else f"{curve.rate:.4g} bit/pixel, "
    lines = [f"{curve.name}: {rate}{counted(curve.images, 'image')}"]
    if curve.points:
        head = ["decoder", knees.x.heading, knees.y.heading, "distance", "front", "knee"]
        head += ["share"] if knees.resamples else []
        rows = [_row(knees, curve, place) for place in range(len(curve.points))]
        lines += aligned([head, *rows], left=(0, 4, 5))
    if curve.reason:
        return [*lines, f"no knee: {curve.reason}"]
    lines.append(_knee_sentence(knees, curve))
    lines += [_ends_sentence(curve, ends) for ends in curve.ends if ends.trials]
    if not any(ends.trials for ends in curve.ends):
        lines.append("ends: with three points on the front none can be left out")
    if curve.no_knee:
        lines.append(f"without a knee: {100 * curve.no_knee:.3g} % of {knees.resamples} resamples")
    return lines


def _row(knees: Knees, curve: KneeCurve, place: int) -> Sequence[str]:
    point = curve.points[place]
    marks = [name for name, at in (("chord", curve.knee), ("Kneedle", curve.kneedle)) if at == place]
    row = [point.label, number_text(point.x), number_text(point.y), number_text(point.distance, 3)]
    row += [_front_words(curve, place, point), " and ".join(marks)]
    return [*row, f"{100 * (point.share or 0):.3g} %"] if knees.resamples else row


def _front_words(curve: KneeCurve, place: int, point: KneePoint) -> str:
    if point.same_as is not None:
        return f"same place as {point.same_as}"
    if not point.dominated_by:
        return "end" if place in (curve.front[0], curve.front[-1]) else "yes"
    more = len(point.dominated_by) - _SHOWN
    return f"dominated by {', '.join(point.dominated_by[:_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _knee_sentence(knees: Knees, curve: KneeCurve) -> str:
    gain = curve.gain
    other = (
        f"Kneedle (S={knees.sensitivity:g}) finds none"
        if curve.kneedle is None
        else f"Kneedle (S={knees.sensitivity:g}) finds {curve.label(curve.kneedle)}"
    )
    if gain is None:
        return f"knee: none, no point is on the better side of the chord; {other}"
    tied = f", as far as {', '.join(curve.points[place].label for place in curve.tied)}" if curve.tied else ""
    relative = "" if gain.y_relative is None or knees.y.unit == "dB" else f" ({100 * gain.y_relative:+.3g} %)"
    against = (
        f"{_difference(knees.x, gain.x)}, {_difference(knees.y, gain.y)}{relative} against {gain.reference}"
        if gain.reference != curve.label(curve.knee)
        else "the decoder of the network itself"
    )
    return f"knee: {curve.label(curve.knee)}{tied}: {against}; {other}"


def _difference(axis: Average, value: float) -> str:
    return f"{axis.title} {value:+.4g}{f' {axis.unit}' if axis.unit else ''}"


def _ends_sentence(curve: KneeCurve, ends: EndPointSensitivity) -> str:
    whole = curve.label(ends.knee) or "no knee"
    others = [curve.label(place) or "no knee" for place in ends.knees[1:]]
    inside = "" if ends.knee is None else f", {ends.possible} still have it between their ends"
    return (
        f"ends ({'chord' if ends.method == 'chord' else 'Kneedle'}): of {len(ends.trials)} curves without some end "
        f"points{inside}, {ends.agreeing} find {whole} again" + (f"; others: {', '.join(others)}" if others else "")
    )
