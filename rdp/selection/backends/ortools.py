"""Loading OR-Tools, and getting along with `highspy`.

OR-Tools brings its own HiGHS library under the same library name as `highspy`. Whichever is loaded first in a process
serves both, and the other then lacks symbols. So OR-Tools is loaded before anything here that may load `highspy`
(PuLP does), and where the user has loaded `highspy` already, the solver runs in a process of its own.
"""

from __future__ import annotations

from rdp.errors import DependencyError


def ortools_loads() -> bool:
    """Whether OR-Tools works in this process: false when `highspy` came first, or PuLP, which loads it."""
    try:
        import ortools.math_opt.python.mathopt  # noqa: F401
    except ImportError:
        return False
    return True


def load_ortools() -> None:
    """Load OR-Tools; raises `DependencyError` that says what stands in the way."""
    try:
        import ortools.math_opt.python.mathopt  # noqa: F401
    except ImportError as error:
        raise DependencyError(f"OR-Tools cannot be loaded: {error}") from error
