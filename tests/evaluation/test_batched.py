"""Workers that code in batches: the same rows as the pool's, batches as large as wanted, one failure one row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdp
from rdp.errors import MetricError, RunFolderError, SpecError
from rdp.evaluation.facts import CodecFacts, group_points
from rdp.evaluation.inspection import Inspected
from rdp.evaluation.plan import ImagePlan
from rdp.evaluation.spans import Spans
from rdp.evaluation.stream import BatchStream
from rdp.evaluation.tasks import BatchResult, BatchTask, CellWork
from rdp.images import ImageFile, write_png

METRICS = ["mse", "psnr", "histogram_kl"]
STABLE = ["dataset", "image", "point", "nbytes", "bpp_estimated", "file_sha256", "reconstruction_sha256", "encoder_id",
          "decoder_id", "status", "message", *METRICS[:2]]  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path, picture) -> Path:
    """Eleven pictures: nine of one padded size, of which one has 33 rows, and two of another."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    sizes = [
        (40, 48),
        (39, 47),
        (38, 45),
        (33, 41),
        (40, 41),
        (36, 46),
        (40, 48),
        (35, 42),
        (34, 48),
        (64, 24),
        (60, 20),
    ]
    for k, (height, width) in enumerate(sizes):
        write_png(folder / f"{k:02}.png", picture(height, width))
    return folder


def calls(log: Path, what: str, point: str = "") -> list[int]:
    """Sizes of the batches of the calls of one kind."""
    path = log / "calls"
    lines = [line.split(" ", 2) for line in path.read_text().splitlines()] if path.exists() else []
    return [int(count) for kind, count, name in lines if kind == what and point in name]


def same(one: rdp.Run, two: rdp.Run) -> None:
    pd.testing.assert_frame_equal(one.to_pandas()[STABLE], two.to_pandas()[STABLE], rtol=0, atol=1e-5)


def test_batches_give_the_rows_of_the_pool(pictures: Path, tmp_path: Path, blocks: Path) -> None:
    points = ["blocks:step=3|9", "webp:quality=40", "png"]
    runs = [
        rdp.evaluate(pictures, points, METRICS, tmp_path / kind, workers=kind, jobs=1) for kind in ("pool", "batched")
    ]
    same(*runs)
    frame = runs[1].to_pandas()
    assert len(frame) == 44 and (frame.status == "ok").all()
    assert (frame.encode_s > 0).all() and (frame.decode_s > 0).all() and frame.session.eq(1).all()
    for sha in frame.file_sha256:
        assert runs[1].object_path(sha).exists()


def test_images_of_one_padded_size_go_together_as_many_as_the_codec_wants(
    pictures: Path, tmp_path: Path, blocks: Path
) -> None:
    rdp.evaluate(pictures, "blocks", ["mse"], tmp_path / "run", workers="batched")
    assert sorted(calls(blocks, "encode")) == sorted(calls(blocks, "decode")) == [1, 2, 4, 4]
    rdp.evaluate(pictures, "blocks", ["mse"], tmp_path / "pool", jobs=1)
    assert sorted(calls(blocks, "encode")) == [*[1] * 12, 2, 4, 4]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("encode", "ZeroDivisionError: unlucky picture"),
        ("decode", "RuntimeError: cannot decode"),
        ("kill", "killed by SIGKILL .*while working on this cell"),
    ],
)
def test_one_bad_image_of_a_batch_is_one_failed_row(
    how: str, words: str, pictures: Path, tmp_path: Path, blocks: Path
) -> None:
    with pytest.warns(RuntimeWarning, match="1 cells and 0 scores failed"):
        run = rdp.evaluate(pictures, [f"blocks:how={how}", "png"], ["mse"], tmp_path / "run", workers="batched")
    frame = run.to_pandas()
    failed = frame[frame.status == "failed"]
    assert len(frame) == 22 and list(failed.image) == ["03.png"] and failed.message.str.contains(words).all()
    with pytest.warns(RuntimeWarning, match="1 cells"):
        fine = rdp.evaluate(pictures, [f"blocks:how={how}", "png"], ["mse"], tmp_path / "pool", jobs=1)
    assert (
        frame[frame.status == "ok"].file_sha256.tolist()
        == fine.to_pandas().query("status == 'ok'").file_sha256.tolist()
    )


