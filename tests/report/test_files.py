"""The files of a report: Markdown, LaTeX, PNG, PDF."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import rdp
from rdp.report import write_report
from rdp.report.figure import DPI, size_in
from rdp.report.latex import escape as latex_escape
from rdp.report.latex import latex_table
from rdp.report.markdown import code, markdown_cell, markdown_table
from rdp.report.text import Code, Number, TextTable, decimals_for, fixed

NASTY = ["a_b%c & d#e$f^g~h", r"back\slash {brace} <x|y>", '"quoted" `tick` [1]', "Ünïcode – 中文 ≥ ∞", "x" * 90]


@pytest.fixture
def selection(frame: pd.DataFrame) -> rdp.Selection:
    return rdp.solve(frame, minimize="lpips_alex", at_most={"bpp": 0.3}, at_least={"psnr": 27})


def unescaped_pipes(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))


def test_every_row_of_every_markdown_table_has_the_same_number_of_cells(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    write_report(frame, selection, tmp_path)
    for path in tmp_path.glob("*.md"):
        blocks = re.findall(r"(?:^\|.*\|\n)+", path.read_text() + "\n", flags=re.MULTILINE)
        assert blocks, path
        for block in blocks:
            lines = block.splitlines()
            assert len({unescaped_pipes(line) for line in lines}) == 1, path
            assert len({len(line) for line in lines}) == 1, "padded for a terminal"


def test_names_with_pipes_and_backticks_keep_a_markdown_table_whole() -> None:
    rows = tuple((Code(name), name) for name in [*NASTY, "a|b", "``"])
    lines = markdown_table(TextTable("", "ll", ("n|m", "p"), (rows,))).splitlines()
    assert {unescaped_pipes(line) for line in lines} == {3}
    assert code("a`b") == "`` a`b ``"
    assert markdown_cell(Code("a|b")) == r"`a\|b`"


def test_the_report_shows_what_was_asked_status_budgets_and_figure(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    report = write_report(frame, selection, tmp_path, title="My study")
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# My study\n")
    asked = "Minimise the average `lpips_alex`, with the average `bpp` at most 0.3 and the average `psnr` at least 27."
    assert asked in text
    assert "**OPTIMAL**" in text
    for budget in selection.budgets:
        assert budget.sentence in text
    assert "(figure.png)" in text
    for path in report.paths:
        assert path.exists()
        assert path.name == "report.md" or f"`{path.name}`" in text


def test_common_keys_are_left_out_of_names_and_noted(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    write_report(frame, selection, tmp_path, figures=())
    text = (tmp_path / "points.md").read_text()
    assert "`webp:quality=20`" in text
    assert "`webp` `method=4`" in text


def test_latex_signs_are_escaped() -> None:
    assert latex_escape("a_b%c&d#e") == r"a\_b\%c\&d\#e"
    assert latex_escape("中") == "[U+4E2D]"


def compile_latex(folder: Path, body: str, *, graphics: bool = False) -> str:
    """Compile a document with that body and return the log; skips where there is no pdflatex."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed")
    source = (
        "\\documentclass{article}\n\\usepackage{array,booktabs,graphicx,longtable}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (folder / "doc.tex").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [program, "-halt-on-error", "-interaction=nonstopmode", "doc.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    return log


def test_the_latex_tables_compile_and_fit_the_line(lossless: pd.DataFrame, tmp_path: Path) -> None:
    one = rdp.solve(lossless, minimize="mse", at_most={"bpp": 0.3})
    two = rdp.solve(lossless, minimize="lpips_alex", at_most={"bpp": 0.4}, points=["webp:*"])
    write_report(lossless, {"RD_1": one, "R&P": two}, tmp_path, formats=["latex"])
    body = "\\input{points.tex}\n\\input{comparison.tex}\n\\includegraphics{figure.pdf}"
    log = compile_latex(tmp_path, body)
    assert "Overfull" not in log


def test_latex_tables_of_nasty_names_and_of_many_rows_compile(tmp_path: Path) -> None:
    rows = tuple(((Code(name), " ", name), Number("-1.5"), Number("inf")) for name in NASTY)
    numbers = tuple((f"[row {k}]", Number("+1 %"), Number("")) for k in range(60))
    notes = (("A note on ", Code("x_y"), "."),)
    short = TextTable("Caption with 50 % & more", "lrr", ("Name", "Value (dB)", "A long heading here"), (rows,), notes)
    long = TextTable("Long", "lrr", ("Name", "Value (dB)", "B"), (numbers, rows), notes)
    (tmp_path / "a.tex").write_text(latex_table(short, "a"), encoding="utf-8")
    (tmp_path / "b.tex").write_text(latex_table(long, "b"), encoding="utf-8")
    compile_latex(tmp_path, "\\input{a.tex}\n\\input{b.tex}")


def figure_bytes(frame: pd.DataFrame, selection: object, folder: Path) -> tuple[bytes, bytes]:
    write_report(frame, selection, folder, formats=())  # type: ignore[arg-type]
    return (folder / "figure.png").read_bytes(), (folder / "figure.pdf").read_bytes()


def test_figure_files_have_the_promised_size_and_embedded_fonts(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    from rdp.report.curves import make_plot
    from rdp.report.study import make_study

    png, pdf = figure_bytes(frame, selection, tmp_path)
    plot = make_plot(make_study(rdp.read_table(frame), selection, None, None))
    assert plot is not None
    assert [panel.y.key for panel in plot.panels] == ["lpips_alex", "psnr"]
    width, height = size_in(plot)
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.size == (int(width * DPI), int(height * DPI))
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert box is not None
    assert [float(v) / 72 for v in box.groups()] == pytest.approx([width, height], abs=0.01)
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_figure_files_are_the_same_when_written_twice(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    assert figure_bytes(frame, selection, tmp_path / "a") == figure_bytes(frame, selection, tmp_path / "b")


@pytest.mark.slow
def test_all_files_are_the_same_in_another_process_with_another_hash_seed(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    """Also under a user's own matplotlib settings."""
    table = tmp_path / "cells.parquet"
    frame.to_parquet(table)
    path = rdp.solve(table, minimize="mse", at_most={"bpp": 0.3}).save(tmp_path / "s.json")
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 7\nfont.size: 20\n")
    digests = []
    for seed in ("1", "2"):
        out = tmp_path / f"out{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        environment |= {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")} if seed == "2" else {}
        program = f"import rdp; rdp.write_report({str(table)!r}, {str(path)!r}, {str(out)!r})"
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}
        digests.append(files)
    assert digests[0] == digests[1]
    assert {"report.md", "figure.png", "figure.pdf", "points.tex", "chosen.csv"} <= set(digests[0])


def test_drawing_leaves_the_settings_of_matplotlib_alone(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    pyplot_was_loaded = "matplotlib.pyplot" in sys.modules
    figure_bytes(frame, selection, tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_was_loaded


def test_decimals_give_four_significant_digits_and_three_for_decibels() -> None:
    assert decimals_for([0.237, 0.132]) == 4
    assert decimals_for([52.1, 47.9]) == 2
    assert decimals_for([31.4], "dB") == 3
    assert decimals_for([float("inf"), 0.0]) == 0
    assert fixed(-0.0001, 2, sign=True) == Number("0.00")
    assert fixed(float("nan"), 2) == Number("–")
