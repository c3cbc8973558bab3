"""Tables: run folders, import and export, and the rows in memory."""

from rdp.tables.export import EXPORT_SUFFIXES, export_table, long_frame, wide_frame
from rdp.tables.manifest import write_atomically
from rdp.tables.reading import read_table
from rdp.tables.run import Run, ScoreSet, open_run
from rdp.tables.table import FAILED, OK, CellTable
from rdp.tables.writer import RunWriter

__all__ = [
    "EXPORT_SUFFIXES",
    "FAILED",
    "OK",
    "CellTable",
    "Run",
    "RunWriter",
    "ScoreSet",
    "export_table",
    "long_frame",
    "open_run",
    "read_table",
    "wide_frame",
    "write_atomically",
]
