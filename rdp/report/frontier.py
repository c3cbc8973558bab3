"""`write_frontier`: a frontier as a folder of tables, text and figures, and what it gains over single codecs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdp.errors import SpecError
from rdp.report.figure import FigureFormat
from rdp.report.frontier_curves import main_curve, single_curves
from rdp.report.frontier_figures import draw_curve, draw_plane, draw_surface
from rdp.report.frontier_gain import FrontierGain, frontier_gain
from rdp.report.frontier_plots import curve_plot, planes, surface
from rdp.report.frontier_text import binding_notes, frontier_text
from rdp.report.writing import FIGURES, check_output, write_files
from rdp.selection.document import document_text, json_text
from rdp.selection.frontiers.verb import Frontier

SELECTIONS = "selections"

_CAPTIONS = {
    "frontier": "The frontier, the single operating points of each codec, and the best of them",
    "perception_distortion": "Perception against distortion at fixed rates",
    "rate_perception": "Perception against rate at fixed distortions",
    "surface": "Rate, distortion and perception",
}


@dataclass(frozen=True, eq=False)
class FrontierReport:
    """What was written: `paths`, the text first; `gain` over single codecs; `notes` on what is left out."""

    out: Path
    paths: tuple[Path, ...]
    gain: FrontierGain
    notes: tuple[str, ...]


def gain_of(frontier: Frontier) -> FrontierGain:
    """Bjontegaard deltas of a frontier against the single operating points of each codec."""
    main = main_curve(frontier)
    return frontier_gain(main, single_curves(frontier, main)[0])


def report_document(frontier: Frontier, gain: FrontierGain) -> dict[str, Any]:
    """The frontier's document, and under `bjontegaard` its gain."""
    return {**frontier.to_dict(), "bjontegaard": gain.to_dict()}


def write_frontier(
    frontier: Frontier,
    out: str | Path,
    *,
    figures: Sequence[FigureFormat] = FIGURES,
    save_selections: bool = False,
    title: str | None = None,
) -> FrontierReport:
    """Write `frontier.md`, `.csv`, `.json`, `frontier_counts.csv` and the figures into the folder `out`.

    A frontier with a rate and one sweep has one figure, `frontier`; two sweeps add `perception_distortion`,
    `rate_perception` and `surface`. `save_selections` writes each selection as `selections/NNNN.json` under the number
    of its row. Raises `SpecError` for unknown formats and where the selections were not kept, and `RunFolderError`
    where a file cannot be written.
    """
    check_output("figures", figures, FIGURES)
    chosen = _selection_files(frontier) if save_selections else {}
    main = main_curve(frontier)
    singles, notes = single_curves(frontier, main)
    notes = [*notes, *binding_notes(frontier)]
    gain = frontier_gain(main, singles)
    drawn: dict[str, dict[FigureFormat, bytes]] = {}
    plot = curve_plot(main, singles)
    if figures and plot is not None:
        drawn["frontier"] = draw_curve(plot, figures)
        notes = [*notes, *plot.notes]
    for plane in planes(frontier) if figures else ():
        notes = [*notes, *plane.notes]
        if plane.lines:
            drawn[plane.name] = draw_plane(plane, figures)
    solid = surface(frontier) if figures else None
    if solid is not None:
        drawn["surface"] = draw_surface(solid, figures)
        notes = [*notes, f"The colour of the surface is its height, {solid.axes[2].title}: light is low, dark is high."]
    pictures = {_CAPTIONS[name]: f"{name}.{figures[0]}" for name in drawn}
    files = {
        "frontier.md": frontier_text(frontier, gain, pictures, notes, title).encode(),
        "frontier.csv": frontier.to_pandas().to_csv(index=False).encode(),
        "frontier_counts.csv": frontier.counts_frame().to_csv(index=False).encode(),
        "frontier.json": json_text(report_document(frontier, gain)).encode(),
    }
    files |= {f"{name}.{kind}": data for name, kinds in drawn.items() for kind, data in kinds.items()}
    folder = Path(out)
    paths = write_files(folder, files)
    if chosen:
        paths += write_files(folder / SELECTIONS, chosen)
    return FrontierReport(folder, paths, gain, tuple(notes))


def _selection_files(frontier: Frontier) -> dict[str, bytes]:
    files = {}
    for point in frontier.found:
        if point.selection is None:
            raise SpecError("the selections of this frontier were not kept: solve it with keep_selections=True")
        files[f"{point.number:04}.json"] = document_text(point.selection).encode()
    return files
