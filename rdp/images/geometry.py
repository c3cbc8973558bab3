"""Padding to a multiple of a codec's stride, at the bottom and the right, and cropping it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rdp.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

PadMode = Literal["reflect", "replicate"]


def pad(pixels: np.ndarray[Any, Any], multiple: int, mode: PadMode = "replicate") -> np.ndarray[Any, Any]:
    """Extend an image (H, W, C) at the bottom and the right to the next multiples of `multiple`.

    `replicate` repeats the last row and column; `reflect` mirrors about them (the edge itself is not repeated) and,
    on images smaller than the padding, goes on mirroring back and forth. Returns the input itself where nothing is
    to be added. Raises `ImageError` for a multiple below 1 or an unknown mode.
    """
    import numpy as np

    if multiple < 1:
        raise ImageError(f"cannot pad to a multiple of {multiple}: it must be 1 or more")
    if mode not in ("reflect", "replicate"):
        raise ImageError(f"unknown padding {mode!r}: use 'reflect' or 'replicate'")
    height, width = pixels.shape[:2]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return pixels
    widths = ((0, below), (0, right), (0, 0))
    return np.pad(pixels, widths, mode="edge" if mode == "replicate" else "reflect")


def crop(pixels: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """The top left (height, width) of an image (H, W, C): what undoes `pad`. Raises `ImageError` if it is larger."""
    if height > pixels.shape[0] or width > pixels.shape[1] or height < 1 or width < 1:
        raise ImageError(f"cannot crop {pixels.shape[1]}x{pixels.shape[0]} pixels to {width}x{height}")
    return pixels[:height, :width]
