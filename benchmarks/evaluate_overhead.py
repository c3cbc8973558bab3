"""What evaluating costs beyond encoding, decoding and scoring, and that memory does not grow with the images.

    .venv/bin/python benchmarks/evaluate_overhead.py [--images ../shared/data/kodak] [--jobs 2]

24 images x 10 WebP qualities with MSE, PSNR and MS-SSIM. Overhead a worker = (wall time x workers - encode - decode -
score - start-up) / (encode + decode + score), where wall time runs from the first task to the last row committed, and
start-up is the time that workers need to import and make their metrics. Target: under 15 %. Then the peak memory of the
main process and of a worker over 24 and over 240 images.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import rdp

CODECS = ["webp:quality=5..95..10"]
METRICS = ["mse", "psnr", "ms_ssim"]

MEMORY = """
import resource, sys, warnings
import rdp
rdp.evaluate(sys.argv[1], ["webp:quality=20|60"], ["mse", "psnr", "ms_ssim"], sys.argv[2], jobs=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def overhead(images: Path, jobs: int, folder: Path) -> None:
    run = rdp.evaluate(images, CODECS, METRICS, folder / f"run{jobs}", jobs=jobs)
    session = run.sessions[-1]
    spent = session["worker_s"]
    work = spent["encode"] + spent["decode"] + spent["score"]
    inside = spent["total"] - spent["start"] - work
    wall = session["wall_s"] * jobs - spent["start"]
    print(
        f"{jobs} workers, {session['encoded']} cells: encode {spent['encode']:.2f} s, decode {spent['decode']:.2f} s, "
        f"score {spent['score']:.2f} s, start-up {spent['start']:.2f} s, wall {session['wall_s']:.2f} s"
    )
    print(f"    overhead inside tasks (reading, hashing, keeping): {inside / work:6.1%}")
    print(f"    overhead a worker, everything but start-up:        {(wall - work) / work:6.1%}   (target: under 15 %)")


def memory(images: Path, folder: Path) -> None:
    paths = sorted(images.glob("*.png"))
    peaks = []
    for copies in (1, 10):
        many = folder / f"images{copies}"
        many.mkdir()
        for k in range(copies):
            for path in paths:
                shutil.copyfile(path, many / f"{k}-{path.name}")
        words = [sys.executable, "-c", MEMORY, str(many), str(folder / f"memory{copies}")]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        peaks.append([int(kilobytes) / 1024 for kilobytes in done.stdout.split()])
        print(
            f"{copies * len(paths)} images: peak memory {peaks[-1][0]:.0f} MiB (main), {peaks[-1][1]:.0f} MiB (worker)"
        )
    ratios = [after / before for before, after in zip(*peaks, strict=True)]
    print(f"    ratio with ten times the images: main {ratios[0]:.2f}, worker {ratios[1]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/kodak"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for jobs in sorted({1, options.jobs}):
            overhead(options.images, jobs, Path(name))
        memory(options.images, Path(name))


if __name__ == "__main__":
    main()
