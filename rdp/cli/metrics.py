"""`rdp metrics`: the metrics, what they mean, and whether they can be used here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rdp.metrics import MetricDescription
    from rdp.metrics.set_level import SetLevelDescription

_PIPE_WIDTH = 240
"""Characters a line where there is no terminal."""

_BETTER = {"lower": "lower", "higher": "higher", None: ""}


def metrics_command(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """List the metrics: columns, unit, direction, meaning, least image size, and weights; and the distances of sets."""
    from rdp.metrics import describe_metrics, pyiqa_version
    from rdp.metrics.set_level import describe_set_level

    described, sets = describe_metrics(), describe_set_level()
    if json:
        import json as json_module

        document = {
            "metrics": [_document(metric) for metric in described],
            "set_level": [_set_document(one) for one in sets],
            "pyiqa": pyiqa_version(),
        }
        typer.echo(json_module.dumps(document, indent=2, allow_nan=False))
        return
    _print_table(described)
    typer.echo("\nDistances of sets, of all images together (rdp solve --minimize NAME, rdp audit --metric NAME):")
    _print_sets(sets)
    if not all([*(one.ready for one in described), *(one.ready for one in sets)]):
        typer.echo(
            "Missing or wrong weights: `rdp weights fetch NAME`, or `rdp weights list` for what they are.", err=True
        )
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


def _print_sets(described: list[SetLevelDescription]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("distance", "or", "better", "least patch", "weights", "meaning"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "least patch" else "left")
    for one in described:
        table.add_row(one.name, one.short, "lower", f"{one.least_side} px", _set_weights(one), one.meaning)
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _set_weights(one: SetLevelDescription) -> str:
    package = f"; pip install {one.package}" if one.package else ""
    if not one.weights:
        return "none"
    return (one.problem or one.found or f"{one.weights[0]} (missing)") + package


def _set_document(one: SetLevelDescription) -> dict[str, Any]:
    return {
        "name": one.name,
        "short": one.short,
        "better": "lower",
        "meaning": one.meaning,
        "least_side": one.least_side,
        "weights": list(one.weights),
        "weights_found": one.found,
        "package_missing": one.package,
        "ready": one.ready,
        "message": one.problem,
    }


def _weights(metric: MetricDescription) -> str:
    if not metric.weights:
        return "none"
    missing = ", ".join(f"{name} (missing)" for name in metric.missing)
    return metric.problem or missing or metric.found or ""
