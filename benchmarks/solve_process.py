"""`rdp solve` as a user starts it: the whole process, imports and all, on a table of 286 images and 5 points.

    python benchmarks/solve_process.py [--images 286] [--points 5] [--repeat 5] [--solver auto]

The table comes from ../shared/tools/synthetic_table.py, as a CSV file and as Parquet; one and two budgets. The target
is 1.5 s. Prints the commands that are timed, and the median, least and largest time of each.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "synthetic_table.py"
TARGET_S = 1.5


def make_table(images: int, points: int) -> tuple[pa.Table, float, float]:
    """The table, and budgets of rate and perceptual distance a little off what a single point reaches."""
    spec = importlib.util.spec_from_file_location("synthetic_table", TOOL)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{TOOL} is not there")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    rate, distortion, perception = tool.table(images, points)
    rate_budget, perception_budget = tool.budgets(rate, perception)
    table = pa.table(
        {
            "image": np.repeat([f"image{i:06d}.png" for i in range(images)], points),
            "point": np.tile([f"webp:quality={5 + 10 * j},method=4" for j in range(points)], images),
            "bpp": rate.ravel(),
            "mse": distortion.ravel(),
            "psnr": (10 * np.log10(255**2 / distortion)).ravel(),
            "lpips_alex": perception.ravel(),
        }
    )
    return table, 0.97 * rate_budget, perception_budget


def timed(command: list[str], repeat: int) -> list[float]:
    """Seconds of each run; the first, which fills the disk cache, is not counted."""
    seconds = []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def main() -> None:
    """Measure and print; the exit code is 1 when a median is over the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=286)
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--solver", default="auto")
    options = parser.parse_args()
    table, rate, perception = make_table(options.images, options.points)
    program = str(Path(sys.executable).parent / "rdp")
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        csv.write_csv(table, Path(folder) / "table.csv")
        pq.write_table(table, Path(folder) / "table.parquet")
        for name in ("table.csv", "table.parquet"):
            one = ["solve", f"{folder}/{name}", "--minimize", "mse", "--at-most", f"bpp={rate:.4f}"]
            two = [*one, "--at-most", f"lpips_alex={perception:.4f}"]
            for words in (one, two):
                command = [program, *words, "--solver", options.solver]
                seconds = timed(command, options.repeat)
                median = statistics.median(seconds)
                slow = slow or median > TARGET_S
                print(" ".join(["rdp", *command[1:]]).replace(f"{folder}/", ""))
                print(f"  median {median:.2f} s, from {min(seconds):.2f} to {max(seconds):.2f}; target {TARGET_S} s")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
