"""Put trained weights into `pretrained/` under the names that the index has.

    python studies/pretrained/ship.py rdp-hyperprior out/q1/weights.safetensors out/q2/weights.safetensors ...

The files of a set, in the order of their quality, are copied to `pretrained/SET-N-<8 digits of SHA-256>.safetensors`;
those that the set had before are removed. Prints the lines of the set for `pretrained/index.toml`, where they replace
the old ones by hand, and what all of the folder then takes.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from rdp.images import hash_file
from rdp.models.checkpoint import load_model, read_header
from rdp.weights import pretrained_folder

LIMIT_MB = 100


def ship(name: str, sources: list[Path], folder: Path) -> list[str]:
    """Copy the files of a set; their new names."""
    for source in sources:
        load_model(source)  # raises for what is no whole file of weights
    names = [f"{name}-{number}-{hash_file(source)[:8]}.safetensors" for number, source in enumerate(sources, start=1)]
    for source, target in zip(sources, names, strict=True):
        if not (folder / target).exists():
            copy_whole(source, folder / target)
    # A set's name may begin as another's does: rdp-gdn and rdp-gdn-1.
    own = re.compile(re.escape(name) + r"-\d+-[0-9a-f]{8}\.safetensors")
    for old in folder.iterdir():
        if own.fullmatch(old.name) and old.name not in names:
            old.unlink()
    return names


def copy_whole(source: Path, target: Path) -> None:
    """A copy that is there completely or not at all."""
    beside = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def main() -> None:
    """Read the arguments, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="name of the set, such as rdp-hyperprior")
    parser.add_argument("weights", nargs="+", type=Path)
    arguments = parser.parse_args()
    folder = pretrained_folder()
    names = ship(arguments.set, arguments.weights, folder)
    print(f"[{arguments.set}]\nfiles = [")
    for name in names:
        header = read_header(folder / name)
        print(f'  "{name}",  # {header.architecture}, identity {header.identity}')
    print("]")
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"# {folder} takes {total:.1f} of {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
