"""`rdp report`: the tables, the text and the figure of a selection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rdp.cli.table import read_column_map


def report_command(
    source: Annotated[Path, typer.Argument(help="Run folder, or a .csv, .parquet or .json table.")],
    selection: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="selection.json of rdp solve; several stand side by side."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")],
    columns: Annotated[
        str | None,
        typer.Option(help="Only these columns and averages, comma-separated: bpp,mse,psnr,psnr_of_mean_mse."),
    ] = None,
    quality: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What the figure draws against the rate.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="OURS=THEIRS: name a column of your table.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written, and the tables, as JSON.")] = False,
) -> None:
    """Write a report: operating points beside the selection, gains, a figure; Markdown, LaTeX, CSV, PNG, PDF.

    An infeasible selection is reported as that, with its explanation.
    """
    from rdp.report import write_report

    shown = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
    report = write_report(
        source, selection, out, columns=shown, column_map=read_column_map(column), quality=quality, title=title
    )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), allow_nan=False))
        return
    typer.echo(f"{report.paths[0]}: the report")
    typer.echo(f"{report.out}: {', '.join(path.name for path in report.paths[1:])}")
    for note in report.notes:
        typer.echo(note, err=True)
