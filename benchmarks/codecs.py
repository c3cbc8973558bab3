"""Speed of the learned codec beside CompressAI: `mbt2018-mean`, quality 1, one state dict on both sides, in one run.

    python benchmarks/codecs.py --compressai-python /path/to/python --train-images FOLDER [--images FOLDER] [--count 24]
        [--repeats 3] [--threads 2] [--dtype float32,bfloat16] [--part transforms|codec] [--weights FILE] [--out FILE]

Images go in turn to CompressAI (`codecs_peer.py`, a process of that interpreter) and to rdp, so that what else the
machine does meets both. Without a file of weights there, a short training with fixed seed makes one (minutes). `codec`
times encoding and decoding of files, entropy coding and pixels included; `transforms` the two networks alone. Times
are medians with quartiles over images and repeats. The rate of matrix products is measured in between: the best of
PyTorch's product (which picks MKL) and of a 1x1 convolution (which picks oneDNN).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from rdp.models.base import CompressionModel
from rdp.models.conversion.compressai import load_compressai
from rdp.models.fast import FastTransform, fast_transform

PEER = Path(__file__).with_name("codecs_peer.py")
KODAK = Path(__file__).resolve().parents[2] / "shared" / "data" / "kodak"
DEFAULT_WEIGHTS = Path("~/.cache/rdp-benchmarks/mbt2018-mean-1.pth")
PARTS = ("analysis_s", "synthesis_s", "encode_s", "decode_s")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=KODAK)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compressai-python", required=True)
    parser.add_argument("--train-images", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--part", choices=("transforms", "codec"), default="codec")
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--out", type=Path, help="also write the table here: .md, or .json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = prepare_weights(options)
    paths = sorted(path for path in options.images.iterdir() if path.suffix.lower() in (".png", ".webp"))
    dtypes = options.dtype.split(",")
    with Peer(options.compressai_python, weights, options.threads) as peer:
        results = measure(peer, weights, paths[: options.count], dtypes, options.part, options.repeats)
    text = table(results, options)
    print(text)
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) if options.out.suffix == ".json" else text)


def prepare_weights(options: argparse.Namespace) -> Path:
    """The file of weights, made if it is not there."""
    path: Path = options.weights.expanduser()
    if not path.exists():
        if options.train_images is None:
            raise SystemExit(f"{path} does not exist: name a folder of photographs with --train-images to make it")
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [options.compressai_python, str(PEER), "train", "--data", str(options.train_images)]
        subprocess.run([*command, "--out", str(path), "--threads", str(options.threads)], check=True)
    return path


class Peer:
    """CompressAI in a process of its own."""

    def __init__(self, python: str, weights: Path, threads: int) -> None:
        command = [python, str(PEER), "serve", "--weights", str(weights), "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def measure(self, path: Path) -> dict[str, float]:
        """Seconds, bytes and PSNR of one image."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


class Ours:
    """The codec and the transforms of rdp in one dtype."""

    def __init__(self, model: CompressionModel, weights: Path, dtype: str, part: str) -> None:
        self._model = model
        self._analysis = fast_transform(model.analysis, dtype=dtype)
        self._synthesis = fast_transform(model.synthesis, dtype=dtype)
        self._codec: Any = None
        if part == "codec":
            from rdp.codecs import create_codec, parse_point
            from rdp.codecs.base import Resources

            self._codec = create_codec(parse_point(f'checkpoint:path="{weights}"'), Resources("cpu", dtype))

    def measure(self, path: Path) -> dict[str, float]:
        """As `Peer.measure`. Without the codec, the PSNR is that of the latent rounded about the exact means."""
        pixels = np.asarray(Image.open(path).convert("RGB"))
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255)
        height, width = image.shape[-2:]
        x = F.pad(image, (0, -width % 64, 0, -height % 64))
        result: dict[str, float] = {"pixels": height * width}
        y, result["analysis_s"] = timed(lambda: self._analysis(x))
        y_hat = self._round(y)
        x_hat, result["synthesis_s"] = timed(lambda: self._synthesis(y_hat))
        if self._codec is None:
            mse = F.mse_loss(x_hat[..., :height, :width].clamp(0, 1), image).item()
        else:
            file, result["encode_s"] = timed(lambda: self._codec.encode(pixels))
            decoded, result["decode_s"] = timed(lambda: self._codec.decode(file))
            result["nbytes"] = len(file)
            mse = float(np.mean((decoded.astype(np.float64) - pixels) ** 2)) / 255**2
        return result | {"psnr_db": -10 * math.log10(mse)}

    def _round(self, y: torch.Tensor) -> torch.Tensor:
        """Quantised as the codec does it."""
        with torch.inference_mode():
            model: Any = self._model
            medians = model.prior.medians().reshape(1, -1, 1, 1)
            z = model.hyper_analysis(y)
            law = model.gaussian_parameters(model.hyper_synthesis((z - medians).round() + medians))
            return (y - law.mean).round() + law.mean


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def measure(
    peer: Peer, weights: Path, paths: list[Path], dtypes: list[str], part: str, repeats: int
) -> dict[str, list[dict[str, float]]]:
    """The measurements of each side, and of the rates of matrix products, in turns; the first image warms up."""
    model = load_compressai(weights).eval()
    ours = {f"rdp {dtype}": Ours(model, weights, dtype, part) for dtype in dtypes}
    sides: dict[str, Callable[[Path], dict[str, float]]] = {"CompressAI": peer.measure}
    sides |= {name: side.measure for name, side in ours.items()}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for call in sides.values():
        call(paths[0])
    macs = {"analysis": count_macs(ours[f"rdp {dtypes[0]}"]._analysis, 3), "synthesis": 0}
    macs = {name: count_macs(getattr(model, name), *given) for name, given in GIVEN.items()}
    for _ in range(repeats):
        for path in paths:
            for name, call in sides.items():
                results[name].append(call(path))
        for dtype in dtypes:
            results.setdefault(f"rate {dtype}", []).append({"gflops": product_rate(dtype)})
    results["macs"] = [{name: float(count) for name, count in macs.items()}]
    return results
