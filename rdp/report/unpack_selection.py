"""What a manifest says of its selection, held against itself, its files, and the `selection.json` that it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdp.errors import SpecError
from rdp.images import hash_bytes
from rdp.report.delivery_names import PackError, read_inside
from rdp.report.json_fields import parse_json, read_choice, read_list, read_object, read_real, read_text, read_texts
from rdp.report.manifest import MANIFEST, SELECTION, Manifest
from rdp.report.unpack_charges import Charges, charges_of
from rdp.report.unpack_codecs import Mismatch
from rdp.selection.patterns import match_images, match_points
from rdp.selection.problem import image_labels
from rdp.selection.result import reaches, relative_gap
from rdp.selection.statement import Statement
from rdp.selection.statement_checks import DEFAULT_GROUPS
from rdp.selection.status import Status

_SAME = 2e-9
"""Averages that are sums of the same numbers, each rounded on its own."""

_DAMAGES = (KeyError, TypeError, ValueError, AttributeError, OverflowError, SpecError)


def check_statement(manifest: Manifest, charges: Charges) -> list[Mismatch]:
    """Hold status, objective, budgets, groups, bounds, choices and charging against each other and the files."""
    try:
        statement = Statement.from_dict(read_object(manifest.selection["statement"]))
        said = _status(manifest, statement, charges)
        said += _choices(manifest, statement)
        said += _groups(manifest, statement)
        said += _decoders(manifest, statement)
    except _DAMAGES as error:
        return [Mismatch(MANIFEST, f"its selection is damaged: {error}")]
    groups = {one.group for one in manifest.files}
    wanted = [(column, sense, budget, "") for column, sense, budget in statement.budgets]
    wanted += [(*budget, group) for budget in statement.group_budgets for group in groups]
    if sorted((one.column, one.sense, one.budget, one.group) for one in manifest.budgets) != sorted(wanted):
        said.append("its budgets are not those of the selection's statement")
    if statement.side_info and not manifest.side_information.charged:
        said.append("its statement asks for side information in the rates, and it is said not to be charged")
    if {(one.column, one.sense, one.bound) for one in manifest.image_bounds} != set(statement.image_bounds):
        said.append("its bounds on each image are not those of the selection's statement")
    return [Mismatch(MANIFEST, what) for what in said]


def _status(manifest: Manifest, statement: Statement, charges: Charges) -> list[str]:
    """The status follows from the objective and its bound, and the gap is what they give."""
    entry = read_object(manifest.selection["objective"])
    objective, bound, gap = read_real(entry, "average"), _real_or_none(entry, "bound"), _real_or_none(entry, "gap")
    allowed = read_real(entry, "allowed_gap")
    status = read_choice(manifest.selection, "status", (Status.OPTIMAL.value, Status.FEASIBLE.value))
    read_text(manifest.selection, "solver")
    said = []
    stated = {one.column: one for one in manifest.averages}.get(statement.objective)
    if stated is None or not _close(stated.average + charges.solved_in(stated.column, stated.weighting), objective):
        said.append("the objective and the averages contradict each other")
    elif entry["weighting"] != stated.weighting:
        said.append("the objective's weighting is not that of its average")
    if (entry["column"], entry["goal"]) != (statement.objective, statement.goal):
        said.append("the objective is not that of the selection's statement")
    if not (math.isfinite(allowed) and allowed >= 0) or (bound is not None and not math.isfinite(bound)):
        return [*said, "the bound or the allowed gap is no number that a solver gives"]
    found = None if bound is None else relative_gap(objective, bound)
    if not (found == gap or (found is not None and gap is not None and math.isclose(found, gap, abs_tol=_SAME))):
        said.append(f"the gap is {found} by the objective and its bound, and {gap} in it")
    sign = 1.0 if statement.goal == "minimize" else -1.0
    if bound is not None and sign * (bound - objective) > max(_SAME * abs(objective), 1e-12):
        said.append(f"the bound {bound:.9g} is on the wrong side of the objective {objective:.9g}")
    if status == Status.OPTIMAL.value and not reaches(objective, bound, max(allowed, _SAME)):
        said.append(f"its status is optimal, and its gap {found} is not within the {allowed:g} that counts as that")
    if status == Status.FEASIBLE.value and reaches(objective, bound, 0.5 * allowed):
        said.append("its status is feasible, and its bound proves the selection optimal")
    return said


def _choices(manifest: Manifest, statement: Statement) -> list[str]:
    """Every fixed image is at its point, no image at a point that was forbidden for it, and there are not too many."""
    images = [one.image for one in manifest.files]
    labels = image_labels([one.dataset for one in manifest.files], images)
    chosen = {label: one.point for label, one in zip(labels, manifest.files, strict=True)}
    offered = read_texts(manifest.selection, "points")
    if not isinstance(statement.fix, Mapping) or not all(isinstance(pair, tuple) for pair in statement.forbid):
        return ["its statement holds pairs IMAGE=POINT that are not parted"]
    said = []
    used = len(set(chosen.values()))
    if statement.max_points is not None and used > statement.max_points:
        said.append(f"its files are at {used} different points, and its statement allows {statement.max_points}")
    for image, point in statement.fix.items():
        if chosen.get(image) != point:
            said.append(f"its statement fixes {image!r} to {point}, and the file is at {chosen.get(image)}")
    for pair in statement.forbid:
        points = {name for name, hit in zip(offered, match_points(pair[1], offered).tolist(), strict=True) if hit}
        for label, hit in zip(labels, match_images(pair[0], labels, images).tolist(), strict=True):
            if hit and chosen[label] in points:
                said.append(f"{label!r} is at {chosen[label]}, which its statement forbids")
    return said


def _groups(manifest: Manifest, statement: Statement) -> list[str]:
    """Every image is in a group where there are budgets of groups, and in the one that the statement says."""
    images = [one.image for one in manifest.files]
    labels = image_labels([one.dataset for one in manifest.files], images)
    for label, one in zip(labels, manifest.files, strict=True):
        wanted = one.group
        if not statement.group_budgets:
            wanted = ""
        elif statement.groups == DEFAULT_GROUPS:
            wanted = one.dataset
        elif isinstance(statement.groups, Mapping):
            wanted = statement.groups.get(label, statement.groups.get(one.image, ""))
        if one.group != wanted or (statement.group_budgets and not one.group):
            return [f"{label!r} is in the group {one.group!r}, which is not the one of its statement"]
    return []


def _decoders(manifest: Manifest, statement: Statement) -> list[str]:
    """Bits that name decoders are there if the statement says so, for no more decoders than points are offered."""
    if (statement.decoder_info is True) is not (manifest.decoder_information is not None):
        return ["its statement and its decoder_information contradict each other"]
    most = len(read_texts(manifest.selection, "points")) if statement.decoder_info is True else 1
    labels = image_labels([one.dataset for one in manifest.files], [one.image for one in manifest.files])
    said = []
    for label, one in zip(labels, manifest.files, strict=True):
        limit = 1 if label in statement.fix else most
        if one.decoders > limit:
            said.append(f"{label!r} is said to have {one.decoders} decoders to choose from, and {limit} at most")
    return said


# ---- selection.json


def check_selection(folder: Path, manifest: Manifest, own: Path | None) -> tuple[list[Mismatch], list[str]]:
    """Hold the manifest against the delivery's `selection.json`, and against `own`, the sender's copy; with notes.

    Raises `PackError` if `own` cannot be read or is no selection; what is wrong with the delivery's is a mismatch.
    """
    wrong: list[Mismatch] = []
    notes: list[str] = []
    try:
        data = read_inside(folder, SELECTION)
        if hash_bytes(data) != manifest.selection_sha256:
            wrong.append(Mismatch(SELECTION, "its SHA-256 is not the one in the manifest"))
        wrong += [Mismatch(SELECTION, what) for what in _contradictions(manifest, parse_json(folder / SELECTION, data))]
    except PackError as error:
        wrong.append(Mismatch(SELECTION, str(error)))
    if own is None:
        return wrong, notes
    try:
        data = own.read_bytes()
    except OSError as error:
        raise PackError(f"cannot read {own}: {error.strerror or error}") from error
    said = _contradictions(manifest, parse_json(own, data))
    wrong += [Mismatch(str(own), what) for what in said]
    if not said and hash_bytes(data) != manifest.selection_sha256:
        notes.append(f"{own} says the same as the delivery in other bytes (solved again, or written by another rdp)")
    return wrong, notes


def _contradictions(manifest: Manifest, document: Mapping[str, Any]) -> list[str]:
    """In what a `selection.json` and the manifest differ."""
    try:
        return _differences(manifest, document)
    except _DAMAGES as error:
        return [f"it is damaged: {type(error).__name__} {error}"]


def _differences(manifest: Manifest, document: Mapping[str, Any]) -> list[str]:
    mine, problem = manifest.selection, read_object(document["problem"])
    theirs, objective = read_object(document["objective"]), read_object(mine["objective"])
    chosen = {(file.dataset, file.image): file.point for file in manifest.files}
    listed = read_list(document, "chosen", lambda one: tuple(read_text(one, k) for k in ("dataset", "image", "point")))
    said = []
    if len(listed) != len(chosen) or {(one[0], one[1]): one[2] for one in listed} != chosen:
        differ = [one[1] for one in listed if chosen.get((one[0], one[1])) != one[2]] or ["another number of images"]
        said.append(f"it chooses other points than the delivery holds ({len(differ)}, such as {differ[0]!r})")
    if Statement.from_dict(read_object(problem["statement"])) != Statement.from_dict(read_object(mine["statement"])):
        said.append("its problem statement is not the manifest's")
    if not set(read_texts(mine, "points")) <= set(read_texts(problem, "points")):
        said.append("it does not offer all points that the manifest says were offered")
    for name in ("status", "solver"):
        if document[name] != mine[name]:
            said.append(f"its {name} is {document[name]!r:.80}, and {mine[name]!r:.80} in the manifest")
    for name in ("average", "bound", "gap", "allowed_gap"):
        one, other = _real_or_none(theirs, name), _real_or_none(objective, name)
        if (one is None) is not (other is None) or (one is not None and other is not None and not _close(one, other)):
            said.append(f"the {name} of its objective is {one}, and {other} in the manifest")
    averages, charges = _averages(read_list(document, "averages", dict)), charges_of(manifest)
    for packed in manifest.averages:
        own = packed.average + charges.solved_in(packed.column, packed.weighting)
        if packed.column in averages and not _agree(averages[packed.column], (packed.weighting, own)):
            said.append(f"its average {packed.column} is not the manifest's")
    listed_budgets = read_list(document, "budgets", dict)
    budgets = {(b["column"], b["sense"], float(b["budget"]), b.get("group", "")): b for b in listed_budgets}
    packed_budgets = {(b.column, b.sense, b.budget, b.group): (b.weighting, b.average) for b in manifest.budgets}
    if set(budgets) != set(packed_budgets) or not all(
        _agree((budgets[key]["weighting"], read_real(budgets[key], "average")), packed_budgets[key]) for key in budgets
    ):
        said.append("its budgets are not the manifest's")
    total, own = manifest.total_bits + charges.own_bits, document["total_bits"]
    # Bits of decoders are no whole number, and the sum is rounded.
    if own is not None and not (type(own) is int and abs(own - total) <= 0.5 + 1e-12 * total):
        said.append(f"it has {own!r:.80} bits in all, and the manifest {round(total)}")
    return said


def _averages(entries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
    return {read_text(one, "column"): (read_text(one, "weighting"), read_real(one, "average")) for one in entries}


def _agree(one: tuple[str, float], other: tuple[str, float]) -> bool:
    return one[0] == other[0] and _close(one[1], other[1])


def _real_or_none(entry: Mapping[str, Any], name: str) -> float | None:
    return None if entry[name] is None and entry.get(f"{name}_is") is None else read_real(entry, name)


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-12)
