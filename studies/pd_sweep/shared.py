"""What this study takes from that of the shipped weights, whose scripts are not a package."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "pretrained"))

from common import (  # noqa: E402
    Floats,
    decoded,
    evaluated,
    mean_points,
    options_of,
    parser_of,
    read_models,
    rows_of,
    values_of,
)
from hific import Distances, distance  # noqa: E402
from output import new_figure, save_figure, write_table  # noqa: E402

__all__ = [
    "HERE",
    "Distances",
    "Floats",
    "decoded",
    "distance",
    "evaluated",
    "mean_points",
    "new_figure",
    "options_of",
    "parser_of",
    "read_models",
    "rows_of",
    "save_figure",
    "values_of",
    "write_table",
]
