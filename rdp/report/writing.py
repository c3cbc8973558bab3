"""`write_report`: from a table and its selections to a folder of files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdp.errors import RunFolderError, SpecError, suggest
from rdp.report.curves import make_plot
from rdp.report.document import report_text
from rdp.report.figure import FigureFormat, draw
from rdp.report.frames import baselines_frame, budgets_frame, chosen_frame, comparison_frame, points_frame
from rdp.report.latex import latex_table
from rdp.report.markdown import markdown_table
from rdp.report.study import Selections, Study, make_study
from rdp.report.tables import comparison_table, points_table
from rdp.report.text import TextTable
from rdp.selection import Selection
from rdp.selection.loading import stored_columns
from rdp.tables import CellTable, read_table, write_atomically

if TYPE_CHECKING:
    import pandas as pd

TableFormat = Literal["markdown", "latex", "csv"]
FORMATS: tuple[TableFormat, ...] = ("markdown", "latex", "csv")
FIGURES: tuple[FigureFormat, ...] = ("png", "pdf")

_SAID = {
    "points": "the operating points, their averages, and how many images chose each",
    "comparison": "the selection against the best single point and the mixture of single points",
    "baselines": "which points those two are made of",
    "budgets": "all budgets, averages, slack and prices",
    "chosen": "the point of every image, with its values",
    "figure": "average rate against quality",
}


@dataclass(frozen=True, eq=False)
class Report:
    """What was written, and the tables with all digits.

    `paths` are the files, the report itself first. `tables` holds `points`, `comparison`, `baselines`, `budgets` and
    `chosen` as DataFrames. `notes` say what the figure leaves out.
    """

    out: Path
    paths: tuple[Path, ...]
    selections: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame] = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON: a missing number is null; an infinite one is null too, and `<name>_is` beside it says which."""
        return {
            "out": str(self.out),
            "paths": [str(path) for path in self.paths],
            "selections": list(self.selections),
            "tables": {name: [_plain(row) for row in frame.to_dict("records")] for name, frame in self.tables.items()},
            "notes": list(self.notes),
        }


def _table(source: Any, selection: Selections, column_map: Mapping[str, str] | None) -> CellTable:
    """The table under our names: by the map given, else by the one that the first selection was solved with."""
    if column_map or isinstance(source, CellTable):
        return read_table(source, column_map)
    listed = selection.values() if isinstance(selection, Mapping) else selection
    first = next(iter(listed), None) if isinstance(listed, Iterable) and not isinstance(listed, str) else listed
    if isinstance(first, Selection):
        return read_table(source, first.problem.statement.columns)
    return read_table(source, stored_columns(first) if isinstance(first, (str, os.PathLike)) else None)


def write_report(
    source: Any,
    selection: Selections,
    out: str | Path,
    *,
    columns: Sequence[str] | None = None,
    column_map: Mapping[str, str] | None = None,
    formats: Sequence[TableFormat] = FORMATS,
    figures: Sequence[FigureFormat] = FIGURES,
    quality: str | None = None,
    title: str | None = None,
) -> Report:
    """Write the tables, the text and the figure of a selection, or of several, into the folder `out`.

    `source` is anything that `rdp.read_table` takes; `selection` a `Selection`, the path of a `selection.json` (which
    is checked against the table), a sequence of these (named by their files' stems) or a mapping from names to them.
    `columns` are the columns and averages to show (by default the rate, what was optimised and bounded, and every
    metric); `column_map` maps our column names to the source's, by default as the first selection was solved with;
    `quality` is what the figure draws against the rate (by default the objective). A selection that is
    infeasible is reported as that.

    Raises `TableError` for a selection of another table and for unknown columns, `SpecError` for unknown formats, and
    `RunFolderError` where a file cannot be written.
    """
    check_output("formats", formats, FORMATS)
    check_output("figures", figures, FIGURES)
    study = make_study(_table(source, selection, column_map), selection, columns, title)
    plot = None
    notes: tuple[str, ...] = ()
    if figures:
        plot = make_plot(study, quality)
        notes = (
            ("There is no figure: the table has no rate (bpp) and quality to draw.",) if plot is None else plot.notes
        )
    drawn = {} if plot is None else {f"figure.{name}": data for name, data in draw(plot, figures).items()}
    frames = {
        "points": points_frame(study),
        "comparison": comparison_frame(study),
        "baselines": baselines_frame(study),
        "budgets": budgets_frame(study),
        "chosen": chosen_frame(study),
    }
    files = _table_files(study, frames, formats) | drawn
    if "markdown" in formats:
        listing = [(name, _SAID[name.partition(".")[0]]) for name in files]
        text = report_text(study, points_table(study, frames["points"]), list(drawn), notes, listing)
        files = {"report.md": text.encode()} | files
    folder = Path(out)
    paths = write_files(folder, files)
    names = tuple(one.name for one in study.selections)
    return Report(folder, paths, names, frames, notes)


def check_output(argument: str, given: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(given, str):
        raise SpecError(f"{argument} must be a list of names, not one text: write [{given!r}]")
    for name in given:
        if name not in known:
            raise SpecError(
                f"{argument}: {name!r} is not known.{suggest(name, tuple(known))} Known: {', '.join(known)}"
            )


def _table_files(study: Study, frames: Mapping[str, pd.DataFrame], formats: Sequence[TableFormat]) -> dict[str, bytes]:
    """Contents of the table files by name: Markdown and LaTeX of two tables, CSV of all."""
    texts: dict[str, list[TextTable]] = {"points": [points_table(study, frames["points"])]}
    found = [one for one in study.selections if one.selection.found]
    if found:
        texts["comparison"] = [comparison_table(study, one) for one in found]
    files: dict[str, bytes] = {}
    for name, tables in texts.items():
        if "markdown" in formats:
            files[f"{name}.md"] = "\n".join(markdown_table(table) for table in tables).encode()
        if "latex" in formats:
            labels = [name] if len(tables) == 1 else [f"{name}-{k + 1}" for k in range(len(tables))]
            text = "\n".join(latex_table(table, label) for table, label in zip(tables, labels, strict=True))
            files[f"{name}.tex"] = text.encode()
    if "csv" in formats:
        files |= {f"{name}.csv": frame.to_csv(index=False).encode() for name, frame in frames.items()}
    return files


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write every file whole or not at all, the text last: a report that is there is complete. Returns the paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make the folder {folder}: {error.strerror or error}; choose another --out"
        ) from error
    for name in sorted(files, key=lambda name: name == "report.md"):
        write_atomically(folder / name, files[name])
    return tuple(folder / name for name in files)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, float) and not math.isfinite(plain):
            out[str(key)] = None
            if math.isinf(plain):
                out[f"{key}_is"] = "inf" if plain > 0 else "-inf"
        else:
            out[str(key)] = plain if isinstance(plain, (int, float, str)) else None
    return out
