"""DISTS against `piq` and against the authors' package, on the same random weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from rdp.errors import MetricError, WeightsError
from rdp.metrics import create_metrics, describe_metrics, plan_metrics
from rdp.metrics.dists import CHANNELS

Weights = tuple[Path, torch.nn.Module, dict[str, torch.Tensor]]


def write_index(folder: Path) -> Path:
    """An index in which the two files of the metric are what lies in the folder."""
    lines = ["version = 1"]
    for name, file in (("vgg16", "vgg.pth"), ("dists", "heads.pth")):
        sha256 = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        lines += [f"[{name}]", f'filename = "{file}"', f'sha256 = "{sha256}"', 'licence = "none"']
        lines += ['description = "random weights for a test"']
    for name in ("alexnet", "squeezenet1_1", "squeezenet1_1_features_fp16", "niqe_pris_params"):
        lines += [f"[{name}]", f'filename = "{name}"', f'sha256 = "{"0" * 64}"', 'licence = "none"']
        lines += ['description = "not there"']
    index = folder / "index.toml"
    index.write_text("\n".join(lines))
    return index


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Weights:
    """A folder with random weights, the VGG-16 that has them, and alpha and beta, whose sum is 1."""
    from torchvision.models import vgg16

    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = vgg16(weights=None).features.eval()
        heads = {name: torch.rand(1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")}
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.uniform_(layer.bias, -0.1, 0.1)
    total = heads["alpha"].sum() + heads["beta"].sum()
    heads = {name: values / total for name, values in heads.items()}
    state = {f"features.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({**state, "classifier.6.bias": torch.zeros(3)}, folder / "vgg.pth")
    # The file of the index is not scaled: the sum is divided out.
    torch.save({name: 3 * values for name, values in heads.items()}, folder / "heads.pth")
    write_index(folder)
    return folder, network, heads


@pytest.fixture
def metric(weights, monkeypatch):
    monkeypatch.setenv("RDP_WEIGHTS", str(weights[0]))
    return create_metrics(["dists"], index_path=weights[0] / "index.toml")[0]


def as_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [(96, 128), (97, 131), (16, 16), (17, 40)])
def test_it_equals_piq_where_that_does_not_scale(size, metric, weights, photo, reconstructions, monkeypatch):
    import copy

    import piq
    import piq.perceptual

    _, network, heads = weights
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: heads)
    fake = torch.nn.Module()
    fake.features = copy.deepcopy(network)
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: fake)
    package = piq.DISTS(reduction="none")
    height, width = size
    reference = photo[:height, :width]
    others = [np.ascontiguousarray(r[:height, :width]) for r in [*reconstructions, 255 - photo]]
    found = metric.score(metric.prepare(reference), others)["dists"]
    with torch.no_grad():
        expected = [package(as_input(other), as_input(reference)).item() for other in others]
    assert found == pytest.approx(expected, abs=1e-5)
    assert min(found) > 1e-4


def test_it_equals_the_authors_package_at_native_size(metric, weights, photo, reconstructions, monkeypatch):
    package = pytest.importorskip("DISTS_pytorch", reason="DISTS_pytorch is not installed: pip install dists-pytorch")
    _, network, heads = weights
    fake = torch.nn.Module()
    fake.features = network
    monkeypatch.setattr("torchvision.models.vgg16", lambda **_: fake)
    authors = package.DISTS(load_weights=False).eval()
    authors.alpha.data, authors.beta.data = heads["alpha"], heads["beta"]
    found = metric.score(metric.prepare(photo), reconstructions)["dists"]
    with torch.no_grad():
        expected = [authors(as_input(photo), as_input(r)).item() for r in reconstructions]
    assert found == pytest.approx(expected, abs=1e-5)


def test_identical_pictures_score_exactly_zero_and_the_distance_is_symmetric(metric, photo, reconstructions):
    forward = metric.score(metric.prepare(photo), [photo.copy(), reconstructions[0]])["dists"]
    backward = metric.score(metric.prepare(reconstructions[0]), [photo])["dists"]
    assert forward[0] == 0
    assert backward[0] == pytest.approx(forward[1], rel=1e-5)


def test_a_batch_gives_what_single_pictures_give_and_flat_ones_have_a_score(metric, photo, reconstructions):
    small = [np.ascontiguousarray(r[:64, :80]) for r in [*reconstructions, np.zeros_like(photo)]]
    prepared = metric.prepare(photo[:64, :80])
    batch = metric.score(prepared, small)["dists"]
    assert batch == pytest.approx([metric.score(prepared, [r])["dists"][0] for r in small], rel=1e-5)
    black = metric.score(metric.prepare(np.zeros_like(small[0])), [np.zeros_like(small[0])])["dists"]
    assert black == [0]


def test_both_files_count_for_the_fingerprint_and_are_verified(metric, weights, tmp_path, monkeypatch):
    assert [file.name for file in metric.plan.weights] == ["vgg16", "dists"]
    folder = weights[0]
    (tmp_path / "vgg.pth").write_bytes((folder / "vgg.pth").read_bytes())
    torch.save({name: torch.ones(1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")}, tmp_path / "heads.pth")
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"heads\.pth is not 'dists'"):
        plan_metrics(["dists"], folder / "index.toml")
    (other,) = plan_metrics(["dists"], write_index(tmp_path))
    assert other.fingerprint != metric.fingerprint


def test_a_missing_second_file_is_named_in_the_error_and_in_the_list(weights, tmp_path, monkeypatch):
    folder = weights[0]
    index = folder / "index.toml"
    (tmp_path / "vgg.pth").write_bytes((folder / "vgg.pth").read_bytes())
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"metric 'dists' needs the weights 'dists'.*heads\.pth"):
        plan_metrics(["dists"], index)
    described = {one.name: one for one in describe_metrics(index)}["dists"]
    assert (described.ready, described.found, described.missing) == (False, "vgg16", ("dists",))


@pytest.mark.parametrize(
    ("file", "state", "words"),
    [
        ("vgg.pth", {"layer.weight": torch.zeros(1)}, r"vgg\.pth: 'features\.0\.weight' .* there is none"),
        ("vgg.pth", {"features.0.weight": torch.zeros(1)}, r"shape \(64, 3, 3, 3\), and there is \(1,\)"),
        ("heads.pth", {"alpha": torch.ones(1, 1475, 1, 1)}, r"heads\.pth: 'beta'"),
        ("heads.pth", {"alpha": Path("code is not loaded")}, r"heads\.pth"),
    ],
)
def test_files_of_something_else_are_refused(file, state, words, weights, tmp_path, monkeypatch):
    for name in ("vgg.pth", "heads.pth"):
        (tmp_path / name).write_bytes((weights[0] / name).read_bytes())
    torch.save(state, tmp_path / file)
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=words):
        create_metrics(["dists"], index_path=write_index(tmp_path))


def test_pictures_below_the_least_side_are_refused(metric):
    with pytest.raises(MetricError, match="at least 16 pixels"):
        metric.prepare(np.zeros((15, 40, 3), np.uint8))
