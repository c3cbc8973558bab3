"""Which solver is fastest where: the measurement behind `--solver auto`.

    python benchmarks/backends.py [--limit 60] [--seeds 3] [--sizes 24x10,286x5,286x10,1000x10] [--solvers highs,scip]

Instances come from ../shared/tools/synthetic_table.py: minimise the distortion with an average rate and an average
perceptual distance at most given (two budgets), or the rate alone (one), both a little off what a single point
reaches. One thread each, gap 1e-9. Prints the median and the largest time, and how many were proven within the limit.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

from rdp.selection import BACKENDS, Problem, Selection, solve_problem

TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "synthetic_table.py"
MODULES = (
    "numpy",
    "pyarrow",
    "pandas",
    "pulp",
    "ortools.math_opt.python.mathopt",
    "ortools.sat.python.cp_model",
    "ortools.linear_solver.pywraplp",
)


def synthetic() -> ModuleType:
    """The module that makes the tables."""
    spec = importlib.util.spec_from_file_location("synthetic_table", TOOL)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{TOOL} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instance(images: int, points: int, seed: int, budgets: int) -> Problem:
    """A problem with one or two binding budgets."""
    tool = synthetic()
    rate, distortion, perception = tool.table(images, points, seed)
    rate_budget, perception_budget = tool.budgets(rate, perception)
    at_most = {"bpp": 0.97 * rate_budget, "lpips_alex": perception_budget}
    if budgets == 1:
        del at_most["lpips_alex"]
    columns = {"mse": distortion, "bpp": rate, "lpips_alex": perception}
    return Problem.from_arrays(columns, minimize="mse", at_most=at_most)


def timed(problem: Problem, solver: str, limit: float) -> tuple[float, Selection]:
    """Seconds and answer."""
    started = time.perf_counter()
    selection = solve_problem(problem, solver=solver, time_limit=limit)
    return time.perf_counter() - started, selection


def import_times() -> None:
    """What loading each module costs, each in a process of its own, the best of three."""
    print("import times (s):")
    for module in MODULES:
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        best = min(
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(3)
        )
        print(f"  {module:36} {best:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", default="24x10,286x5,286x10,1000x10")
    parser.add_argument("--solvers", default=",".join(BACKENDS))
    parser.add_argument("--budgets", default="1,2")
    options = parser.parse_args()
    import_times()
    print(f"{'size':>10} {'budgets':>7} {'solver':>7} {'median s':>9} {'max s':>9} {'proven':>7} {'largest gap':>12}")
    for size in options.sizes.split(","):
        images, points = map(int, size.split("x"))
        for budgets in map(int, options.budgets.split(",")):
            for solver in options.solvers.split(","):
                problems = [instance(images, points, seed, budgets) for seed in range(options.seeds)]
                answers = [timed(problem, solver, options.limit) for problem in problems]
                seconds = [s for s, _ in answers]
                proven = sum(a.status == "optimal" for _, a in answers)
                gap = max((a.gap if a.gap is not None else float("inf")) for _, a in answers)
                print(
                    f"{size:>10} {budgets:>7} {solver:>7} {statistics.median(seconds):9.3f} {max(seconds):9.3f} "
                    f"{proven:>3}/{len(answers)} {gap:12.2g}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
