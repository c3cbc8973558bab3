"""`dual`: our own solver, by prices and exact search, as one of the backends."""

from __future__ import annotations

import math
from time import perf_counter

from rdp.selection.backends import DUAL, RawAnswer
from rdp.selection.linear import LinearForm
from rdp.selection.solver.whole import certify


class DualSearch:
    """See `rdp.selection.solver.certified`."""

    name = DUAL

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; see `Backend`."""
        ends = math.inf if time_limit is None else perf_counter() + time_limit
        return certify(form, lambda _: gap_abs, ends)[1]
