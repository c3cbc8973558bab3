"""`rdp table`: look at the rows of a run, or write them for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rdp.columns import ESTIMATE_COLUMNS
from rdp.errors import SpecError

table_app = typer.Typer(no_args_is_help=True, help="Show or export the rows of a run, or of a table of your own.")

Source = Annotated[Path, typer.Argument(help="Run folder, or a .csv, .parquet or .json table.")]
Columns = Annotated[str | None, typer.Option("--columns", help="Only these columns, comma-separated.")]
Mapped = Annotated[list[str] | None, typer.Option("--column", help="OURS=THEIRS: name a column of your table.")]
Long = Annotated[bool, typer.Option("--long", help="One row a number instead of one row a cell.")]


@table_app.command("show")
def show_command(
    source: Source,
    columns: Columns = None,
    column: Mapped = None,
    long: Long = False,
    rows: Annotated[int, typer.Option(min=0, help="So many rows at most; 0 for all.")] = 20,
    points: Annotated[
        bool, typer.Option("--points", help="Averages of every operating point instead of rows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Print rows, or with --points the averages of every operating point."""
    import pandas as pd

    from rdp.tables import long_frame, read_table, wide_frame
    from rdp.tables.export import records
    from rdp.tables.summary import point_averages

    table = read_table(source, read_column_map(column))
    chosen = columns.split(",") if columns else None
    if points:
        frame = point_averages(table, chosen)
    elif long:
        frame = long_frame(table, chosen)
    else:
        frame = wide_frame(table, chosen or _default_columns(table.data.column_names))
    if as_json:
        typer.echo(json.dumps(records(frame), allow_nan=False))
        return
    shown = frame if rows == 0 else frame.head(rows)
    with pd.option_context("display.max_columns", None, "display.width", None, "display.max_colwidth", 60):
        typer.echo(shown.to_string(index=False, float_format=lambda value: f"{value:.6g}"))
    if len(shown) < len(frame):
        typer.echo(f"… {len(frame) - len(shown)} more rows (--rows 0 shows all)", err=True)


@table_app.command("export")
def export_command(
    source: Source,
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .json.")],
    columns: Columns = None,
    column: Mapped = None,
    long: Long = False,
) -> None:
    """Write the rows as CSV, Parquet or JSON, wide or long."""
    from rdp.tables import export_table, read_table

    table = read_table(source, read_column_map(column))
    export_table(table, out, "long" if long else "wide", columns.split(",") if columns else None)
    typer.echo(f"{out}: {len(table)} cells")


def read_column_map(pairs: list[str] | None) -> dict[str, str]:
    """--column OURS=THEIRS options as a map. Raises `SpecError` for anything else."""
    result: dict[str, str] = {}
    for pair in pairs or []:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise SpecError(f"--column {pair!r} is not OURS=THEIRS, for example --column bpp=rate")
        result[ours] = theirs
    return result


def _default_columns(names: list[str]) -> list[str]:
    """What fits a terminal: no hashes and no provenance."""
    hidden = {"width", "height", "contended", "session", "encoder_id", "codec_version", "message", *ESTIMATE_COLUMNS}
    return [n for n in names if n not in hidden and not n.endswith(("_sha256", "_device", "_s"))]
