"""How long a distance of sets takes for one mixture, beside the limits that are set for it and beside torch-fidelity.

    python benchmarks/set_scores.py [--only kid,fid,swd,fid-large] [--peer] [--repeats 5]

Made-up features of 24 images of 8 patches (192 patches of 2048 dimensions, as of Kodak) at 20 points; projections of
24 images at 20 points on 6 levels, 512 directions of 128 patches; and, for `fid-large`, 28650 patches of 428 images
(CLIC 2020 test) at 2 points, 2048 dimensions. Prints the best time of scoring a random choice, of one convex form with
its gradient, and of the values of all points of one image, each as a ratio to its limit where it has one, and with
--peer the time of torch-fidelity's functions on the same features. Processor time stands beside the time on the clock:
on a machine that is busy with other work the clock says little. Needs 4 GB of memory. Limits: 50 ms a mixture, 3 s for
FID of 28650 patches. For times of one thread, set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from rdp.analysis.sets.base import SetScorer
from rdp.analysis.sets.cells import FeatureCells, ProjectionCells, feature_cells, projection_cells
from rdp.analysis.sets.frechet_scorer import FrechetScorer
from rdp.analysis.sets.kernel_scorer import KernelScorer
from rdp.analysis.sets.sliced import SlicedScorer

KINDS = ("kid", "fid", "swd", "fid-large")
LIMIT_S, LARGE_LIMIT_S = 0.05, 3.0
DIMENSIONS, POINTS = 2048, 20


def features(counts: list[int], points: int) -> FeatureCells:
    """Non-negative features with variances over four decades, reconstructions near their originals."""
    rng = np.random.default_rng(0)
    scale = np.logspace(0, -2, DIMENSIONS, dtype=np.float32)
    names = [f"p{point}" for point in range(points)]
    reference = {
        f"i{image}": np.abs(rng.standard_normal((count, DIMENSIONS), np.float32)) * scale
        for image, count in enumerate(counts)
    }
    cells = {
        (image, name): np.abs(original + 0.1 * (k + 1) * rng.standard_normal(original.shape, np.float32) * scale)
        for image, original in reference.items()
        for k, name in enumerate(names)
    }
    return feature_cells(reference, cells, names)


def projections(images: int, points: int) -> ProjectionCells:
    """Sorted normal numbers."""
    rng = np.random.default_rng(0)
    shape = (6, 512, 128)
    names = [f"p{point}" for point in range(points)]
    reference = {f"i{image}": np.sort(rng.standard_normal(shape, np.float32)) for image in range(images)}
    cells = {
        (image, name): np.sort(original + 0.1 * rng.standard_normal(shape, np.float32))
        for image, original in reference.items()
        for name in names
    }
    return projection_cells(reference, cells, names)


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The best time on the clock and the best processor time, in seconds."""
    found = []
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(clock for clock, _ in found), min(processor for _, processor in found)


def line(what: str, times: tuple[float, float], limit: float | None = None) -> None:
    """One time, and its ratio to the limit."""
    ratio = "" if limit is None else f"{times[0] / limit:8.2f} of {limit:g} s (processor: {times[1] / limit:.2f})"
    print(f"  {what:34} {times[0] * 1e3:10.1f} ms {times[1] * 1e3:10.1f} ms {ratio}", flush=True)


def measure(title: str, make: Callable[[], SetScorer], limit: float, repeats: int, slow: bool = False) -> SetScorer:
    """The times of one scorer."""
    print(title, flush=True)
    started = time.perf_counter()
    scorer = make()
    line("made", (time.perf_counter() - started, float("nan")))
    rng = np.random.default_rng(1)
    choice = rng.integers(0, scorer.points, scorer.images)
    shares = rng.dirichlet(np.ones(scorer.points), scorer.images)
    line("score of a choice", timed(lambda: scorer.score(choice), repeats), limit)
    few = 1 if slow else repeats
    scorer.relaxed(shares) if not slow else None  # what it keeps from the first time on
    line("convex form, value and gradient", timed(lambda: scorer.relaxed(shares), few))
    exchange = scorer.exchange(choice)
    line(f"values of {scorer.points} points of an image", timed(lambda: exchange.values(0), few))
    return scorer


def peer(cells: FeatureCells, kind: str, repeats: int) -> None:
    """The same mixture by torch-fidelity, from its features."""
    import torch
    from torch_fidelity import metric_fid, metric_kid

    a = torch.from_numpy(cells.originals().astype(np.float64))
    b = torch.from_numpy(cells.mixture(np.zeros(len(cells.images), int)).astype(np.float64))
    options = {"kid_subsets": 1, "kid_subset_size": len(a), "rng_seed": 0, "verbose": False}

    def fid() -> None:
        kept = [metric_fid.fid_features_to_statistics(part) for part in (a, b)]
        metric_fid.fid_statistics_to_metric(*kept, False)

    call = fid if kind.startswith("fid") else lambda: metric_kid.kid_features_to_metric(a, b, **options)
    line(f"torch-fidelity, {kind.split('-')[0]}", timed(call, repeats))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--peer", action="store_true", help="torch-fidelity beside it (some minutes)")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(KINDS):
        parser.error(f"--only knows {', '.join(KINDS)}, not {', '.join(sorted(unknown))}")
    print(f"{'':36} {'clock':>13} {'processor':>13}")
    if "kid" in wanted or "fid" in wanted:
        small = features([8] * 24, POINTS)
        makers: dict[str, Callable[[], SetScorer]] = {
            "kid": lambda: KernelScorer(small),
            "fid": lambda: FrechetScorer(small),
        }
        for kind, make in makers.items():
            if kind in wanted:
                measure(f"{kind}: 24 x {POINTS} cells, 192 patches", make, LIMIT_S, options.repeats)
                if options.peer:
                    peer(small, kind, 1)
    if "swd" in wanted:
        rows = projections(24, POINTS)
        title = f"swd: 24 x {POINTS} cells, 6 levels, 512 directions, 128 patches"
        measure(title, lambda: SlicedScorer(rows, memory=2 << 30), LIMIT_S, options.repeats)
    if "fid-large" in wanted:
        large = features([67] * 402 + [66] * 26, 2)
        title = f"fid: 428 x 2 cells, {large.patches} patches"
        measure(title, lambda: FrechetScorer(large), LARGE_LIMIT_S, min(options.repeats, 3), slow=True)
        if options.peer:
            peer(large, "fid-large", 1)


if __name__ == "__main__":
    main()
