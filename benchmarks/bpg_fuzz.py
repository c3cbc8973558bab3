"""Damaged BPG files: every one must give a FormatError or a picture of the size in its header.

    python benchmarks/bpg_fuzz.py [--count 100000] [--seed 1] [--jobs 2]

The files are the fixtures of tests/data/bpg and small ones encoded here (all chroma formats, both depths). They are
cut and overwritten, bits are flipped, bytes inserted, removed and moved between files, NAL units repeated up to 32,768
times (4 MiB); in half of the cases the length in the header is put right afterwards, so that the HEVC decoder sees the
damage. Child processes decode, so that a crash or a hang is seen: the parent names the seed of the file that was being
decoded. Also checked: no decode takes over 2 s, or adds more to the peak memory than 64 MiB and 64 bytes a pixel of the
size in the header, and decoding a picture again gives the same picture (no memory shines through that was never
written). Ends with status 1 if anything failed. POSIX.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rdp.codecs.bpg.bits import read_ue7, write_ue7
from rdp.codecs.bpg.container import read_file
from rdp.codecs.bpg.headers import START_CODE
from rdp.codecs.bpg.picture import decode_picture, encode_picture
from rdp.errors import FormatError

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "bpg"
TIME_LIMIT_S = 2.0
HANG_S = 30.0
MEMORY_BASE = 64 << 20
MEMORY_A_PIXEL = 64
REPEATED_BYTES = 4 << 20


def corpus() -> list[bytes]:
    """Whole files: those of the reference encoder, and our own of all formats."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:61, 0:83]
    waves = np.stack([128 + 90 * np.sin(x / (4 + c)) * np.cos(y / (5 + 2 * c)) for c in range(3)], axis=-1)
    image = np.clip(waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)
    own = [
        encode_picture(image, qp, mode, "fast", chroma, depth)
        for chroma in ("420", "422", "444")
        for depth in (8, 10)
        for qp, mode in ((22, "x265"), (37, "hm"))
    ]
    return [*(path.read_bytes() for path in sorted(DATA.glob("*.bpg"))), *own]


def with_length(data: bytes) -> bytes:
    """The file with `picture_data_length` put right, where its header can be read."""
    try:
        _, offset = read_ue7(data, 6, "width")
        _, offset = read_ue7(data, offset, "height")
        _, end = read_ue7(data, offset, "length")
    except FormatError:
        return data
    return data[:offset] + write_ue7(len(data) - end) + data[end:]


