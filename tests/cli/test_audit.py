"""`rdp audit` as it is typed: what it prints, writes and refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import rdp
from rdp.cli.app import app
from rdp.images import write_png
from rdp.report.audit import audit
from rdp.report.audit_files import document_text
from rdp.selection.document import save_selection

NETWORK = """
import torch

class Colours(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)
"""

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures at four points, and nothing kept but the rows."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(8)
    for name, (height, width) in {"a": (40, 56), "b": (48, 40), "c": (64, 48)}.items():
        y, x = np.mgrid[0:height, 0:width]
        planes = [128 + 90 * np.sin(x / (6 + 4 * c)) * np.cos(y / 9) + rng.normal(0, 8, y.shape) for c in range(3)]
        write_png(folder / "photos" / f"{name}.png", np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8))
    points = ["webp:quality=20|80", "jpeg:quality=30|80"]
    found = rdp.evaluate(folder / "photos", points, ["mse"], folder / "run", jobs=1, keep="none")
    rates = found.to_pandas().groupby("point").bpp.mean()
    save_selection(rdp.solve(found, minimize="mse", at_most={"bpp": float(rates.mean())}), folder / "sel.json")
    save_selection(rdp.solve(found, minimize="bpp"), folder / "least.json")
    save_selection(rdp.solve(found, minimize="bpp", at_most={"mse": 0.001}), folder / "none.json")
    (folder / "cut.json").write_text('{\n"version": "')
    (folder / "empty.json").write_text("")
    return folder / "run"


@pytest.fixture
def command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `rdp audit` on the run, with a module of a network of one's own in reach."""
    (tmp_path / "audit_networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("audit_networks", None)

    def call(*options: object, selection: str = "sel.json") -> Result:
        given = ["audit", str(run), "--selection", str(run.parent / selection), *map(str, options)]
        return CliRunner().invoke(app, given)

    return call


def test_the_text_names_every_row_and_progress_goes_to_stderr(command: Command, run: Path) -> None:
    done = command("--metric", "swd", "--against", run.parent / "least.json", "--draws", "2", "--seed", "3")
    assert done.exit_code == 0, done.output
    for words in ("jpeg:quality=30", "webp:quality=80", "sel ", "least", "random, as sel", "swd, held out", "sel at "):
        assert words in done.stdout, words
    assert "pictures to compute" in done.stderr and "sets scored: 8 of 8" in done.stderr
    assert "pictures to compute" not in done.stdout
    quiet = command("--metric", "swd", "--draws", "2", "--seed", "3", "--no-held-out", "--quiet")
    assert quiet.exit_code == 0 and "sets scored" not in quiet.stderr and "held out" not in quiet.stdout


def test_the_json_is_the_document_of_the_verb(command: Command, run: Path) -> None:
    options = ("--metric", "swd,kd_colours", "--network", "audit_networks:Colours", "--patches", "16", "--draws", "3")
    done = command(*options, "--json", "--columns", "mse")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    from rdp.metrics.patches import PatchGrid

    found = audit(
        run, run.parent / "sel.json", ["swd", "kd_colours"], network="audit_networks:Colours",
        patches=PatchGrid(16, (0, 8)), draws=3, columns=["mse"],
    )  # fmt: skip
    assert document == json.loads(document_text(found))
    assert [measure["key"] for measure in document["measures"]] == [
        "mse", "swd", "kd_colours", "swd@held_out", "kd_colours@held_out", "fd_colours",
    ]  # fmt: skip
    assert document["measures"][2]["facts"]["features"]["name"] == "colours"


def test_the_folder_has_tables_text_and_figures(command: Command, tmp_path: Path) -> None:
    done = command("--metric", "swd", "--no-held-out", "--draws", "2", "--resamples", "4", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "written to" in done.stdout and "4 resamples of the images" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "audit.md", "audit.csv", "audit_comparisons.csv", "audit_intervals.csv", "audit.json", "audit_swd.png",
        "audit_swd.pdf",
    }  # fmt: skip
    assert "had an audit before" not in done.stderr
    again = command("--metric", "swd", "--draws", "2", "--out", tmp_path / "out")
    assert "had an audit before, which this one replaces; of that one are removed: audit_intervals.csv" in again.stderr
    assert "audit_swd_held_out.png" in {path.name for path in (tmp_path / "out").iterdir()}
    command("--metric", "swd", "--no-held-out", "--draws", "2", "--resamples", "4", "--out", tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "audit_intervals.csv")
    assert (frame.low <= frame.high).all() and set(frame.measure) == {"mse", "swd"}


@pytest.mark.parametrize(
    ("options", "selection", "words"),
    [
        (("--metric", "fidd"), "sel.json", "no set-level metric"),
        (("--metric", "swd"), "none.json", "its status is infeasible"),
        (("--metric", "swd"), "nowhere.json", "cannot read"),
        (("--metric", "kd_mine"), "sel.json", "network of yours"),
        (("--metric", "swd", "--patches", "16@x"), "sel.json", "SIDE@OFFSET"),
        (("--metric", "swd", "--draws", "-1"), "sel.json", "draws must be"),
        (("--metric", "swd", "--columns", "ms_sim"), "sel.json", "no column or average 'ms_sim'"),
        (("--metric", "swd", "--points", "bpg*"), "sel.json", "no point 'bpg*'"),
        (("--metric", "swd,kd_squeeze"), "sel.json", "--small mirror"),
        (
            ("--metric", "swd", "--small", "none"),
            "sel.json",
            "--small 'none' is not allowed: it takes refuse or mirror",
        ),
        (("--metric", "swd"), "cut.json", "damaged or cut short (line 2 is no JSON): solve again"),
        (("--metric", "swd"), "empty.json", "damaged or cut short (it is empty): solve again"),
    ],
)
def test_what_cannot_be_audited_is_refused_with_its_name(
    command: Command, options: tuple[str, ...], selection: str, words: str, tmp_path: Path
) -> None:
    done = command(*options, "--out", tmp_path / "new" / "out", selection=selection)
    assert done.exit_code == 2 and words in done.stderr, done.output
    assert not (tmp_path / "new").exists()


def test_a_run_folder_and_a_file_are_no_places_for_an_audit(command: Command, run: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    done = command("--metric", "swd", "--out", run)
    assert done.exit_code == 2 and "is a run folder; name another" in done.stderr
    assert sorted(path.name for path in run.iterdir()) == before
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        refused = command("--metric", "swd", "--out", tmp_path / place)
        assert refused.exit_code == 2 and "file" in refused.stderr, refused.output


def test_small_images_are_mirrored_up_to_a_patch_where_that_is_asked_for(command: Command) -> None:
    options = ("--metric", "kd_colours", "--network", "audit_networks:Colours", "--patches", "64", "--draws", "0")
    refused = command(*options, "--no-held-out")
    assert refused.exit_code == 2 and "Patches of at most 40 pixels a side fit into every image" in refused.stderr
    done = command(*options, "--no-held-out", "--small", "mirror", "--json")
    assert done.exit_code == 0, done.output
    facts = next(one["facts"] for one in json.loads(done.stdout)["measures"] if one["key"] == "kd_colours")
    assert facts["patches"] == 3


def test_an_interrupted_audit_says_that_what_was_computed_is_kept(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rdp.report.audit.audit", stop)
    done = command("--metric", "swd")
    assert done.exit_code == 130
    assert "interrupted: computed features are kept; the same command goes on from there" in done.stderr


def test_originals_that_were_moved_are_named(command: Command, run: Path) -> None:
    photos = run.parent / "photos"
    photos.rename(run.parent / "elsewhere")
    try:
        lost = command("--metric", "swd", "--no-held-out", "--seed", "11", "--draws", "0")
        assert lost.exit_code == 2 and "a.png" in lost.stderr
        done = command(
            "--metric", "swd", "--no-held-out", "--seed", "11", "--draws", "0", "--originals", run.parent / "elsewhere"
        )
        assert done.exit_code == 0, done.output
    finally:
        (run.parent / "elsewhere").rename(photos)
