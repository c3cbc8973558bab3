"""The manifest of a delivery, from the selection and the rows of its chosen cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

import rdp
from rdp.codecs import OperatingPoint
from rdp.codecs.tools import ExternalTool
from rdp.metrics.registry import is_metric
from rdp.report.decoder_information import DecoderInformation, decoder_information
from rdp.report.delivery_names import PackError
from rdp.report.manifest import Manifest
from rdp.report.manifest_parts import PackedAverage, PackedBound, PackedBudget, PackedFile, PackedMetric, PackedPoint
from rdp.report.pack_source import ChosenRow
from rdp.report.side_information import SideInformation, side_information
from rdp.selection import Problem, Selection
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.document import SAME, number
from rdp.selection.problem import FloatArray, IntArray, weighted_mean
from rdp.tables import Run


def _side_information(
    selection: Selection, rows: Sequence[ChosenRow], pixels: Any, need: int, charged: bool
) -> SideInformation:
    problem = selection.problem
    rate = problem.terms.get("bpp")
    bits = np.array([8.0 * row.nbytes for row in rows])
    weighting = rate.weighting if rate is not None else "images"
    counts = list(selection.counts().values())
    return side_information(counts, bits, pixels, weighting, need, charged, problem.max_points)


def _decoder_information(
    problem: Problem, rows: Sequence[ChosenRow], pixels: FloatArray, choice: IntArray
) -> DecoderInformation | None:
    if not isinstance(problem.naming, DecoderCost):
        return None
    rate = problem.terms.get("bpp")
    bits = np.array([8.0 * row.nbytes for row in rows])
    return decoder_information(
        problem.naming.decoders_at(choice), bits, pixels, rate.weighting if rate is not None else "images"
    )


def _added(problem: Problem, column: str, choice: IntArray) -> FloatArray:
    """What bits beside the files add to that column (N,) at a choice (N,)."""
    return np.zeros(len(problem.images)) if problem.naming is None else problem.naming.at(column, choice)


def _files(
    problem: Problem, rows: Sequence[ChosenRow], names: Sequence[str], choice: IntArray
) -> tuple[PackedFile, ...]:
    decoders = [1] * len(rows)
    if isinstance(problem.naming, DecoderCost):
        decoders = problem.naming.decoders_at(choice).tolist()
    groups = np.full(len(rows), "", dtype=object)
    for constraint in problem.constraints:
        if constraint.group:
            groups[constraint.term.weights > 0] = constraint.group
    return tuple(
        PackedFile(
            row.dataset, row.image, row.point, name, row.nbytes, row.file_sha256, row.reconstruction_sha256,
            row.pixels_sha256, row.width, row.height, group, count,
        )
        for row, name, group, count in zip(rows, names, groups.tolist(), decoders, strict=True)
    )  # fmt: skip


def make_manifest(
    run: Run,
    selection: Selection,
    selection_sha256: str,
    rows: Sequence[ChosenRow],
    names: Sequence[str],
    points: Mapping[str, OperatingPoint],
    *,
    need: int,
    charged: bool,
) -> Manifest:
    """The manifest of the chosen rows, delivered under `names`, at the points in use.

    `need` is how many files do not say themselves what decodes them. `charged`: the budgets hold with the bits that
    name the points. Raises `PackError` where the selection, the rows and the files contradict each other.
    """
    problem, choice = selection.problem, selection.required_choice
    pixels = np.array([row.width * row.height for row in rows], dtype=np.float64)
    side = _side_information(selection, rows, pixels, need, charged)
    averages = {name: term.average(choice) for name, term in problem.terms.items()}
    for name, average in averages.items():
        if name in selection.averages and not _same(average, selection.averages[name]):
            raise PackError(f"the selection's average {name} is not that of its own cells: solve again")
    objective = averages[problem.objective.column]
    for name in averages:
        averages[name] -= weighted_mean(_added(problem, name, choice), problem.terms[name].weights)
    if "bpp" in averages and "bpp" not in problem.statement.cap and not _same(averages["bpp"], side.bpp_files):
        raise PackError(
            f"the average bpp of the rows is {averages['bpp']:.9g}, and {side.bpp_files:.9g} by the lengths of the "
            f"files: the table of {run.path} is not consistent; evaluate again"
        )
    return Manifest(
        files=_files(problem, rows, names, choice),
        averages=tuple(PackedAverage(name, problem.terms[name].weighting, value) for name, value in averages.items()),
        budgets=tuple(
            PackedBudget(c.term.column, c.sense, c.budget, c.term.weighting, c.term.average(choice), c.group)
            for c in problem.constraints
        ),
        image_bounds=_image_bounds(selection),
        points=tuple(_point(name, rows) for name in problem.points if name in points),
        metrics=_metrics(run, list(averages)),
        total_bits=8 * sum(row.nbytes for row in rows),
        side_information=side,
        selection={
            "status": selection.status.value,
            "solver": selection.solver,
            "statement": problem.statement.to_dict(),
            "objective": {
                "column": problem.objective.column,
                "goal": problem.goal,
                "weighting": problem.objective.weighting,
                **number("average", objective),
                **number("bound", selection.bound),
                **number("gap", selection.gap),
                "allowed_gap": selection.allowed_gap,
            },
            "points": list(problem.points),
        },
        selection_sha256=selection_sha256,
        protocol=run.protocol,
        tools=tuple(_described(point.definition) for point in _one_a_tool(points)),
        rdp_version=rdp.__version__,
        caps=dict(problem.statement.cap),
        decoder_information=_decoder_information(problem, rows, pixels, choice),
    )


def _image_bounds(selection: Selection) -> tuple[PackedBound, ...]:
    rows, choice = np.arange(len(selection.required_choice)), selection.required_choice
    found = []
    for one in selection.problem.image_bounds:
        values = one.values[rows, choice] - _added(selection.problem, one.column, choice)
        worst = values.max() if one.sense == "at_most" else values.min()
        found.append(PackedBound(one.column, one.sense, one.bound, float(worst)))
    return tuple(found)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))


def _point(name: str, rows: Sequence[ChosenRow]) -> PackedPoint:
    of_point = [row for row in rows if row.point == name]
    encoders = tuple(sorted({row.encoder_id for row in of_point}))
    decoders = tuple(sorted({row.decoder_id for row in of_point if row.decoder_id is not None}))
    versions = tuple(sorted({row.codec_version for row in of_point}))
    return PackedPoint(name, len(of_point), encoders, decoders, versions)


def _metrics(run: Run, columns: Sequence[str]) -> tuple[PackedMetric, ...]:
    return tuple(
        PackedMetric(scores.metric, scores.columns, scores.fingerprint, dict(scores.identity))
        for scores in run.score_sets()
        if is_metric(scores.metric) and set(scores.columns) & set(columns)
    )


def _one_a_tool(points: Mapping[str, OperatingPoint]) -> list[OperatingPoint]:
    tools = {p.definition.name: p for p in points.values() if isinstance(p.definition, ExternalTool)}
    return list(tools.values())


def _described(tool: ExternalTool) -> dict[str, Any]:
    """A tool for people who want to know which program it is. Where its file lies is nobody's business."""
    described = asdict(tool)
    return {name: described[name] for name in ("name", "suffix", "output", "decode")}
