"""Damaged files of the learned codecs' format: every one must give a FormatError or symbols.

    python benchmarks/bitstream_fuzz.py [--count 100000] [--seed 1]

The files are made here: containers around streams of one to several thousand symbols, under tables of one to hundreds
of bins, with many escapes or none. They are cut, bits are flipped, bytes overwritten, inserted, removed and moved
between files; half of the time the checksum is put right afterwards, so that the coder sees the damage. Also checked:
no file takes over 1 s, and reading a file again gives the same. Ends with status 1 if anything failed, and says which
seed.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.bitstream.container import Container, pack, unpack
from rdp.bitstream.tables import FrequencyTables
from rdp.errors import FormatError

Whole = TypeVar("Whole")
"""What belongs to a whole file: how it is read."""

TIME_LIMIT_S = 1.0
CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Recipe:
    """How the symbols of a file are read: the indices of each write, under the tables."""

    tables: FrequencyTables
    writes: tuple[np.ndarray, ...]


def corpus() -> list[tuple[bytes, Recipe]]:
    """Whole files, and how to read them."""
    rng = np.random.default_rng(0)
    files = []
    for sizes, count, spread in (((1,), 1, 2), ((3, 40), 30, 30), ((5, 9, 400), 600, 100), ((60,) * 70, 6000, 40)):
        pmfs = [rng.dirichlet(np.ones(size)) * (1 - 2.0**-12) for size in sizes]
        tables = FrequencyTables.from_pmfs(pmfs, [-(size // 2) for size in sizes])
        writes = tuple(rng.integers(0, len(sizes), part) for part in (count, 1, count // 2 + 1))
        for wide in (False, True):
            writer = SymbolWriter()
            for indices in writes:
                symbols = rng.integers(-spread, spread + 1, indices.size)
                if wide:
                    symbols[:: max(1, symbols.size // 3)] = rng.integers(-(2**31), 2**31)
                writer.write(symbols, indices, tables)
            payload = writer.finish()
            parameters = bytes(rng.integers(0, 256, count % 17, dtype=np.uint8))
            file = Container(b"fuzzed", 1 + 7 * count, 65535 - count, parameters, payload)
            files.append((pack(file), Recipe(tables, writes)))
    return files


def with_checksum(data: bytes) -> bytes:
    """The file with its checksum put right."""
    body = data[:-CHECKSUM_BYTES]
    return body + zlib.crc32(body).to_bytes(CHECKSUM_BYTES, "big")


def mutate(files: list[tuple[bytes, Whole]], seed: int) -> tuple[bytes, Whole]:
    """One damaged file; the same for the same seed."""
    rng = random.Random(seed)
    whole, recipe = rng.choice(files)
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        kind = rng.randrange(7)
        # A quarter of the damage goes where the header is.
        place = rng.randrange(min(len(data), 24) if rng.random() < 0.25 else len(data)) if data else 0
        if kind == 0:
            del data[place:]
        elif kind == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2 and data:
            data[place] = rng.randrange(256)
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 4:
            del data[place : place + rng.randrange(1, 20)]
        elif kind == 5:
            other, _ = rng.choice(files)
            start = rng.randrange(len(other))
            data[place : place + rng.randrange(1, 200)] = other[start : start + rng.randrange(1, 200)]
        else:
            data[place : place + rng.randrange(1, 30)] = bytes([rng.choice((0, 255))]) * rng.randrange(1, 30)
    return (with_checksum(bytes(data)) if rng.random() < 0.5 else bytes(data)), recipe


def read(data: bytes, recipe: Recipe) -> tuple[Container, list[np.ndarray]]:
    """The container and the symbols of every write."""
    container = unpack(data)
    reader = SymbolReader(container.payload)
    symbols = [reader.read(indices, recipe.tables) for indices in recipe.writes]
    reader.finish()
    return container, symbols


def check(data: bytes, recipe: Recipe) -> str:
    """What came out of a file, in a few words. Raises `ValueError` for a broken promise."""
    started = time.perf_counter()
    try:
        container, symbols = read(data, recipe)
    except FormatError as error:
        outcome = re.sub(r"\d+", "N", str(error))[:80]
    else:
        outcome = "symbols"
        if any(part.shape != i.shape or part.dtype != np.int32 for part, i in zip(symbols, recipe.writes, strict=True)):
            raise ValueError("symbols of another number or type than asked for")
        again, more = read(data, recipe)
        if container != again or not all(np.array_equal(a, b) for a, b in zip(symbols, more, strict=True)):
            raise ValueError("reading again gives something else")
    spent = time.perf_counter() - started
    if spent > TIME_LIMIT_S:
        raise ValueError(f"took {spent:.1f} s")
    return outcome


def run(first: int, count: int, files: list[tuple[bytes, Whole]], examine: Callable[[bytes, Whole], str]) -> int:
    """Examine the damaged files of seeds first to first + count, print what came out; the number of failures."""
    outcomes: collections.Counter[str] = collections.Counter()
    failures, size, started = 0, 0, time.perf_counter()
    for seed in range(first, first + count):
        data, recipe = mutate(files, seed)
        size += len(data)
        try:
            outcomes[examine(data, recipe)] += 1
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - whatever comes (a panic of the extension is no Exception) is the finding
            failures += 1
            print(f"FAILED at seed {seed}: {traceback.format_exc()}")
    spent = time.perf_counter() - started
    print(f"{count} files, {size / 1e6:.1f} MB in {spent:.1f} s: {count / spent:.0f} files/s")
    for outcome, number in outcomes.most_common():
        print(f"{number:8d}  {outcome}")
    print(f"{failures} failures")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first file; the next has the next")
    options = parser.parse_args()
    files = corpus()
    for data, recipe in files:
        read(data, recipe)
    sys.exit(1 if run(options.seed, options.count, files, check) else 0)


if __name__ == "__main__":
    main()
