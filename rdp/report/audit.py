"""`audit`: set-level metrics of the selected mixtures, beside every single point and alternatives of equal rate.

Source: the thesis (000_0849d61a7a9a9ad9), section 4.2.2. Taken from it are: of Figure 4.5, that a selected mixture is
put beside **every** single model by several measures at once (FID, KID and LPIPS, with rate and PSNR), and that
mixtures of one rate (0.28 bpp there) are compared with each other and with the model of about that rate; of Figure 4.7,
the planes of a set-level distance over the rate, FID and KID each in its own; of Figure 4.8, the same distances beside
PSNR at equal rate, which are columns here. Not taken from it: alternatives of equal rate by interpolation and by
chance, held-out patches, another network, intervals, and counts of patches, which the thesis does not give.

Rows: every point, used for all images; the selections; further selections (`against`); and for each selection

- the curves of single points at its rate, by PCHIP over the logarithm of the rate, never extrapolated: each measure's
  value itself is interpolated between the points' values (`rdp.report.audit_curves`);
- random mixtures of its points at its rate: mean and standard deviation over draws (`rdp.report.audit_mixtures`).

For each selection and measure a comparison says which single point at or below its rate is best, which curve is best
at its rate, and where the random mixtures lie. Rates are those of the files, without the bits that name points or
decoders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from rdp.errors import MetricError, SpecError, TableError, suggest
from rdp.evaluation.set_names import set_metric
from rdp.execution import Progress, Silent
from rdp.metrics.patches import PatchGrid
from rdp.report.audit_measures import (
    NEXT_SEED,
    SetMeasure,
    Source,
    check_metrics,
    further_metrics,
    measure_of,
    ready_metrics,
    set_measures,
    warnings_of,
)
from rdp.report.audit_mixtures import Mixture, equal_images, read_mixtures, refuse_repeated
from rdp.report.audit_result import Audit, AuditInterval, AuditRow, Comparison, RowKind
from rdp.report.audit_rows import assemble
from rdp.report.audit_table import Table
from rdp.report.averages import BY_PIXELS, Average, Cells, all_averages, find_average, make_cells, report_averages
from rdp.report.names import shorten
from rdp.report.study import Selections
from rdp.selection.grid import make_grid
from rdp.selection.words import counted
from rdp.tables import Run

if TYPE_CHECKING:
    from torch import nn

    from rdp.evaluation.pictures import Places
    from rdp.images.files import PathLike

__all__ = ["Audit", "AuditInterval", "AuditRow", "Comparison", "RowKind", "audit"]

DRAWS = 20
"""Random mixtures for each selection."""
RATE = "bpp"
MOST_NAMED = 12
"""Of more points than these a message does not list the names."""


def audit(
    run: Run | str | os.PathLike[str],
    selections: Selections,
    metrics: Sequence[str] | None = None,
    *,
    against: Selections = (),
    network: str | nn.Module | None = None,
    held_out: bool = True,
    patches: PatchGrid | None = None,
    points: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    draws: int = DRAWS,
    resamples: int = 0,
    seed: int = 0,
    device: str = "cpu",
    originals: Places | None = None,
    codec_files: Iterable[PathLike] = (),
    progress: Progress | None = None,
) -> Audit:
    """Score the selected mixtures of a run as sets; what the run folder lacks of features is computed and kept there.

    Args:
        run: a run folder that `evaluate` made; reconstructions that it has not kept are decoded again.
        selections: a `Selection`, the path of a `selection.json`, a list of these, or a mapping from names to them.
        metrics: names of set-level metrics (`rdp.evaluation.set_names`); by default `swd` and the distances of every
            registered network whose weights are on this machine. What is named and cannot be had raises.
        against: further selections, rows without alternatives of their own.
        network: one more network that judges: a registered name, a module of yours or "package.module:attribute".
        held_out: also on patches that were not optimised; left out, and said so, where the images give none.
        patches: the grid of the features; 256x256 pixels from the origin and shifted by 128 by default.
        points: names or patterns of the single points that are rows; all that every image has by default.
        columns: the averages that are shown; by default the rate and every metric of the run.
        draws: random mixtures of equal rate; 0 for none.
        resamples: bootstrap draws of the images for intervals; 0 for none (see `rdp.report.audit_intervals`).
        seed: of the patches of swd, the subsets, the random mixtures and the resamples.
        device: where networks run, and codecs of rows that were decoded on a GPU.
        originals: the folder where the original images lie now, if they were moved.
        codec_files: TOML files that describe external tools, as for `evaluate`.
        progress: told what is computed, and how far it is.

    Raises:
        TableError: a selection of other images, points or averages, or without chosen points.
        SpecError: unknown metrics, points or columns, options out of range, and a file of a selection given twice.
        WeightsError, DependencyError, MetricError: a metric that was named and cannot be had.
        RunFolderError: originals that are gone, and files that do not decode to what was scored.
    """
    _check_options(draws, resamples, seed)
    opened = run if isinstance(run, Run) else Run(run)
    cells = make_cells(make_grid(opened.table()))
    complete = [all(there) for there in cells.present.T.tolist()]
    refuse_repeated((selections, against))
    mixtures = read_mixtures(selections, cells, complete)
    mixtures += _others(against, cells, complete, mixtures)
    grid = patches or PatchGrid()
    sizes = _sizes(cells)
    names, notes = _metrics(metrics, network, grid, sizes)
    places = _places(cells, complete, points, mixtures)
    rate, averages = _averages(cells, mixtures, columns)
    kept = tuple(cells.grid.points[k] for k in places)
    told = progress or Silent()
    source = Source(opened, kept, grid, device, seed, originals, tuple(codec_files), told)
    scored = _scored(source, names, network, held_out, sizes, notes)
    table = Table(cells, tuple(places), rate, averages, scored, tuple(mixtures), draws, resamples, seed, told)
    rows, comparisons, intervals, more = assemble(table)
    found = [one.measure for one in scored]
    facts = {
        "images": len(sizes), "points": len(kept), "rate": rate.key, "patches": grid.name, "draws": draws,
        "resamples": resamples, "seed": seed, "selections": {one.name: one.source for one in mixtures},
    }  # fmt: skip
    return Audit(
        str(opened.path), measure_of(rate), (*map(measure_of, averages), *found), rows, comparisons, intervals,
        dict(shorten(kept).short), facts, (*notes, *_left_out(cells, complete, mixtures), *_same(mixtures), *more),
        (*_repeated(cells), *warnings_of(found, len(sizes))),
    )  # fmt: skip


def _check_options(draws: int, resamples: int, seed: int) -> None:
    for name, value in (("draws", draws), ("resamples", resamples), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (name == "resamples" and value == 1):
            least = "0, or 2 or more" if name == "resamples" else "0 or more"
            raise SpecError(f"{name} must be a whole number, {least}, not {value!r}")


def _others(given: Selections, cells: Cells, usable: Sequence[bool], taken: Sequence[Mixture]) -> list[Mixture]:
    """The mixtures to compare with; one of a name that is taken gets another."""
    if not isinstance(given, Mapping) and isinstance(given, Sequence) and not isinstance(given, str) and not given:
        return []
    names = {one.name for one in taken}
    found = []
    for one in read_mixtures(given, cells, usable, against=True):
        name, number = one.name, 2
        while name in names:
            name, number = f"{one.name} {number}", number + 1
        names.add(name)
        found.append(replace(one, name=name))
    return found


def _metrics(
    metrics: Sequence[str] | None,
    network: str | nn.Module | None,
    grid: PatchGrid,
    sizes: Sequence[tuple[str, int, int]],
) -> tuple[list[str], list[str]]:
    """The names of what is scored, and notes about what is left out where nothing was named."""
    if metrics is None:
        if network is not None:
            grid.check(sizes)
        return ready_metrics(grid, sizes)
    names = check_metrics(metrics, network)
    if not names:
        raise SpecError("no set-level metric is named: leave metrics out for all that this machine has")
    # Before anything is computed: the features of one metric may take hours, and another's images be too small.
    if network is not None or any(set_metric(name, network).network for name in names):
        grid.check(sizes)
    return names, []


def _sizes(cells: Cells) -> list[tuple[str, int, int]]:
    """(name, width, height) of every image."""
    grid = cells.grid
    sides = [np.nanmax(grid.values(name), axis=1) for name in ("width", "height")]
    return [(name, int(width), int(height)) for name, width, height in zip(grid.images, *sides, strict=True)]


def _places(
    cells: Cells, complete: Sequence[bool], points: Iterable[str] | None, mixtures: Sequence[Mixture]
) -> list[int]:
    """Numbers of the points that are rows: complete ones that are asked for, and those that the mixtures use."""
    known, source = cells.grid.points, cells.grid.table.source
    wanted = {k for k, there in enumerate(complete) if there}
    if not wanted:
        raise TableError(f"{source} has no point that every image has: evaluate the cells that are missing or failed")
    if points is not None:
        if isinstance(points, str):
            raise SpecError(f"points={points!r} is one text: give a list of names or patterns")
        named: set[int] = set()
        for pattern in points:
            hits = {k for k, name in enumerate(known) if name == pattern or fnmatchcase(name, pattern)}
            if not hits:
                listed = ", ".join(known) if len(known) <= MOST_NAMED else f"see rdp table show {source} --points"
                raise SpecError(
                    f"{source} has no point {pattern!r}.{suggest(pattern, list(known))} Its points: {listed}"
                )
            named |= hits
        wanted &= named
    for mixture in mixtures:
        wanted |= set(np.unique(mixture.choice).tolist())
    return sorted(wanted)


def _averages(
    cells: Cells, mixtures: Sequence[Mixture], columns: Sequence[str] | None
) -> tuple[Average, tuple[Average, ...]]:
    """The rate, as the first selection means it, and the averages that are columns, the rate not among them."""
    every = all_averages(cells, ())
    source = cells.grid.table.source
    by_pixels = mixtures[0].by_pixels and RATE + BY_PIXELS in every
    rate = find_average(every, RATE + BY_PIXELS if by_pixels else RATE, source)
    shown = report_averages(cells, (), columns)
    return rate, tuple(one for one in shown if one.key != rate.key and (columns is not None or not one.secondary))


def _scored(
    source: Source,
    names: Sequence[str],
    network: str | nn.Module | None,
    held_out: bool,
    sizes: Sequence[tuple[str, int, int]],
    notes: list[str],
) -> tuple[SetMeasure, ...]:
    """The set-level measures: those named, those on held-out patches, those of the further network."""
    further = [name for name in further_metrics(network, source.grid) if name not in names]
    found = set_measures(source, names, network, "set")
    if held_out:
        shifted = replace(source, grid=_held_out(source.grid, sizes, notes), seed=source.seed + NEXT_SEED)
        wanted = [one.metric for one in found if shifted.grid is not source.grid or not one.metric.network]
        found += set_measures(shifted, [metric.name for metric in wanted], network, "held out")
    return (*found, *set_measures(source, further, network, "network"))


def _held_out(grid: PatchGrid, sizes: Sequence[tuple[str, int, int]], notes: list[str]) -> PatchGrid:
    """The shifted grid; the same one, and a note, where images give no patch of it."""
    try:
        shifted = grid.held_out()
        shifted.check(sizes)
    except (SpecError, MetricError) as error:
        notes.append(f"features of held-out patches are left out: {error}")
        return grid
    return shifted


def _repeated(cells: Cells) -> list[str]:
    """A warning for each picture that is there under several names."""
    return [
        f"{', '.join(group)} are the same picture: it counts {len(group)} times in every average and distance, and "
        "points exchanged between its copies make the same set; evaluate it once"
        for group in equal_images(cells)
    ]


def _same(mixtures: Sequence[Mixture]) -> list[str]:
    """A note for each mixture that makes the same set as an earlier one."""
    notes = []
    for number, one in enumerate(mixtures):
        first = next((other.name for other in mixtures[:number] if other.is_same(one.choice)), None)
        if first is not None:
            notes.append(f"{one.name} chooses the same points as {first}: their values are the same")
    return notes


def _left_out(cells: Cells, complete: Sequence[bool], mixtures: Sequence[Mixture]) -> list[str]:
    notes = []
    partial = [name for name, there in zip(cells.grid.points, complete, strict=True) if not there]
    if partial:
        notes.append(
            f"{counted(len(partial), 'point')} that not every image has {'is' if len(partial) == 1 else 'are'} left "
            f"out, such as {partial[0]}"
        )
    charged = [one.name for one in mixtures if one.charged]
    if charged:
        notes.append(f"rates are those of the files: the bits that {', '.join(charged)} has beside them are left out")
    return notes
