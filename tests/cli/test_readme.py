"""The README's commands, run as they are written, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"(?P<mark><!-- needs internet -->\n)?```(?P<language>\w+)\n(?P<body>.*?)```", re.DOTALL)


def blocks(readme: str, *languages: str) -> list[tuple[str, str]]:
    """(language, body) of the blocks in some languages, as they stand; those that need the internet are left out."""
    found = [m for m in BLOCK.finditer(readme) if m["language"] in languages and not m["mark"]]
    return [(m["language"], m["body"]) for m in found if "make " not in m["body"]]


def environment() -> dict[str, str]:
    """The interpreter of the tests first on the PATH, as after `source .venv/bin/activate`."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_the_commands_of_the_readme_run_as_written(root: Path, tmp_path: Path) -> None:
    readme = (root / "README.md").read_text()
    written = blocks(readme, "sh", "python")
    assert len(written) >= 7
    run = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    for language, body in written:
        done = subprocess.run(
            [*run[language], body], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
    for name in ("run/rd.json", "run/rdp.json", "report/report.md", "report/points.tex", "report/points.csv"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.slow
def test_the_demo_writes_what_it_says(root: Path, tmp_path: Path) -> None:
    if not (Path(sys.prefix) / ".ready").exists():
        pytest.skip("these tests run in an environment that make did not set up")
    done = subprocess.run(
        ["make", "demo", f"VENV={sys.prefix}", f"OUT={tmp_path / 'demo'}"], cwd=root, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.lower().count("optimal") >= 2
    assert f"Look at {tmp_path / 'demo'}/report/report.md" in done.stdout
    assert (tmp_path / "demo" / "report" / "report.md").stat().st_size > 0


def test_the_tool_of_the_readme_is_a_valid_description(root: Path, tmp_path: Path) -> None:
    from rdp.codecs import load_tools

    ((_, toml),) = blocks((root / "README.md").read_text(), "toml")
    (tmp_path / "t.toml").write_text(toml)
    assert list(load_tools([tmp_path / "t.toml"])) == ["cjxl"]


def test_every_command_of_the_program_stands_in_the_readme(root: Path) -> None:
    from rdp.cli.app import app

    names = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    readme = (root / "README.md").read_text()
    assert len(names) >= 8
    for name in names:
        assert f"| `rdp {name}" in readme, name
