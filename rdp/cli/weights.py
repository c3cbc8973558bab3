"""`rdp weights`: list, fetch, verify, locate and convert the files of network weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.errors import EXIT_INPUT

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rdp.weights.download import Progress as ProgressCallback
    from rdp.weights.status import WeightsStatus

weights_app = typer.Typer(
    help="List, fetch, verify, locate and convert files of network weights.", no_args_is_help=True, add_completion=False
)

_STATES = ("verified", "present", "missing", "wrong")

_PIPE_WIDTH = 320
"""Characters a line where there is no terminal, so that no path is broken."""

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
_NAMES_HELP = "Names from `rdp weights list`, of files (mbt2018-mean-mse-1) or of whole sets (mbt2018-mean-mse)."
_Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help=_NAMES_HELP)]
_All = Annotated[bool, typer.Option("--all", help="Every file on a line of its own, those of sets too.")]


@weights_app.command("list")
def list_command(every: _All = False, json: _Json = False) -> None:
    """List the known files: what they are for, licence, size, hash, and where they lie on this machine.

    A set of files, one a quality, is one line, with how many of them are here.
    """
    from rdp.weights import list_weights

    _show(list_weights(), json, every)


@weights_app.command("fetch")
def fetch_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=_NAMES_HELP)],
    force: Annotated[bool, typer.Option(help="Download even what is already on this machine.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without an answer before giving up.")] = 30.0,
) -> None:
    """Download files into the cache, with their hashes checked; what is here already is only verified."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from rdp.weights import find_entries, load_index
    from rdp.weights.download import fetch

    index = load_index()
    entries = [entry for name in names for entry in find_entries(index, name)]
    bars = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *bars, console=Console(stderr=True), transient=True) as progress:
        for entry in entries:
            task = progress.add_task(entry.name, total=None)
            file = fetch(entry.name, force=force, timeout_s=timeout, progress=_updater(progress, task))
            progress.remove_task(task)
            typer.echo(str(file.path))


@weights_app.command("verify")
def verify_command(names: _Names = None, every: _All = False, json: _Json = False) -> None:
    """Hash files and compare with the index; exit code 2 if one is wrong, or one that was named is missing."""
    from rdp.weights import verify_weights

    checked = verify_weights(names or ())
    _show(checked, json, every or bool(names))
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


@weights_app.command("convert")
def convert_command(
    file: Annotated[Path, typer.Argument(help="A checkpoint of CompressAI (.pth.tar) or of Justin-Tan's HiFiC (.pt).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Make a file of weights of somebody else's checkpoint; nothing in the checkpoint is executed."""
    from rdp.codecs.conversion import convert_weights

    done = convert_weights(file, out, force=force)
    if json:
        import json as json_module

        typer.echo(json_module.dumps(done.to_dict(), allow_nan=False))
        return
    published = f", published as {done.published_as}" if done.published_as else ""
    settings = ", ".join(f"{name}={value}" for name, value in done.config.items())
    typer.echo(f"{done.source}: a checkpoint of {done.kind}{published}")
    typer.echo(f"{done.out}: {done.architecture} ({settings}), {done.parameters:,} parameters, {done.nbytes:,} bytes")
    typer.echo(f"SHA-256 {done.sha256}")
    typer.echo(f"use it as {done.point}")


def _updater(progress: Progress, task: TaskID) -> ProgressCallback:
    def update(received: int, total: int | None) -> None:
        progress.update(task, completed=received, total=total)

    return update


def _show(statuses: list[WeightsStatus], json: bool, every: bool) -> None:
    if json:
        import json as json_module

        document = {"weights": [_document(status) for status in statuses]}
        typer.echo(json_module.dumps(document, indent=2, allow_nan=False))
        return
    _print_table(statuses, every)


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
        "set": entry.set or None,
        "message": status.message,
    }


def _print_table(statuses: list[WeightsStatus], every: bool) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    from rdp.weights import group_sets

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "state", "size", "SHA-256", "licence", "used by", "file"):
        whole = heading in ("name", "state", "size")
        table.add_column(heading, no_wrap=whole, overflow="fold", justify="right" if heading == "size" else "left")
    by_name = {status.entry.name: status for status in statuses}
    for entries in group_sets(status.entry for status in statuses):
        members = [by_name[entry.name] for entry in entries]
        # What is wrong with a file of a set must not hide in a count.
        apart = members if every or len(members) == 1 else [status for status in members if status.state == "wrong"]
        if len(apart) < len(members):
            table.add_row(*_set_row(members))
        for status in apart:
            table.add_row(*_row(status))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _row(status: WeightsStatus) -> tuple[str, ...]:
    entry = status.entry
    digits = f"{entry.expected[:12]}..." if entry.sha256 else f"{entry.expected}... (only this is known)"
    size = f"{entry.size / 1e6:.1f} MB" if entry.size else "unknown"
    where = str(status.path or entry.filename) + ("" if entry.url or status.path else " (no URL: see RDP_WEIGHTS)")
    # Verifying writes its long message, with both hashes, below the table.
    where = status.message if status.message.startswith("wrong size") else where
    return entry.name, status.state, size, digits, entry.licence, ",\n".join(entry.used_by), where


def _set_row(members: Sequence[WeightsStatus]) -> tuple[str, ...]:
    """The line of a whole set: how many of its files are missing, here, verified or wrong."""
    from rdp.weights import span

    entries = [status.entry for status in members]
    states = {state: sum(status.state == state for status in members) for state in _STATES}
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    sizes = [entry.size for entry in entries if entry.size]
    size = f"{sum(sizes) / 1e6:.1f} MB" if len(sizes) == len(entries) else "unknown"
    users = ",\n".join(span(texts) for texts in zip(*(entry.used_by for entry in entries), strict=True))
    folders = {str(status.path.parent) for status in members if status.path}
    where = ", ".join(sorted(folders)) or f"{len(members)} files (--all lists them)"
    return span([entry.name for entry in entries]), counted, size, "8 digits each", entries[0].licence, users, where
