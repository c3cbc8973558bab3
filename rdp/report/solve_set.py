"""`solve_set`: the selection of a run whose distance of sets (FID, KID, sliced Wasserstein) is least, or bounded.

    rdp.solve_set(run, minimize="kid", at_most={"bpp": 0.28}, at_least={"psnr": 31})

It stands here and not beside `rdp.solve`, because selection computes no features: that is evaluation's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdp.analysis.sets.base import SetScorer
from rdp.columns import is_set_level
from rdp.errors import SpecError
from rdp.evaluation.pictures import Places
from rdp.evaluation.set_scores import RunScorer, set_scorers
from rdp.execution import Progress
from rdp.images.files import PathLike
from rdp.metrics.patches import PatchGrid
from rdp.selection.problem import Problem
from rdp.selection.setlevel.optimise import ITERATIONS, SET_GAP
from rdp.selection.setlevel.result import SetSelection, SolveInterrupted
from rdp.selection.setlevel.verb import PER_IMAGE, solve_set_level
from rdp.tables import Run, read_table

if TYPE_CHECKING:
    from torch import nn

_MAPS = ("at_most", "at_least", *PER_IMAGE)


def solve_set(
    run: Run | str | os.PathLike[str],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    network: str | nn.Module | None = None,
    patches: PatchGrid | None = None,
    device: str = "cpu",
    convex_form: Literal["biased", "unbiased"] = "biased",
    originals: Places | None = None,
    codec_files: Iterable[PathLike] = (),
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    progress: Progress | None = None,
    columns: Mapping[str, str] | None = None,
    **words: Any,
) -> SetSelection:
    """Choose one operating point for every image, where `minimize` or `at_most` names distances of sets.

    The names are those of `rdp.evaluation.set_names`: fid, kid, fd_squeeze, kd_squeeze, swd, and fd_NAME and kd_NAME of
    the `network` that is given; a column of the run that is called so comes first. Features that the run folder lacks
    are computed before (`network`, `patches`, `device`, `originals`, `codec_files` and `convex_form` as for
    `rdp.evaluation.set_scores.set_scorers`). What is optimised, bounded and proven is the convex form: of kernel
    distances the V-statistic, or the unbiased estimate with `convex_form="unbiased"`; the distance as it is reported
    stands beside it (`SetSelection.values`).
    All other arguments are those of `rdp.solve` and of `rdp.selection.setlevel.verb.solve_set_level`. `time_limit`
    counts from when the scorers are made, and is two minutes unless given; `seed` is that of the search. Ctrl-C raises
    `rdp.selection.setlevel.result.SolveInterrupted`, with the best selection so far, once there is one.

    Returns also when there is no selection. Raises `SpecError` for a table that is no run folder and for words that
    make no sense, and what `set_scorers` and `rdp.solve` raise.
    """
    said = {"minimize": minimize, "maximize": maximize, "at_most": at_most, "at_least": at_least} | words
    names = set_level_names(run, said, columns)
    if not names:
        raise SpecError("no distance of sets is named in minimize or at_most, such as kid or swd: use rdp.solve")
    opened = _run(run, names)
    made: dict[str, RunScorer] = {}
    wanted = [name for name in names if name == minimize or name in (at_most or {})]

    def maker(name: str) -> Any:
        def scorer(problem: Problem) -> SetScorer:
            if not made:
                made.update(
                    set_scorers(
                        opened,
                        wanted,
                        images=full_names(problem),
                        points=problem.points,
                        network=network,
                        patches=patches,
                        device=device,
                        progress=progress,
                        convex_form=convex_form,
                        allow_missing=True,
                        originals=originals,
                        codec_files=codec_files,
                    )
                )
            return made[name]

        return scorer

    try:
        selection = solve_set_level(
            opened,
            {name: maker(name) for name in names},
            minimize=minimize,
            maximize=maximize,
            at_most=at_most,
            at_least=at_least,
            gap=gap,
            time_limit=time_limit,
            iterations=iterations,
            seed=seed,
            progress=progress,
            columns=columns,
            **words,
        )
    except SolveInterrupted as stopped:
        raise SolveInterrupted(_warned(stopped.selection)) from None
    return _warned(selection)


def _warned(selection: SetSelection) -> SetSelection:
    """The selection with what its scorers warn of."""
    told = [f"{one.name}: {warning}" for one in selection.values for warning in one.facts.get("warnings", ())]
    return replace(selection, warnings=(*selection.warnings, *told))


def full_names(problem: Problem) -> list[str]:
    """dataset/name of every image."""
    return [f"{dataset}/{image}" for dataset, image in zip(problem.datasets, problem.images, strict=True)]


def set_level_names(source: Any, words: Mapping[str, Any], columns: Mapping[str, str] | None) -> tuple[str, ...]:
    """The distances of sets among the names in `words` (keywords of `rdp.solve`), without columns of the table."""
    named = [words.get("minimize"), words.get("maximize")]
    named += [name for word in _MAPS for name in words.get(word) or ()]
    found = [name for name in dict.fromkeys(named) if isinstance(name, str) and is_set_level(name)]
    if not found:
        return ()
    known = read_table(source, columns).data.column_names
    return tuple(name for name in found if name not in known)


def _run(source: Any, names: Sequence[str]) -> Run:
    if isinstance(source, Run):
        return source
    if not isinstance(source, (str, os.PathLike)) or not Path(source).is_dir():
        told = str(source) if isinstance(source, (str, os.PathLike)) else "the table given"
        raise SpecError(
            f"{told} is no run folder, and {', '.join(names)} is of features of the pictures themselves: name the run "
            "folder that rdp evaluate made"
        )
    return Run(source)
