"""BPG through PyAV beside the reference encoder: rates and errors on Kodak, and the times of one core.

    python benchmarks/bpg_reference.py [--images 24] [--jobs 2]     # 384 encodes: some minutes
    python benchmarks/bpg_reference.py --speed                      # on a quiet machine, one thread

The first encodes the Kodak images of ../shared/data/kodak at QP 28, 34, 40 and 45 in 4:2:0 and 4:4:4 with both
equivalents, and compares with ../shared/bpg/kodak_reference.csv (bpgenc 0.9.8; its rows "jctvc" are what encoder=hm
stands in for). Targets at every setting: mean bit/pixel within 1 %, mean PSNR within 0.05 dB. Ends with status 1 if
one is missed, as with x265 4.2 one of the 16 is, by 0.001 dB: +0.051 dB for encoder=x265 at QP 45 in 4:2:0.
The second prints the mean seconds at QP 40 in 4:2:0 of encoding and decoding, and of libx265 and FFmpeg alone in them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from unittest import mock

import numpy as np

from rdp.codecs.bpg import hevc
from rdp.codecs.bpg.picture import decode_picture, encode_picture
from rdp.images import read_image

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODES = {"x265": "x265", "hm": "jctvc"}
CHROMAS = ("420", "444")
QPS = (28, 34, 40, 45)
RATE_TARGET = 0.01
PSNR_TARGET_DB = 0.05
ENCODE_TARGET_S, DECODE_TARGET_S = 0.3, 0.04


@dataclass(frozen=True)
class Cell:
    """One image at one setting."""

    image: str
    mode: str
    chroma: str
    qp: int


def measure(cell: Cell) -> tuple[Cell, float, float]:
    """(cell, bit/pixel of the file, PSNR of what is decoded from it in dB)."""
    image = read_image(SHARED / "data" / "kodak" / f"{cell.image}.png")
    data = encode_picture(image, cell.qp, cell.mode, "veryslow", cell.chroma)
    error = np.mean((decode_picture(data).astype(np.float64) - image) ** 2)
    return cell, 8 * len(data) / (image.shape[0] * image.shape[1]), float(10 * np.log10(255**2 / error))


def compare(count: int, jobs: int) -> bool:
    """Print the comparison; whether all targets are met."""
    with (SHARED / "bpg" / "kodak_reference.csv").open(encoding="utf-8") as stream:
        rows = {(row["image"], row["encoder"], row["chroma"], row["qp"]): row for row in csv.DictReader(stream)}
    names = sorted({key[0] for key in rows})[:count]
    cells = [Cell(name, mode, chroma, qp) for mode in MODES for chroma in CHROMAS for qp in QPS for name in names]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(measure, cells, chunksize=4))
    print(f"{len(names)} images, {hevc.versions()}")
    print("encoder chroma qp   bit/pixel  reference   change     PSNR  reference  change    single images (rate)")
    good = True
    for mode, reference in MODES.items():
        for chroma in CHROMAS:
            for qp in QPS:
                found = [result for result in results if result[0] == Cell(result[0].image, mode, chroma, qp)]
                theirs = [rows[result[0].image, reference, chroma, str(qp)] for result in found]
                rate, quality = fmean(result[1] for result in found), fmean(result[2] for result in found)
                their_rate = fmean(float(row["bpp"]) for row in theirs)
                their_quality = fmean(float(row["psnr_rgb_db"]) for row in theirs)
                singles = [a[1] / float(b["bpp"]) - 1 for a, b in zip(found, theirs, strict=True)]
                change, difference = rate / their_rate - 1, quality - their_quality
                met = abs(change) <= RATE_TARGET and abs(difference) <= PSNR_TARGET_DB
                good = good and met
                print(
                    f"{mode:7} {chroma:6} {qp}   {rate:9.5f}  {their_rate:9.5f}  {change:+7.2%}  {quality:7.3f}  "
                    f"{their_quality:9.3f}  {difference:+.3f}    {min(singles):+.1%} to {max(singles):+.1%}"
                    f"{'' if met else '   MISSED'}"
                )
    print("all targets met" if good else "a target is missed")
    return good


def speed(count: int) -> bool:
    """Print the times of one core at QP 40, 4:2:0; whether the targets are met."""
    images = [read_image(path) for path in sorted((SHARED / "data" / "kodak").glob("*.png"))[:count]]
    good = True
    for mode in MODES:
        inside: dict[str, float] = {"encode": 0.0, "decode": 0.0}
        encoder, decoder = hevc.encode_planes, hevc.decode_stream

        def timed(name: str, function, inside=inside):
            def call(*arguments):
                started = time.perf_counter()
                result = function(*arguments)
                inside[name] += time.perf_counter() - started
                return result

            return call

        with (
            mock.patch.object(hevc, "encode_planes", timed("encode", encoder)),
            mock.patch.object(hevc, "decode_stream", timed("decode", decoder)),
        ):
            encoded, decoded = [], []
            for image in images:
                started = time.perf_counter()
                data = encode_picture(image, 40, mode, "veryslow")
                encoded.append(time.perf_counter() - started)
                started = time.perf_counter()
                decode_picture(data)
                decoded.append(time.perf_counter() - started)
        for name, times, target in (("encode", encoded, ENCODE_TARGET_S), ("decode", decoded, DECODE_TARGET_S)):
            alone = inside[name] / len(images)
            mean = fmean(times)
            good = good and (mean <= target or mode != "hm")
            print(
                f"encoder={mode:5} {name}: {mean * 1e3:6.1f} ms (slowest image {max(times) * 1e3:.1f}), of it PyAV "
                f"{alone * 1e3:.1f} ms: {mean / alone:.2f} times; target {target * 1e3:.0f} ms"
            )
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    sys.exit(0 if (speed(options.images) if options.speed else compare(options.images, options.jobs)) else 1)


if __name__ == "__main__":
    main()
