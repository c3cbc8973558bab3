"""A training step, part by part: plain and compiled, memory given back and kept, Adam and Muon.

    python benchmarks/training_step.py [--steps 12] [--threads 1] [--channels 96] [--latent-channels 144]

Steps of a mean-scale hyperprior on random crops (two of 256x256) under bfloat16 autocast, forward, backward and update.
Every line is a process of its own, and all are ratios to the first: plain steps with Adam, as PyTorch comes. The time
of a step is the median after the first three; the first compiled step, in which the code is made, stands beside.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

VARIANTS = ["adam", "muon", "muon kept", "muon compiled", "muon compiled kept"]
"""What a line adds: `kept`: freed memory stays with the process; `compiled`: through torch.compile."""
WARM = 3


def measure(variant: str, arguments: argparse.Namespace) -> None:
    """Print the median of the steps and the first, in seconds."""
    import torch

    from rdp.execution.allocator import keep_freed_memory
    from rdp.models.hyperprior import MeanScaleHyperprior
    from rdp.training import Muon, RateDistortion

    if "kept" in variant:
        keep_freed_memory(1 << 30)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    task = RateDistortion(MeanScaleHyperprior(arguments.channels, arguments.latent_channels).train())
    task.compiled = "compiled" in variant
    parameters = list(task.network.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-4) if "adam" in variant else Muon(parameters, 1e-4, 1e-4)
    x = torch.rand(2, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(WARM + arguments.steps):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            output = task.run(x)
            loss = task.objective(output, x).loss + task.network.side_loss(output)
        optimizer.zero_grad()
        loss.backward()
        task.clip_network()
        optimizer.step()
        times.append(time.perf_counter() - started)
    print(statistics.median(times[WARM:]), times[0])


def main() -> None:
    """Read the options, measure each variant, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--latent-channels", type=int, default=144)
    parser.add_argument("--variant", default="", help="measure this alone, in this process")
    arguments = parser.parse_args()
    if arguments.variant:
        measure(arguments.variant, arguments)
        return
    print("| step | s | of the first | first step, s |\n|---|---|---|---|")
    base = 0.0
    for variant in VARIANTS:
        words = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        step, first = map(float, done.stdout.split())
        base = base or step
        print(f"| {variant} | {step:.3f} | {step / base:.2f} | {first:.1f} |", flush=True)


if __name__ == "__main__":
    main()
