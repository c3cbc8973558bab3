"""`rdp pack` and `rdp unpack`: the chosen files as a delivery, and a delivery back into pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdp.errors import EXIT_FAILED_CELLS

if TYPE_CHECKING:
    from rdp.report.pack import Pack
    from rdp.report.unpack import Unpacked

_CodecFiles = Annotated[
    list[Path] | None, typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.")
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
_SHOWN = 20


def pack_command(
    run: Annotated[Path, typer.Argument(help="Run folder that the selection was made from.")],
    selection: Annotated[Path, typer.Argument(help="selection.json of rdp solve.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the delivery.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Where the images lie, for files that the run did not keep. Repeatable."),
    ] = None,
    codec_file: _CodecFiles = None,
    side_info: Annotated[
        bool, typer.Option("--side-info", help="Charge the bits that name each image's point to the rate budgets.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier delivery in FOLDER.")] = False,
    quiet: _Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was packed as JSON.")] = False,
) -> None:
    """Deliver a selection: the chosen files, and a manifest to check them against.

    With --side-info, a selection that passes its rate budget only without those bits is refused with exit code 3.
    """
    from rdp.cli.progress import Terminal
    from rdp.report.pack import pack

    done = pack(
        run,
        selection,
        out,
        images=images or None,
        codec_files=codec_file or [],
        side_info=side_info,
        force=force,
        progress=Terminal(quiet),
    )
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(json.dumps(done.to_dict(), allow_nan=False) if as_json else _packed(done))


def _packed(done: Pack) -> str:
    side = done.side_information
    mean = "total bits / total pixels" if side.weighting == "pixels" else "mean over images"
    lines = [
        f"{done.out}: {len(done.manifest.files)} files, {done.nbytes} bytes, {side.bpp_files:.6g} bit/pixel ({mean}); "
        f"{done.copied} copied from the run, {done.encoded} encoded again",
        *(f"  {point.images:>6}  {point.point}" for point in done.manifest.points),
        f"side information: {side.sentence}",
    ]
    decoders = done.manifest.decoder_information
    if decoders is not None:
        lines.append(f"choice of decoders: {decoders.sentence}")
    return "\n".join(lines)


def unpack_command(
    folder: Annotated[Path, typer.Argument(help="Folder that rdp pack wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="IMAGES", help="Folder for the pictures (PNG).")
    ] = None,
    check_only: Annotated[bool, typer.Option("--check-only", help="Decode and check, but write nothing.")] = False,
    codec_file: _CodecFiles = None,
    original: Annotated[
        list[Path] | None, typer.Option(help="Folder of the originals: the metrics are recomputed too. Repeatable.")
    ] = None,
    selection: Annotated[
        Path | None, typer.Option(help="The sender's own selection.json, to hold the delivery against.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite pictures in IMAGES.")] = False,
    quiet: _Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Decode a delivery, and check lengths, hashes and averages; exit code 1 if anything is not as it says."""
    from rdp.cli.progress import Terminal
    from rdp.report.unpack import unpack

    done = unpack(
        folder,
        out,
        check_only=check_only,
        codec_files=codec_file or [],
        original=original or None,
        selection=selection,
        force=force,
        progress=Terminal(quiet),
    )
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(json.dumps(done.to_dict(), allow_nan=False) if as_json else _unpacked(done))
    if done.mismatches:
        for mismatch in done.mismatches[:_SHOWN]:
            typer.echo(f"differs: {mismatch}", err=True)
        if len(done.mismatches) > _SHOWN:
            typer.echo(f"… and {len(done.mismatches) - _SHOWN} more (--json lists all)", err=True)
        raise typer.Exit(EXIT_FAILED_CELLS)


def _unpacked(done: Unpacked) -> str:
    where = "checked only" if done.out is None else f"pictures in {done.out}"
    count = len(done.mismatches)
    wrong = f"{count} thing{'s are' if count > 1 else ' is'} NOT as the manifest says"
    verdict = "all as the manifest says" if done.ok else wrong
    lines = [f"{done.folder}: {done.decoded} of {done.images} files decoded, {where}; {verdict}"]
    for one in done.averages:
        if one.found is not None:
            lines.append(f"  {one.column:<16} {one.found:.9g}   stated {one.stated:.9g}")
    return "\n".join(lines)
