"""Tables of known numbers: two families, a lossless point, a perceptual column, images of different sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

POINTS = {
    **{f"webp:quality={q},method=4": (0.1 * 1.6 ** (q / 20), 1.0) for q in (5, 20, 35, 50)},
    **{f"jpeg:quality={q},subsampling=420,optimise=false": (0.15 * 1.6 ** (q / 20), 1.3) for q in (10, 30, 50)},
}


def make_frame(points: dict[str, tuple[float, float]] | None = None, images: int = 8, seed: int = 0) -> pd.DataFrame:
    """A table with bpp, nbytes, mse, psnr, ms_ssim, ms_ssim_db and lpips_alex, as evaluate would fill it."""
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(images):
        width, height, busy = 320 + 64 * image, 240, rng.uniform(0.5, 2.0)
        for point, (rate, worse) in (POINTS if points is None else points).items():
            nbytes = int(rate * busy * rng.uniform(0.95, 1.05) * width * height / 8)
            bpp = 8 * nbytes / (width * height)
            mse = worse * 12 * busy**1.5 / (0.05 + bpp) * rng.uniform(0.95, 1.05)
            ms_ssim = 1 - mse / 4000
            rows.append(
                {
                    "dataset": "set_a",
                    "image": f"im_{image:02}.png",
                    "point": point,
                    "width": width,
                    "height": height,
                    "nbytes": nbytes,
                    "bpp": bpp,
                    "mse": mse,
                    "psnr": 10 * np.log10(65025 / mse),
                    "ms_ssim": ms_ssim,
                    "ms_ssim_db": -10 * np.log10(1 - ms_ssim),
                    "lpips_alex": 0.02 + mse / 900 * rng.uniform(0.8, 1.2),
                }
            )
    return pd.DataFrame(rows)


def with_lossless(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a point `png:level=9` of infinite PSNR."""
    rows = frame.drop_duplicates("image").assign(point="png:level=9", bpp=12.0, mse=0.0, psnr=np.inf)
    rows = rows.assign(ms_ssim=1.0, ms_ssim_db=np.inf, lpips_alex=0.0, nbytes=rows["width"] * rows["height"] * 12 // 8)
    return pd.concat([frame, rows], ignore_index=True)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pd.DataFrame]:
    """Makes a table of so many `images`, from a `seed`."""
    return make_frame


@pytest.fixture
def frame() -> pd.DataFrame:
    """Eight images, seven points."""
    return make_frame()


@pytest.fixture
def lossless() -> pd.DataFrame:
    """The same, and PNG."""
    return with_lossless(make_frame())
