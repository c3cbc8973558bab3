"""Damaged files of containers and streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_damaged_files_give_a_refusal_or_symbols_and_nothing_else(root: Path) -> None:
    """The short form of `python benchmarks/bitstream_fuzz.py`."""
    command = [sys.executable, root / "benchmarks" / "bitstream_fuzz.py", "--count", "4000", "--seed", "5000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4000 files" in done.stdout and "0 failures" in done.stdout
