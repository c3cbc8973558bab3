"""`rdp encode`: one image into one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def encode_command(
    image: Annotated[Path, typer.Argument(help="Image file: PNG, JPEG, WebP, PPM, TIFF, ...")],
    out: Annotated[Path, typer.Argument(help="File to write.")],
    codec: Annotated[list[str], typer.Option("--codec", "-c", help="One operating point, e.g. 'webp:quality=50'.")],
    codec_file: Annotated[
        list[Path] | None, typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    apply_exif: Annotated[bool, typer.Option("--apply-exif", help="Turn the image as its EXIF says.")] = False,
    device: Annotated[str, typer.Option(help="Where networks of a learned codec run: cpu, cuda, cuda:1.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="What they compute in: float32, bfloat16, float16 (GPU).")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Encode one image at one operating point; print the bytes and bit/pixel of the file, headers included."""
    from rdp.codecs import Resources, load_tools
    from rdp.codecs.files import encode_file, only_codec

    tools = load_tools(codec_file or [])
    done = encode_file(
        image,
        out,
        only_codec(codec),
        tools=tools,
        force=force,
        exif="apply" if apply_exif else "ignore",
        resources=Resources(device, dtype),
    )
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(done.to_dict(), allow_nan=False))
        return
    typer.echo(f"{out}: {done.nbytes} bytes, {done.bpp:.4f} bit/pixel, {done.point}")
