"""What goes wrong: bad images before anything starts, failing cells as rows, a full disk, a killed process."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import rdp
from rdp.errors import ImageError, MetricError, RunFolderError, WeightsError
from rdp.images import write_png


def test_all_bad_images_are_named_at_once_and_nothing_is_encoded(photos: Path, tmp_path: Path, crashy: Path) -> None:
    data = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(data[: len(data) // 2])
    (photos / "text.jpg").write_text("hello")
    Image.new("RGBA", (40, 40)).save(photos / "alpha.png")
    with pytest.raises(ImageError, match="3 of 6 images cannot be used; nothing was encoded") as caught:
        rdp.evaluate(photos, "crashy", ["mse"], tmp_path / "run", jobs=2)
    for name, words in {"cut.png": "truncated", "text.jpg": "not an image", "alpha.png": "alpha"}.items():
        assert any(name in line and words in line for line in str(caught.value).splitlines())
    assert not (crashy / "encodes").exists()


def test_an_image_too_small_for_a_metric_is_refused_first(photos: Path, tmp_path: Path, crashy: Path) -> None:
    with pytest.raises(MetricError, match=r"a\.png.*ms_ssim.*161"):
        rdp.evaluate(photos, "crashy", ["mse", "ms_ssim"], tmp_path / "run", jobs=1)
    assert not (crashy / "encodes").exists()


def test_a_metric_without_its_weights_fails_first_and_says_the_two_ways(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RDP_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"(?s)rdp weights fetch.*RDP_WEIGHTS"):
        rdp.evaluate(photos, "png", ["mse", "lpips_alex"], tmp_path / "run", jobs=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", r"ZeroDivisionError: unlucky picture \(crashy_codec.py:"),
        ("kill", "killed by SIGKILL .*out of memory.* while working on this cell"),
        ("exit", "died with exit code 7"),
    ],
)
def test_a_crashing_codec_is_a_row_and_the_run_goes_on(
    how: str, words: str, photos: Path, tmp_path: Path, crashy: Path
) -> None:
    with pytest.warns(RuntimeWarning, match="1 cells and 0 scores failed"):
        run = rdp.evaluate(photos, ["png", f"crashy:how={how}"], ["mse"], tmp_path / "run", jobs=2)
    frame = run.to_pandas()
    failed = frame[frame.status == "failed"]
    assert len(frame) == 6 and len(failed) == 1
    row = failed.iloc[0]
    assert row.image == "b.png" and row.point.startswith("crashy")
    assert frame[frame.status == "ok"].mse.notna().all() and pd.isna(row["mse"]) and pd.isna(row["nbytes"])
    assert re.search(words, row.message)


def test_a_failed_cell_is_tried_again_unless_told_otherwise(photos: Path, tmp_path: Path, crashy: Path) -> None:
    arguments = (photos, "crashy:how=raise", ["mse"], tmp_path / "run")
    with pytest.warns(RuntimeWarning):
        rdp.evaluate(*arguments, jobs=1)
    run = rdp.evaluate(*arguments, jobs=1, retry_failed=False)
    assert run.sessions[-1]["failed"] == 0
    with pytest.warns(RuntimeWarning):
        run = rdp.evaluate(*arguments, jobs=1)
    assert run.sessions[-1]["failed"] == 1 and len(run.to_pandas()) == 3


@pytest.mark.parametrize(("how", "words"), [("shape", "the decoder gave"), ("decode", "cannot decode")])
def test_a_decoder_that_fails_is_a_failed_row(how: str, words: str, photos: Path, tmp_path: Path, crashy: Path) -> None:
    with pytest.warns(RuntimeWarning):
        frame = rdp.evaluate(photos, f"crashy:how={how}", ["mse"], tmp_path / "run", jobs=1).to_pandas()
    assert (frame.status == "failed").all() and frame.message.str.contains(words).all()


def test_the_command_ends_with_code_1_and_a_count(photos: Path, tmp_path: Path) -> None:
    tool = tmp_path / "t.toml"
    tool.write_text('[tools.t]\nencode = ["cp", "{input}", "{output}"]\ndecode = ["false", "{input}", "{output}"]\n')
    done = command("evaluate", photos, "--codec", "external:tool=t", "--codec", "png", "--codec-file", tool,
                   "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 1
    assert "3 cells encoded" in done.stdout and "3 cells and 0 scores FAILED" in done.stdout
    assert "failed (3x): t: false failed with exit code 1" in done.stderr
    assert len(rdp.open_run(tmp_path / "run").table()) == 6
    assert "the run has 3 images, at 2 points" in done.stdout


def test_the_command_says_that_the_run_holds_images_of_earlier_calls(photos: Path, tmp_path: Path) -> None:
    command("evaluate", photos, "--codec", "png", "--metric", "mse", "--out", tmp_path / "run")
    other = tmp_path / "other"
    other.mkdir()
    write_png(other / "new.png", np.zeros((20, 20, 3), np.uint8))
    done = command("evaluate", other, "--codec", "png", "--metric", "mse", "--out", tmp_path / "run")
    assert (
        "1 cells encoded" in done.stdout
        and "the run has 4 images, 3 of them of earlier calls, at 1 point" in done.stdout
    )
    again = command("evaluate", other, "--codec", "png", "--metric", "mse", "--out", tmp_path / "run", "--json")
    document = json.loads(again.stdout)
    assert (document["run_images"], document["run_points"], document["encoded"]) == (4, 1, 0)


def command(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "rdp", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 600 kB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("cannot mount a small file system here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_ends_the_run_with_all_committed_rows_kept(small_disk: Path, tmp_path: Path, picture) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for k in range(8):
        write_png(folder / f"{k}.png", picture(256, 256))
    arguments = (
        "evaluate",
        folder,
        "--codec",
        "png:level=0|1",
        "--metric",
        "mse",
        "--out",
        small_disk / "run",
        "--jobs",
        "1",
    )
    done = command(*arguments)
    assert done.returncode == 2, done.stderr
    assert "no space left" in done.stderr and "rows committed so far are kept" in done.stderr
    assert "Traceback" not in done.stderr
    # What there is can be read, and with room the same command finishes.
    if (small_disk / "run" / "manifest.json").exists():
        assert (rdp.open_run(small_disk / "run").to_pandas().status == "ok").all()
    shutil.copytree(small_disk / "run", tmp_path / "run", dirs_exist_ok=True)
    done = command(*arguments[:-4], "--out", tmp_path / "run", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len(rdp.open_run(tmp_path / "run").table()) == 16


def test_a_folder_that_cannot_be_written_says_so(photos: Path) -> None:
    done = command("evaluate", photos, "--codec", "png", "--out", "/proc/run")
    assert done.returncode == 2
    assert "cannot write" in done.stderr or "no permission" in done.stderr
    assert "Traceback" not in done.stderr


def start(photos: Path, out: Path) -> subprocess.Popen[str]:
    words = [
        "evaluate",
        photos,
        "--codec",
        "webp:quality=0..60..2",
        "--codec",
        "png:level=0..9",
        "--out",
        out,
        "--jobs",
        "2",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "rdp", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def many_photos(tmp_path: Path, picture) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for k in range(12):
        write_png(folder / f"{k:02}.png", picture(90 + k, 120))
    return folder


def stable(run: Path):
    frame = rdp.open_run(run).to_pandas()
    return frame[
        ["dataset", "image", "point", "nbytes", "file_sha256", "reconstruction_sha256", "status", "mse", "psnr"]
    ]


def count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def kill_again_and_again(photos: Path, out: Path, rng: np.random.Generator) -> int:
    """Start a run, kill it at a random moment, start it again, until one ends by itself; the number of those killed."""
    for kills in range(40):
        process = start(photos, out)
        # The moment is random in work done, not in time: whatever the machine's speed, most calls are cut short.
        wanted = count_files(out) + int(rng.integers(0, 60))
        while process.poll() is None and count_files(out) < wanted:
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.02)))
        if process.poll() is not None:
            process.communicate()
            return kills
        process.kill()
        process.communicate()
        if (out / "run.json").exists():
            rdp.open_run(out).table()  # always a valid folder
    return 40


@pytest.mark.slow
def test_a_run_killed_at_random_moments_and_resumed_equals_one_that_was_not(many_photos: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    process = start(many_photos, whole)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    rng = np.random.default_rng()
    # A machine that looks away for a second lets a run come to its end early: then another one is killed more often.
    for attempt in range(5):
        pieces = tmp_path / f"pieces-{attempt}"
        if kill_again_and_again(many_photos, pieces, rng) > 3:
            break
    else:
        pytest.fail("no run was killed four times")
    process = start(many_photos, pieces)
    process.communicate()
    assert process.returncode == 0
    one, two = stable(whole), stable(pieces)
    assert len(one) == 12 * 41
    assert one.drop(columns=["mse", "psnr"]).equals(two.drop(columns=["mse", "psnr"]))
    np.testing.assert_allclose(one[["mse", "psnr"]].to_numpy(), two[["mse", "psnr"]].to_numpy(), atol=1e-5)


def test_ctrl_c_leaves_a_valid_folder_and_code_130(many_photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(many_photos, out)
    begin = time.monotonic()
    while not (out / "objects").exists() and time.monotonic() - begin < 60:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors
    if (out / "manifest.json").exists():
        assert (rdp.open_run(out).to_pandas().status == "ok").all()


def test_a_running_evaluation_keeps_others_out(photos: Path, tmp_path: Path) -> None:
    from rdp.tables import RunWriter

    with (
        RunWriter(tmp_path / "run", {"version": 1, "exif": "ignore", "icc": "ignore", "alpha": "refuse"}),
        pytest.raises(RunFolderError, match="another process is writing"),
    ):
        rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", jobs=1)


SLOW_TOOL = """
import shutil, sys, time
time.sleep(0.4)
shutil.copyfile(sys.argv[1], sys.argv[2])
"""


def test_a_killed_run_of_a_slow_codec_keeps_what_it_had_done(photos: Path, tmp_path: Path) -> None:
    """Tasks end after some seconds whatever cells cost, so that even a slow codec makes progress between kills."""
    (tmp_path / "slow.py").write_text(SLOW_TOOL)
    tool = tmp_path / "t.toml"
    command_line = f'["{sys.executable}", "{{here}}/slow.py", "{{input}}", "{{output}}"]'
    keys = '[tools.t.keys.n]\nkind = "integer"\n'
    tool.write_text(f"[tools.t]\nencode = {command_line}\ndecode = {command_line}\n{keys}")
    out = tmp_path / "run"
    words = [
        "evaluate",
        photos / "a.png",
        "--codec",
        "external:tool=t,n=1..40",
        "--codec-file",
        tool,
        "--out",
        out,
        "-j",
        "1",
    ]
    process = subprocess.Popen([sys.executable, "-m", "rdp", *map(str, words)], stderr=subprocess.PIPE)
    while process.poll() is None and not (out / "manifest.json").exists():
        time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert 0 < len(rdp.open_run(out).table()) < 40


def test_a_polite_kill_ends_like_ctrl_c(many_photos: Path, tmp_path: Path) -> None:
    process = start(many_photos, tmp_path / "run")
    while process.poll() is None and not (tmp_path / "run" / "objects").exists():
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "leaked" not in errors and "Traceback" not in errors


def test_a_device_that_is_not_there_is_refused_first(photos: Path, tmp_path: Path) -> None:
    for device in ("foo", "cuda:99"):
        with pytest.raises(MetricError, match=device):
            rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_becomes_read_only_is_a_message(small_disk: Path, photos: Path) -> None:
    run = small_disk / "run"
    rdp.evaluate(photos, "png", ["mse"], run, jobs=1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in (
        ["table", "export", run, small_disk / "t.csv"],
        ["table", "export", run, small_disk / "new" / "t.csv"],
    ):
        done = command(*words)
        assert done.returncode == 2 and "no permission to write" in done.stderr and "Traceback" not in done.stderr
