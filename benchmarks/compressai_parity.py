"""CompressAI's networks beside ours from the same weights: latents, likelihoods, reconstructions.

Two environments, since the package's NumPy is older than ours. In one with compressai (1.2.8), random networks that
are far from their initial values, and what they make of an image, go to files; in ours these are converted:

    python benchmarks/compressai_parity.py --write /tmp/parity          # six networks, 0.1 GB; --all: 24, 0.4 GB
    python benchmarks/compressai_parity.py --check /tmp/parity
    python benchmarks/compressai_parity.py --fixture tests/data/compressai.safetensors   # the tests' small networks

Target: every value within 1e-5 of CompressAI's, relative where it is above 1, and no latent rounded to another integer.
Ends with status 1 if it is missed.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-5
SEED = 5

WIDTHS = {
    "bmshj2018-factorized": [(128, 192)] * 5 + [(192, 320)] * 3,
    "bmshj2018-hyperprior": [(128, 192)] * 5 + [(192, 320)] * 3,
    "mbt2018-mean": [(128, 192)] * 4 + [(192, 320)] * 4,
}
"""(N, M) of the published networks at the qualities 1 to 8."""

FIXTURE_WIDTHS = (6, 8)
GAINS = {"g_a.6.weight": 40.0, "h_a.4.weight": 20.0, "h_s.0.weight": 2.0, "h_s.2.weight": 2.0, "h_s.4.weight": 4.0}
OLD_LAYOUT = "bmshj2018-hyperprior"
"""The network of the fixture whose keys are called as in the oldest published files."""

Arrays = dict[str, np.ndarray[Any, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description="CompressAI's networks beside ours from the same weights")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FOLDER", help="reference files (with compressai)")
    action.add_argument("--check", type=Path, metavar="PATH", help="a reference file or a folder of them (with rdp)")
    action.add_argument("--fixture", type=Path, metavar="FILE", help="the small reference file (with compressai)")
    parser.add_argument("--all", action="store_true", help="write all qualities, not one of each width")
    options = parser.parse_args()
    if options.check:
        files = sorted(options.check.glob("*.safetensors")) if options.check.is_dir() else [options.check]
        if not files:
            sys.exit(f"{options.check} holds no .safetensors files: make them with --write")
        missed = [file for file in files if not check(file)]
        sys.exit(1 if missed else 0)
    if options.fixture:
        cases = {name: reference(name, *FIXTURE_WIDTHS, seed=SEED, old=name == OLD_LAYOUT) for name in WIDTHS}
        write(options.fixture, cases)
        return
    options.write.mkdir(parents=True, exist_ok=True)
    for name, widths in WIDTHS.items():
        for quality in range(1, 9) if options.all else (1, 8):
            case = reference(name, *widths[quality - 1], seed=SEED + quality)
            write(options.write / f"{name}-{quality}.safetensors", {name: case})


def reference(name: str, channels: int, latent_channels: int, seed: int, old: bool = False) -> Arrays:
    """What CompressAI makes of an image with a random network: "image" (uint8, (3, H, W)), "state/KEY", and outputs."""
    from compressai.models import FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior

    classes = dict(zip(WIDTHS, (FactorizedPrior, ScaleHyperprior, MeanScaleHyperprior), strict=True))
    # Of a program of its own, so that the same file comes out whenever it is made.
    torch.manual_seed(seed)
    network = classes[name](channels, latent_channels).eval()
    rng = np.random.default_rng(seed)
    # One image, one latent of both: larger networks have more elements, none of which may be near a rounding boundary.
    image = smooth_image(rng, 64, 64)
    x = torch.from_numpy(image).float()[None] / 255
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(perturbed(key, parameter.numpy(), rng)))
        y = network.g_a(x)
        output = network(x)
    arrays = {"image": image, "y": y.numpy(), "x_hat": output["x_hat"].numpy()}
    arrays["auxiliary_loss"] = network.aux_loss().detach().numpy().reshape(1)
    arrays |= {f"likelihoods/{latent}": values.numpy() for latent, values in output["likelihoods"].items()}
    if name != "bmshj2018-factorized":
        with torch.no_grad():
            arrays["z"] = network.h_a(y.abs() if name == "bmshj2018-hyperprior" else y).numpy()
    learned = {key for key, _ in network.named_parameters()}
    for key, tensor in network.state_dict().items():
        array = tensor.numpy()
        arrays["state/" + (old_key(key) if old else key)] = array.astype(np.float16) if key in learned else array
    return arrays


def smooth_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray[Any, Any]:
    """An image with structure, uint8, (3, height, width)."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [
        128 + 70 * np.sin(columns / (5 + 3 * c) + rng.uniform(0, 6)) * np.cos(rows / (9 + 2 * c)) for c in range(3)
    ]
    return np.clip(np.stack(planes) + rng.normal(0, 8, (3, height, width)), 0, 255).astype(np.uint8)


