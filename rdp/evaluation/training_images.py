"""Images that weights were trained on: what a network does on them says nothing of what it does on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdp.codecs.base import IMAGE_DIGITS
from rdp.errors import WeightsError
from rdp.evaluation.facts import CodecFacts
from rdp.evaluation.inspection import Inspected

_LISTED = 3


@dataclass(frozen=True)
class Seen:
    """Points whose weights were trained on some of the images asked for: one point at least, one image at least."""

    points: tuple[str, ...]
    images: tuple[Inspected, ...]


def find_seen(facts: Mapping[str, CodecFacts], images: Sequence[Inspected]) -> list[Seen]:
    """The points, by the images that their weights have seen, and in their order; nothing where there are none.

    It costs an intersection of two sets for each list of training images, and nothing where no codec has one.
    """
    points: dict[frozenset[str], list[str]] = {}
    for name, fact in facts.items():
        if fact.trained_on:
            points.setdefault(fact.trained_on, []).append(name)
    if not points:
        return []
    places: dict[str, list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.pixels_sha256[:IMAGE_DIGITS], []).append(place)
    found = []
    for trained_on, names in points.items():
        both = sorted(place for digits in trained_on & places.keys() for place in places[digits])
        if both:
            found.append(Seen(tuple(names), tuple(images[place] for place in both)))
    return found


def refuse_seen(found: Sequence[Seen], count: int) -> None:
    """Raise `WeightsError` if there is any; `count` is the number of images asked for."""
    if not found:
        return
    lines = [f"{describe_seen(seen, count)}, for example {seen.images[0].image.path}" for seen in found[:_LISTED]]
    others = sum(len(seen.points) for seen in found[_LISTED:])
    more = f"; those of {others} more point{'s'[: others != 1]} on others" if others else ""
    raise WeightsError(
        f"{'; '.join(lines)}{more}. Nothing was encoded. On images that it was trained on, a network looks better "
        "than it is: leave those images out, or force it with --allow-training-images (allow_training_images=True)"
    )


def describe_seen(seen: Seen, count: int) -> str:
    """Which points have seen how many of `count` images, for a message."""
    first, others = seen.points[0], len(seen.points) - 1
    subject = f"the weights of {first}" + (f" and of {others} other point{'s'[: others != 1]}" if others else "")
    return f"{subject} were trained on {len(seen.images)} of the {count} images"
