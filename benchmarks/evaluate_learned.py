"""The evaluation stage with a learned codec against its own stages in turn, in one process.

    .venv/bin/python benchmarks/evaluate_learned.py [--images ../shared/data/kodak] [--count 24] [--jobs 2]
        [--codec checkpoint:path=model.safetensors] [--metrics mse,psnr,ms_ssim] [--device cpu] [--dtype float32]

"In turn" is what a script does: for every image read, encode, decode from the file, score, hash, and at the end write
the rows, in one process whose torch has its default number of threads. Both ways do the same work on the same device
and keep the files; start-up (imports, weights, metrics) is measured apart. Without --codec the network is a mean-scale
hyperprior (N=128, M=192: the first qualities of mbt2018-mean) with random weights, whose files have no typical size.

Prints images/s both ways and the ratio (target: at least 1.5), the peak memory of all processes together (PSS), and
with --device cuda the share of time in which the GPU computed, as nvidia-smi samples it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGET = 1.5
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
POLL_S = 0.2


def main() -> None:
    """Run both ways, each in a process of its own, and print what they took."""
    options = parse()
    if options.role:
        report = {"stage": stage, "turn": in_turn}[options.role](options)
        print(json.dumps(report))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = chosen_images(options, folder)
        codec = options.codec or f"checkpoint:path={random_network(folder)}"
        print(
            f"{options.count} images, {codec}, {options.metrics}, {options.device} {options.dtype}, "
            f"best of {options.repeat}"
        )
        rates = {}
        for role, title in (("turn", "stages in turn, one process"), ("stage", f"rdp evaluate, {options.jobs} jobs")):
            runs = [measured(role, options, images, codec, folder / f"{role}{k}") for k in range(options.repeat)]
            report, watch = min(runs, key=lambda run: run[0]["work_s"])
            rates[role] = options.count / report["work_s"]
            print(f"{title}:")
            print(
                f"    {rates[role]:.3f} images/s ({report['work_s']:.2f} s; start-up {report['start_s']:.2f} s beside)"
            )
            print("    " + ", ".join(f"{key} {value:.2f} s" for key, value in report["parts"].items()))
            print(f"    {report['bpp']:.3f} bit/pixel; peak memory {watch.peak / 2**20:.0f} MiB{watch.busy()}")
        ratio = rates["stage"] / rates["turn"]
        print(f"ratio {ratio:.2f}   (target: at least {TARGET})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/kodak"))
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--codec", default="")
    parser.add_argument("--metrics", default="mse,psnr,ms_ssim")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--role", choices=("stage", "turn"), help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen_images(options: argparse.Namespace, folder: Path) -> Path:
    """A folder of `count` images, the first ones again if there are fewer."""
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"no images in {options.images}")
    images = folder / "images"
    images.mkdir()
    for k in range(options.count):
        path = paths[k % len(paths)]
        shutil.copyfile(path, images / f"{k:04}-{path.name}")
    return images


def random_network(folder: Path) -> Path:
    import torch

    from rdp.models.checkpoint import save_model
    from rdp.models.registry import create_model

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create_model("hyperprior", channels=128, latent_channels=192)
    save_model(folder / "random.safetensors", model)
    return folder / "random.safetensors"


# ---- watching


@dataclass
class Watch:
    """The most memory that a process and its children held together, and the samples of the GPU's activity."""

    peak: int = 0
    samples: list[float] = field(default_factory=list)

    def busy(self) -> str:
        return f"; GPU busy {sum(self.samples) / len(self.samples):.0f} % of the time" if self.samples else ""


def measured(role: str, options: argparse.Namespace, images: Path, codec: str, out: Path) -> tuple[Any, Watch]:
    words = [sys.executable, __file__, "--role", role, "--images", images, "--codec", codec, "--out", out]
    for name in ("count", "metrics", "jobs", "device", "dtype", "workers"):
        words += [f"--{name}", getattr(options, name)]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    watch, done = Watch(), threading.Event()
    threads = [threading.Thread(target=watch_memory, args=(process.pid, watch, done))]
    if options.device != "cpu":
        threads.append(threading.Thread(target=watch_gpu, args=(watch, done)))
    for thread in threads:
        thread.start()
    output, _ = process.communicate()
    done.set()
    for thread in threads:
        thread.join()
    if process.returncode:
        raise SystemExit(f"{role} ended with code {process.returncode}")
    return json.loads(output.splitlines()[-1]), watch