def perturbed(key: str, values: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Random values of that shape, about the initial ones but no value left as it was, all of them float16 numbers.

    The layers of `GAINS` are larger, so that latents are some integers and not all zeros, and their scales are about
    as large as they are, a few below the bound: then few probabilities are at their limits.
    """
    noise = rng.standard_normal(values.shape)
    if key.endswith("gamma"):
        values = np.abs(values + 0.02 * noise)
    elif key.endswith("beta"):
        values = values * (1 + 0.2 * np.tanh(noise))
    elif key.startswith("entropy_bottleneck"):
        values = values + (1.0 if key.endswith("quantiles") else 0.3) * noise
    elif key.endswith("bias"):
        values = 2.0 + noise if key == "h_s.4.bias" else 0.1 * noise
    else:
        values = GAINS.get(key, 1.0) * values.std() * noise
    return values.astype(np.float16).astype(np.float32)


def old_key(key: str) -> str:
    """The name of a tensor in files of version 1.0 and before, saved from a network on several devices."""
    for part in ("matrices", "biases", "factors"):
        key = key.replace(f"entropy_bottleneck.{part}.", f"entropy_bottleneck._{part}.")
    return "module." + key


def write(path: Path, cases: dict[str, Arrays]) -> None:
    """A safetensors file of the cases' arrays, "CASE/KEY". Written by hand: CompressAI's environment has no library."""
    import compressai

    header: dict[str, Any] = {"__metadata__": {"compressai": compressai.__version__, "torch": torch.__version__}}
    kinds = {"float32": "F32", "float16": "F16", "uint8": "U8", "int32": "I32"}
    parts: list[bytes] = []
    offset = 0
    for case, arrays in cases.items():
        for key, array in arrays.items():
            data = np.ascontiguousarray(array).tobytes()
            place = [offset, offset + len(data)]
            header[f"{case}/{key}"] = {
                "dtype": kinds[array.dtype.name],
                "shape": list(array.shape),
                "data_offsets": place,
            }
            parts.append(data)
            offset = place[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {', '.join(cases)}")


def check(path: Path) -> bool:
    """Print how far our networks are from the numbers in a file; whether all are within the tolerance."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    fine = True
    for case in dict.fromkeys(name.partition("/")[0] for name in tensors):
        arrays = {name.removeprefix(case + "/"): value for name, value in tensors.items() if name.startswith(case)}
        errors, flipped = compare(arrays)
        fine = fine and not flipped and max(errors.values()) <= TOLERANCE
        listed = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        print(f"{path.stem} {case}: {listed}; {flipped} latents rounded to another integer")
    return fine


def compare(arrays: dict[str, torch.Tensor]) -> tuple[dict[str, float], int]:
    """Largest differences from the reference, each divided by the reference's magnitude where that is above 1, and
    how many pixels' worth of latents were rounded to another integer."""
    from rdp.models.conversion.compressai import convert_compressai
    from rdp.models.hyperprior import Hyperprior

    prefix = "state/"
    network = convert_compressai({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
    with torch.no_grad():
        output = network(arrays["image"].float()[None] / 255)
        ours = {"y": output.y, "x_hat": output.x_hat, "auxiliary_loss": network.auxiliary_loss().reshape(1)}
        ours |= {f"likelihoods/{latent}": values for latent, values in output.likelihoods.items()}
        if isinstance(network, Hyperprior):
            ours["z"] = network.hyper_analyse(output.y)
    if missing := {key for key in arrays if not key.startswith(prefix)} - {"image", *ours}:
        raise SystemExit(f"the reference has {missing}, of which our network makes nothing")
    errors = {key: float(((v - arrays[key]).abs() / arrays[key].abs().clamp(min=1)).max()) for key, v in ours.items()}
    # A latent on the other side of a boundary has another probability, but for a few by chance.
    moved = [(ours[key] - arrays[key]).abs() > 1e-3 for key in ours if key.startswith("likelihoods")]
    return errors, int(sum(part.sum() for part in moved))


if __name__ == "__main__":
    main()
