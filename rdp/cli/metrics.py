"""`rdp metrics`: the metrics, what they mean, and whether they can be used here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rdp.metrics import MetricDescription

_PIPE_WIDTH = 240
"""Characters a line where there is no terminal."""

_BETTER = {"lower": "lower", "higher": "higher", None: ""}


def metrics_command(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """List the metrics: columns, unit, direction, meaning, least image size, and weights."""
    from rdp.metrics import describe_metrics, pyiqa_version

    described = describe_metrics()
    if json:
        import json as json_module

        document = {"metrics": [_document(metric) for metric in described], "pyiqa": pyiqa_version()}
        typer.echo(json_module.dumps(document, indent=2, allow_nan=False))
        return
    _print_table(described)
    version = pyiqa_version()
    installed = f"version {version} is installed" if version else "not installed: pip install pyiqa"
    typer.echo(
        f"pyiqa:NAME is any metric of the package pyiqa ({installed}; its licence is for non-commercial use).\n"
        "niqe:model=FILE is niqe_fitted with that file."
    )


def _document(metric: MetricDescription) -> dict[str, Any]:
    columns = [
        {"name": c.name, "unit": c.unit, "better": c.direction, "meaning": c.meaning, "label": c.label}
        for c in metric.columns
    ]
    return {
        "name": metric.name,
        "columns": columns,
        "least_side": metric.least_side,
        "weights": list(metric.weights),
        "weights_found": metric.found,
        "weights_missing": list(metric.missing),
        "ready": metric.ready,
        "message": metric.problem,
    }


def _print_table(described: list[MetricDescription]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "column", "unit", "better", "least side", "weights", "meaning"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "least side" else "left")
    for metric in described:
        for index, column in enumerate(metric.columns):
            first = index == 0
            table.add_row(
                metric.name if first else "",
                column.name,
                column.unit,
                _BETTER[column.direction],
                f"{metric.least_side} px" if first else "",
                _weights(metric) if first else "",
                column.meaning,
            )
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)
    if any(not metric.ready for metric in described):
        typer.echo(
            "Missing or wrong weights: `rdp weights fetch NAME`, or `rdp weights list` for what they are.", err=True
        )


def _weights(metric: MetricDescription) -> str:
    if not metric.weights:
        return "none"
    missing = ", ".join(f"{name} (missing)" for name in metric.missing)
    return metric.problem or missing or metric.found or ""
