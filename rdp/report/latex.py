r"""Text tables as LaTeX: a table with booktabs rules, to be brought in with \input.

The document needs the packages array, booktabs and graphicx (which shrinks a table that is wider than the line), and
longtable for tables that do not fit on a page.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from rdp.report.text import Cell, Code, Number, Piece, TextTable, pieces

ROWS_ON_A_PAGE = 40
"""A table with more rows is set as a longtable."""

_NAME_WIDTH = 34
"""A first column with longer text gets a fixed width, within which names may break."""

_HEADING_WIDTH = 13

_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A straight quote, which the default encoding has in typewriter text only.
    '"': r"{\ttfamily\char34}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "µ": r"$\mu$",
    "²": "$^2$",
    "³": "$^3$",
    "°": r"$^\circ$",
    "…": r"\ldots{}",
    "\u2019": "'",
}
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŒœŠšŽžŁłĞğİıŞşČčŘřĚěŮůŐőŰű"


def latex_table(table: TextTable, label: str) -> str:
    r"""The table with caption, `\label{tab:...}` and notes, ready for `\input`; a longtable if it is long."""
    rows = sum(len(group) for group in table.groups)
    long = rows > ROWS_ON_A_PAGE
    lines = [f"% Needs \\usepackage{{array,booktabs,{'longtable' if long else 'graphicx'}}}"]
    caption = f"\\caption{{{latex_text((table.caption,))}}}\\label{{tab:{label}}}"
    many = len(table.header) > 5
    style = ["\\footnotesize" if many else "\\small", f"\\setlength{{\\tabcolsep}}{{{'3pt' if many else '5pt'}}}"]
    head = ["\\toprule", " & ".join(_heading(h, a) for h, a in zip(table.header, table.align, strict=True)) + r" \\"]
    body = _body(table)
    if long:
        head += ["\\midrule"]
        lines += ["\\begingroup", *style, f"\\begin{{longtable}}{{{_columns(table)}}}", caption + r" \\", *head]
        lines += ["\\endfirsthead", *head, "\\endhead", "\\bottomrule", "\\endlastfoot", *body, "\\end{longtable}"]
        lines += [*_notes(table), "\\endgroup"]
    else:
        lines += [
            "\\begin{table}[tbp]",
            "\\centering",
            *style,
            caption,
            _FIT,
            f"\\begin{{tabular}}{{{_columns(table)}}}",
        ]
        lines += [*head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}}", *_notes(table), "\\end{table}"]
    return "\n".join(lines) + "\n"


def latex_cell(cell: Cell) -> str:
    """One cell."""
    return latex_text(pieces(cell))


def latex_text(text: Iterable[Piece]) -> str:
    """A sentence of pieces."""
    out = []
    for piece in text:
        if isinstance(piece, Code):
            # A long name may break after a colon or a comma.
            inner = escape(piece.text).replace(":", r":\allowbreak{}").replace(",", r",\allowbreak{}")
            out.append(f"\\texttt{{{inner}}}")
        elif isinstance(piece, Number):
            out.append(_number(piece.text))
        else:
            out.append(escape(piece))
    return "".join(out)


def escape(text: str) -> str:
    """Plain text; what pdflatex cannot set without more packages is written as its code point."""
    return "".join(_sign(character) for character in re.sub(r"\s", " ", text))


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if " " <= character <= "~" or character in _LETTERS:
        return character
    return f"[U+{ord(character):04X}]"


def _number(text: str) -> str:
    """Signs and infinity are set as mathematics, so that a minus is no hyphen."""
    value, space, rest = text.partition(" ")
    unit = "\\," + escape(rest) if space else ""
    if value.endswith("inf"):
        return f"${value.removesuffix('inf')}\\infty${unit}"
    return (f"${value}$" if value.startswith(("+", "-")) else escape(value)) + unit


def _columns(table: TextTable) -> str:
    """Column types: the first gets a fixed width when its text is long."""
    longest = max((_length(row[0]) for group in table.groups for row in group), default=0)
    first = r">{\raggedright\arraybackslash}p{0.3\linewidth}" if longest > _NAME_WIDTH else table.align[0]
    return "@{}" + first + table.align[1:] + "@{}"


def _length(cell: Cell) -> int:
    return sum(len(piece if isinstance(piece, str) else piece.text) for piece in pieces(cell))


def _heading(text: str, align: str) -> str:
    """A heading on several short lines, the unit on its own."""
    title, bracket, unit = text.partition(" (")
    lines = textwrap.wrap(title, _HEADING_WIDTH, break_long_words=False) or [""]
    lines += [f"({unit}"] if bracket else []
    if len(lines) == 1:
        return escape(lines[0])
    return f"\\begin{{tabular}}[b]{{@{{}}{align}@{{}}}}" + r"\\".join(map(escape, lines)) + "\\end{tabular}"


def _body(table: TextTable) -> list[str]:
    lines: list[str] = []
    for k, group in enumerate(table.groups):
        lines += ["\\midrule"] if k and group else []
        # A row that starts with a bracket would be read as an argument of the line break before it.
        lines += ["{}" + " & ".join(latex_cell(cell) for cell in row) + r" \\" for row in group]
    return lines


def _notes(table: TextTable) -> list[str]:
    if not table.notes:
        return []
    text = r"\par ".join(latex_text(note) for note in table.notes)
    return [
        "\\par\\smallskip",
        f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\\raggedright {text}\\end{{minipage}}",
    ]