def repeat_unit(data: bytes, rng: random.Random) -> bytes:
    """The file with one of its NAL units repeated, and its length put right; where it can be taken apart."""
    try:
        stream = read_file(data).hevc_data
    except FormatError:
        return data
    units = stream.split(START_CODE)
    at = rng.randrange(len(units))
    times = min(rng.randrange(1, 1 << rng.randrange(1, 16)), REPEATED_BYTES // (len(units[at]) + len(START_CODE)))
    units[at:at] = [units[at]] * times
    # The picture data are the last thing that is read: what comes behind them goes.
    return with_length(data[: data.rindex(stream)] + START_CODE.join(units))


def mutate(files: list[bytes], seed: int) -> bytes:
    """One damaged file; the same for the same seed."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        kind = rng.randrange(8)
        # Half of the damage goes where headers are.
        place = rng.randrange(min(len(data), 40) if rng.random() < 0.5 else len(data)) if data else 0
        if kind == 0:
            del data[place:]
        elif kind == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2 and data:
            data[place] = rng.randrange(256)
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randrange(1, 5))
        elif kind == 4:
            del data[place : place + rng.randrange(1, 9)]
        elif kind == 5:
            other = rng.choice(files)
            start = rng.randrange(len(other))
            data[place : place + rng.randrange(1, 200)] = other[start : start + rng.randrange(1, 200)]
        elif kind == 6:
            data[:] = repeat_unit(bytes(data), rng)
        else:
            data[place : place + rng.randrange(1, 30)] = bytes([rng.choice((0, 255))]) * rng.randrange(1, 30)
    return with_length(bytes(data)) if rng.random() < 0.5 else bytes(data)


def peak_memory() -> int:
    """Peak resident bytes since `reset_peak`, on Linux; elsewhere since the start."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def reset_peak() -> None:
    """Forget the peak so far, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def check(data: bytes) -> tuple[str, float, tuple[int, int]]:
    """(what came out, seconds, (bytes of memory, pixels announced)), decoding one file.

    Raises `SystemExit` for a broken promise.
    """
    reset_peak()
    before, started = peak_memory(), time.perf_counter()
    pixels = 0
    try:
        picture = decode_picture(data)
    except FormatError as error:
        outcome = re.sub(r"\d[\d,]*", "N", str(error).partition(":")[0])[:70]
    else:
        header = read_file(data).header
        if picture.shape != (header.height, header.width, 3) or picture.dtype != np.uint8:
            raise SystemExit(f"{picture.shape} {picture.dtype} came out of {header}")
        outcome = "a picture"
    spent = time.perf_counter() - started
    memory = max(0, peak_memory() - before)
    if outcome == "a picture" and not np.array_equal(picture, decode_picture(data)):
        raise SystemExit("decoding again gives another picture")
    try:
        header = read_file(data).header
        pixels = header.width * header.height
    except FormatError:
        pixels = 0
    if memory > MEMORY_BASE + MEMORY_A_PIXEL * pixels:
        raise SystemExit(f"{memory / 1e6:.0f} MB for {pixels} pixels")
    if spent > TIME_LIMIT_S:
        raise SystemExit(f"{spent:.1f} s for {pixels} pixels")
    return outcome, spent, (memory, pixels)


def work(first: int, count: int, note: Path) -> None:
    """Decode the files of seeds first to first + count; writes the seed at work into a file, prints a summary."""
    files = corpus()
    outcomes: collections.Counter[str] = collections.Counter()
    slowest, largest = 0.0, (0, 0)
    handle = os.open(note, os.O_WRONLY | os.O_CREAT)
    for seed in range(first, first + count):
        os.pwrite(handle, f"{seed:012d}".encode(), 0)
        outcome, spent, memory = check(mutate(files, seed))
        outcomes[outcome] += 1
        slowest, largest = max(slowest, spent), max(largest, memory)
    print(json.dumps({"outcomes": outcomes, "slowest_s": slowest, "memory": largest}))


def run(first: int, count: int, jobs: int) -> int:
    """Start workers, watch them, print what came out; the number of failures."""
    share = -(-count // jobs)
    starts = range(first, first + count, share)
    total: collections.Counter[str] = collections.Counter()
    slowest, largest, failures = 0.0, (0, 0), 0
    with tempfile.TemporaryDirectory() as folder:
        workers = []
        for index, start in enumerate(starts):
            note = Path(folder, str(index))
            size = min(share, first + count - start)
            words = [sys.executable, __file__, "--work", str(start), "--count", str(size), "--note", str(note)]
            workers.append((note, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)))
        for note, process in workers:
            hung = watch(note, process)
            output, errors = process.communicate()
            if hung or process.returncode:
                failures += 1
                at = int(note.read_text()) if note.exists() else "start"
                reason = f"no progress for {HANG_S:g} s" if hung else f"status {process.returncode}"
                print(f"FAILED at seed {at} ({reason}): {errors.strip()[-500:]}")
                continue
            summary = json.loads(output)
            total.update(summary["outcomes"])
            slowest, largest = max(slowest, summary["slowest_s"]), max(largest, tuple(summary["memory"]))
    memory = f"most memory {largest[0] / 1e6:.0f} MB, for a header of {largest[1]:,} pixels"
    print(f"{sum(total.values())} files decoded: slowest {slowest * 1e3:.0f} ms, {memory}")
    for outcome, number in total.most_common():
        print(f"{number:8d}  {outcome}")
    print(f"{failures} failures")
    return failures


def watch(note: Path, process: subprocess.Popen[str]) -> bool:
    """Wait for a worker; True if it made no progress and was killed."""
    seen, since = "", time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = note.read_text() if note.exists() else ""
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > HANG_S:
            process.kill()
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first file; the next has the next")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work, options.count, options.note)
        return
    sys.exit(1 if run(options.seed, options.count, options.jobs) else 0)


if __name__ == "__main__":
    main()
