"""The solver against general solvers, and against one pass over the table: the targets of its speed, in one run.

    python benchmarks/solver.py [--only small,medium,large,frontier] [--seeds 10] [--others 3] [--limit 900]

Instances come from ../shared/tools/synthetic_table.py with two budgets: minimise the distortion, the average rate and
the average perceptual distance at most given. Times count making the problem from arrays and its model, on all sides;
what is loaded once a process is loaded before. `--others` is the number of seeds on which the general solvers run.

small     286 x 5 and 1,000 x 10, gap 1e-9: proven, equal to HiGHS; 1,000 x 10 in the median under a tenth of the
          fastest of CBC, HiGHS and CP-SAT
medium    10,000 x 10, gap 1e-6: at least 500 times faster than HiGHS and than CBC (through PuLP)
large     1,000,000 x 20, gap 1e-6: at most 15 times a pass that sums the three arrays; memory at most 1.25 times them
frontier  500 points of 286 x 10, gap 1e-5: under 10 s, beside HiGHS on some of them

`benchmarks/streamed.py` measures what does not fit into memory. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rdp.selection import Problem, Selection, Status, solve_many, solve_problem

TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "synthetic_table.py"
OTHERS = ("highs", "cbc", "cp-sat")


def synthetic() -> ModuleType:
    """The module that makes the tables."""
    spec = importlib.util.spec_from_file_location("synthetic_table", TOOL)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{TOOL} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Instance:
    """A table and its budgets."""

    def __init__(self, images: int, points: int, seed: int = 0) -> None:
        tool = synthetic()
        rate, distortion, perception = tool.table(images, points, seed)
        self.columns = {"mse": distortion, "bpp": rate, "lpips_alex": perception}
        rate_budget, perception_budget = tool.budgets(rate, perception)
        self.at_most = {"bpp": rate_budget, "lpips_alex": perception_budget}

    def problem(self) -> Problem:
        """The problem from the arrays."""
        return Problem.from_arrays(self.columns, minimize="mse", at_most=self.at_most)

    def timed(self, solver: str, gap: float, limit: float | None = None) -> tuple[float, Selection]:
        """Seconds from the arrays to the selection."""
        started = time.perf_counter()
        selection = solve_problem(self.problem(), solver=solver, gap=gap, time_limit=limit)
        return time.perf_counter() - started, selection


def sum_pass(columns: dict[str, np.ndarray]) -> float:
    """Seconds of one pass that sums the arrays, the least of five."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for values in columns.values():
            values.sum()
        best = min(best, time.perf_counter() - started)
    return best


def told(text: str, met: bool) -> bool:
    """Print a line with its verdict."""
    print(f"{text}   {'met' if met else 'MISSED'}", flush=True)
    return met


def small(options: argparse.Namespace) -> bool:
    """286 x 5 and 1,000 x 10."""
    fine = True
    for images, points in ((286, 5), (1000, 10)):
        ours, theirs = [], {name: [] for name in OTHERS}
        for seed in range(options.seeds):
            instance = Instance(images, points, seed)
            seconds, selection = instance.timed("dual", 1e-9)
            ours.append(seconds)
            fine = fine and selection.status is Status.OPTIMAL and (selection.gap or 0.0) <= 1e-9
            for name in OTHERS if seed < options.others else ("highs",):
                other_s, other = instance.timed(name, 1e-9, options.limit)
                theirs[name].append(other_s)
                if other.status is Status.OPTIMAL and other.objective is not None and selection.objective is not None:
                    apart = abs(other.objective - selection.objective) / selection.objective
                    fine = fine and apart <= 1e-9
                    if apart > 1e-9:
                        print(
                            f"  {images} x {points}, seed {seed}: {name} {other.objective!r}, {selection.objective!r}"
                        )
        medians = {name: statistics.median(times) for name, times in theirs.items() if times}
        fastest = min(medians, key=lambda name: medians[name])
        ratio = medians[fastest] / statistics.median(ours)
        print(f"{images:,} x {points}, {options.seeds} seeds, gap 1e-9: median {statistics.median(ours):.4f} s", end="")
        print(f", largest {max(ours):.4f} s; " + ", ".join(f"{n} {m:.2f} s" for n, m in medians.items()))
        text = f"  {ratio:.0f} times faster than {fastest}"
        if images >= 1000:
            fine = told(f"{text} (target 10)", ratio >= 10) and fine
        else:
            print(text)
    return told("  all proven, and equal to the others", fine)


