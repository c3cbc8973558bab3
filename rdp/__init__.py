"""rdp: rate-distortion-perception studies in image compression.

    import rdp
    run = rdp.evaluate("photos/", codecs=["webp:quality=5..95..10"], metrics=["mse", "psnr"], out="run/")
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": 0.25})
    selection.chosen                      # image -> operating point

Names load when they are first used: importing this package loads neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rdp.codecs.files import decode_file as decode_file
    from rdp.codecs.files import encode_file as encode_file
    from rdp.errors import InfeasibleError as InfeasibleError
    from rdp.errors import NoSelectionError as NoSelectionError
    from rdp.errors import RdpError as RdpError
    from rdp.evaluation import evaluate as evaluate
    from rdp.images import read_image as read_image
    from rdp.images import sample_images as sample_images
    from rdp.report import write_report as write_report
    from rdp.report.audit import audit as audit
    from rdp.report.audit_files import write_audit as write_audit
    from rdp.report.frontier import write_frontier as write_frontier
    from rdp.report.knee import knee as knee
    from rdp.report.knee_files import write_knee as write_knee
    from rdp.report.pack import pack as pack
    from rdp.report.solve_set import solve_set as solve_set
    from rdp.report.unpack import unpack as unpack
    from rdp.selection import Problem as Problem
    from rdp.selection import Selection as Selection
    from rdp.selection import load_selection as load_selection
    from rdp.selection import solve as solve
    from rdp.selection.frontiers.verb import frontier as frontier
    from rdp.selection.sampling.bootstrap import bootstrap as bootstrap
    from rdp.selection.sampling.comparison import compare as compare
    from rdp.selection.sampling.holdout import holdout as holdout
    from rdp.tables import CellTable as CellTable
    from rdp.tables import Run as Run
    from rdp.tables import open_run as open_run
    from rdp.tables import read_table as read_table

_WHERE = {
    "CellTable": "rdp.tables",
    "InfeasibleError": "rdp.errors",
    "NoSelectionError": "rdp.errors",
    "Problem": "rdp.selection",
    "RdpError": "rdp.errors",
    "Run": "rdp.tables",
    "Selection": "rdp.selection",
    "audit": "rdp.report.audit",
    "bootstrap": "rdp.selection.sampling.bootstrap",
    "compare": "rdp.selection.sampling.comparison",
    "decode_file": "rdp.codecs.files",
    "encode_file": "rdp.codecs.files",
    "evaluate": "rdp.evaluation",
    "frontier": "rdp.selection.frontiers.verb",
    "holdout": "rdp.selection.sampling.holdout",
    "knee": "rdp.report.knee",
    "load_selection": "rdp.selection",
    "open_run": "rdp.tables",
    "pack": "rdp.report.pack",
    "read_image": "rdp.images",
    "read_table": "rdp.tables",
    "sample_images": "rdp.images",
    "solve": "rdp.selection",
    "solve_set": "rdp.report.solve_set",
    "unpack": "rdp.report.unpack",
    "write_audit": "rdp.report.audit_files",
    "write_frontier": "rdp.report.frontier",
    "write_knee": "rdp.report.knee_files",
    "write_report": "rdp.report",
}

__all__ = ["__version__", *sorted(_WHERE)]  # noqa: PLE0604 - the names of _WHERE are strings


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rdp' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
