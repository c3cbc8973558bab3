"""The registry, and what every metric has in common."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from rdp.columns import COLUMNS
from rdp.errors import MetricError, SpecError, WeightsError
from rdp.metrics import METRICS, Metric, create_metrics, describe_metrics, metric_names, plan_metrics
from rdp.metrics.registry import register

WITHOUT_WEIGHTS = [name for name, entry in METRICS.items() if not entry.needs_weights]


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A machine without any weights."""
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.delenv("RDP_WEIGHTS", raising=False)


@pytest.fixture(params=[*WITHOUT_WEIGHTS, "lpips_squeeze", "niqe"])
def metric(request, monkeypatch) -> Metric:
    if METRICS[request.param].needs_weights:
        monkeypatch.setenv("RDP_WEIGHTS", str(request.getfixturevalue("shared_weights")))
    return create_metrics([request.param])[0]


def test_the_promised_metrics_exist():
    promised = "mse psnr psnr_y ssim ssim_y ms_ssim ms_ssim_y lpips_alex lpips_vgg lpips_squeeze histogram_kl haarpsi"
    promised += " dists niqe niqe_fitted"
    assert set(metric_names()) == set(promised.split())


def test_every_column_of_a_metric_is_described_once():
    columns = [column for entry in METRICS.values() for column in entry.columns]
    assert len(columns) == len(set(columns))
    assert set(columns) <= set(COLUMNS)


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(SpecError, match=r"unknown metric 'ms_sim'\. Did you mean 'ms_ssim'"):
        create_metrics(["ms_sim"])


@pytest.mark.parametrize("name", ["swd", "fid", "kd_squeeze"])
def test_a_distance_of_sets_is_refused_with_the_commands_that_take_it(name):
    with pytest.raises(SpecError, match=f"metric '{name}' is a distance of sets.*--minimize {name}.*rdp audit"):
        plan_metrics(["mse", name])


def test_a_slip_in_the_name_of_a_distance_of_sets_is_suggested():
    with pytest.raises(SpecError, match=r"unknown metric 'fdi'\. Did you mean 'fid'"):
        plan_metrics(["fdi"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mse:bins=3", "mse takes no options"),
        ("niqe:file=x", "takes only model=FILE"),
        ("niqe:model=", "takes only model=FILE"),
        ("pyiqa:", "unknown metric 'pyiqa:'"),
        ("nothing:x", "unknown metric 'nothing:x'"),
    ],
)
def test_options_that_a_metric_does_not_take_are_refused(name, words):
    with pytest.raises(SpecError, match=words):
        plan_metrics(["mse", name])


def test_a_repeated_name_counts_once():
    assert [plan.name for plan in plan_metrics(["psnr", "mse", "psnr"])] == ["psnr", "mse"]


def test_a_name_is_registered_once_only():
    with pytest.raises(SpecError, match="defined twice"):
        register("mse", METRICS["mse"])
    with pytest.raises(SpecError, match="does not describe"):
        register("new", dataclasses.replace(METRICS["mse"], columns=("nowhere",)))
    assert "new" not in METRICS


def test_a_plan_survives_pickling_and_makes_the_same_metric(photo, reconstructions):
    for plan in plan_metrics(WITHOUT_WEIGHTS):
        copy = pickle.loads(pickle.dumps(plan))  # noqa: S301
        assert copy.fingerprint == plan.fingerprint
        scores = [m.score(m.prepare(photo), reconstructions[:1]) for m in (plan.create(), copy.create())]
        assert scores[0] == scores[1]