def watch_memory(pid: int, watch: Watch, done: threading.Event) -> None:
    while not done.wait(POLL_S):
        watch.peak = max(watch.peak, sum(map(proportional_bytes, family(pid))))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for own in found:
        for path in Path(f"/proc/{own}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:  # it has ended meanwhile
                continue
    return found


def proportional_bytes(pid: int) -> int:
    """Memory of a process, pages that it shares counted by its part of them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def watch_gpu(watch: Watch, done: threading.Event) -> None:
    """Samples while any process computes, so that start-up does not count."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    while not done.wait(POLL_S):
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
        if found and (watch.samples or float(found[0]) > 0):
            watch.samples.append(float(found[0]))


# ---- the two ways


def stage(options: argparse.Namespace) -> dict[str, Any]:
    """`rdp.evaluate`. Workers start side by side, so the time until all are ready is that of one."""
    import rdp

    begin = time.perf_counter()
    run = rdp.evaluate(
        options.images, options.codec, options.metrics, options.out, jobs=options.jobs, device=options.device,
        dtype=options.dtype, workers=options.workers,
    )  # fmt: skip
    whole = time.perf_counter() - begin
    session = run.sessions[-1]
    parts = session["worker_s"]
    workers = 1 if options.device != "cpu" and options.workers == "auto" else options.jobs
    work = session["wall_s"] - parts["start"] / workers
    frame = run.to_pandas()
    if len(frame) != options.count or not (frame.status == "ok").all():
        raise SystemExit(f"cells failed: {session['messages']}")
    shown = {key: parts[key] for key in ("read", "encode", "decode", "score")}
    return {"work_s": work, "start_s": whole - work, "parts": shown, "bpp": float(frame.bpp.mean())}


def in_turn(options: argparse.Namespace) -> dict[str, Any]:
    """The same work image by image."""
    begin = time.perf_counter()
    from rdp.codecs import Resources, create_codec, parse_point
    from rdp.images import hash_bytes, hash_pixels, list_images, read_image
    from rdp.metrics import plan_metrics
    from rdp.tables import RunWriter, ScoreSet
    from rdp.tables.objects import keep_file

    codec = create_codec(parse_point(options.codec), Resources(options.device, options.dtype))
    plans = plan_metrics(options.metrics.split(","))
    metrics = [plan.create(options.device) for plan in plans]
    files = list_images(options.images)
    first = read_image(files[0].path)[:256, :256]
    codec.decode(codec.encode(first))  # loads the weights
    parts = dict.fromkeys(("read", "encode", "decode", "score", "hash and write"), 0.0)
    start = time.perf_counter()
    mark = start

    def lap(part: str) -> None:
        nonlocal mark
        now = time.perf_counter()
        parts[part] += now - mark
        mark = now

    rates = []
    with RunWriter(options.out, {"version": 1}) as writer:
        for plan in plans:
            writer.add_metric(ScoreSet(plan.name, plan.fingerprint, plan.columns, plan.identity))
        for file in files:
            pixels = read_image(file.path)
            lap("read")
            data = codec.encode(pixels)
            lap("encode")
            picture = codec.decode(data)
            lap("decode")
            values = {metric.name: metric.score(metric.prepare(pixels), [picture]) for metric in metrics}
            lap("score")
            key = {"dataset": file.dataset, "image": file.name, "point": codec.point.name}
            sha = hash_bytes(data)
            rates.append(8 * len(data) / (pixels.shape[0] * pixels.shape[1]))
            row = {**key, "nbytes": len(data), "file_sha256": sha, "bpp": rates[-1], "status": "ok"}
            row |= {"pixels_sha256": hash_pixels(pixels), "reconstruction_sha256": hash_pixels(picture)}
            row |= codec.estimates(data)
            keep_file(writer.path, sha, data)
            scores = {
                name: {**key, "message": None, **{column: numbers[0] for column, numbers in found.items()}}
                for name, found in values.items()
            }
            writer.add(row, scores)
            lap("hash and write")
    lap("hash and write")
    return {
        "work_s": time.perf_counter() - start,
        "start_s": start - begin,
        "parts": parts,
        "bpp": sum(rates) / len(rates),
    }


if __name__ == "__main__":
    main()
