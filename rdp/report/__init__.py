"""Reports: tables, text and figures of a study and its selections.

write_report(run, selection, "report/")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdp.report.writing import FIGURES, FORMATS, Report, write_report

__all__ = ["FIGURES", "FORMATS", "Report", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("rdp.report.writing"), name)
