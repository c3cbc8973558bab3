"""`rdp solve` for distances of sets that ends early, or was asked for something else than it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import rdp
from rdp.analysis.sets.sliced_coarse import CoarseSliced
from rdp.cli.app import app
from rdp.cli.solve_sets import set_lines
from rdp.errors import EXIT_INTERRUPTED
from rdp.images import write_png
from rdp.metrics.patches import PatchGrid
from rdp.selection.setlevel.result import SetSelection

Solve = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rdp.Run:
    """Two pictures at three points."""
    folder = tmp_path_factory.mktemp("stopped")
    rng = np.random.default_rng(5)
    (folder / "photos").mkdir()
    for k in range(2):
        image = 128 + rng.normal(0, 40, (64, 48, 3))
        write_png(folder / "photos" / f"{k}.png", image.clip(0, 255).astype(np.uint8))
    return rdp.evaluate(folder / "photos", ["webp:quality=10|40|80"], ["psnr"], folder / "run", jobs=1)


@pytest.fixture
def solve(run: rdp.Run) -> Solve:
    """Runs `rdp solve` on the run."""
    return lambda *options: CliRunner().invoke(app, ["solve", str(run.path), *map(str, options)])


def test_that_the_time_ran_out_stands_in_text_and_document(solve: Solve, tmp_path: Path) -> None:
    done = solve("--minimize", "swd", "--time-limit", "0.000001", "--out", tmp_path / "sel.json")
    assert done.exit_code == 0, done.output
    assert "the time ran out after " in done.stdout and "--time-limit SECONDS" in done.stdout
    assert "not proven best" in done.stderr and "the time ran out" in done.stderr
    assert json.loads((tmp_path / "sel.json").read_text())["stopped"] == "time"
    whole = solve("--minimize", "swd")
    assert "the time ran out" not in whole.output and "all choices looked at" in whole.stdout


@pytest.mark.parametrize("out", [True, False])
def test_after_an_interruption_the_best_so_far_is_written(
    solve: Solve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: bool
) -> None:
    relaxed, calls = CoarseSliced.relaxed, []

    def interrupted(self: CoarseSliced, shares: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return relaxed(self, shares)

    monkeypatch.setattr(CoarseSliced, "relaxed", interrupted)
    done = solve("--minimize", "swd", *(["--out", tmp_path / "sel.json"] if out else []))
    assert done.exit_code == EXIT_INTERRUPTED
    assert "interrupted after " in done.stdout and "this is the best selection so far" in done.stdout
    if not out:
        assert "interrupted: the best selection so far stands above; --out FILE writes it" in done.stderr
        return
    assert f"interrupted: the best selection so far is in {tmp_path / 'sel.json'}" in done.stderr
    loaded = rdp.load_selection(tmp_path / "sel.json")
    assert isinstance(loaded, SetSelection) and loaded.found and loaded.stopped == "interrupted"
    assert "0 of 4" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minimize", "swdd"], "no column 'swdd'. Did you mean 'swd'?"),
        (["--minimize", "bpp", "--at-least", "ssim=0.9"], "rdp evaluate IMAGES --out RUN --metric ssim` adds it"),
        (["--minimize", "bpp", "--at-least", "ms_ssim_db=9"], "--metric ms_ssim` adds it"),
    ],
)
def test_what_is_not_there_is_said_with_what_is_near_or_how_to_have_it(
    options: list[str], message: str, solve: Solve
) -> None:
    done = solve(*options)
    assert done.exit_code == 2 and message in done.stderr


def test_help_names_every_distance_of_sets() -> None:
    text = CliRunner().invoke(app, ["solve", "--help"]).stdout
    head = " ".join(text.split("Exit codes")[0].split())
    assert all(name in head for name in ("fid, kid, fd_squeeze", "kd_squeeze, swd", "fd_NAME and kd_NAME"))


def test_a_negative_estimate_is_explained_by_the_name_that_was_typed(
    run: rdp.Run, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    found = rdp.solve_set(run, minimize="kd_squeeze", patches=PatchGrid(17, (0, 8)))
    text = "\n".join(set_lines(found))
    assert "of kd_squeeze the convex form is the V-statistic" in text and "of kid" not in text
    (value,) = found.values
    for score, said in [(-3.0, True), (3.0, False)]:
        lines = set_lines(replace(found, values=(replace(value, score=score),)))
        assert any(f"kd_squeeze is reported below 0: with {value.facts['patches']} patches" in x for x in lines) == said
