"""Options about set-level values, where several commands have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdp.errors import SpecError

if TYPE_CHECKING:
    from rdp.metrics.patches import PatchGrid
    from rdp.metrics.patches import Small as SmallImages

DEFAULT_SIDE = "256"
"""Patches where --patches does not say."""

PANEL = "Distances of sets (fid, kid, fd_squeeze, kd_squeeze, swd, fd_NAME, kd_NAME)"

Network = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="The torch.nn.Module whose features fd_NAME and kd_NAME compare.",
        rich_help_panel=PANEL,
    ),
]
Patches = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE@OFFSETS",
        help="Patches of the features, in pixels: 256@0,128, unless given.",
        rich_help_panel=PANEL,
    ),
]
Small = Annotated[
    str | None,
    typer.Option(
        metavar="refuse|mirror",
        help="Images smaller than a patch: refused, as if not given, or mirrored up to one.",
        rich_help_panel=PANEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="Where the network runs: cpu, cuda, cuda:1.", rich_help_panel=PANEL),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where the original images lie now, if moved.", rich_help_panel=PANEL),
]
CodecFiles = Annotated[
    list[Path] | None,
    typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.", rich_help_panel=PANEL),
]
Unbiased = Annotated[
    bool,
    typer.Option(
        "--unbiased",
        help="Optimise the unbiased estimate of kernel distances, not the V-statistic; its bound is weaker.",
        rich_help_panel=PANEL,
    ),
]


def patch_grid(patches: str | None, small: str | None) -> PatchGrid | None:
    """What --patches and --small say together; None where neither is given. Raises `SpecError` for other words."""
    from rdp.metrics.patches import PatchGrid

    if patches is None and small is None:
        return None
    known: dict[str, SmallImages] = {"refuse": "refuse", "mirror": "mirror"}
    chosen = small or "refuse"
    if chosen not in known:
        raise SpecError(f"--small {small!r} is not allowed: it takes refuse or mirror")
    return PatchGrid.parse(patches or DEFAULT_SIDE, known[chosen])
