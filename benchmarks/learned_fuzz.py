"""Damaged files of learned codecs, decoded to pictures: every one must give an error of rdp's or a picture.

    python benchmarks/learned_fuzz.py [--count 100000] [--seed 1]

A small random network of every architecture codes small pictures; the files are then damaged as in
`benchmarks/bitstream_fuzz.py`, half of the time with the checksum put right, so that entropy decoding, the exact
hyper-networks and the synthesis see the damage. No file may take over 5 s. Ends with status 1 if anything failed, and
says which seed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bitstream_fuzz import run

from rdp.codecs import Codec, create_codec, parse_point
from rdp.errors import RdpError
from rdp.models.checkpoint import save_model
from rdp.models.registry import create_model

NETWORKS = {
    "factorized": {"channels": 4, "latent_channels": 6},
    "scale_hyperprior": {"channels": 4, "latent_channels": 6},
    "hyperprior": {"channels": 4, "latent_channels": 6},
    "checkerboard": {"channels": 4, "latent_channels": 6},
    "shrinkage": {"channels": 4, "latent_channels": 6, "hyper_channels": 4},
    "hific": {"width": 0.03, "residual_blocks": 1},
}
TIME_LIMIT_S = 5.0


def corpus(folder: Path) -> list[tuple[bytes, Codec]]:
    """Whole files, and the codec of each."""
    rng = np.random.default_rng(0)
    files: list[tuple[bytes, Codec]] = []
    for architecture, config in NETWORKS.items():
        torch.manual_seed(0)
        model = create_model(architecture, **config).eval()
        with torch.no_grad():
            last = [part for part in model.analysis if hasattr(part, "weight")][-1]
            last.weight.mul_(3 / model.analyse(torch.rand(1, 3, 64, 64)).std())
        path = folder / f"{architecture}.safetensors"
        save_model(path, model)
        for keys in ("", ",tables=flags") if architecture == "shrinkage" else ("",):
            codec = create_codec(parse_point(f'checkpoint:path="{path}"{keys}'))
            for height, width in ((1, 1), (40, 90)):
                files.append((codec.encode(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)), codec))
    return files


def check(data: bytes, codec: Codec) -> str:
    """What came out of a file, in a few words. Raises `ValueError` for a broken promise."""
    started = time.perf_counter()
    try:
        picture = codec.decode(data)
    except RdpError as error:
        outcome = re.sub(r"[\d.]+|identity \w+|sha=\w+", "N", str(error))[:80]
    else:
        outcome = "a picture"
        if picture.dtype != np.uint8 or picture.ndim != 3 or 0 in picture.shape:
            raise ValueError(f"no picture: {picture.dtype} {picture.shape}")
    if time.perf_counter() - started > TIME_LIMIT_S:
        raise ValueError(f"took over {TIME_LIMIT_S} s")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first file; the next has the next")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        failures = run(options.seed, options.count, corpus(Path(folder)), check)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
