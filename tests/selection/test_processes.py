"""In processes of their own: `highspy` in either order, PuLP first, and what CBC leaves behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SOLVE = """
from rdp.selection import AUTO, BACKENDS, Problem, solve_many, solve_problem
columns = {"mse": [[3.0, 1.0], [5.0, 2.0]], "bpp": [[0.1, 0.4], [0.1, 0.4]]}
problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.3})
for solver in (AUTO, *BACKENDS):
    answer = solve_problem(problem, solver=solver)
    assert (answer.status, answer.objective) == ("optimal", 2.5), (solver, answer)
    assert abs(answer.prices["bpp"] - 20 / 3) > 0 and answer.prices["bpp"] > 0, (solver, answer.prices)
    infeasible = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.05})
    assert solve_problem(infeasible, solver=solver).status == "infeasible", solver
swept = [answer.objective for answer in solve_many(problem, [[0.4], [0.3], [0.05], [0.1]])]
assert swept == [1.5, 2.5, None, 4.0], swept
print("solved")
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )


@pytest.mark.parametrize("first", ["import highspy", "import pulp", "import ortools.math_opt.python.mathopt", ""])
def test_every_backend_and_a_sweep_solve_whatever_was_imported_before(first: str) -> None:
    if "highspy" in first:
        pytest.importorskip("importlib.metadata").version("highspy")
    done = run(f"{first}\n{SOLVE}")
    assert done.stdout == "solved\n", done.stderr


def test_importing_highspy_afterwards_does_not_break_what_was_loaded() -> None:
    done = run(f"{SOLVE}\ntry:\n    import highspy\nexcept ImportError:\n    pass\n{SOLVE}")
    assert done.stdout == "solved\nsolved\n", done.stderr


def test_importing_the_selection_package_loads_no_solver_and_no_pandas() -> None:
    heavy = "pulp", "ortools", "highspy", "pandas", "torch"
    done = run(f"import sys, rdp.selection.solving; print([m for m in {heavy!r} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def test_cbc_leaves_no_file_behind(tmp_path: Path) -> None:
    done = run(SOLVE.replace("(AUTO, *BACKENDS):", "['cbc']:"), TMPDIR=str(tmp_path))
    assert done.stdout == "solved\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_with_a_space_in_its_name_does_no_harm_to_cbc() -> None:
    with tempfile.TemporaryDirectory(prefix="with space ") as folder:
        done = run(SOLVE.replace("(AUTO, *BACKENDS):", "['cbc']:"), TMPDIR=folder)
        assert done.stdout == "solved\n", done.stderr
