"""`rdp train` as a person meets it: help, messages, exit codes, and a result on stdout alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rdp.cli.app import app
from rdp.images import write_png

TINY = [
    "--data.crop", "64", "--data.batch_size", "1", "--data.steps_per_epoch", "2", "--trainer.accelerator", "cpu",
    "--model.network.channels", "8", "--model.network.latent_channels", "8",
]  # fmt: skip


@pytest.mark.parametrize("words", [[], ["fit"], ["validate"], ["test"], ["rate-target"]])
def test_help_at_every_level_costs_no_training_library(words: list[str]) -> None:
    code = (
        "import sys, rdp.cli.app as a\n"
        f"try: a.app(['train', *{words!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy' if {'torch', 'lightning', 'jsonargparse'} & set(sys.modules) else 'light')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout and done.stdout.split()[-1] == "light"


def test_an_unknown_option_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "fit", "--model.lmbd", "3", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("error: unknown option --model.lmbd.") and len(done.stderr.splitlines()) == 1


def test_stdout_has_the_result_alone(tmp_path: Path, picture: Any) -> None:
    (tmp_path / "a").mkdir()
    write_png(tmp_path / "a" / "a.png", picture(64, 64))
    out = str(tmp_path / "out")
    words = ["train", "fit", "--data.train", str(tmp_path / "a"), *TINY, "--trainer.max_steps", "2", "--out", out]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2


@pytest.mark.slow
def test_control_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path, picture: Any) -> None:
    (tmp_path / "a").mkdir()
    write_png(tmp_path / "a" / "a.png", picture(64, 64))
    words = ["train", "fit", "--data.train", str(tmp_path / "a"), *TINY, "--out", str(tmp_path / "out")]
    running = subprocess.Popen([sys.executable, "-m", "rdp", *words], stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "out" / "checkpoints" / "last.ckpt"
    while running.poll() is None and not checkpoint.exists():
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 130 and "--resume" in said and "Traceback" not in said
