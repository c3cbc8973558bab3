"""What an installed rdp has: the index of weights, the type marker, and nothing that belongs to the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_wheel_carries_the_package_and_the_index_of_weights(root: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
        str(root),
    ]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {
        "rdp/__init__.py",
        "rdp/py.typed",
        "rdp/pretrained/index.toml",
        "rdp/codecs/descriptions/tfci.toml",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "studies/"))]
    code = "import rdp, rdp.weights as w; print(rdp.__file__); print(w.pretrained_folder()); print(*w.load_index())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, folder, entries = done.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path) and Path(folder) == tmp_path / "site" / "rdp" / "pretrained"
    assert "alexnet" in entries.split()


def test_the_constraints_hold_names_and_versions_only(root: Path) -> None:
    import re

    lines = (root / "constraints.txt").read_text().splitlines()
    assert lines and all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line) for line in lines)
