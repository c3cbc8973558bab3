"""Colour: against formulas in floating point, and the properties of filters that are rounded rightly."""

from __future__ import annotations

import numpy as np
import pytest

from rdp.codecs.bpg.colour import to_planes, to_rgb
from rdp.codecs.bpg.container import BpgHeader

WEIGHTS = {"BT.601": (0.299, 0.114), "BT.709": (0.2126, 0.0722), "BT.2020": (0.2627, 0.0593)}


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("colour", WEIGHTS)
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_rgb_to_ycbcr_is_the_formula_rounded(rng, colour: str, depth: int) -> None:
    image = noise(rng, 70, 33)
    kr, kb = WEIGHTS[colour]
    red, green, blue = (image[..., channel] / 255 for channel in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    exact = [luma, 0.5 * (blue - luma) / (1 - kb), 0.5 * (red - luma) / (1 - kr)]
    planes = to_planes(image, BpgHeader(33, 70, "444", depth, colour))
    top = 2**depth - 1
    for index, (plane, values) in enumerate(zip(planes, exact, strict=True)):
        wanted = values * top + (2 ** (depth - 1) if index else 0)
        assert np.abs(plane - np.clip(wanted, 0, top)).max() < 0.501
        assert plane.dtype == (np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("colour", WEIGHTS)
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_ycbcr_to_rgb_is_the_formula_rounded_and_clipped(rng, colour: str, depth: int) -> None:
    top, centre = 2**depth - 1, 2 ** (depth - 1)
    planes = [rng.integers(0, top + 1, (70, 33)) for _ in range(3)]
    kr, kb = WEIGHTS[colour]
    luma, cb, cr = planes[0] / top, (planes[1] - centre) / top, (planes[2] - centre) / top
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    exact = np.clip(np.stack([red, green, blue], axis=-1) * 255, 0, 255)
    assert np.abs(to_rgb(planes, BpgHeader(33, 70, "444", depth, colour)) - exact).max() < 0.501


def test_rgb_planes_are_green_blue_red(rng) -> None:
    image = noise(rng, 9, 5)
    planes = [image[..., channel] for channel in (1, 2, 0)]
    assert np.array_equal(to_rgb(planes, BpgHeader(5, 9, "444", 8, "RGB")), image)


def test_ycgco_has_green_chroma_in_the_first_plane() -> None:
    planes = [np.full((1, 1), value) for value in (100, 128 + 20, 128 + 7)]
    assert to_rgb(planes, BpgHeader(1, 1, "444", 8, "YCgCo")).tolist() == [[[87, 120, 73]]]


@pytest.mark.parametrize("depth", [8, 10])
def test_gray_is_the_same_in_all_channels(rng, depth: int) -> None:
    plane = rng.integers(0, 2**depth, (6, 7))
    image = to_rgb([plane], BpgHeader(7, 6, "gray", depth))
    assert np.abs(image[..., 0] - plane * 255 / (2**depth - 1)).max() < 0.501
    assert np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2])


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("cosited", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (65, 7), (130, 131)])
def test_a_plain_colour_stays_as_it_is(chroma: str, cosited: bool, depth: int, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (200, 30, 90), np.uint8)
    header = BpgHeader(size[1], size[0], chroma, depth)
    planes = to_planes(image, header)
    assert planes[1].shape == header.chroma_size and all((plane == plane[0, 0]).all() for plane in planes)
    back = to_rgb(planes, BpgHeader(size[1], size[0], chroma, depth, "BT.601", cosited))
    assert back.shape == image.shape and np.abs(back.astype(int) - image).max() <= 1


def reference_double(row: np.ndarray, width: int, depth_bits: int, cosited: bool) -> np.ndarray:
    """One row at double width by the definition: floating point, one sample after another."""
    taps = (2, -6, 18, 57, -10, 4, -1)
    aligned = {-3: -1, -2: 4, -1: -11, 0: 40, 1: 40, 2: -11, 3: 4, 4: -1}

    def at(index: int) -> float:
        return float(row[min(max(index, 0), len(row) - 1)])

    out = []
    for x in range(width):
        centre = x // 2
        if cosited:
            value = at(centre) if x % 2 == 0 else sum(w * at(centre + k) for k, w in aligned.items()) / 64
        else:
            weights = taps if x % 2 == 0 else taps[::-1]
            value = sum(weight * at(centre - 3 + k) for k, weight in enumerate(weights)) / 64
        out.append(value)
    return np.clip(np.floor(np.array(out) + 0.5), 0, 2**depth_bits - 1)


@pytest.mark.parametrize("cosited", [False, True])
@pytest.mark.parametrize("width", [1, 2, 7, 16])
def test_422_chroma_is_doubled_by_the_filter(rng, cosited: bool, width: int) -> None:
    header = BpgHeader(width, 3, "422", 8, "BT.601", cosited)
    chroma = rng.integers(0, 256, header.chroma_size, dtype=np.uint8)
    flat = np.full((3, width), 128, np.uint8)
    image = to_rgb([flat, np.full_like(chroma, 128), chroma], header)
    doubled = np.stack([reference_double(row, width, 8, cosited) for row in chroma])
    full = BpgHeader(width, 3, "444")
    assert np.array_equal(image, to_rgb([flat, flat, doubled.astype(np.uint8)], full))


def reference_halve(row: np.ndarray) -> np.ndarray:
    taps = {1: 57, 3: 17, 5: -8, 7: -4, 9: 2}

    def at(index: int) -> float:
        return float(row[min(max(index, 0), len(row) - 1)])

    return np.array(
        [
            sum(w * (at(2 * i - (k - 1) // 2) + at(2 * i + 1 + (k - 1) // 2)) for k, w in taps.items()) / 128
            for i in range((len(row) + 1) // 2)
        ]
    )


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(5, 9), (64, 2), (1, 30)])
def test_420_chroma_is_halved_by_the_filter_both_ways(rng, depth: int, size: tuple[int, int]) -> None:
    image = noise(rng, *size)
    full = to_planes(image, BpgHeader(size[1], size[0], "444", depth))[1]
    rows = np.stack([reference_halve(row) for row in full])
    exact = np.clip(np.stack([reference_halve(column) for column in rows.T]).T, 0, 2**depth - 1)
    half = to_planes(image, BpgHeader(size[1], size[0], "420", depth))[1]
    # Rounding after the first pass to 1/64 of a step moves the result by under 1/32.
    assert half.shape == exact.shape and np.abs(half - exact).max() < 0.54
