"""Evaluating: rows that an independent computation confirms, and nothing done twice."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import rdp
from rdp.errors import RunFolderError, SpecError
from rdp.images import hash_bytes, hash_pixels, read_image

POINTS = ["webp:quality=30|80", "jpeg:quality=40", "png"]


def encodes(log: Path) -> list[str]:
    path = log / "encodes"
    return path.read_text().split() if path.exists() else []


def stable(run: rdp.Run) -> pd.DataFrame:
    """What must not depend on when and how a run was made."""
    frame = run.to_pandas()
    return frame[["dataset", "image", "point", "nbytes", "file_sha256", "reconstruction_sha256", "status"]]


def same(one: rdp.Run, two: rdp.Run, metrics: tuple[str, ...] = ("mse", "psnr")) -> None:
    """Equal as DESIGN.md defines it: keys, nbytes, file hashes and status equal, metrics within 1e-5."""
    pd.testing.assert_frame_equal(stable(one), stable(two))
    left, right = one.to_pandas(), two.to_pandas()
    for name in metrics:
        np.testing.assert_allclose(left[name], right[name], rtol=0, atol=1e-5)


def test_every_row_says_what_another_computation_says(photos: Path, tmp_path: Path) -> None:
    run = rdp.evaluate(photos, POINTS, ["mse", "psnr"], tmp_path / "run", jobs=2)
    frame = run.to_pandas()
    assert len(frame) == 3 * 4 and (frame.status == "ok").all() and frame.message.isna().all()
    for row in frame.itertuples():
        original = read_image(photos / row.image)
        data = run.object_path(row.file_sha256).read_bytes()
        assert hash_bytes(data) == row.file_sha256 and len(data) == row.nbytes
        decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert hash_pixels(decoded) == row.reconstruction_sha256
        assert hash_pixels(original) == row.pixels_sha256
        assert (row.height, row.width) == original.shape[:2]
        assert row.bpp == pytest.approx(8 * len(data) / (row.width * row.height), rel=1e-15)
        mse = np.mean((original.astype(float) - decoded) ** 2)
        assert row.mse == pytest.approx(mse, rel=1e-12)
        assert row.psnr == pytest.approx(10 * np.log10(255**2 / mse) if mse else np.inf)
        assert row.encode_s > 0 and row.decode_s > 0 and row.contended


def test_times_are_measurements_only_with_one_worker(photos: Path, tmp_path: Path) -> None:
    run = rdp.evaluate(photos / "a.png", "png", "mse", tmp_path / "run", jobs=1)
    assert not run.to_pandas().contended.any()


def test_a_second_call_does_nothing(photos: Path, tmp_path: Path, crashy: Path) -> None:
    for _ in range(2):
        run = rdp.evaluate(photos, "crashy:level=1..3", ["mse"], tmp_path / "run", jobs=2)
    assert len(encodes(crashy)) == 9
    assert run.sessions[-1]["encoded"] == run.sessions[-1]["scored"] == 0


def test_new_codecs_images_and_metrics_add_exactly_what_is_missing(photos: Path, tmp_path: Path, crashy: Path) -> None:
    out = tmp_path / "run"
    rdp.evaluate(photos / "a.png", "crashy:level=1", ["mse"], out, dataset="d", jobs=1)
    assert len(encodes(crashy)) == 1
    rdp.evaluate(photos, "crashy:level=1|2", ["mse"], out, dataset="d", jobs=2)
    assert len(encodes(crashy)) == 6
    run = rdp.evaluate(photos, "crashy:level=1|2", ["psnr", "histogram_kl"], out, dataset="d", jobs=2)
    assert len(encodes(crashy)) == 6  # scored from the kept files
    assert run.sessions[-1]["scored"] == 6
    frame = run.to_pandas()
    assert len(frame) == 6
    assert frame[["mse", "psnr", "histogram_kl", "histogram_kl_reverse"]].notna().all(axis=None)


def test_points_that_share_an_encoder_are_encoded_once(photos: Path, tmp_path: Path, crashy: Path) -> None:
    run = rdp.evaluate(photos, "crashy:decoder=0..4", ["mse"], tmp_path / "run", jobs=1)
    frame = run.to_pandas()
    assert len(encodes(crashy)) == 3
    assert len(frame) == 15 and frame.file_sha256.nunique() == 3 and frame.reconstruction_sha256.nunique() == 15
    assert sorted(frame[frame.image == "a.png"].mse.round(1)) == pytest.approx([0, 1, 4, 9, 16], abs=0.9)


def test_without_kept_files_a_new_metric_encodes_again(photos: Path, tmp_path: Path, crashy: Path) -> None:
    out = tmp_path / "run"
    rdp.evaluate(photos, "crashy", ["mse"], out, keep="none", jobs=1)
    assert not (out / "objects").exists()
    run = rdp.evaluate(photos, "crashy", ["mse", "psnr"], out, keep="none", jobs=1)
    assert len(encodes(crashy)) == 6 and run.sessions[-1]["scored"] == 3
    assert run.to_pandas().psnr.notna().all()


def test_a_file_that_comes_out_otherwise_makes_the_whole_row_anew(photos: Path, tmp_path: Path, crashy: Path) -> None:
    out = tmp_path / "run"
    first = rdp.evaluate(photos, "crashy:how=random", ["mse", "histogram_kl"], out, keep="none", jobs=1).to_pandas()
    run = rdp.evaluate(photos, "crashy:how=random", ["psnr"], out, keep="none", jobs=1)
    second = run.to_pandas()
    assert len(second) == 3 and run.sessions[-1]["encoded"] == 3
    assert not set(first.file_sha256) & set(second.file_sha256)
    # The metrics of earlier calls belong to the row and are made anew with it.
    assert second[["mse", "psnr", "histogram_kl"]].notna().all(axis=None)
    assert set(second.session) == {2}


def test_a_damaged_kept_file_is_not_believed(photos: Path, tmp_path: Path, crashy: Path) -> None:
    out = tmp_path / "run"
    run = rdp.evaluate(photos, "crashy", ["mse"], out, jobs=1)
    for sha in run.to_pandas().file_sha256:
        run.object_path(sha).write_bytes(b"damaged")
    again = rdp.evaluate(photos, "crashy", ["psnr"], out, jobs=1)
    assert len(encodes(crashy)) == 6 and again.to_pandas().psnr.notna().all()
    assert stable(run).equals(stable(again))


def test_reconstructions_are_kept_on_request(photos: Path, tmp_path: Path) -> None:
    run = rdp.evaluate(photos, "webp:quality=20", ["mse"], tmp_path / "run", keep="files,reconstructions", jobs=1)
    for row in run.to_pandas().itertuples():
        kept = read_image(run.object_path(row.reconstruction_sha256, ".png"))
        assert hash_pixels(kept) == row.reconstruction_sha256


def test_rows_can_be_made_anew(photos: Path, tmp_path: Path, crashy: Path) -> None:
    out = tmp_path / "run"
    rdp.evaluate(photos, "crashy:level=1|2", ["mse"], out, jobs=1)
    run = rdp.evaluate(photos, "crashy:level=1|2", ["mse"], out, redo=["*level=2*"], jobs=1)
    assert len(encodes(crashy)) == 9
    frame = run.to_pandas()
    assert len(frame) == 6 and frame.groupby("point").session.max().tolist() == [1, 2]
    with pytest.raises(SpecError, match="matches none"):
        rdp.evaluate(photos, "crashy", ["mse"], out, redo=["webp*"], jobs=1)


def test_another_encoder_behind_the_same_name_is_refused(
    photos: Path, tmp_path: Path, crashy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    rdp.evaluate(photos, "crashy", ["mse"], out, jobs=1)
    monkeypatch.setenv("CRASHY_IDENTITY", "new weights")
    with pytest.raises(RunFolderError, match="made by another encoder.*--redo"):
        rdp.evaluate(photos, "crashy", ["mse"], out, jobs=1)
    run = rdp.evaluate(photos, "crashy", ["mse"], out, redo=["crashy*"], jobs=1)
    assert set(run.to_pandas().session) == {2}


def test_an_image_that_changed_is_refused(photos: Path, tmp_path: Path) -> None:
    rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", jobs=1)
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    with pytest.raises(RunFolderError, match=r"rows of 'a\.png' .* other pixels"):
        rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", jobs=1)


def test_two_data_sets_live_in_one_run(photos: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", dataset=name, jobs=1)
    assert run.to_pandas().groupby("dataset").size().to_dict() == {"one": 3, "two": 3}


def test_the_number_of_workers_changes_nothing(photos: Path, tmp_path: Path) -> None:
    runs = [rdp.evaluate(photos, POINTS, ["mse", "psnr"], tmp_path / f"run{jobs}", jobs=jobs) for jobs in (1, 3)]
    same(*runs)


def test_a_run_records_what_made_it(photos: Path, tmp_path: Path) -> None:
    run = rdp.evaluate(photos, "webp:quality=7", ["mse"], tmp_path / "run", jobs=1)
    (session,) = run.sessions
    assert session["rdp"] == rdp.__version__ and session["packages"]["pillow"]
    assert session["options"]["codecs"] == ["webp:quality=7,method=4"]
    assert session["worker_s"]["encode"] > 0
    frame = run.to_pandas()
    assert set(frame.session) == {1} and frame.codec_version.str.contains("libwebp").all()
    assert set(frame.encode_device) == {"cpu"}
    assert run.protocol == {"version": 1, "exif": "ignore", "icc": "ignore", "alpha": "refuse"}
    (scores,) = run.score_sets()
    assert scores.identity["name"] == "mse"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codecs": "wepb"}, "Did you mean 'webp'"),
        ({"metrics": "msee"}, "Did you mean 'mse'"),
        ({"metrics": "mse,,psnr"}, "empty"),
        ({"keep": "fles"}, "Did you mean 'files'"),
        ({"keep": "none,files"}, "goes with nothing else"),
        ({"jobs": 0}, "1 or more"),
        ({"exif": "maybe"}, "'ignore' or 'apply'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(
    options: dict[str, object], words: str, photos: Path, tmp_path: Path
) -> None:
    arguments = {"codecs": "png", "metrics": "mse", **options}
    with pytest.raises(SpecError, match=words):
        rdp.evaluate(photos, out=tmp_path / "run", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_another_decoder_behind_the_same_name_is_refused(photos: Path, tmp_path: Path) -> None:
    """The file would stay the same and the image not: rows of two decoders must not share a name."""
    tool, out = tmp_path / "t.toml", tmp_path / "run"
    body = '[tools.t]\nencode = ["cp", "{{input}}", "{{output}}"]\ndecode = {}\n'
    arguments = (photos, "external:tool=t", ["mse"], out)
    tool.write_text(body.format('["cp", "{input}", "{output}"]'))
    rdp.evaluate(*arguments, codec_files=[tool], jobs=1)
    script = "import sys; from PIL import Image; Image.open(sys.argv[1]).point(lambda v: v // 2).save(sys.argv[2])"
    tool.write_text(body.format(f'["{sys.executable}", "-c", "{script}", "{{input}}", "{{output}}"]'))
    with pytest.raises(RunFolderError, match="made by another decoder.*--redo"):
        rdp.evaluate(*arguments, codec_files=[tool], jobs=1)
    run = rdp.evaluate(*arguments, codec_files=[tool], redo=["external*"], jobs=1)
    assert (run.to_pandas().mse > 100).all()


def test_a_script_that_changed_is_another_encoder(photos: Path, tmp_path: Path) -> None:
    tool, out = tmp_path / "t.toml", tmp_path / "run"
    command = f'["{sys.executable}", "{{here}}/copy.py", "{{input}}", "{{output}}"]'
    tool.write_text(f"[tools.t]\nencode = {command}\ndecode = {command}\n")
    (tmp_path / "copy.py").write_text("import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])")
    rdp.evaluate(photos, "external:tool=t", ["mse"], out, codec_files=[tool], jobs=1)
    (tmp_path / "copy.py").write_text("import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])  # better")
    with pytest.raises(RunFolderError, match="made by another encoder"):
        rdp.evaluate(photos, "external:tool=t", ["mse"], out, codec_files=[tool], jobs=1)


def test_scores_whose_folder_was_deleted_are_made_again(photos: Path, tmp_path: Path) -> None:
    """What a refusal of other metric settings advises."""
    out = tmp_path / "run"
    run = rdp.evaluate(photos, "png", ["mse", "histogram_kl"], out, jobs=1)
    (scores,) = [scores for scores in run.score_sets() if scores.metric == "mse"]
    shutil.rmtree(out / scores.table)
    assert "mse" not in run.table().numeric_columns
    run = rdp.evaluate(photos, "png", ["mse"], out, jobs=1)
    assert run.sessions[-1]["scored"] == 3 and run.to_pandas().mse.notna().all()


@pytest.mark.parametrize("options", [{"jobs": "2"}, {"codecs": [5]}, {"metrics": [5]}])
def test_arguments_of_a_wrong_type_are_refused(options: dict[str, object], photos: Path, tmp_path: Path) -> None:
    arguments = {"codecs": "png", "metrics": "mse", **options}
    with pytest.raises(SpecError):
        rdp.evaluate(photos, out=tmp_path / "run", **arguments)  # type: ignore[arg-type]


def test_a_run_made_before_a_column_was_added_opens_and_grows(photos: Path, tmp_path: Path) -> None:
    """Parts of older versions lack later columns, which are then empty."""
    import pyarrow.parquet as pq

    out = tmp_path / "run"
    rdp.evaluate(photos, "png", ["mse"], out, jobs=1)
    (part,) = (out / "cells").glob("*.parquet")
    table = pq.ParquetFile(part).read()
    assert "bpp_fixed_law" in table.column_names
    pq.write_table(table.drop_columns(["bpp_fixed_law"]), part)
    frame = rdp.open_run(out).to_pandas()
    assert len(frame) == 3 and frame.bpp_fixed_law.isna().all()
    frame = rdp.evaluate(photos, ["png", "webp"], ["mse"], out, jobs=1).to_pandas()
    assert len(frame) == 6 and frame.bpp_fixed_law.isna().all()
