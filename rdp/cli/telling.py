"""What commands say of a result that is a document for programs, a text for people, and files in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer


def tell_result(
    text: Callable[[], str],
    document: Callable[[], str],
    *,
    json: bool,
    notes: Sequence[str],
    out: Path | None,
    written: Sequence[Path],
) -> None:
    """Notes on stderr; on stdout the document (`json`), or the text and the names of the files written into `out`."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if json:
        typer.echo(document(), nl=False)
        return
    typer.echo(text())
    if out is not None:
        typer.echo(f"\nwritten to {out}: {', '.join(path.name for path in written)}")
