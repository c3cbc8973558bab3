"""Four codec families on Kodak: an RD and an RDP selection, confirmed by other solvers.

    .venv/bin/python studies/kodak/study.py [--images ../shared/data/kodak] [--weights ../shared/weights]

Evaluates 34 operating points of JPEG, JPEG 2000, WebP and AVIF on the 24 images, solves both problems with every
backend, stops if two disagree, and writes the report and the small tables that stand beside this file (`results/`).
LPIPS needs its weights: `rdp weights fetch squeezenet1_1`, or a folder that holds them (--weights).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import rdp
from rdp.cli.progress import Terminal

CODECS = [
    "jpeg:quality=10..90..10",
    "jpeg2000:rate=0.1|0.2|0.3|0.4|0.6|0.8|1.2",
    "webp:quality=5..95..10",
    "avif:quality=10..80..10",
]
METRICS = ["mse", "psnr", "ms_ssim", "haarpsi", "lpips_squeeze"]
PROBLEMS = {
    "RD": {"minimize": "mse", "at_most": {"bpp": 0.5}},
    "RDP": {"minimize": "lpips_squeeze", "at_most": {"bpp": 0.5, "mse": 42}},
}
SOLVERS = ("auto", "highs", "cp-sat", "cbc", "scip")
RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-6


def solve_and_confirm(run: rdp.Run, name: str, out: Path) -> Path:
    """Solve with every backend; all must prove the same objective. Returns the path of the first one's selection."""
    first = None
    for solver in SOLVERS:
        selection = rdp.solve(run, solver=solver, **PROBLEMS[name])
        proof = f"{selection.status.value}, gap {selection.gap:.1e}, {selection.elapsed_s:.2f} s"
        print(f"{name:<4} {solver:<7} ({selection.solver}) objective {selection.objective:.9f}, {proof}")
        first = first or selection
        if abs(selection.objective - first.objective) > TOLERANCE * abs(first.objective):
            sys.exit(f"{solver} disagrees with {first.solver}: {selection.objective} and {first.objective}")
    return first.save(out / f"{name}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/kodak"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--out", type=Path, default=Path("out/kodak"))
    options = parser.parse_args()
    if options.weights.is_dir():
        os.environ.setdefault("RDP_WEIGHTS", str(options.weights.absolute()))
    run = rdp.evaluate(options.images, CODECS, METRICS, options.out / "run", progress=Terminal())
    paths = [solve_and_confirm(run, name, options.out) for name in PROBLEMS]
    report = options.out / "report"
    rdp.write_report(run, paths, report, title="Kodak, four codec families")
    RESULTS.mkdir(exist_ok=True)
    for name in ("points.md", "points.csv"):
        shutil.copyfile(report / name, RESULTS / name)
    print(f"{report}/report.md; small tables in {RESULTS}")


if __name__ == "__main__":
    main()
