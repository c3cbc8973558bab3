"""Metrics of pyiqa: the adaptor with a stand-in, and the package itself where it is installed."""

from __future__ import annotations

import pickle
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import rdp
from rdp.columns import COLUMNS, Column
from rdp.errors import DependencyError, MetricError, SpecError, WeightsError
from rdp.metrics import create_metrics, plan_metrics, pyiqa_version
from rdp.metrics.from_pyiqa import tensors_sha256
from rdp.tables import RunWriter, ScoreSet


class StandIn(torch.nn.Module):
    """A metric as pyiqa makes them: parameters drawn when made, a plain tensor, and a score with a random part."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.lower_better = name != "bright"
        self.metric_mode = {"distance": "FR", "odd": "XX"}.get(name, "NR")
        self.name = name
        self.layer = torch.nn.Linear(2, 2)
        self.plain = torch.full((2, 1), 3.0)
        print("Loading pretrained model")  # noqa: T201 - as the package does

    def forward(self, target: torch.Tensor, ref: torch.Tensor | None = None) -> torch.Tensor:
        print("scoring")  # noqa: T201
        assert target.shape[0] == 1 and target.dtype == torch.float32 and 0 <= target.min() <= target.max() <= 1
        if min(target.shape[-2:]) < 20:
            raise AssertionError("the picture is too small")
        if self.name == "distance":
            return (target - ref).abs().mean().reshape(1, 1)
        if self.name == "random":
            return torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return torch.full((2,), 1.0) if self.name == "two" else target.mean()


NAMES = ["bright", "clipscore", "distance", "fid_x", "offline", "odd", "random", "two"]


def make(name: str, device: torch.device) -> StandIn:
    if name == "offline":
        raise OSError("no internet")
    return StandIn(name).to(device)


@pytest.fixture
def package(monkeypatch) -> SimpleNamespace:
    """The stand-in under the package's name."""
    module = SimpleNamespace(__version__="9.9", list_models=lambda: list(NAMES), create_metric=make)
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


def test_without_the_package_the_error_says_what_to_install_and_under_which_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(DependencyError, match="'pyiqa:musiq' needs pyiqa.*pip install pyiqa.*non-commercial"):
        plan_metrics(["mse", "pyiqa:musiq"])


def test_name_direction_and_reference_come_from_the_package(package):
    distance, bright = plan_metrics(["pyiqa:distance", "pyiqa:bright"])
    assert (distance.name, distance.columns) == ("pyiqa_distance", ("pyiqa_distance",))
    assert [plan.described[0].direction for plan in (distance, bright)] == ["lower", "higher"]
    assert "against the original" in distance.described[0].meaning and "no reference" in bright.described[0].meaning
    assert "pyiqa_distance" not in COLUMNS
    # The name that a run has asks for the same metric.
    assert plan_metrics(["pyiqa_distance", "pyiqa:distance"]) == [distance]


def test_scores_are_those_of_the_package_one_picture_at_a_time(package, photo, reconstructions):
    distance, bright = create_metrics(["pyiqa:distance", "pyiqa:bright"])
    expected = [np.abs(photo.astype(float) - r).mean() / 255 for r in reconstructions]
    found = distance.score(distance.prepare(photo), reconstructions)
    assert found["pyiqa_distance"] == pytest.approx(expected, rel=1e-5)
    # Without reference, the original is not handed on.
    found = bright.score(bright.prepare(255 - photo), reconstructions)
    assert found["pyiqa_bright"] == pytest.approx([r.mean() / 255 for r in reconstructions], rel=1e-5)


def test_nothing_is_printed_to_stdout_and_no_generator_is_moved(package, photo, capsys):
    def states():
        numbers = [str(part) for part in np.random.get_state()]  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), numbers

    before = states()
    (metric,) = create_metrics(["pyiqa:random"])
    first = metric.score(metric.prepare(photo), [photo, photo])["pyiqa_random"]
    assert first[0] == first[1] == metric.score(metric.prepare(photo), [photo])["pyiqa_random"][0]
    assert states() == before
    captured = capsys.readouterr()
    assert captured.out == "" and "Loading" in captured.err


def test_the_fingerprint_has_the_version_and_all_tensors(package, monkeypatch):
    (plan,) = plan_metrics(["pyiqa:distance"])
    # Weights that are drawn when the metric is made are drawn alike: planning again gives the same.
    assert plan_metrics(["pyiqa:distance"]) == [plan]
    assert pickle.loads(pickle.dumps(plan)).fingerprint == plan.fingerprint  # noqa: S301
    assert plan.settings["pyiqa"] == "9.9"
    package.__version__ = "9.10"
    assert plan_metrics(["pyiqa:distance"])[0].fingerprint != plan.fingerprint
    network = StandIn("distance")
    before = tensors_sha256(network)
    network.plain[0, 0] += 1
    after = tensors_sha256(network)
    network.layer.bias.data[0] += 1
    assert len({before, after, tensors_sha256(network)}) == 3


