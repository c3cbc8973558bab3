"""Colour of BPG in the integer arithmetic of the reference implementation: 8-bit RGB to planes and back.

Exact: a decoded picture has the samples that `bpgdec` writes. Matrices are rounded to integers once, products are
summed in 32 bits (which they fill without overflow up to 12 bits a sample), and halves round up. Chroma is halved by a
symmetric 10-tap filter and doubled by a 7-tap one, with replicated edges. Work goes by bands of rows, so that
intermediate arrays stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rdp.codecs.bpg.container import BpgHeader

Plane = np.ndarray[Any, Any]

_BAND = 64  # rows at a time; even, because 4:2:0 makes two rows of one
_LUMA_WEIGHTS = {"BT.601": (0.299, 0.114), "BT.709": (0.2126, 0.0722), "BT.2020": (0.2627, 0.0593)}  # red, blue
_BACK_SHIFT = 22

# Halving: the weight of both neighbours at distance 1/2, 3/2, ... of the new sample; they sum to 2^7.
_HALVE = (2, -4, -8, 17, 57, 57, 17, -8, -4, 2)
# Doubling: samples -3..3 for the even new sample, in reverse for the odd one; they sum to 2^6.
_DOUBLE = (2, -6, 18, 57, -10, 4, -1)
# Where chroma lies on luma columns the even sample stays as it is, and the odd one takes samples -3..4.
_DOUBLE_COSITED = (-1, 4, -11, 40, 40, -11, 4, -1)
_BEFORE, _AFTER = 3, 4


def to_planes(image: Plane, header: BpgHeader) -> tuple[Plane, Plane, Plane]:
    """Y, Cb, Cr of an RGB image (uint8, (H, W, 3)) in the chroma format and depth of a header.

    Planes are uint8, or uint16 above 8 bits; the chroma planes have `header.chroma_size`. Colour spaces BT.601, BT.709
    and BT.2020; chroma formats 420, 422 and 444, sited between the luma columns.
    """
    luma, cb, cr = _from_rgb(image, header)
    if header.chroma == "444":
        return luma, cb, cr
    return luma, _halve(cb, header), _halve(cr, header)


def _from_rgb(image: Plane, header: BpgHeader) -> tuple[Plane, Plane, Plane]:
    """Y, Cb, Cr at full size."""
    red, blue = _LUMA_WEIGHTS[header.colour]
    green = 1 - red - blue
    rows = (
        (red, green, blue),
        (-0.5 * red / (1 - blue), -0.5 * green / (1 - blue), 0.5),
        (0.5, -0.5 * green / (1 - red), -0.5 * blue / (1 - red)),
    )
    top, shift = (1 << header.depth) - 1, 31 - header.depth
    scale = top * (1 << shift) / 255
    height, width = image.shape[:2]
    dtype = np.uint8 if header.depth == 8 else np.uint16
    planes = [np.empty((height, width), dtype) for _ in rows]
    for start in range(0, height, _BAND):
        band = slice(start, start + _BAND)
        channels = [image[band, :, channel].astype(np.int32) for channel in range(3)]
        for index, (row, plane) in enumerate(zip(rows, planes, strict=True)):
            values = np.empty_like(channels[0])
            _weigh(channels, [round(entry * scale) for entry in row], values)
            _shift(values, shift)
            if index:
                values += 1 << header.depth - 1
            plane[band] = np.clip(values, 0, top, out=values)
    return planes[0], planes[1], planes[2]


def _weigh(parts: Sequence[Plane], weights: Sequence[int], out: Plane) -> None:
    """Put into `out` the sum of the weighted parts, computed in its type."""
    term = np.empty_like(out)
    np.multiply(parts[0], weights[0], out=out)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        np.multiply(part, weight, out=term)
        out += term


def _shift(values: Plane, bits: int) -> None:
    """Divide by a power of two in place, halves up."""
    if bits:
        values += 1 << bits - 1
        values >>= bits


def _halve(plane: Plane, header: BpgHeader) -> Plane:
    """A chroma plane at half its width, and at half its height too for 4:2:0."""
    both = header.chroma == "420"
    out = _halve_columns(plane.astype(np.int32))
    _shift(out, header.depth - 7 if both else 7)
    if both:
        out = np.ascontiguousarray(_halve_columns(out.T).T)
        _shift(out, 21 - header.depth)
    return np.clip(out, 0, (1 << header.depth) - 1, out=out).astype(plane.dtype)


def _halve_columns(plane: Plane) -> Plane:
    count = (plane.shape[1] + 1) // 2
    padded = np.pad(plane, ((0, 0), (4, 5)), mode="edge")
    # Even and odd columns apart: the filter then reads neighbours that lie side by side in memory.
    even, odd = padded[:, 0::2].copy(order="K"), padded[:, 1::2].copy(order="K")
    windows = [(even, odd)[tap % 2][:, tap // 2 : tap // 2 + count] for tap in range(len(_HALVE))]
    out = np.empty_like(windows[0])
    _weigh(windows, _HALVE, out)
    return out


def to_rgb(planes: Sequence[Plane], header: BpgHeader) -> Plane:
    """The picture of decoded planes: uint8, (H, W, 3), RGB.

    `planes` are cropped already: luma of (height, width), chroma of `header.chroma_size`; one plane for gray. In RGB
    the planes are green, blue, red; in YCgCo luma, green chroma, orange chroma.
    """
    image = np.empty((header.height, header.width, 3), np.uint8)
    chroma = [_Doubler(plane, header) for plane in planes[1:]]
    for start in range(0, header.height, _BAND):
        band = slice(start, min(start + _BAND, header.height))
        luma = planes[0][band].astype(np.int32)
        _band_to_rgb(luma, [plane.rows(band) for plane in chroma], header, image[band])
    return image


def _band_to_rgb(luma: Plane, chroma: Sequence[Plane], header: BpgHeader, image: Plane) -> None:
    """Some rows of all planes at full size (int32, overwritten) as RGB."""
    scale = 255 * (1 << _BACK_SHIFT) / ((1 << header.depth) - 1)
    one = round(scale)
    if header.chroma == "gray":
        luma *= one
        for channel in range(3):
            _store(luma.copy(), image[..., channel])
    elif header.colour == "RGB":
        for channel, plane in zip((1, 2, 0), (luma, *chroma), strict=True):
            plane *= one
            _store(plane, image[..., channel])
    elif header.colour == "YCgCo":
        _ycgco(luma, chroma, header, one, image)
    else:
        _ycbcr(luma, chroma, header, scale, image)


def _ycgco(luma: Plane, chroma: Sequence[Plane], header: BpgHeader, one: int, image: Plane) -> None:
    centre = 1 << header.depth - 1
    green, orange = chroma
    green -= centre
    orange -= centre
    rest = luma - green
    for channel, values in ((0, rest + orange), (1, luma + green), (2, rest - orange)):
        values *= one
        _store(values, image[..., channel])


def _ycbcr(luma: Plane, chroma: Sequence[Plane], header: BpgHeader, scale: float, image: Plane) -> None:
    red, blue = _LUMA_WEIGHTS[header.colour]
    green = 1 - red - blue
    centre = 1 << header.depth - 1
    cb, cr = chroma
    cb -= centre
    cr -= centre
    luma *= round(scale)
    from_blue = round(2 * blue * (1 - blue) / green * scale)
    from_red = round(2 * red * (1 - red) / green * scale)
    term = cb * from_blue
    term += cr * from_red
    _store(luma - term, image[..., 1])
    cr *= round(2 * (1 - red) * scale)
    cr += luma
    _store(cr, image[..., 0])
    cb *= round(2 * (1 - blue) * scale)
    cb += luma
    _store(cb, image[..., 2])


def _store(values: Plane, channel: Plane) -> None:
    """Scaled sums (overwritten) as 8-bit samples of one channel."""
    _shift(values, _BACK_SHIFT)
    np.clip(values, 0, 255, out=values)
    channel[...] = values


class _Doubler:
    """A chroma plane that gives its rows at the size of luma, a band at a time, int32."""

    def __init__(self, plane: Plane, header: BpgHeader) -> None:
        self._header = header
        self._across = header.chroma in ("420", "422")
        self._down = header.chroma == "420"
        # At 8 bits a first pass stays within 16 bits, which is twice as fast.
        self._narrow = np.int16 if header.depth == 8 else np.int32
        if self._across:
            plane = np.pad(plane, ((0, 0), (_BEFORE, _AFTER)), mode="edge")
        if self._down:
            plane = np.pad(plane, ((_BEFORE, _AFTER), (0, 0)), mode="edge")
        self._plane = plane.astype(self._narrow) if self._across else plane

    def rows(self, band: slice) -> Plane:
        """Rows band.start to band.stop of the doubled plane; band.start is even."""
        if not self._across:
            return self._plane[band].astype(np.int32)
        if not self._down:
            return self._double_columns(self._plane[band].astype(np.int32), 0)
        header = self._header
        tall = self._double_rows(band.start // 2, (band.stop + 1) // 2)
        _shift(tall, header.depth - 8)
        return self._double_columns(tall[: band.stop - band.start].astype(np.int32), 14 - header.depth)

    def _double_rows(self, first: int, last: int) -> Plane:
        windows = [self._plane[first + tap : last + tap] for tap in range(len(_DOUBLE))]
        tall = np.empty((2 * (last - first), self._plane.shape[1]), self._narrow)
        _weigh(windows, _DOUBLE, tall[0::2])
        _weigh(windows, _DOUBLE[::-1], tall[1::2])
        return tall

    def _double_columns(self, rows: Plane, scaled: int) -> Plane:
        """Rows (padded, scaled up by 2^scaled) at double width, cropped, rounded and clipped."""
        width, top = self._header.width, (1 << self._header.depth) - 1
        count = (width + 1) // 2
        windows = [rows[:, tap : tap + count] for tap in range(_BEFORE + 1 + _AFTER)]
        wide = np.empty((len(rows), 2 * count), np.int32)
        for parity in range(2):
            half = np.empty((len(rows), count), np.int32)
            bits = scaled + 6
            if not self._header.cosited:
                _weigh(windows[: len(_DOUBLE)], _DOUBLE[:: -1 if parity else 1], half)
            elif parity:
                _weigh(windows, _DOUBLE_COSITED, half)
            else:
                half[...] = windows[_BEFORE]
                bits = scaled
            _shift(half, bits)
            wide[:, parity::2] = half
        return np.clip(wide, 0, top, out=wide)[:, :width]
