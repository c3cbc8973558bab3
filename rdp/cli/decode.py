"""`rdp decode`: one file back into a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def decode_command(
    file: Annotated[Path, typer.Argument(help="File to decode: its first bytes say which codec made it.")],
    out: Annotated[Path, typer.Argument(help="Picture to write: .png, .ppm, .bmp or .tif.")],
    codec: Annotated[
        list[str] | None,
        typer.Option("--codec", "-c", help="What decodes a file that does not say, or another decoder."),
    ] = None,
    codec_file: Annotated[
        list[Path] | None, typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    device: Annotated[str, typer.Option(help="Where networks of a learned codec run: cpu, cuda, cuda:1.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="What they compute in: float32, bfloat16, float16 (GPU).")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Decode one file into a picture, losslessly."""
    from rdp.codecs import Resources, load_tools
    from rdp.codecs.files import decode_file, only_codec

    name = only_codec(codec) if codec else None
    done = decode_file(
        file, out, name, tools=load_tools(codec_file or []), force=force, resources=Resources(device, dtype)
    )
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(done.to_dict(), allow_nan=False))
        return
    typer.echo(f"{out}: {done.width}x{done.height} pixels from {done.nbytes} bytes of {done.family}")
