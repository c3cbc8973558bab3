"""Put trained weights into `pretrained/` under the names that the index has.

    python studies/pretrained/ship.py rdp-hyperprior out/q1/weights.safetensors out/q2/weights.safetensors ...

The files of a set, in the order of their quality, are written to `pretrained/SET-N-<8 digits of SHA-256>.safetensors`
with their kernels in 10 bits a number, which costs nothing that shows (`benchmarks/kernel_bits.py`); those that the set
had before are removed. Prints the lines of the set for `pretrained/index.toml`, where they replace
the old ones by hand, and what all of the folder then takes.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from rdp.images import hash_file
from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.weights import pretrained_folder

LIMIT_MB = 100
BITS = 10
"""Bits of each number in the kernels of files that ship."""


def ship(name: str, sources: list[Path], folder: Path, bits: int = BITS) -> list[str]:
    """Write the files of a set; their new names. Where one cannot be written, none is, and the old ones stay."""
    names = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".ship-") as aside:
        for number, source in enumerate(sources, start=1):
            small = Path(aside) / f"{number}.safetensors"
            save_model(small, load_model(source), read_header(source).notes, kernel_bits=bits)
            names.append(f"{name}-{number}-{hash_file(small)[:8]}.safetensors")
        for number, target in enumerate(names, start=1):
            (Path(aside) / f"{number}.safetensors").replace(folder / target)
    # A set's name may begin as another's does: rdp-gdn and rdp-gdn-1.
    own = re.compile(re.escape(name) + r"-\d+-[0-9a-f]{8}\.safetensors")
    for old in folder.iterdir():
        if own.fullmatch(old.name) and old.name not in names:
            old.unlink()
    return names


def main() -> None:
    """Read the arguments, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="name of the set, such as rdp-hyperprior")
    parser.add_argument("weights", nargs="+", type=Path)
    parser.add_argument("--bits", type=int, default=BITS, help="bits of each number in the kernels")
    arguments = parser.parse_args()
    folder = pretrained_folder()
    names = ship(arguments.set, arguments.weights, folder, arguments.bits)
    print(f"[{arguments.set}]\nfiles = [")
    for name in names:
        header = read_header(folder / name)
        print(f'  "{name}",  # {header.architecture}, identity {header.identity}')
    print("]")
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"# {folder} takes {total:.1f} of {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
