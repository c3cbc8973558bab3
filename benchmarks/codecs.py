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
import contextlib
import copy
import json
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.models.activations import GDN
from rdp.models.base import CompressionModel
from rdp.models.conversion.compressai import load_compressai
from rdp.models.fast import fast_transform

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
        pixels = np.array(Image.open(path).convert("RGB"))
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
            with entropy_coding() as spent:
                result["encode_coding_s"] = timed(lambda: self._codec.encode(pixels), spent)[1]
                result["decode_coding_s"] = timed(lambda: self._codec.decode(file), spent)[1]
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


def timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    start = clock()
    result = call()
    return result, clock() - start


@contextlib.contextmanager
def entropy_coding() -> Iterator[Callable[[], float]]:
    """A clock that runs while symbols are written or read."""
    total = 0.0

    def measured(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal total
            result, seconds = timed(lambda: method(*arguments))
            total += seconds
            return result

        return call

    with contextlib.ExitStack() as patches:
        for owner, name in ((SymbolWriter, "write"), (SymbolWriter, "finish"), (SymbolReader, "read")):
            patches.enter_context(mock.patch.object(owner, name, measured(getattr(owner, name))))
        yield lambda: total


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
    image = torch.empty(1, 3, 512, 768, device="meta")
    latent, analysis_macs = count_macs(model.analysis, image)
    _, synthesis_macs = count_macs(model.synthesis, latent)
    for _ in range(repeats):
        for path in paths:
            for name, call in sides.items():
                results[name].append(call(path))
        for dtype in dtypes:
            results.setdefault(f"rate {dtype}", []).append({"gflops": product_rate(dtype)})
    results["macs per pixel"] = [
        {"analysis_s": analysis_macs / (512 * 768), "synthesis_s": synthesis_macs / (512 * 768)}
    ]
    return results


def count_macs(transform: nn.Module, given: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The (meta) output, and multiplications of convolutions and normalisations, zeros at borders included."""
    total = 0

    def note(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            positions = output if isinstance(layer, nn.Conv2d) else inputs[0]
            total += layer.weight.numel() * positions.shape[2] * positions.shape[3]
        elif isinstance(layer, GDN):
            total += layer.channels**2 * output.shape[2] * output.shape[3]

    phantom = copy.deepcopy(transform).to("meta")
    for layer in phantom.modules():
        layer.register_forward_hook(note)
    return phantom(given), total


def product_rate(dtype: str) -> float:
    """Gigaflops (two a multiplication) of a product of (24576, 3200) by (3200, 128), as the largest layer has it."""
    kind = getattr(torch, dtype)
    rows, inner, columns = 24576, 3200, 128
    left, right = torch.rand(rows, inner).to(kind), torch.rand(inner, columns).to(kind)
    pixels = left.reshape(1, 128, 192, inner).permute(0, 3, 1, 2)
    kernel = right.T.contiguous()[:, :, None, None]
    best = min(
        timed(product)[1] for product in (lambda: left @ right, lambda: F.conv2d(pixels, kernel)) for _ in range(4)
    )
    return 2e-9 * rows * inner * columns / best


def table(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """Markdown."""
    sides = [name for name in results if name == "CompressAI" or name.startswith("rdp ")]
    baseline = results["CompressAI"]
    names = [name for name in PARTS if options.part == "codec" or name in PARTS[:2]]
    lines = [
        f"mbt2018-mean, quality 1; {options.count} images x {options.repeats}, {options.threads} threads. "
        "Milliseconds: median (quartiles). Ratio: times as fast as CompressAI. Rate: of matrix products in that dtype.",
        "",
        "| part | side | ms | ratio | rate |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in names:
        for side in sides:
            low, middle, high = quartiles([row[name] for row in results[side]])
            ratio = statistics.median(row[name] for row in baseline) / middle
            share = rate_share(results, side, name, middle)
            times = f"{1e3 * middle:.0f} ({1e3 * low:.0f}..{1e3 * high:.0f})"
            lines.append(f"| {name[:-2]} | {side} | {times} | {ratio:.2f} | {share} |")
    lines.append("")
    for side in sides:
        rows = results[side]
        told = [f"PSNR {statistics.mean(row['psnr_db'] for row in rows):.3f} dB"]
        if "nbytes" in rows[0]:
            told.append(f"{statistics.mean(8 * row['nbytes'] / row['pixels'] for row in rows):.4f} bpp")
        for whole, part in (("encode_s", "analysis_s"), ("decode_s", "synthesis_s")):
            if whole in rows[0]:
                share = statistics.median(row[part] / row[whole] for row in rows)
                told.append(f"{part[:-2]} transform {100 * share:.0f} % of {whole[:-2]}")
            coding = f"{whole[:-2]}_coding_s"
            if coding in rows[0]:
                share = statistics.median(row[coding] / row[whole] for row in rows)
                told.append(f"range coding {100 * share:.0f} % of it")
        lines.append(f"- {side}: {', '.join(told)}")
    if {"rdp float32", "rdp bfloat16"} <= set(sides):
        lost = [
            a["psnr_db"] - b["psnr_db"] for a, b in zip(results["rdp float32"], results["rdp bfloat16"], strict=True)
        ]
        lines.append(f"- bfloat16 loses {statistics.mean(lost):.4f} dB on average, {max(lost):.4f} dB at most")
    for name, rows in results.items():
        if name.startswith("rate "):
            lines.append(f"- matrix products, {name[5:]}: {max(row['gflops'] for row in rows):.0f} Gflop/s")
    return "\n".join(lines) + "\n"


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def rate_share(results: dict[str, list[dict[str, float]]], side: str, part: str, seconds: float) -> str:
    """How much of the rate of matrix products a transform reaches."""
    dtype = side.removeprefix("rdp ") if side.startswith("rdp ") else "float32"
    macs = results["macs per pixel"][0].get(part)
    if macs is None or f"rate {dtype}" not in results:
        return ""
    pixels = statistics.median(row["pixels"] for row in results[side])
    rate = max(row["gflops"] for row in results[f"rate {dtype}"])
    return f"{100 * 2e-9 * macs * pixels / seconds / rate:.0f} %"


if __name__ == "__main__":
    main()
