"""A run folder of 100,000 images x 5 points: how long it takes to open, and to read into a table.

    .venv/bin/python benchmarks/open_run.py [--images 100000] [--points 5]

Opening is beside reading the same rows from one plain Parquet file with pyarrow. Target: opening under 1 s.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import rdp
from rdp.tables import RunWriter, ScoreSet


def make_run(folder: Path, images: int, points: int) -> None:
    rng = np.random.default_rng(0)
    metrics = {name: ScoreSet(name, "0" * 12, (name,), {"name": name}) for name in ("mse", "psnr")}
    with RunWriter(folder, {"version": 1}) as writer:
        for scores in metrics.values():
            writer.add_metric(scores)
        for i in range(images):
            for j in range(points):
                image, point = f"folder/image{i:07}.png", f"webp:quality={10 * j},method=4"
                key = {"dataset": "synthetic", "image": image, "point": point}
                rows = {name: {**key, name: float(rng.random()), "message": None} for name in metrics}
                writer.add(_cell(key, rng), rows)


def _cell(key: dict[str, str], rng: np.random.Generator) -> dict[str, Any]:
    nbytes = int(rng.integers(5_000, 90_000))
    hashes = {f"{name}_sha256": rng.bytes(32).hex() for name in ("file", "pixels", "reconstruction")}
    size = {"width": 768, "height": 512, "nbytes": nbytes, "bpp": 8 * nbytes / (768 * 512)}
    times = {"encode_s": 0.1, "decode_s": 0.01, "encode_device": "cpu", "decode_device": "cpu", "contended": False}
    made = {"encoder_id": "0" * 12, "codec_version": "synthetic", "session": 1, "status": "ok"}
    return {**key, **hashes, **size, **times, **made}


def timed(function: Any) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = function()
    return result, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        _, writing = timed(lambda: make_run(folder, options.images, options.points))
        run, opening = timed(lambda: rdp.open_run(folder))
        table, reading = timed(run.table)
        plain = Path(name) / "plain.parquet"
        pq.write_table(table.data, plain)
        _, baseline = timed(lambda: pq.read_table(plain))
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6
        print(f"{options.images} images x {options.points} points, {size:.0f} MB, written in {writing:.1f} s")
        print(f"open_run: {opening * 1e3:.1f} ms   (target: under 1,000 ms)")
        print(f"table:    {reading:.2f} s, {reading / baseline:.1f} times one plain Parquet file ({baseline:.2f} s)")


if __name__ == "__main__":
    main()
