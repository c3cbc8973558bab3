"""Tables as CSV and Markdown, and figures in the style of the reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdp.report.figure_styles import STYLE


def markdown(frame: pd.DataFrame, digits: Mapping[str, int]) -> str:
    """A Markdown table, numbers rounded by column (3 digits unless said); NaN is empty."""

    def text(name: str, value: object) -> str:
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
            return str(value)
        whole = isinstance(value, int | np.integer)
        return "" if math.isnan(value) else str(value) if whole else f"{value:.{digits.get(name, 3)}f}"

    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * len(frame.columns)]
    for row in frame.astype(object).to_dict("records"):
        lines.append("| " + " | ".join(text(str(name), value) for name, value in row.items()) + " |")
    return "\n".join(lines)


def write_table(out: Path, name: str, frame: pd.DataFrame, digits: Mapping[str, int] | None = None) -> None:
    """`name.csv` and `name.md` in the folder, and on the screen."""
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / f"{name}.csv", index=False, float_format="%.8g")
    text = markdown(frame, digits or {})
    (out / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{name}\n{text}")


def new_figure(width: float, height: float) -> Any:
    """A figure of that size in inches, in the style of the reports; `save_figure` writes it."""
    import matplotlib

    matplotlib.rcParams.update(STYLE)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, out: Path, name: str) -> None:
    """`name.png` at 200 dpi in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.png", dpi=200, metadata={"Software": None})
