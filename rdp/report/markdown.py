"""Text tables as Markdown: GitHub's tables, padded so that they read in a terminal too."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rdp.report.text import Cell, Code, Number, Piece, TextTable, pieces


def markdown_table(table: TextTable, caption: bool = True) -> str:
    """The table with its caption above and its notes below, ending with a line feed. GitHub's tables have no rules
    between groups of rows: an empty row stands there."""
    width = len(table.header)
    rows = [tuple(escape(heading) for heading in table.header)]
    for k, group in enumerate(table.groups):
        rows += [("",) * width] if k and group else []
        rows += [tuple(markdown_cell(cell) for cell in row) for row in group]
    widths = [max(3, *(len(row[k]) for row in rows)) for k in range(width)]
    lines = [f"{escape(table.caption)}\n"] if caption and table.caption else []
    lines.append(_line(rows[0], widths, table.align))
    lines.append("|" + "|".join(_rule(w, a) for w, a in zip(widths, table.align, strict=True)) + "|")
    lines += [_line(row, widths, table.align) for row in rows[1:]]
    for note in table.notes:
        lines += ["", markdown_text(note)]
    return "\n".join(lines) + "\n"


def markdown_cell(cell: Cell) -> str:
    """One cell: pipes are escaped, also within code, where GitHub's tables want it."""
    return markdown_text(pieces(cell)).replace("|", r"\|").replace(r"\\|", r"\|")


def markdown_text(text: Iterable[Piece]) -> str:
    """A sentence of pieces."""
    out = []
    for piece in text:
        if isinstance(piece, Code):
            out.append(code(piece.text))
        elif isinstance(piece, Number):
            out.append(piece.text)
        else:
            out.append(escape(piece))
    return "".join(out)


def code(text: str) -> str:
    """A code span, fenced by more backticks than stand in a row inside."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    if not longest:
        return f"`{flat}`"
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}"


def escape(text: str) -> str:
    """Plain text on one line, whose signs mean nothing to Markdown."""
    flat = " ".join(text.split()) if "\n" in text else text
    # An underscore within a word is no emphasis in GitHub's Markdown, and reads better in a terminal as it is.
    flat = re.sub(r"([\\`*\[\]|]|<(?=[A-Za-z/!?]))", r"\\\1", flat)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", flat)


def _line(cells: tuple[str, ...], widths: list[int], align: str) -> str:
    padded = (c.rjust(w) if a == "r" else c.ljust(w) for c, w, a in zip(cells, widths, align, strict=True))
    return "| " + " | ".join(padded) + " |"


def _rule(width: int, align: str) -> str:
    return "-" * (width + 1) + ":" if align == "r" else "-" * (width + 2)
