"""What has changed in a table since a selection of it was saved, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdp.selection.fingerprint import usable_points
from rdp.selection.problem import Problem
from rdp.selection.words import counted


def choosable_points(problem: Problem) -> list[str]:
    """Names of the points that some image may take."""
    return [point for point, used in zip(problem.points, usable_points(problem).tolist(), strict=True) if used]


def renumbered(problem: Problem, points: Sequence[str]) -> str:
    """In words, that naming a point may take other bits than then; empty where that is no matter, or not so."""
    if problem.index_cost is None or set(problem.points) == set(points):
        return ""
    return f"one of {counted(len(points), 'point')} was named for each image, and now there are {len(problem.points)}"


def changed(document: dict[str, Any], problem: Problem, now: dict[str, Any]) -> str:
    """What differs between the table and what was solved, in words."""
    then = document["problem"]["fingerprint"]
    if then["statement"] != now["statement"]:
        asked = document["problem"]["statement"].get("decoder_info")
        if asked is True and problem.statement.decoder_info is None:
            return (
                "the bits for the choice of a decoder were charged, and no points share a file in it now (columns "
                "encoder_id and decoder_id)"
            )
        return "the problem statement in it is not the one that was solved"
    if then["images"] != now["images"]:
        return _images(document, problem)
    if then["points"] != now["points"]:
        stored = set(document["problem"]["points"])
        new = [point for point in choosable_points(problem) if point not in stored]
        gone = sorted(stored - set(problem.points))
        told = [f"{counted(len(new), 'new point')}, such as {new[0]!r}"] if new else []
        told += [f"{counted(len(gone), 'point')} fewer, such as {gone[0]!r}"] if gone else []
        return "there is " + " and ".join(told) if told else "other points than then may be chosen"
    if then["cells"] != now["cells"]:
        return "other cells than then are there and may be chosen"
    if then.get("groups") != now.get("groups"):
        return "images are in other groups than then"
    other_numbers = renumbered(problem, document["problem"]["points"])
    if other_numbers:
        return other_numbers
    columns = [column for column in now["values"] if then["values"].get(column) != now["values"][column]]
    if columns:
        return f"the values of {' and '.join(columns)} have changed"
    if then.get("set_level") != now.get("set_level"):
        return "the pictures are not those that its set-level values are of"
    return "the fingerprint of its problem is not that of the table"


def _images(document: dict[str, Any], problem: Problem) -> str:
    now = set(zip(problem.datasets, problem.images, strict=True))
    if document["chosen"] is None:
        return f"it has {counted(document['problem']['images'], 'image')}, the table {len(now)}, not the same ones"
    then = {(entry["dataset"], entry["image"]) for entry in document["chosen"]}
    told = []
    for images, which in ((now - then, "new image"), (then - now, "missing image")):
        if images:
            dataset, image = min(images)
            told.append(f"{counted(len(images), which)}, such as {image!r} of {dataset!r}")
    return "there is " + " and ".join(told) if told else "the images are not the same ones"