def test_planning_loads_no_torch():
    code = "import sys; from rdp.metrics import *\n"
    code += "plan_metrics([n for n in metric_names() if not METRICS[n].needs_weights]);"
    code += "describe_metrics(); sys.exit(bool({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_fingerprint_is_a_hash_of_the_identity_and_tells_all_parts_apart():
    (plan,) = plan_metrics(["ssim"])
    assert len(plan.fingerprint) == 12
    assert int(plan.fingerprint, 16) >= 0
    assert json.loads(json.dumps(plan.identity)) == plan.identity
    variants = [
        plan,
        dataclasses.replace(plan, version=2),
        dataclasses.replace(plan, dtype="float64"),
        dataclasses.replace(plan, name="other"),
        dataclasses.replace(plan, settings={**plan.settings, "sigma": 1.6}),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_fingerprints_differ_between_metrics_and_equal_those_of_their_scorers():
    plans = plan_metrics(WITHOUT_WEIGHTS)
    assert len({plan.fingerprint for plan in plans}) == len(plans)
    assert [plan.create().fingerprint for plan in plans] == [plan.fingerprint for plan in plans]


@pytest.mark.parametrize("name", ["lpips_alex", "lpips_vgg", "lpips_squeeze", "dists", "niqe"])
def test_missing_weights_are_an_error_of_planning_that_says_the_two_ways(name, no_weights):
    with pytest.raises(WeightsError, match="rdp weights fetch") as caught:
        plan_metrics(["mse", name])
    assert "RDP_WEIGHTS" in str(caught.value)
    assert repr(name) in str(caught.value)


def test_the_list_says_which_metrics_are_ready(no_weights):
    ready = {metric.name: metric.ready for metric in describe_metrics()}
    assert ready == {name: name in WITHOUT_WEIGHTS for name in metric_names()}


def test_a_device_that_is_not_there_is_refused():
    missing = f"cuda:{torch.cuda.device_count()}"
    for device in (missing, "gpu"):
        with pytest.raises(MetricError, match=device):
            create_metrics(["ssim"], device=device)


def test_a_batch_gives_what_single_reconstructions_give(metric, photo, reconstructions):
    prepared = metric.prepare(photo)
    metric.pixels_per_chunk = 2 * photo.shape[0] * photo.shape[1]
    batch = metric.score(prepared, reconstructions)
    singles = [metric.score(prepared, [r]) for r in reconstructions]
    assert tuple(batch) == metric.columns
    for column, values in batch.items():
        assert values == pytest.approx([single[column][0] for single in singles], abs=1e-6, rel=1e-6)
        assert all(type(value) is float for value in values)


def test_the_order_of_the_reconstructions_is_kept_over_chunks(metric, photo, reconstructions):
    prepared = metric.prepare(photo)
    metric.pixels_per_chunk = 1
    assert [len(list(chunk)) for chunk in metric._chunks(prepared, reconstructions)] == [1, 1, 1]
    forwards = metric.score(prepared, reconstructions)
    backwards = metric.score(prepared, reconstructions[::-1])
    assert forwards == {column: values[::-1] for column, values in backwards.items()}


def test_no_reconstructions_give_empty_columns(metric, photo):
    assert metric.score(metric.prepare(photo), []) == {column: [] for column in metric.columns}


def test_better_qualities_score_better_in_the_direction_that_the_column_says(metric, photo, reconstructions):
    scores = metric.score(metric.prepare(photo), reconstructions)
    for column, values in scores.items():
        assert values == sorted(values, reverse=COLUMNS[column].direction == "lower")


def test_images_that_may_not_be_written_to_are_scored_without_a_warning(metric, photo, recwarn):
    fixed = photo.copy()
    fixed.setflags(write=False)
    metric.score(metric.prepare(fixed), [fixed])
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_views_with_negative_strides_are_scored_like_copies(metric, photo, reconstructions):
    view = metric.score(metric.prepare(photo[::-1]), [reconstructions[0][::-1]])
    copy = metric.score(metric.prepare(photo[::-1].copy()), [reconstructions[0][::-1].copy()])
    assert view == copy


def test_a_reconstruction_of_another_size_is_refused(metric, photo):
    with pytest.raises(MetricError, match="255x208 pixels and the original 256x208"):
        metric.score(metric.prepare(photo), [photo, photo[:, 1:]])


def test_images_that_are_not_8_bit_rgb_are_refused(metric, photo):
    for wrong in (photo.astype(np.float32), photo[..., 0], np.zeros((200, 200, 4), np.uint8), photo[:0]):
        with pytest.raises(MetricError, match="8-bit RGB"):
            metric.prepare(wrong)


@pytest.mark.parametrize(("name", "least"), [("ssim", 11), ("ssim_y", 11), ("ms_ssim", 161), ("haarpsi", 16)])
def test_an_image_below_the_least_size_gets_an_error_and_at_it_a_number(name, least):
    (plan,) = plan_metrics([name])
    with pytest.raises(MetricError, match=f"'{name}' needs images whose shorter side is at least {least} pixels"):
        plan.check_size(500, least - 1)
    metric = plan.create()
    image = np.random.default_rng(1).integers(0, 256, (least + 3, least, 3)).astype(np.uint8)
    with pytest.raises(MetricError, match="at least"):
        metric.prepare(image[4:])
    for values in metric.score(metric.prepare(image), [image[::-1]]).values():
        assert len(values) == 1


def test_a_score_that_is_no_number_is_an_error(photo):
    class Broken(type(create_metrics(["mse"])[0])):
        def _score_chunk(self, features, reconstructions):
            return {"mse": [float("nan")]}

    metric = Broken(plan_metrics(["mse"])[0])
    with pytest.raises(MetricError, match="'mse' gave no number"):
        metric.score(metric.prepare(photo), [photo])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_scores_as_the_cpu_does(metric, photo, reconstructions):
    on_gpu = metric.plan.create("cuda")
    expected = metric.score(metric.prepare(photo), reconstructions)
    found = on_gpu.score(on_gpu.prepare(photo), reconstructions)
    for column, values in expected.items():
        assert found[column] == pytest.approx(values, abs=1e-4)
