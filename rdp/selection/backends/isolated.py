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
from typing import Any

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer, load_backend
from rdp.selection.backends.ortools import ortools_loads
from rdp.selection.backends.streams import clean_stdout, take_stdout
from rdp.selection.linear import LinearForm
from rdp.selection.relaxation import Relaxation, relax
from rdp.selection.status import Status

RELAX = "relax"
NEEDS_NO_ORTOOLS = ("cbc", "enumerate")
"""Solvers that run in this process whatever was loaded."""


def solve_anywhere(name: str, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
    """`load_backend(name).solve(...)`, in a child process where it must be."""
    if name in NEEDS_NO_ORTOOLS or ortools_loads():
        with clean_stdout():
            return load_backend(name).solve(form, gap_abs, time_limit)
    answer = _ask(name, form, gap_abs, time_limit)
    choice = answer["choice"] if len(answer["choice"]) else None
    return RawAnswer(Status(str(answer["status"])), choice, float(answer["bound"]))


def relax_anywhere(form: LinearForm, time_limit: float | None) -> Relaxation:
    """`relax(...)`, in a child process where it must be."""
    if not len(form.budgets) or ortools_loads():
        with clean_stdout():
            return relax(form, time_limit)
    answer = _ask(RELAX, form, 0.0, time_limit)
    prices = answer["prices"] if bool(answer["priced"]) else None
    return Relaxation(prices, float(answer["bound"]), str(answer["note"]), bool(answer["infeasible"]))


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
    arrays = {item.name: np.asarray(getattr(form, item.name)) for item in fields(form) if item.name != "cuts"}
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
    if what == RELAX:
        relaxed = relax(form, time_limit)
        prices = np.zeros(0) if relaxed.prices is None else relaxed.prices
        return _pack(
            prices=prices,
            priced=np.array(relaxed.prices is not None),
            bound=np.array(relaxed.bound),
            note=np.array(relaxed.note),
            infeasible=np.array(relaxed.infeasible),
        )
    raw = load_backend(what).solve(form, float(arrays["gap_abs"]), time_limit)
    choice = np.zeros(0, dtype=np.int64) if raw.choice is None else raw.choice
    return _pack(status=np.array(raw.status.value), choice=choice, bound=np.array(raw.bound))


if __name__ == "__main__":
    with os.fdopen(take_stdout(), "wb") as answer:
        answer.write(answer_request(sys.stdin.buffer.read()))
