"""`rdp weights`: list, fetch, verify and locate the files of network weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.errors import EXIT_INPUT

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rdp.weights.download import Progress as ProgressCallback
    from rdp.weights.status import WeightsStatus

weights_app = typer.Typer(
    help="List, fetch, verify and locate files of network weights.", no_args_is_help=True, add_completion=False
)

_PIPE_WIDTH = 240
"""Characters a line where there is no terminal, so that no path is broken."""

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
_Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Names from `rdp weights list`.")]


@weights_app.command("list")
def list_command(json: _Json = False) -> None:
    """List the known files: what they are for, licence, size, hash, and where they lie on this machine."""
    from rdp.weights import list_weights

    _show(list_weights(), json)


@weights_app.command("fetch")
def fetch_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from `rdp weights list`.")],
    force: Annotated[bool, typer.Option(help="Download even what is already on this machine.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without an answer before giving up.")] = 30.0,
) -> None:
    """Download files into the cache, with their hashes checked; what is here already is only verified."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from rdp.weights.download import fetch

    bars = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *bars, console=Console(stderr=True), transient=True) as progress:
        for name in names:
            task = progress.add_task(name, total=None)
            file = fetch(name, force=force, timeout_s=timeout, progress=_updater(progress, task))
            progress.remove_task(task)
            typer.echo(str(file.path))


@weights_app.command("verify")
def verify_command(names: _Names = None, json: _Json = False) -> None:
    """Hash files and compare with the index; exit code 2 if one is wrong, or one that was named is missing."""
    from rdp.weights import verify_weights

    checked = verify_weights(names or ())
    _show(checked, json)
    for status in checked:
        if status.message:
            typer.echo(status.message, err=True)
    bad = ("wrong", "missing") if names else ("wrong",)
    if any(status.state in bad for status in checked):
        raise typer.Exit(EXIT_INPUT)


@weights_app.command("path")
def path_command(
    name: Annotated[str | None, typer.Argument(help="A name from `rdp weights list`; without it, the cache.")] = None,
) -> None:
    """Print the verified file of that name, or the folder that `fetch` fills."""
    from rdp.weights import cache_folder, resolve

    typer.echo(str(resolve(name).path if name else cache_folder()))


def _updater(progress: Progress, task: TaskID) -> ProgressCallback:
    def update(received: int, total: int | None) -> None:
        progress.update(task, completed=received, total=total)

    return update


def _show(statuses: list[WeightsStatus], json: bool) -> None:
    if json:
        import json as json_module

        document = {"weights": [_document(status) for status in statuses]}
        typer.echo(json_module.dumps(document, indent=2, allow_nan=False))
        return
    _print_table(statuses)


def _document(status: WeightsStatus) -> dict[str, Any]:
    entry = status.entry
    return {
        "name": entry.name,
        "state": status.state,
        "path": str(status.path) if status.path else None,
        "found_sha256": status.sha256,
        "filename": entry.filename,
        "url": entry.url or None,
        "sha256": entry.sha256 or None,
        "sha256_prefix": entry.sha256_prefix or None,
        "nbytes": entry.size,
        "licence": entry.licence,
        "description": entry.description,
        "used_by": list(entry.used_by),
        "message": status.message,
    }


def _print_table(statuses: list[WeightsStatus]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "state", "size", "SHA-256", "licence", "used by", "file"):
        whole = heading in ("name", "state", "size")
        table.add_column(heading, no_wrap=whole, overflow="fold", justify="right" if heading == "size" else "left")
    for status in statuses:
        entry = status.entry
        digits = f"{entry.expected[:12]}..." if entry.sha256 else f"{entry.expected}... (only this is known)"
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else "unknown"
        where = str(status.path or entry.filename) + ("" if entry.url or status.path else " (no URL: see RDP_WEIGHTS)")
        # Verifying writes its long message, with both hashes, below the table.
        where = status.message if status.message.startswith("wrong size") else where
        table.add_row(entry.name, status.state, size, digits, entry.licence, ", ".join(entry.used_by), where)
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)
