"""Metrics without weights on compressed photographs: which order qualities rightly, and which hang on the size.

    python benchmarks/perceptual_choice.py [--images ../shared/data/valid] [--limit 25]

Crops of 385 x 385 pixels from the middle of the photographs, each coded by JPEG, JPEG 2000, WebP and AVIF at six
qualities that lie close together. For each metric:

    order   share of neighbouring qualities of a codec of which the higher one scores better
    cut     change of a score when two rows and columns are cut off original and reconstruction (383 x 383 pixels), as
            a part of the score's change to the next quality: median over all reconstructions
    over    share of the reconstructions whose score changes more by that cut than by the next quality

The cut shows the rule of VSI, MDSI and FSIM, which shrink an image by round(shorter side / 256): by 2 at 385 pixels,
and not at all at 383. There are no human scores in this: it says which metric can be used on images of several sizes,
not which one sees as people do. The metrics beside PSNR, MS-SSIM and HaarPSI are those of piq.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import piq
import torch

from rdp.codecs import create_codec, parse_points
from rdp.images import crop, list_images, read_image
from rdp.metrics import create_metrics

CODECS = {
    "jpeg": "jpeg:quality=30..60..6",
    "jpeg2000": "jpeg2000:rate=0.5|0.56|0.63|0.7|0.79|0.88",
    "webp": "webp:quality=30..60..6",
    "avif": "avif:quality=30..60..6",
}
WHOLE, CUT = 385, 383
PEERS: dict[str, tuple[Callable[..., torch.Tensor], int]] = {
    "MDSI": (piq.mdsi, -1),
    "VSI": (piq.vsi, 1),
    "FSIMc": (piq.fsim, 1),
    "GMSD": (piq.gmsd, -1),
    "SR-SIMc": (piq.srsim, 1),
    "DSS": (piq.dss, 1),
}
"""The metrics of piq, and 1 where more is better."""
OURS = {"PSNR": "psnr", "MS-SSIM": "ms_ssim", "HaarPSI": "haarpsi"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/valid"))
    parser.add_argument("--limit", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(2)
    files = list_images(options.images)[: options.limit]
    scores: dict[str, dict[str, list[np.ndarray]]] = {}
    for file in files:
        reference = middle(read_image(file.path), WHOLE)
        for codec, spec in CODECS.items():
            coded = [round_trip(point, reference) for point in parse_points([spec])]
            for name, values in score(reference, coded).items():
                scores.setdefault(name, {}).setdefault(codec, []).append(values)
    print(f"{len(files)} photographs; share of neighbouring qualities in order, in %, by codec; the cut, in %")
    print(f"{'metric':10}" + "".join(f"{codec:>10}" for codec in CODECS) + f"{'all':>10}{'cut':>10}{'over':>10}")
    for name, by_codec in scores.items():
        stacks = {codec: np.stack(values) for codec, values in by_codec.items()}
        ordered = [in_order(stack) for stack in stacks.values()]
        parts = np.concatenate([cut_parts(stack) for stack in stacks.values()])
        numbers = [*ordered, float(np.mean(ordered)), 100 * float(np.median(parts)), 100 * float((parts > 1).mean())]
        print(f"{name:10}" + "".join(f"{number:10.1f}" for number in numbers), flush=True)


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The square of that side in the middle of an image (H, W, 3)."""
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return crop(image[top:, left:], side, side)


def round_trip(point: str, image: np.ndarray) -> np.ndarray:
    """What the file of an image decodes to at an operating point."""
    codec = create_codec(point)
    return codec.decode(codec.encode(image))


def score(reference: np.ndarray, coded: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Scores (2, qualities) of every metric, more being better: of the whole crops, and of the ones cut."""
    found: dict[str, list[list[float]]] = {name: [] for name in (*OURS, *PEERS)}
    for side in (WHOLE, CUT):
        x, ys = np.ascontiguousarray(middle(reference, side)), [np.ascontiguousarray(middle(y, side)) for y in coded]
        for name, metric in OURS.items():
            (scorer,) = create_metrics([metric])
            found[name].append(scorer.score(scorer.prepare(x), ys)[metric])
        stack = torch.stack([tensor(y) for y in ys])
        original = tensor(x).expand_as(stack).contiguous()
        for name, (function, sign) in PEERS.items():
            with torch.inference_mode():
                values = function(stack, original, data_range=1.0, reduction="none")
            found[name].append((sign * values.double()).tolist())
    return {name: np.array(values) for name, values in found.items()}


def tensor(image: np.ndarray) -> torch.Tensor:
    """float32 (3, H, W), 0 to 1."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)


def in_order(scores: np.ndarray) -> float:
    """Percent of neighbouring qualities whose scores rise, of (images, 2, qualities), whole crops."""
    return 100 * float((np.diff(scores[:, 0], axis=-1) > 0).mean())


def cut_parts(scores: np.ndarray) -> np.ndarray:
    """|cut - whole| / |next quality - this one|, for every image and quality but the last, flat."""
    change = np.abs(scores[:, 1] - scores[:, 0])[:, :-1]
    step = np.abs(np.diff(scores[:, 0], axis=-1))
    return np.asarray(change / np.maximum(step, 1e-12)).ravel()


if __name__ == "__main__":
    main()
