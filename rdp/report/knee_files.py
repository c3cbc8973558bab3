"""Knees as files: tables, a JSON document, the figure.

`knee_points.csv` has a row a point, `knees.csv` a row a curve, `knee_ends.csv` a row for each curve without some of its
end points. The document `knee.json`:

    version, kind             1, "knee"
    rdp_version, source
    x, y                      column and direction of both averages
    kneedle_sensitivity, resamples, seed
    curves                    one object each: name, encoder_id, bpp (least and greatest of its points, or null),
                              images, left_out, reason, points, knee, tied, kneedle, gain, ends, no_knee
      points                  point, decoder, x, y, on_front, dominated_by, same_as, distance, share
      gain                    of the knee over the point `reference`: x, y, y_relative; null without a knee
      ends                    by method (chord, kneedle): knee, knees, tried, agreeing, possible, trials
    notes

Points of a curve are named by their decoders, which are unique in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rdp
from rdp.analysis.knee import EndPointSensitivity
from rdp.report.figure import FigureFormat
from rdp.report.knee_curves import KneeCurve, KneePoint
from rdp.report.knee_figure import draw_knees
from rdp.report.writing import FIGURES, check_output, write_files
from rdp.selection.document import json_text

if TYPE_CHECKING:
    import pandas as pd

    from rdp.report.knee import Knees

VERSION = 1
KIND = "knee"


def write_knee(knees: Knees, out: str | Path, *, figures: Sequence[FigureFormat] = FIGURES) -> tuple[Path, ...]:
    """Write `knee_points.csv`, `knees.csv`, `knee_ends.csv`, `knee.json` and the figure `knee` into the folder `out`.

    Returns the paths. Raises `SpecError` for unknown formats of figures, and `RunFolderError` where a file cannot be
    written.
    """
    check_output("figures", figures, FIGURES)
    files = {
        "knee_points.csv": points_frame(knees).to_csv(index=False).encode(),
        "knees.csv": curves_frame(knees).to_csv(index=False).encode(),
        "knee_ends.csv": ends_frame(knees).to_csv(index=False).encode(),
        "knee.json": document_text(knees).encode(),
    }
    files |= {f"knee.{kind}": data for kind, data in draw_knees(knees, figures).items()} if figures else {}
    return write_files(Path(out), files)


def document_text(knees: Knees) -> str:
    """The document as text, the same for the same table and options."""
    return json_text(knee_document(knees))


def knee_document(knees: Knees) -> dict[str, Any]:
    """The document, ready for `json.dumps(..., allow_nan=False)`."""
    return {
        "version": VERSION,
        "kind": KIND,
        "rdp_version": rdp.__version__,
        "source": knees.source,
        "x": {"column": knees.x.column, "direction": knees.x.direction},
        "y": {"column": knees.y.column, "direction": knees.y.direction},
        "kneedle_sensitivity": knees.sensitivity,
        "resamples": knees.resamples,
        "seed": knees.seed,
        "curves": [_curve(curve) for curve in knees.curves],
        "notes": list(knees.notes),
    }


def _curve(curve: KneeCurve) -> dict[str, Any]:
    gain = curve.gain
    return {
        "name": curve.name,
        "encoder_id": curve.encoder_id,
        "bpp": None if curve.rates is None else list(curve.rates),
        "images": curve.images,
        "left_out": curve.left_out,
        "reason": curve.reason,
        "points": [_point(point) for point in curve.points],
        "knee": curve.label(curve.knee),
        "tied": [curve.label(place) for place in curve.tied],
        "kneedle": curve.label(curve.kneedle),
        "gain": gain and {"reference": gain.reference, "x": gain.x, "y": gain.y, "y_relative": gain.y_relative},
        "ends": {ends.method: _ends(curve, ends) for ends in curve.ends},
        "no_knee": curve.no_knee,
    }


def _point(point: KneePoint) -> dict[str, Any]:
    return {
        "point": point.point,
        "decoder": point.label,
        "x": point.x,
        "y": point.y,
        "on_front": point.on_front,
        "dominated_by": list(point.dominated_by),
        "same_as": point.same_as,
        "distance": point.distance,
        "share": point.share,
    }


def _ends(curve: KneeCurve, ends: EndPointSensitivity) -> dict[str, Any]:
    trials = [
        {
            "without_first": trial.without_first,
            "without_last": trial.without_last,
            "knee": curve.label(trial.knee),
            "possible": trial.possible,
        }
        for trial in ends.trials
    ]
    return {
        "knee": curve.label(ends.knee),
        "knees": [curve.label(place) for place in ends.knees],
        "tried": len(trials),
        "agreeing": ends.agreeing,
        "possible": ends.possible,
        "trials": trials,
    }


def points_frame(knees: Knees) -> pd.DataFrame:
    """One row a point, curve by curve, from the best x to the worst."""
    import pandas as pd

    rows = [
        {
            "curve": curve.name,
            "point": point.point,
            "decoder": point.label,
            knees.x.column: point.x,
            knees.y.column: point.y,
            "on_front": point.on_front,
            "dominated_by": " ".join(point.dominated_by),
            "same_as": point.same_as,
            "chord_distance": point.distance,
            "knee": place == curve.knee,
            "kneedle": place == curve.kneedle,
            "share_of_resamples": point.share,
        }
        for curve in knees.curves
        for place, point in enumerate(curve.points)
    ]
    return pd.DataFrame(rows)


def curves_frame(knees: Knees) -> pd.DataFrame:
    """One row a curve: its knees, what the chord's gives and takes, and how often it is found without end points."""
    import pandas as pd

    return pd.DataFrame([_curve_row(knees, curve) for curve in knees.curves])


def _curve_row(knees: Knees, curve: KneeCurve) -> dict[str, Any]:
    gain, at = curve.gain, None if curve.knee is None else curve.points[curve.knee]
    row: dict[str, Any] = {
        "curve": curve.name,
        "encoder_id": curve.encoder_id,
        "bpp": curve.rate,
        "images": curve.images,
        "left_out": curve.left_out,
        "points": len(curve.points),
        "on_front": len(curve.front),
        "knee": curve.label(curve.knee),
        "kneedle": curve.label(curve.kneedle),
        knees.x.column: at and at.x,
        knees.y.column: at and at.y,
        "chord_distance": at and at.distance,
        "reference": gain and gain.reference,
        f"{knees.x.column}_less_reference": gain and gain.x,
        f"{knees.y.column}_less_reference": gain and gain.y,
        f"{knees.y.column}_less_reference_percent": gain
        and (None if gain.y_relative is None else 100 * gain.y_relative),
    }
    for ends in curve.ends:
        row |= {f"{ends.method}_ends_tried": len(ends.trials), f"{ends.method}_ends_agreeing": ends.agreeing}
        row |= {f"{ends.method}_ends_possible": ends.possible}
    share = at and at.share
    return row | {"share_of_resamples": share, "no_knee": curve.no_knee, "reason": curve.reason}


def ends_frame(knees: Knees) -> pd.DataFrame:
    """One row for each curve with some of its end points left out, for both methods."""
    import pandas as pd

    names = ["curve", "method", "without_first", "without_last", "knee", "agrees", "possible"]
    rows = [
        (
            curve.name,
            ends.method,
            trial.without_first,
            trial.without_last,
            curve.label(trial.knee),
            trial.knee == ends.knee,
            trial.possible,
        )
        for curve in knees.curves
        for ends in curve.ends
        for trial in ends.trials
    ]
    return pd.DataFrame(rows, columns=names)
