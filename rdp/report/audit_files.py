"""An audit as files: tables, text, a JSON document, figures.

`audit.csv` has a row a line of the audit, `audit_comparisons.csv` a row for each selection and measure,
`audit_intervals.csv` a row an interval. The document `audit.json`:

    version, kind             1, "audit"
    rdp_version, source, facts
    rate                      the measure that rows are compared at
    measures                  one object a column: key, title, unit, direction, meaning, part, metric, facts
    rows                      kind (point, selection, against, curve, random), name, of, rate, points, values and
                              deviations by key
    comparisons               selection, measure, value, single, single_value, single_rate, curve, curve_value, random,
                              random_deviation, random_rate
    intervals                 row, measure, less (a selection, or empty), value, low, high, deviation, resamples, seed,
                              confidence, reliable
    notes, warnings

A number that is not there is null; an infinite one is null too, and `<name>_is` beside it says which.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rdp
from rdp.errors import SpecError
from rdp.report.audit_figure import draw_measure
from rdp.report.audit_text import audit_text
from rdp.report.figure import FigureFormat
from rdp.report.writing import FIGURES, check_output, write_files
from rdp.selection.document import json_text, number
from rdp.selection.words import counted
from rdp.tables.manifest import MANIFEST
from rdp.tables.run import RUN

if TYPE_CHECKING:
    import pandas as pd

    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, AuditInterval

VERSION = 1
KIND = "audit"
TABLES = ("audit.md", "audit.csv", "audit_comparisons.csv", "audit_intervals.csv", "audit.json")
_STEM = re.compile(r"audit_[a-z0-9_]+")


def write_audit(audit: Audit, out: str | Path, *, figures: Sequence[FigureFormat] = FIGURES) -> tuple[Path, ...]:
    """Write `audit.md`, the tables as CSV, `audit.json` and a figure a set-level measure into the folder `out`.

    What an earlier audit has left in the folder and this one does not write is removed, so that all files there are of
    one audit. Returns the paths. Raises `SpecError` for unknown formats of figures and for a run folder (`check_out`),
    and `RunFolderError` where a file cannot be written.
    """
    check_output("figures", figures, FIGURES)
    check_out(out)
    drawn: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    for measure in audit.measures:
        if figures and measure.of_set:
            stem = figure_stem(measure.key)
            drawn |= {f"{stem}.{kind}": data for kind, data in draw_measure(audit, measure, figures).items()}
            captions[caption_of(audit, measure)] = f"{stem}.{figures[0]}"
    files = {
        "audit.md": audit_text(audit, captions).encode(),
        "audit.csv": rows_frame(audit).to_csv(index=False).encode(),
        "audit_comparisons.csv": comparisons_frame(audit).to_csv(index=False).encode(),
        "audit.json": document_text(audit).encode(),
    }
    if audit.intervals:
        files["audit_intervals.csv"] = intervals_frame(audit).to_csv(index=False).encode()
    files |= drawn
    stale = set(earlier_files(out)) - set(files)
    paths = write_files(Path(out), files)
    for name in sorted(stale):
        (Path(out) / name).unlink(missing_ok=True)
    return paths


def check_out(out: str | Path) -> None:
    """Raise `SpecError` for a run folder, which is no place for an audit's files."""
    if all((Path(out) / name).is_file() for name in (RUN, MANIFEST)):
        raise SpecError(f"--out {out} is a run folder; name another, or one in it, such as {Path(out) / 'audit'}")


def earlier_files(out: str | Path) -> tuple[str, ...]:
    """Names of the files of an earlier audit that lie in a folder, as its `audit.json` tells; none without one."""
    folder = Path(out)
    try:
        document = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        drawn = [measure for measure in document["measures"] if measure["part"] != "average"]
        keys = [str(measure["key"]) for measure in drawn] if document["kind"] == KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    if keys is None:
        return ()
    # Only names as this module makes them: the document may have been changed.
    stems = [stem for stem in map(figure_stem, keys) if _STEM.fullmatch(stem)]
    names = (*TABLES, *(f"{stem}.{kind}" for stem in stems for kind in FIGURES))
    return tuple(name for name in names if (folder / name).is_file())


def figure_stem(key: str) -> str:
    """The name of a measure's figure without its suffix."""
    return f"audit_{key.replace('@', '_')}"


def caption_of(audit: Audit, measure: Measure) -> str:
    """What the figure of a measure shows."""
    images = counted(audit.facts["images"], "image")
    return (
        f"{measure.title} against the rate: {measure.meaning}, {measure.facts.get('patches', 'no')} patches of "
        f"{images}. Numbers beside single points are their settings; random mixtures have a bar of one "
        "standard deviation"
    )


def document_text(audit: Audit) -> str:
    """The document as text, the same for the same run and options."""
    return json_text(audit_document(audit))


def audit_document(audit: Audit) -> dict[str, Any]:
    """The document, ready for `json.dumps(..., allow_nan=False)`."""
    return {
        "version": VERSION,
        "kind": KIND,
        "rdp_version": rdp.__version__,
        "source": audit.source,
        "facts": dict(audit.facts),
        "rate": _plain(asdict(audit.rate)),
        "measures": [_plain(asdict(measure)) for measure in audit.measures],
        "rows": [_plain(asdict(row)) for row in audit.rows],
        "comparisons": [_plain(asdict(one)) for one in audit.comparisons],
        "intervals": [_plain(_interval(one)) for one in audit.intervals],
        "notes": list(audit.notes),
        "warnings": list(audit.warnings),
    }


def _interval(one: AuditInterval) -> dict[str, Any]:
    found = one.interval
    return {
        "row": one.row,
        "measure": one.measure,
        "less": one.less,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "deviation": found.deviation,
        "resamples": found.resamples,
        "seed": found.seed,
        "confidence": found.confidence,
        "reliable": found.reliable,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out[key] = _plain(value)
        elif isinstance(value, float):
            out |= number(key, value)
        else:
            out[key] = value
    return out


def rows_frame(audit: Audit) -> pd.DataFrame:
    """One row a line of the audit, a column a measure, and `<measure>_deviation` where one has deviations."""
    import pandas as pd

    keys = [measure.key for measure in audit.measures]
    spread = {key for row in audit.rows for key in row.deviations}
    rows = []
    for row in audit.rows:
        line: dict[str, Any] = {"kind": row.kind, "of": row.of, "name": row.name, "points": row.points}
        line[audit.rate.key] = row.rate
        for key in keys:
            line[key] = row.values.get(key, math.nan)
            if key in spread:
                line[f"{key}_deviation"] = row.deviations.get(key, math.nan)
        rows.append(line)
    return pd.DataFrame(rows)


def comparisons_frame(audit: Audit) -> pd.DataFrame:
    """One row for each selection and measure."""
    import pandas as pd

    return pd.DataFrame([asdict(one) for one in audit.comparisons])


def intervals_frame(audit: Audit) -> pd.DataFrame:
    """One row an interval."""
    import pandas as pd

    return pd.DataFrame([_interval(one) for one in audit.intervals])
