"""The patches of images that set-level metrics are of: crops on grids, the same for an image and its reconstructions.

Source: Mentzer, Toderici, Tschannen, Agustsson, "High-fidelity generative image compression", NeurIPS 2020, appendix:
256x256 crops on a grid from the origin, and once more on a grid shifted by half a side in both directions. The paper
cuts one row and one column less from the shifted grid; NeuralCompression, whose counts are the ones published since,
tiles the shifted image as fully as the image itself, and so is it done here: a grid with offset o gives

    floor((H - o) / side) * floor((W - o) / side)

patches, row by row, and the grids follow one another. The published counts are 192 for Kodak (24 images), 28650 for the
test set of CLIC 2020 (428) and 6573 for the validation set of DIV2K (100). An image with a side under 1.5 patches has
none on the shifted grid; one with a side under a patch has none at all.

A metric that was optimised is judged on patches that were not: `PatchGrid.held_out` has the offsets in between. Its
patches overlap with the others, since every pixel is in some patch of both; none is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from rdp.errors import MetricError, SpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Small = Literal["refuse", "none", "mirror"]
SIDE = 256
PUBLISHED = {"clic2020-test": (428, 28650), "div2k-valid": (100, 6573), "kodak": (24, 192)}
"""Images and patches of the default grid, as published with NeuralCompression, by set."""

_TEXT = re.compile(r"(\d+)(?:@(\d+(?:,\d+)*))?")
_LISTED = 5


@dataclass(frozen=True)
class PatchGrid:
    """Square patches of `side` pixels on one grid for each of `offsets`, in pixels from the top and from the left.

    `small` says what becomes of images that give no patch: "refuse" them, let them have "none" (they are counted and
    named, and no choice for them changes the metric), or "mirror" them at their borders up to the size of one patch.
    """

    side: int = SIDE
    offsets: tuple[int, ...] = (0, SIDE // 2)
    small: Small = "refuse"

    def __post_init__(self) -> None:
        if self.side < 1:
            raise SpecError(f"patches of {self.side} pixels: a side is a whole number of pixels, 1 or more")
        if not self.offsets or len(set(self.offsets)) < len(self.offsets):
            raise SpecError(f"offsets of patches {self.offsets}: give one at least, none twice")
        if not all(0 <= offset < self.side for offset in self.offsets):
            raise SpecError(
                f"offsets of patches {self.offsets}: each is from 0 to {self.side - 1}, under the side of {self.side}. "
                "`PatchGrid.of(side)` takes 0 and half the side"
            )
        if self.small not in get_args(Small):
            raise SpecError(f"small={self.small!r} is not allowed: it takes {', '.join(get_args(Small))}")

    @classmethod
    def of(cls, side: int = SIDE, shifted: bool = True, small: Small = "refuse") -> PatchGrid:
        """The grid from the origin and, unless `shifted` is off, the one shifted by half a side."""
        return cls(side, (0, side // 2) if shifted and side > 1 else (0,), small)

    @classmethod
    def parse(cls, text: str, small: Small = "refuse") -> PatchGrid:
        """A grid as it is written: "256" (with the grid shifted by half a side), "256@0" (without), "256@64,192".

        Raises `SpecError` for anything else.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise SpecError(f"patches {text!r} are not written SIDE or SIDE@OFFSET,OFFSET, for example 256@0,128")
        if match[2] is None:
            return cls.of(int(match[1]), small=small)
        return cls(int(match[1]), tuple(int(offset) for offset in match[2].split(",")), small)

    @property
    def name(self) -> str:
        """As `parse` reads it: "256@0,128"."""
        return f"{self.side}@{','.join(map(str, self.offsets))}"

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the patches of an image, as JSON. Refusing images changes no patch."""
        return {"side": self.side, "offsets": list(self.offsets), "mirror": self.small == "mirror"}

    def held_out(self) -> PatchGrid:
        """The grids with a quarter of a side more: for the default offsets 64 and 192.

        Raises `SpecError` for patches so small that these grids are not others.
        """
        offsets = tuple((offset + self.side // 4) % self.side for offset in self.offsets)
        if set(offsets) & set(self.offsets):
            raise SpecError(
                f"patches {self.name} shifted by a quarter of a side are not all others: choose larger ones"
            )
        return PatchGrid(self.side, offsets, self.small)

    def count(self, width: int, height: int) -> int:
        """Patches of an image of that size, in pixels."""
        return len(self.positions(width, height))

    def positions(self, width: int, height: int) -> list[tuple[int, int]]:
        """(top, left) of each patch, in order; (0, 0) alone for an image that is mirrored up to a patch."""
        found = [
            (top, left)
            for offset in self.offsets
            for top in range(offset, height - self.side + 1, self.side)
            for left in range(offset, width - self.side + 1, self.side)
        ]
        return found or ([(0, 0)] if self.small == "mirror" else [])

    def cut(self, image: Pixels) -> Pixels:
        """The patches of an image, uint8 (H, W, 3): uint8 (count, side, side, 3), in order; none for a small image.

        Raises `MetricError` for what is no such image.
        """
        import numpy as np

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise MetricError(f"patches are of 8-bit RGB images, uint8 (H, W, 3), not {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        positions = self.positions(width, height)
        if self.small == "mirror" and positions == [(0, 0)]:
            # Such an image may be smaller than a patch in one direction only; a mirror at a single row repeats it.
            border = [(0, max(0, self.side - length)) for length in (height, width)]
            image = np.pad(image, [*border, (0, 0)], mode="symmetric")
        patches = np.empty((len(positions), self.side, self.side, 3), np.uint8)
        for place, (top, left) in enumerate(positions):
            patches[place] = image[top : top + self.side, left : left + self.side]
        return patches

    def check(self, images: Iterable[tuple[str, int, int]]) -> tuple[str, ...]:
        """The names of the images, (name, width, height) each, that give no patch.

        Raises `MetricError` that names them if they are to be refused, and if no image gives any.
        """
        listed = list(images)
        without = [(name, width, height) for name, width, height in listed if not self.count(width, height)]
        if without and (self.small == "refuse" or len(without) == len(listed)):
            raise MetricError(self._refusal(without, len(listed)))
        return tuple(name for name, _, _ in without)

    def _refusal(self, without: Sequence[tuple[str, int, int]], count: int) -> str:
        needed = self.side + min(self.offsets)
        shown = ", ".join(f"{name} ({width}x{height})" for name, width, height in without[:_LISTED])
        more = f" and {len(without) - _LISTED} more" if len(without) > _LISTED else ""
        return (
            f"{len(without)} of {count} images have no patch of {self.name}, which takes {needed} pixels along both "
            f"sides: {shown}{more}. {self._remedy(without)}"
        )

    def _remedy(self, without: Sequence[tuple[str, int, int]]) -> str:
        """What helps images that have no patch."""
        least = min(min(width, height) for _, width, height in without)
        # The grid scaled down to a smaller side keeps its first offset's part of it.
        sides = (s for s in range(min(least, self.side), 0, -1) if s + min(self.offsets) * s // self.side <= least)
        fits = next(sides, 1)
        smaller = f"Patches of at most {fits} pixels a side fit into every image (--patches {fits}); or "
        return (
            f"{smaller}small images are mirrored up to a patch (--small mirror, PatchGrid(small='mirror')), "
            "or left out of the run"
        )