def test_a_worker_with_other_weights_refuses(package, monkeypatch):
    (plan,) = plan_metrics(["pyiqa:distance"])

    def other(name: str, device: torch.device) -> StandIn:
        network = StandIn(name)
        network.layer.weight.data += 1
        return network

    package.create_metric = other
    with pytest.raises(WeightsError, match="not those it loaded when the run was planned"):
        plan.create()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("distanze", SpecError, r"has no metric 'distanze'\. Did you mean 'distance'"),
        ("fid_x", SpecError, "compares sets of pictures"),
        ("clipscore", SpecError, "caption"),
        ("odd", SpecError, "of the kind 'XX'"),
        ("offline", WeightsError, "OSError: no internet"),
    ],
)
def test_what_scores_no_single_picture_or_cannot_be_made_is_refused(name, error, words, package):
    with pytest.raises(error, match=words):
        plan_metrics([f"pyiqa:{name}"])


def test_a_picture_that_the_package_cannot_score_is_a_named_error(package, photo):
    (metric,) = create_metrics(["pyiqa:distance"])
    small = np.ascontiguousarray(photo[:10, :10])
    with pytest.raises(MetricError, match="'pyiqa_distance': pyiqa failed with AssertionError: the picture is too sm"):
        metric.score(metric.prepare(small), [small])
    (metric,) = create_metrics(["pyiqa:two"])
    with pytest.raises(MetricError, match="2 numbers for one picture"):
        metric.score(metric.prepare(photo), [photo])


def test_a_run_says_what_the_column_is_and_a_sweep_takes_its_direction_from_there(tmp_path):
    column = Column("pyiqa_seen", "real", "", "higher", "seen of pyiqa, no reference", "seen (pyiqa)")
    seen = ScoreSet("pyiqa_seen", "0" * 12, ("pyiqa_seen",), {"name": "pyiqa_seen"}, (column,))
    with RunWriter(tmp_path / "run", {"version": 1}) as writer:
        writer.add_metric(seen)
        for image in "ab":
            for quality in (1, 2, 3):
                key = {"dataset": "d", "image": image, "point": f"jpeg:quality={quality}"}
                row = {**key, "status": "ok", "nbytes": quality, "bpp": float(quality), "width": 8, "height": 8}
                writer.add(row, {"pyiqa_seen": {**key, "pyiqa_seen": quality**0.5, "message": None}})
    run = rdp.open_run(tmp_path / "run")
    frontier = rdp.frontier(run, minimize="bpp", sweep={"pyiqa_seen": [1.1, 1.5]})
    assert [sweep.sense for sweep in frontier.sweeps] == ["at_least"]
    assert frontier.problem.describe("pyiqa_seen") == column
    assert run.score_sets() == [seen]
    # A problem, a table that was read before, and its rows that did not fail know it as well.
    again = rdp.frontier(rdp.solve(run, minimize="bpp").problem, sweep={"pyiqa_seen": [1.1, 1.5]})
    assert [sweep.sense for sweep in again.sweeps] == ["at_least"]
    assert rdp.read_table(rdp.read_table(tmp_path / "run").ok()).describe("pyiqa_seen") == column
    # Another table with a column of that name knows nothing of it, nor does the same run once the name is another's.
    assert rdp.read_table(run.to_pandas()).describe("pyiqa_seen").direction is None
    own = rdp.read_table(run, {"mine": "pyiqa_seen", "pyiqa_seen": "bpp"})
    assert own.describe("mine").direction is own.describe("pyiqa_seen").direction is None


@pytest.mark.skipif(
    pyiqa_version() is None, reason="pyiqa is not installed: pip install pyiqa (non-commercial licence)"
)
def test_the_package_itself_scores_as_it_does_by_itself(photo, reconstructions):
    import pyiqa

    psnr, ssim = create_metrics(["pyiqa:psnr", "pyiqa:ssim"])
    assert [m.plan.described[0].direction for m in (psnr, ssim)] == ["higher", "higher"]
    own = rdp.metrics.create_metrics(["psnr"])[0]
    found = psnr.score(psnr.prepare(photo), reconstructions)["pyiqa_psnr"]
    assert found == pytest.approx(own.score(own.prepare(photo), reconstructions)["psnr"], abs=1e-3)
    pair = [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in (reconstructions[0], photo)]
    expected = pyiqa.create_metric("ssim", device=torch.device("cpu"))(*pair).item()
    found = ssim.score(ssim.prepare(photo), reconstructions[:1])["pyiqa_ssim"]
    assert found == pytest.approx([expected], abs=1e-6)
