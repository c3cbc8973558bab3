"""`rdp solve` as a process: budgets of groups, a limit on the points, side information."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pytest

from rdp.tables import CellTable

MAIN = "from rdp.cli.app import main; main()"


@pytest.fixture
def study(table: CellTable, tmp_path: Path) -> Path:
    path = tmp_path / "study.csv"
    csv.write_csv(table.data, path)
    return path


def rdp_solve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, "solve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def scenes(table: CellTable, tmp_path: Path) -> Path:
    """The table with a column that parts its images into two scenes."""
    scene = ["x" if image != "b.png" else "y" for image in table.data.column("image").to_pylist()]
    path = tmp_path / "scenes.csv"
    csv.write_csv(table.data.append_column("scene", pa.array(scene)), path)
    return path


def test_budgets_of_groups_are_asked_for_and_shown(scenes: Path) -> None:
    words = ["--minimize", "mse", "--group-at-most", "bpp=0.41", "--group-at-least", "psnr=30", "--groups", "scene"]
    done = rdp_solve(scenes, *words)
    assert done.returncode == 0, done.stderr
    rows = {" ".join(line.split()[:5]) for line in done.stdout.splitlines()}
    # The images of x: 0.4 and 0.3 bit/pixel; that of y: 0.4.
    assert "bpp in 'x' <= 0.41" in rows
    assert "bpp in 'y' <= 0.41" in rows
    assert "psnr in 'x' >= 30" in rows
    assert "bpp 0.366667" in {" ".join(line.split()) for line in done.stdout.splitlines()}
    document = json.loads(rdp_solve(scenes, *words, "--json").stdout)
    assert document["problem"]["statement"] == {
        "minimize": "mse",
        "group_at_most": {"bpp": 0.41},
        "group_at_least": {"psnr": 30.0},
        "groups": "scene",
    }
    assert [budget["budget"] for budget in document["budgets"]] == [0.41, 0.41, 30.0, 30.0]


def test_of_many_groups_those_with_the_least_room_are_shown(tmp_path: Path) -> None:
    lines = ["dataset,image,point,bpp,mse"]
    lines += [f"d{k},i,q={q},{0.011 * k + 0.1 * q},{10 - q}" for k in range(12) for q in range(3)]
    path = tmp_path / "many.csv"
    path.write_text("\n".join(lines) + "\n")
    done = rdp_solve(path, "--minimize", "mse", "--group-at-most", "bpp=0.25")
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if "bpp in" in line]
    # Up to d4 the dearest point fits: 0.2 + 0.011 k; from d5 on the second: 0.1 + 0.011 k. The least slack is first.
    assert [line.split()[2] for line in shown] == ["'d4'", "'d3'", "'d2'", "'d11'", "'d1'"]
    assert "7 more groups keep to bpp <= 0.25" in done.stdout


def test_a_limit_on_the_points_is_kept_and_said(study: Path) -> None:
    words = ["--minimize", "mse", "--at-most", "bpp=0.44"]
    free = json.loads(rdp_solve(study, *words, "--json").stdout)
    assert sum(count > 0 for count in free["counts"].values()) == 2
    done = rdp_solve(study, *words, "--max-points", "1")
    assert done.returncode == 0, done.stderr
    assert "among 3 points, at most 1 of them in all" in done.stdout
    assert "     3  webp:quality=10" in done.stdout


def test_too_few_points_end_with_3_and_say_how_many_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("image,point,mse,bpp\na,p,1,9\na,q,2,0\nb,p,1,0\nb,q,2,9\n")
    done = rdp_solve(path, "--minimize", "mse", "--at-most", "bpp=1", "--max-points", "1")
    assert done.returncode == 3
    assert "no 1 point can serve every image within the budgets" in done.stderr
    assert "with 2 points (--max-points 2) there is a selection" in done.stderr


def test_side_information_is_charged_and_said(study: Path) -> None:
    words = ["--minimize", "mse", "--at-most", "nbytes=10000"]
    plain, charged = (json.loads(rdp_solve(study, *words, *more, "--json").stdout) for more in ([], ["--side-info"]))
    assert charged["chosen"] == plain["chosen"]
    assert charged["budgets"][0]["average"] == pytest.approx(plain["budgets"][0]["average"] + 0.25, rel=1e-12)
    assert charged["problem"]["statement"]["side_info"] is True
    assert charged["warnings"] == ["bpp and nbytes include side information: 2 bits an image (one of 3 points)"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-points", "0"], "--max-points: '0' is not a whole number, 1 or more"),
        (["--max-points", "1.5"], "--max-points: '1.5' is not a whole number"),
        (["--group-at-most", "bpp"], "--group-at-most 'bpp': write it as NAME=VALUE"),
        (["--group-at-most", "bpp=1", "--groups", "scene"], "no column 'scene'"),
        (["--groups", "scene"], "groups are given, but no budget for them"),
    ],
)
def test_words_about_groups_and_limits_that_cannot_be_used_end_with_2(
    study: Path, words: list[str], message: str
) -> None:
    done = rdp_solve(study, "--minimize", "mse", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in " ".join(done.stderr.split())
