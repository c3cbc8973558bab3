"""Standard output stays ours while native code prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rdp.selection import Problem
from rdp.selection.backends import isolated
from rdp.selection.linear import linear_form

NOISY = """
import ctypes, os
import numpy as np
from rdp.selection.backends import RawAnswer
from rdp.selection.status import Status

class Noisy:
    name = "noisy"
    def solve(self, form, gap_abs, time_limit):
        os.write(1, b"straight\\n")
        ctypes.CDLL(None).printf(b"held back by the C library\\n")
        return RawAnswer(Status.FEASIBLE, np.zeros(form.images, dtype=np.int64))
"""

SOLVE = """
import rdp.selection.backends as backends
from rdp.selection import Problem, solve_problem
backends.register("noisy", "noisy:Noisy")
problem = Problem.from_arrays({"mse": [[3.0, 1.0]] * 2, "bpp": [[0.1, 0.4]] * 2}, minimize="mse", at_most={"bpp": 0.3})
print("before")
solve_problem(problem, solver="noisy")
print("between", flush=True)
solve_problem(problem, solver="noisy")
print("after")
"""

ISOLATED = """
import runpy
import rdp.selection.backends as backends
backends.register("noisy", "noisy:Noisy")
runpy.run_module("rdp.selection.backends.isolated", run_name="__main__")
"""


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    (tmp_path / "noisy.py").write_text(NOISY)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the C library is reached by another name")
def test_what_a_solver_prints_does_not_get_between_our_own_lines(noisy: Path) -> None:
    out = noisy / "out.txt"  # a file and no pipe: there the C library holds back
    with out.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-c", SOLVE], stdout=stream, stderr=subprocess.PIPE, text=True, check=False, cwd=noisy
        )
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "before\nbetween\nafter\n"
    assert done.stderr.count("straight") == done.stderr.count("held back by the C library") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed in a shell")
def test_a_process_without_standard_output_solves_too(noisy: Path) -> None:
    code = SOLVE.replace('noisy")', 'highs")').replace("print(", "str(").replace(", flush=True", "")
    done = subprocess.run(
        ["/bin/sh", "-c", f"\"{sys.executable}\" -c '{code}' >&-"],
        capture_output=True,
        text=True,
        check=False,
        cwd=noisy,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the C library is reached by another name")
def test_what_a_solver_prints_does_not_get_into_the_answer_of_the_isolated_process(noisy: Path) -> None:
    form = linear_form(
        Problem.from_arrays({"mse": [[3.0, 1.0]], "bpp": [[0.1, 0.4]]}, minimize="mse", at_most={"bpp": 0.3})
    )
    request = isolated._pack(
        what=np.array("noisy"), gap_abs=np.array(0.0), time_limit=np.array(np.inf), **isolated._form_arrays(form)
    )
    done = subprocess.run([sys.executable, "-c", ISOLATED], input=request, capture_output=True, check=False, cwd=noisy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"PK")
    assert isolated._unpack(done.stdout)["choice"].tolist() == [0]
    assert b"straight" in done.stderr
