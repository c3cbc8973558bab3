"""One family of exceptions.

Every error that a user can cause or mend is an `RdpError`: its message names the file, column or option and says what
to do next. The command line prints the message alone and exits with `exit_code`; anything else is a bug of ours and
shows its traceback.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED_CELLS = 1
EXIT_INPUT = 2
EXIT_INFEASIBLE = 3
EXIT_NO_SELECTION = 4
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


class RdpError(Exception):
    """What the user gave, or where it runs, does not work; the message says what to do."""

    exit_code = EXIT_INPUT


class SpecError(RdpError):
    """A point, codec, key, value or pattern that the grammar or a registry refuses."""


class ImageError(RdpError):
    """An image file that cannot be used, or a folder without any."""


class TableError(RdpError):
    """A table, column or cell that cannot be used."""


class RunFolderError(RdpError):
    """A run folder that cannot be read, written, or merged with what is asked for."""


class WeightsError(RdpError):
    """Weights that are missing, unknown or of the wrong hash."""


class DependencyError(RdpError):
    """An optional package or program that is not installed; the message says which to install."""


class CodecError(RdpError):
    """A codec failed on one image: a failed cell of a run, an error for a single file."""


class FormatError(CodecError):
    """Bytes that are not a valid file of the format, or whose data runs out."""


class MetricError(RdpError):
    """A metric that cannot score what it was given."""


class SolverError(RdpError):
    """A solver that failed, or whose answer did not survive the check against the table."""


class InfeasibleError(RdpError):
    """There is provably no selection within the budgets; the message carries the explanation."""

    exit_code = EXIT_INFEASIBLE


class NoSelectionError(RdpError):
    """No selection was found within the time limit, and none is proven impossible."""

    exit_code = EXIT_NO_SELECTION


def suggest(word: str, known: list[str] | tuple[str, ...], count: int = 3) -> str:
    """` Did you mean 'a' or 'b'?` for the known words near `word`, or an empty string."""
    import difflib

    near = difflib.get_close_matches(word.lower(), [k.lower() for k in known], n=count, cutoff=0.55)
    originals = {k.lower(): k for k in known}
    if not near:
        return ""
    return f" Did you mean {' or '.join(repr(originals[n]) for n in near)}?"