def test_a_codec_that_loses_an_image_of_a_batch_is_asked_for_each_alone(
    pictures: Path, tmp_path: Path, blocks: Path
) -> None:
    run = rdp.evaluate(pictures, "blocks:how=short", ["mse"], tmp_path / "run", workers="batched")
    assert (run.to_pandas().status == "ok").all()
    assert Counter(calls(blocks, "encode"))[1] >= 10


def test_a_codec_that_cannot_be_made_in_the_worker_is_failed_rows(pictures: Path, tmp_path: Path, blocks: Path) -> None:
    """In the main process it can, so that the run starts."""
    script = (
        "import os, rdp, blocks_codec\n"
        "from rdp.codecs import registry\n"
        "registry.FAMILIES['blocks'] = 'blocks_codec:Blocks'\n"
        "from rdp.evaluation import facts\n"
        "make = facts.create_codec\n"
        "def made(*given):\n"
        "    codec = make(*given); os.environ['BLOCKS_UNMADE'] = '1'; return codec\n"
        "facts.create_codec = made\n"
        f"rdp.evaluate({str(pictures)!r}, ['blocks:how=unmade', 'png'], ['mse'], {str(tmp_path / 'run')!r},"
        " workers='batched')\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frame = rdp.open_run(tmp_path / "run").to_pandas()
    assert frame.groupby("point").status.unique().map(list).tolist() == [["failed"], ["ok"]]
    assert frame.message.dropna().str.contains("cannot be made").all()


@pytest.mark.parametrize("workers", ["pool", "batched"])
def test_what_a_codec_estimates_of_its_files_stands_in_the_row(
    workers: str, photos: Path, tmp_path: Path, blocks: Path
) -> None:
    frame = rdp.evaluate(photos, ["blocks", "png"], ["mse"], tmp_path / "run", workers=workers).to_pandas()
    own = frame[frame.point.str.startswith("blocks")]
    np.testing.assert_allclose(own.bpp_estimated.astype(float), own.nbytes.astype(float) / 7)
    assert own.bpp_fixed_law.eq(2.5).all()
    assert frame[frame.point.str.startswith("png")][["bpp_estimated", "bpp_fixed_law"]].isna().all(axis=None)


@pytest.mark.parametrize("workers", ["pool", "batched"])
@pytest.mark.parametrize(("how", "words"), [("unknown", "Did you mean 'bpp_estimated'"), ("nan", "no number")])
def test_an_estimate_that_no_table_holds_is_a_failed_row(
    how: str, words: str, workers: str, photos: Path, tmp_path: Path, blocks: Path
) -> None:
    with pytest.warns(RuntimeWarning):
        run = rdp.evaluate(photos, f"blocks:how={how}", ["mse"], tmp_path / "run", workers=workers)
    frame = run.to_pandas()
    assert (frame.status == "failed").all() and frame.message.str.contains(words).all()


def test_points_that_share_an_encoder_are_encoded_once_in_batches_too(
    pictures: Path, tmp_path: Path, blocks: Path
) -> None:
    run = rdp.evaluate(pictures, "blocks:decoder=0..3", ["mse"], tmp_path / "run", workers="batched")
    frame = run.to_pandas()
    assert sum(calls(blocks, "encode")) == 11 and sum(calls(blocks, "decode")) == 44
    assert frame.groupby("image").file_sha256.nunique().eq(1).all()
    assert frame.groupby("image").encode_s.nunique().eq(1).all()


@pytest.mark.parametrize("workers", ["pool", "batched"])
def test_a_decoder_added_later_uses_the_file_that_was_kept(
    workers: str, photos: Path, tmp_path: Path, blocks: Path
) -> None:
    out = tmp_path / "run"
    first = rdp.evaluate(photos, "blocks:decoder=0", ["mse"], out, workers=workers).to_pandas()
    run = rdp.evaluate(photos, "blocks:decoder=0..2", ["mse"], out, workers=workers)
    assert sum(calls(blocks, "encode")) == 3 and run.sessions[-1]["encoded"] == 6
    frame = run.to_pandas()
    assert frame.groupby("image").file_sha256.unique().map(list).tolist() == [[sha] for sha in first.file_sha256]
    assert frame.groupby("image").encode_s.nunique().eq(1).all()
    assert frame.reconstruction_sha256.nunique() == 9
    assert frame.bpp_estimated.notna().all()
    # Where nothing was kept, or what was kept is damaged, it is encoded.
    for sha in set(first.file_sha256):
        run.object_path(sha).write_bytes(b"damaged")
    rdp.evaluate(photos, "blocks:decoder=3", ["mse"], out, workers=workers)
    assert sum(calls(blocks, "encode")) == 6
    # What is to be made anew is encoded, and files of rows that are made anew are not believed.
    rdp.evaluate(photos, "blocks:decoder=0..4", ["mse"], out, workers=workers, redo=["blocks*"])
    assert sum(calls(blocks, "encode")) == 9


def test_a_new_metric_scores_from_kept_files_in_batches(pictures: Path, tmp_path: Path, blocks: Path) -> None:
    out = tmp_path / "run"
    rdp.evaluate(pictures, "blocks", ["mse"], out, workers="batched")
    run = rdp.evaluate(pictures, "blocks", ["psnr"], out, workers="batched")
    assert sum(calls(blocks, "encode")) == 11 and run.sessions[-1]["scored"] == 11
    for sha in run.to_pandas().file_sha256[:3]:
        run.object_path(sha).unlink()
    again = rdp.evaluate(pictures, "blocks", ["histogram_kl"], out, workers="batched")
    assert sum(calls(blocks, "encode")) == 14 and again.sessions[-1]["scored"] == 11
    assert again.to_pandas()[METRICS].notna().all(axis=None)


def test_a_picture_that_comes_out_otherwise_makes_the_whole_row_anew_in_batches(
    pictures: Path, tmp_path: Path, crashy: Path
) -> None:
    out = tmp_path / "run"
    arguments = (pictures, "crashy:how=random")
    rdp.evaluate(*arguments, ["mse"], out, workers="batched", keep="none")
    run = rdp.evaluate(*arguments, ["psnr"], out, workers="batched", keep="none")
    frame = run.to_pandas()
    assert run.sessions[-1]["encoded"] == 11 and frame.session.eq(2).all()
    assert frame[["mse", "psnr"]].notna().all(axis=None)


def test_times_are_measurements_where_nothing_else_ran(photos: Path, tmp_path: Path, pictures: Path, blocks) -> None:
    alone = rdp.evaluate(photos / "a.png", "blocks", ["mse"], tmp_path / "one", workers="batched").to_pandas()
    assert not alone.contended.any()
    many = rdp.evaluate(
        pictures, "blocks:step=1..8,how=slow", METRICS, tmp_path / "many", workers="batched"
    ).to_pandas()
    assert many.contended.any()


@pytest.mark.slow
def test_an_interrupted_run_in_batches_equals_one_that_was_not(pictures: Path, tmp_path: Path, blocks: Path) -> None:
    points = "blocks:how=slow,step=1..20"
    whole = rdp.evaluate(pictures, points, ["mse"], tmp_path / "whole", workers="batched")
    script = (
        "import rdp\nfrom rdp.codecs import registry\nregistry.FAMILIES['blocks'] = 'blocks_codec:Blocks'\n"
        f"rdp.evaluate({str(pictures)!r}, {points!r}, ['mse'], {str(tmp_path / 'run')!r}, workers='batched')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    while process.poll() is None and len(list((tmp_path / "run").rglob("objects/*/*"))) < 60:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = rdp.evaluate(pictures, points, ["mse"], tmp_path / "run", workers="batched")
    pd.testing.assert_frame_equal(
        whole.to_pandas()[["image", "point", "nbytes", "file_sha256", "status", "mse"]],
        resumed.to_pandas()[["image", "point", "nbytes", "file_sha256", "status", "mse"]],
    )


def test_an_image_that_changes_under_way_ends_the_run(pictures: Path, tmp_path: Path, blocks: Path) -> None:
    """Inspected images are remembered by size and time stamp, so a change that keeps both is found by the worker."""
    out = tmp_path / "run"
    rdp.evaluate(pictures, "blocks", ["mse"], out, workers="batched")
    path = pictures / "05.png"
    status, data = path.stat(), path.read_bytes()
    other = tmp_path / "other.png"
    write_png(other, np.zeros((36, 46, 3), np.uint8))
    path.write_bytes(other.read_bytes().ljust(len(data), b"\0")[: len(data)])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(RunFolderError, match=r"05\.png changed while"):
        rdp.evaluate(pictures, "blocks:step=9", ["mse"], out, workers="batched")
    assert len(rdp.open_run(out).to_pandas()) >= 11


# ---- weights


def test_points_whose_weights_do_not_fit_together_are_done_group_by_group(
    pictures: Path, tmp_path: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker makes each codec once, although it cannot hold two at a time."""
    monkeypatch.setenv("BLOCKS_WEIGHTS", str(5 << 30))
    for workers, makers in (("batched", 1), ("pool", 2)):
        (blocks / "calls").unlink(missing_ok=True)
        run = rdp.evaluate(pictures, "blocks:step=1..4", ["mse"], tmp_path / workers, workers=workers, jobs=2)
        assert len(run.to_pandas()) == 44
        for step in range(1, 5):
            # One more in the main process, which asks for its identity.
            assert 2 <= len(calls(blocks, "make", f"step={step},")) <= 1 + makers
        names = [line.split(" ")[2] for line in (blocks / "calls").read_text().splitlines() if line.startswith("enc")]
        if makers == 1:
            assert names == sorted(names)


def facts(nbytes: int, encoder: str) -> CodecFacts:
    return CodecFacts(encoder, "d", "v", nbytes, False)


def test_groups_fill_the_room_in_order() -> None:
    points = rdp_points("blocks", range(6))
    weights = dict(zip((point.name for point in points), map(facts, [4, 4, 0, 4, 12, 0], "abcdef"), strict=True))
    assert list(group_points(points, weights, 8).values()) == [0, 0, 0, 1, 2, 2]
    assert set(group_points(points, weights, 100).values()) == {0}


def test_points_of_one_encoder_are_not_cut_apart() -> None:
    points = rdp_points("blocks", range(4))
    weights = dict(zip((point.name for point in points), map(facts, [4, 4, 4, 4], "abbb"), strict=True))
    assert list(group_points(points, weights, 8).values()) == [0, 0, 0, 0]
    assert list(group_points(points, weights, 4).values()) == [0, 1, 1, 1]


# ---- tasks


def rdp_points(family: str, steps: range) -> list:
    from rdp.codecs import OperatingPoint

    return [OperatingPoint(family, (("step", step),), "nowhere:None") for step in steps]


def plans(sizes: list[tuple[int, int]], points: int, group: int = 0) -> list[ImagePlan]:
    cells = tuple(CellWork(point, "e", ("mse",)) for point in rdp_points("blocks", range(points)))
    return [
        ImagePlan(Inspected(ImageFile("d", f"{k}", Path(f"{k}")), w, h, f"{k}", ()), cells, group)
        for k, (h, w) in enumerate(sizes)
    ]


def test_a_group_is_finished_before_the_next_begins_although_tasks_come_back_half_done() -> None:
    """As the pool does it: it holds two tasks a worker, and asks for more before the first is back."""
    sizes = [(64, 64)] * 6
    stream = BatchStream([*plans(sizes, 4), *plans(sizes, 4, group=1)], 2, [f"blocks:step={k}" for k in range(4)])
    under_way: list[BatchTask] = []
    worked: list[int] = []
    while True:
        while len(under_way) < 4 and (task := stream.draw()) is not None:
            under_way.append(task)
        if not under_way:
            break
        task = under_way.pop(0)
        worked.append(task.images[0].group)
        stream.put_back(task, BatchResult((), tuple(1 for _ in task.images)))
    assert worked == sorted(worked)
    assert len(worked) == 2 * 2 * 4, "two groups, two shares, a cell of each image at a time"


def test_tasks_hold_near_sizes_and_leave_work_for_every_worker() -> None:
    sizes = [(512, 768), (768, 512)] * 6
    stream = BatchStream(plans(sizes, 3), 2, [f"blocks:step={k}" for k in range(3)])
    tasks = [stream.draw(), stream.draw()]
    assert stream.draw() is None
    assert [{(image.height, image.width) for image in task.images} for task in tasks] == [{(512, 768)}, {(768, 512)}]


def test_what_a_task_leaves_comes_next_and_nothing_is_lost() -> None:
    stream = BatchStream(plans([(8, 8)] * 3, 4), 1, [f"blocks:step={k}" for k in range(4)])
    task = stream.draw()
    stream.put_back(task, BatchResult((), (4, 2, 0)))
    left = stream.draw()
    assert [(image.image.name, len(image.cells)) for image in left.images] == [("1", 2), ("2", 4)]
    assert left.images[0].cells == task.images[1].cells[2:]
    stream.put_back(left, BatchResult((), (2, 4)))
    assert stream.draw() is None


def test_a_task_under_which_a_worker_died_is_halved_down_to_the_cell() -> None:
    stream = BatchStream(plans([(8, 8)] * 5, 2), 1, ["blocks:step=0", "blocks:step=1"])
    blamed, deaths = None, 0
    while blamed is None:
        task = stream.draw()
        # The cell of image 3 at step 1 kills.
        if any(image.image.name == "3" and any("step=1" in c.point.name for c in image.cells) for image in task.images):
            deaths += 1
            blamed = stream.suspect(task)
    assert blamed.image.name == "3" and blamed.cells[0].point.name == "blocks:step=1" and deaths <= 5


def test_a_span_is_contended_by_what_ran_before_during_and_inside() -> None:
    spans = Spans()
    with spans.span() as first:
        pass
    with spans.span() as outer, spans.span() as inner:
        pass
    with spans.span() as last:
        pass
    assert [span.contended for span in (first, outer, inner, last)] == [False, True, True, False]


# ---- options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"workers": "batch"}, SpecError, "Did you mean 'batched'"),
        ({"dtype": "float8"}, SpecError, "--dtype.*float8"),
        ({"dtype": "float16"}, SpecError, "--dtype float16 needs a GPU"),
        ({"device": "cpu,cpu"}, SpecError, "--device cpu,cpu: a device stands twice"),
        ({"device": "cpu,cuda:0"}, (SpecError, MetricError), "--device"),
        ({"device": "tpu"}, MetricError, "--device.*tpu"),
        ({"device": None}, SpecError, "--device"),
    ],
)
def test_wrong_devices_and_dtypes_are_refused_before_anything_is_made(
    options: dict, error: type, words: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_device_dtype_and_kind_of_workers_stand_in_the_run(photos: Path, tmp_path: Path) -> None:
    run = rdp.evaluate(photos, "png", ["mse"], tmp_path / "run", dtype="bfloat16", workers="batched")
    options = run.sessions[-1]["options"]
    assert (options["device"], options["dtype"], options["workers"]) == ("cpu", "bfloat16", "batched")
    frame = run.to_pandas()
    assert frame.encode_device.eq("cpu").all() and frame.decode_device.eq("cpu").all()


# ---- with a network


@pytest.fixture
def network(tmp_path: Path) -> str:
    """The spec of a small network with random weights."""
    import torch

    from rdp.models.checkpoint import save_model
    from rdp.models.registry import create_model

    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_model(tmp_path / "small.safetensors", create_model("hyperprior", channels=8, latent_channels=12))
    return f"checkpoint:path={tmp_path / 'small.safetensors'}"


@pytest.mark.slow
def test_a_network_gives_the_same_rows_in_batches_and_in_the_pool(photos: Path, tmp_path: Path, network: str) -> None:
    runs = [
        rdp.evaluate(photos, [network, "png"], METRICS, tmp_path / kind, workers=kind, jobs=2)
        for kind in ("pool", "batched")
    ]
    same(*runs)
    own = runs[0].to_pandas().query("point.str.startswith('checkpoint')")
    assert own.bpp_estimated.notna().all() and own.encode_device.eq("cpu").all()
    half = rdp.evaluate(photos, network, METRICS, tmp_path / "half", dtype="bfloat16", jobs=1).to_pandas()
    assert not set(half.encoder_id) & set(own.encoder_id)


@pytest.mark.gpu
def test_a_network_on_a_gpu_codes_in_batches_and_a_resumed_run_gives_the_same_files(
    pictures: Path, tmp_path: Path, network: str
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    whole = rdp.evaluate(pictures, [network, "png"], METRICS, tmp_path / "whole", device="cuda").to_pandas()
    own = whole[whole.point.str.startswith("checkpoint")]
    assert (
        (whole.status == "ok").all() and own.encode_device.eq("cuda:0").all() and own.decode_device.eq("cuda:0").all()
    )
    for part in (sorted(pictures.iterdir())[:5], sorted(pictures.iterdir())):
        run = rdp.evaluate(part, [network, "png"], METRICS, tmp_path / "parts", device="cuda", dataset="pictures")
    pd.testing.assert_series_equal(whole.file_sha256, run.to_pandas().file_sha256)
    pd.testing.assert_series_equal(whole.reconstruction_sha256, run.to_pandas().reconstruction_sha256)
