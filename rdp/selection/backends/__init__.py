"""Solvers of the canonical form, by name, and which of them `auto` takes.

Each backend is a class with `solve(form, gap_abs, time_limit) -> RawAnswer`. The registry holds "module:Class"
strings, so that listing the names loads no solver.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Protocol, cast

from rdp.errors import SpecError, suggest
from rdp.selection.linear import LinearForm
from rdp.selection.problem import IntArray
from rdp.selection.status import Status

AUTO, DUAL = "auto", "dual"

BACKENDS: dict[str, str] = {
    "cbc": "rdp.selection.backends.cbc:Cbc",
    "cp-sat": "rdp.selection.backends.cp_sat:CpSat",
    "dual": "rdp.selection.backends.dual:DualSearch",
    "highs": "rdp.selection.backends.mathopt:Highs",
    "scip": "rdp.selection.backends.mathopt:Scip",
}


@dataclass(frozen=True, eq=False)
class RawAnswer:
    """What a solver says, to be checked: `choice` (N,) or None, and a lower bound of the cost without the offset."""

    status: Status
    choice: IntArray | None
    bound: float = -math.inf


class Backend(Protocol):
    """One solver."""

    name: str

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; stop within `gap_abs` of the optimum or after `time_limit` seconds. Raises `SolverError`."""
        ...


def register(name: str, target: str) -> None:
    """Add a backend; raises `SpecError` when the name is taken."""
    if name in (AUTO, *BACKENDS):
        raise SpecError(f"there is already a solver {name!r}")
    BACKENDS[name] = target


def require_solver(name: str) -> None:
    """Raise `SpecError` for a name that is neither `auto` nor a backend."""
    known = (AUTO, *BACKENDS)
    if not isinstance(name, str):
        raise SpecError(f"solver must be a name, one of {', '.join(known)}, not {name!r}")
    if name not in known:
        raise SpecError(f"there is no solver {name!r}.{suggest(name, known)} It is one of {', '.join(known)}")


def load_backend(name: str) -> Backend:
    """The backend of that name."""
    require_solver(name)
    module, _, attribute = BACKENDS[name].partition(":")
    return cast(Backend, getattr(importlib.import_module(module), attribute)())
