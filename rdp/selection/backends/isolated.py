"""Solve where OR-Tools works: in this process, or, where `highspy` was loaded first, in one of its own.

The child gets the form's arrays on its standard input and answers on its standard output, both as `.npz`. It takes
that descriptor for itself before it solves, so that nothing a solver prints gets into the answer.
"""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from dataclasses import fields
from time import perf_counter
from typing import Any

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer, load_backend
from rdp.selection.backends.ortools import ortools_loads
from rdp.selection.backends.streams import clean_stdout, take_stdout
from rdp.selection.linear import LinearForm
from rdp.selection.solver.dual import Dual, Relaxation
from rdp.selection.solver.whole import solve_certified
from rdp.selection.status import Status

RELAX, CERTIFIED = "relax", "certified"
NEEDS_NO_ORTOOLS = ("cbc",)
"""Solvers that run in this process whatever was loaded."""


def solve_anywhere(name: str, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
    """`load_backend(name).solve(...)`, in a child process where it must be."""
    if name in NEEDS_NO_ORTOOLS or ortools_loads():
        with clean_stdout():
            return load_backend(name).solve(form, gap_abs, time_limit)
    return _raw_answer_of(_ask(name, form, gap_abs, time_limit))


def relax_anywhere(form: LinearForm, time_limit: float | None) -> Relaxation:
    """The relaxation, in a child process where it must be."""
    if not len(form.budgets) or ortools_loads():
        ends = math.inf if time_limit is None else perf_counter() + time_limit
        return Dual(form).maximise(ends=ends)
    return _relaxation_of(_ask(RELAX, form, 0.0, time_limit))


def certify_anywhere(form: LinearForm, gap: float, time_limit: float | None) -> tuple[Relaxation, RawAnswer]:
    """`solve_certified(...)`, in a child process where it must be."""
    if ortools_loads():
        return solve_certified(form, gap, time_limit)
    answer = _ask(CERTIFIED, form, gap, time_limit)
    return _relaxation_of(answer), _raw_answer_of(answer)


def _raw_answer_of(answer: dict[str, Any]) -> RawAnswer:
    choice = answer["choice"] if len(answer["choice"]) else None
    return RawAnswer(Status(str(answer["status"])), choice, float(answer["cost_bound"]))


def _relaxation_of(answer: dict[str, Any]) -> Relaxation:
    split = int(answer["split"])
    return Relaxation(
        prices=answer["prices"] if bool(answer["priced"]) else None,
        bound=float(answer["bound"]),
        note=str(answer["note"]),
        infeasible=bool(answer["infeasible"]),
        best=answer["best"],
        split=None if split < 0 else split,
    )


def _ask(what: str, form: LinearForm, gap_abs: float, time_limit: float | None) -> dict[str, Any]:
    limit = math.inf if time_limit is None else time_limit
    request = _pack(what=np.array(what), gap_abs=np.array(gap_abs), time_limit=np.array(limit), **_form_arrays(form))
    # The child must find this very package, also where it is importable only through sys.path.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", "rdp.selection.backends.isolated"],
        input=request,
        capture_output=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SolverError(f"the process that solves for {what} ended with code {done.returncode}: {lines[-1]}")
    return _unpack(done.stdout)


def _form_arrays(form: LinearForm) -> dict[str, np.ndarray]:
    cuts = np.stack(form.cuts) if form.cuts else np.zeros((0, *form.allowed.shape), dtype=np.bool_)
    plain = [item.name for item in fields(form) if item.name not in ("cuts", "rooms")]
    arrays = {name: np.asarray(getattr(form, name)) for name in plain}
    return arrays | {"rows": np.array(form.rows, dtype=np.int64), "cuts": cuts}


def _form_of(arrays: dict[str, Any]) -> LinearForm:
    return LinearForm(
        cost=arrays["cost"],
        offset=float(arrays["offset"]),
        coefficients=arrays["coefficients"],
        budgets=arrays["budgets"],
        allowed=arrays["allowed"],
        rows=tuple(arrays["rows"].tolist()),
        cuts=tuple(arrays["cuts"]),
    )


def _pack(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _unpack(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def answer_request(data: bytes) -> bytes:
    """What the child does: solve what the bytes of `_ask` say."""
    arrays = _unpack(data)
    form, what = _form_of(arrays), str(arrays["what"])
    limit = float(arrays["time_limit"])
    time_limit = None if math.isinf(limit) else limit
    gap = float(arrays["gap_abs"])
    if what == RELAX:
        return _pack(**_relaxation_arrays(relax_anywhere(form, time_limit)))
    if what == CERTIFIED:
        relaxed, raw = solve_certified(form, gap, time_limit)
        return _pack(**_relaxation_arrays(relaxed), **_raw_arrays(raw))
    return _pack(**_raw_arrays(load_backend(what).solve(form, gap, time_limit)))


def _relaxation_arrays(relaxed: Relaxation) -> dict[str, np.ndarray]:
    nothing = np.zeros(0)
    return {
        "prices": nothing if relaxed.prices is None else relaxed.prices,
        "priced": np.array(relaxed.prices is not None),
        "bound": np.array(relaxed.bound),
        "note": np.array(relaxed.note),
        "infeasible": np.array(relaxed.infeasible),
        "best": nothing if relaxed.best is None else relaxed.best,
        "split": np.array(-1 if relaxed.split is None else relaxed.split),
    }


def _raw_arrays(raw: RawAnswer) -> dict[str, np.ndarray]:
    choice = np.zeros(0, dtype=np.int64) if raw.choice is None else raw.choice
    return {"status": np.array(raw.status.value), "choice": choice, "cost_bound": np.array(raw.bound)}


if __name__ == "__main__":
    with os.fdopen(take_stdout(), "wb") as answer:
        answer.write(answer_request(sys.stdin.buffer.read()))
