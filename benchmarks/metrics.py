"""Speed of the metrics on one CPU thread, beside torchmetrics, piq and lpips in the same run.

    python benchmarks/metrics.py [--repeats 5] [--width 768] [--height 512]

Milliseconds per reconstruction (median; the reference prepared before, its time in a column of its own), the same for
the peer where there is one, and the ratio. The images are noise on a photograph of scikit-image, scaled to size.
LPIPS is timed with the weights that this machine has; the peer has random ones, which take as long.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from rdp.errors import WeightsError
from rdp.metrics import create_metrics, metric_names

Peer = Callable[[torch.Tensor, torch.Tensor], object]
BATCH = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    reference, reconstructions = images(options.width, options.height)
    print(f"{options.width}x{options.height}, one thread, median of {options.repeats}; ms per image")
    print(f"{'metric':15}{'prepare':>9}{'score':>9}{'peer':>9}{'ratio':>8}  peer")
    for name in metric_names():
        try:
            (metric,) = create_metrics([name])
        except WeightsError:
            print(f"{name:15}  no weights on this machine")
            continue
        prepare = median_ms(lambda m=metric: m.prepare(reference), options.repeats)
        prepared = metric.prepare(reference)
        score = median_ms(lambda m=metric, p=prepared: m.score(p, reconstructions), options.repeats) / BATCH
        print(f"{name:15}{prepare:9.1f}{score:9.1f}{versus(name, reference, reconstructions, score, options.repeats)}")


def images(width: int, height: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A photograph and four noisy copies, uint8 (H, W, 3)."""
    from PIL import Image
    from skimage import data

    reference = np.array(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    noisy = [np.clip(reference + rng.normal(0, sigma, reference.shape), 0, 255) for sigma in (2, 4, 8, 16)]
    return reference, [image.round().astype(np.uint8) for image in noisy]


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Median time of a call in milliseconds, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def versus(name: str, reference: np.ndarray, reconstructions: list[np.ndarray], own_ms: float, repeats: int) -> str:
    """The rest of a line: the peer's time on the same images as float tensors, and how many times ours it is."""
    label, peer = peer_of(name)
    if peer is None:
        return ""
    pictures = (reference, *reconstructions)
    x, *ys = (torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] for image in pictures)
    with torch.inference_mode():
        peer_ms = median_ms(lambda: [peer(y, x) for y in ys], repeats) / len(ys)
    return f"{peer_ms:9.1f}{peer_ms / own_ms:8.1f}  {label}"


def peer_of(name: str) -> tuple[str, Peer | None]:
    """The same metric in another library, taking float tensors (1, 3, H, W) from 0 to 255."""
    from torchmetrics.functional import image as tm

    ssim, ms_ssim = tm.structural_similarity_index_measure, tm.multiscale_structural_similarity_index_measure
    if name == "psnr":
        return "torchmetrics", lambda y, x: tm.peak_signal_noise_ratio(y, x, data_range=255.0)
    if name in ("ssim", "ms_ssim"):
        call = ssim if name == "ssim" else ms_ssim
        return "torchmetrics", lambda y, x: call(y, x, data_range=255.0)
    if name in ("ssim_y", "ms_ssim_y"):
        call = ssim if name == "ssim_y" else ms_ssim
        return "torchmetrics", lambda y, x: call(luma(y), luma(x), data_range=255.0)
    if name == "haarpsi":
        import piq

        return "piq", lambda y, x: piq.haarpsi(y, x, data_range=255.0)
    if name.startswith("lpips"):
        import lpips

        network = lpips.LPIPS(net=name.removeprefix("lpips_"), pnet_rand=True, verbose=False)
        return "lpips, random weights", lambda y, x: network(y / 127.5 - 1, x / 127.5 - 1)
    return "", None


def luma(image: torch.Tensor) -> torch.Tensor:
    """BT.601 luma (1, 1, H, W) of (1, 3, H, W)."""
    return (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


if __name__ == "__main__":
    main()
