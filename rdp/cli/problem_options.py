"""Options that `rdp solve` and `rdp frontier` share: what is asked for, in the words of `rdp.selection.Statement`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rdp.cli.options import numbers, pairs, whole

BUDGETS = "Averages and bounds"
GROUPS = "Averages of groups of images"
CHOICES = "What may be chosen"
SOLVING = "Solving"

Source = Annotated[str, typer.Argument(help="Run folder, or a .csv, .parquet or .json table.")]
Minimize = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column whose average is made as small as can be.")
]
Maximize = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column whose average is made as large as can be.")
]
AtMost = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="The average is at most this.", rich_help_panel=BUDGETS),
]
AtLeast = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="The average is at least this.", rich_help_panel=BUDGETS),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=images|pixels",
        help="How the column is averaged: over images (default) or by their pixels.",
        rich_help_panel=BUDGETS,
    ),
]
EachAtMost = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="Every image keeps to this.", rich_help_panel=BUDGETS),
]
EachAtLeast = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="Every image reaches this.", rich_help_panel=BUDGETS),
]
GroupAtMost = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="The average of every group is at most this.", rich_help_panel=GROUPS),
]
GroupAtLeast = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=NUMBER", help="The average of every group is at least this.", rich_help_panel=GROUPS),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="IMAGE=POINT", help="The image takes this point.", rich_help_panel=CHOICES),
]
Forbid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IMAGE=POINT", help="The images (a glob) do not take the points (a glob).", rich_help_panel=CHOICES
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(metavar="OURS=THEIRS", help="Column of your table that holds ours: bpp=rate. Repeat."),
]
Cap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=NUMBER",
        help="Larger values count as this: psnr=60 for the infinite PSNR of a lossless point.",
        rich_help_panel=BUDGETS,
    ),
]
Groups = Annotated[
    str,
    typer.Option(
        metavar="COLUMN",
        help="Column that says which group an image is in, the same in all of its rows.",
        rich_help_panel=GROUPS,
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB",
        help="Points that may be chosen, such as 'webp:*'; '!png' takes away. Repeat; they apply in order.",
        rich_help_panel=CHOICES,
    ),
]
MaxPoints = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="The whole selection uses at most so many different points.",
        rich_help_panel=CHOICES,
    ),
]
SideInfo = Annotated[
    bool,
    typer.Option(
        "--side-info",
        help="Count in bpp and nbytes the bits that name each point: log2 of how many there are, rounded up.",
        rich_help_panel=BUDGETS,
    ),
]
NoDecoderInfo = Annotated[
    bool,
    typer.Option(
        "--no-decoder-info",
        help="Leave out of bpp and nbytes the bits that name the decoder where points share a file.",
        rich_help_panel=BUDGETS,
    ),
]


def statement_words(
    *,
    minimize: str | None,
    maximize: str | None,
    at_most: list[str] | None,
    at_least: list[str] | None,
    weights: list[str] | None,
    each_at_most: list[str] | None,
    each_at_least: list[str] | None,
    points: list[str] | None,
    fix: list[str] | None,
    forbid: list[str] | None,
    cap: list[str] | None,
    group_at_most: list[str] | None,
    group_at_least: list[str] | None,
    groups: str,
    max_points: str | None,
    side_info: bool,
    no_decoder_info: bool,
) -> dict[str, Any]:
    """What was typed as the keywords of `rdp.solve`; raises `SpecError` that names the option."""
    return {
        "minimize": minimize,
        "maximize": maximize,
        "at_most": numbers("--at-most", at_most),
        "at_least": numbers("--at-least", at_least),
        "weights": pairs("--weights", weights),
        "each_at_most": numbers("--each-at-most", each_at_most),
        "each_at_least": numbers("--each-at-least", each_at_least),
        "points": points,
        "fix": fix,
        "forbid": forbid,
        "cap": numbers("--cap", cap),
        "group_at_most": numbers("--group-at-most", group_at_most),
        "group_at_least": numbers("--group-at-least", group_at_least),
        "groups": groups,
        "max_points": None if max_points is None else whole("--max-points", max_points),
        "side_info": side_info,
        "decoder_info": not no_decoder_info,
    }
