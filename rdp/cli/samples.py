"""`rdp samples`: a folder of photographs to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from rdp.errors import RdpError


def samples_command(
    folder: Annotated[Path, typer.Argument(help="Folder to copy the photographs into; made if need be.")],
) -> None:
    """Copy six colour photographs, which come with scikit-image, into a folder."""
    from rdp.images import sample_images

    paths = sample_images()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise RdpError(f"cannot write into {folder}: {error.strerror or error}") from error
    typer.echo(f"{folder}: {len(paths)} images")