def medium(options: argparse.Namespace) -> bool:
    """10,000 x 10."""
    instance = Instance(10_000, 10)
    ours = [instance.timed("dual", 1e-6) for _ in range(5)]
    seconds = statistics.median(s for s, _ in ours)
    selection = ours[0][1]
    print(f"10,000 x 10, gap 1e-6: {seconds:.4f} s, gap {selection.gap:.1e}")
    proven_s, proven = instance.timed("dual", 1e-9)
    print(f"  to the optimum: {proven_s:.2f} s, {proven.status}, gap {proven.gap:.1e}")
    fine = selection.status is Status.OPTIMAL
    for name in ("highs", "cbc"):
        other_s, other = instance.timed(name, 1e-6, options.limit)
        gap = "unknown" if other.gap is None else f"{other.gap:.1e}"
        text = f"  {name}: {other_s:.0f} s, {other.status}, gap {gap}: {other_s / seconds:,.0f} times (target 500)"
        fine = told(text, other_s / seconds >= 500) and fine
    return fine


def memory_mb(name: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(name))


def large_child(images: int, points: int) -> None:
    """Measure in a process of its own, and print the numbers as JSON."""
    Instance(286, 5).timed("dual", 1e-6)  # loads what is loaded once
    instance = Instance(2, 2)
    before = memory_mb("VmRSS")
    instance = Instance(images, points)
    arrays = sum(values.nbytes for values in instance.columns.values()) / 1e6
    one_pass = sum_pass(instance.columns)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    passes, selection = [], None
    for _ in range(3):
        selection = None  # what the last run left is not this one's memory
        seconds, selection = instance.timed("auto", 1e-6)
        passes.append(seconds / one_pass)
    peak = memory_mb("VmHWM")
    print(
        json.dumps(
            {
                "pass_s": one_pass,
                "passes": passes,
                "gap": selection.gap,
                "status": selection.status.value,
                "solver": selection.solver,
                "arrays_mb": arrays,
                "memory": (peak - before) / arrays,
            }
        )
    )


def large(options: argparse.Namespace) -> bool:
    """1,000,000 x 20."""
    command = [sys.executable, __file__, "--child", "1000000x20"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    median = statistics.median(found["passes"])
    print(f"1,000,000 x 20, gap 1e-6: {found['solver']}, {found['status']}, gap {found['gap']:.1e}")
    times = ", ".join(f"{value:.1f}" for value in found["passes"])
    fine = told(f"  {median:.1f} passes of {found['pass_s'] * 1e3:.0f} ms ({times}; target 15)", median <= 15)
    text = f"  peak memory {found['memory']:.2f} times the three arrays of {found['arrays_mb']:.0f} MB (target 1.25)"
    return told(text, found["memory"] <= 1.25) and fine and found["status"] == "optimal"


def frontier(options: argparse.Namespace) -> bool:
    """500 points of 286 x 10."""
    instance = Instance(286, 10)
    rate, perception = instance.at_most["bpp"], instance.at_most["lpips_alex"]
    budgets = []
    for turn, bpp in enumerate(np.linspace(0.7 * rate, 1.6 * rate, 25)):
        row = np.linspace(0.8 * perception, 1.3 * perception, 20)
        budgets += [(bpp, other) for other in (row if turn % 2 == 0 else row[::-1])]
    started = time.perf_counter()
    points = list(solve_many(instance.problem(), budgets, gap=1e-5))
    seconds = time.perf_counter() - started
    found = [point for point in points if point.found]
    certified = all(point.status in (Status.OPTIMAL, Status.INFEASIBLE) for point in points)
    print(f"frontier of 286 x 10, {len(points)} points, gap 1e-5: {len(found)} found, the others infeasible")
    fine = told(f"  {seconds:.2f} s (target 10), all certified: {certified}", seconds <= 10 and certified)
    some = [k for k, point in enumerate(points) if point.found][:: max(len(found) // 5, 1)][:5]
    started = time.perf_counter()
    for k in some:
        at_most = dict(zip(("bpp", "lpips_alex"), map(float, budgets[k]), strict=True))
        stated = Problem.from_arrays(instance.columns, minimize="mse", at_most=at_most)
        other = solve_problem(stated, solver="highs", gap=1e-5, time_limit=options.limit)
        ours = points[k]
        if other.objective is not None and ours.objective is not None and ours.bound is not None:
            fine = fine and ours.bound <= other.objective * (1 + 1e-9)
    each = (time.perf_counter() - started) / len(some)
    print(f"  HiGHS: {each:.2f} s a point on {len(some)} of them, {each * len(points) / seconds:.0f} times as long")
    return fine


PARTS = {"small": small, "medium": medium, "large": large, "frontier": frontier}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--others", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one solve of a general solver")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        large_child(*map(int, options.child.split("x")))
        return
    Instance(286, 5).timed("dual", 1e-6)
    for name in OTHERS:
        Instance(20, 3).timed(name, 1e-6)
    met = [PARTS[name](options) for name in options.only.split(",")]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
