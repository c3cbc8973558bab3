"""LPIPS against the `lpips` package itself, on the same weights."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rdp.errors import MetricError, WeightsError
from rdp.metrics import create_metrics, plan_metrics

warnings.filterwarnings("ignore", message=".*pretrained.*", module="torchvision")

INDEX_NAMES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
SEEDS = {"alex": 1, "vgg": 2, "squeeze": 3}


def reference_network(net: str) -> torch.nn.Module:
    """`lpips.LPIPS` with a backbone of random weights, the same for every call, and the heads of the package."""
    import lpips

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(SEEDS[net])
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def write_index(folder: Path, entries: dict[str, Path]) -> Path:
    lines = ["version = 1"]
    for name, path in entries.items():
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"[{name}]", f'filename = "{path.name}"', f'sha256 = "{sha256}"', 'licence = "none"']
        lines += ['description = "random weights for a test"']
    index = folder / "index.toml"
    index.write_text("\n".join(lines))
    return index


def save_backbone(network: torch.nn.Module, path: Path) -> Path:
    """The backbone's tensors under torchvision's names, with one of the classifier's, which must not matter."""
    state = {f"features.{name.partition('.')[2]}": tensor for name, tensor in network.net.state_dict().items()}
    torch.save({**state, "classifier.6.bias": torch.zeros(3)}, path)
    return path


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> tuple[Path, Path, dict[str, torch.nn.Module]]:
    """A folder with three random backbones, its index, and the package's networks with the same weights."""
    folder = tmp_path_factory.mktemp("weights")
    networks = {net: reference_network(net) for net in INDEX_NAMES}
    files = {name: save_backbone(networks[net], folder / f"{net}.pth") for net, name in INDEX_NAMES.items()}
    spare = folder / "spare.safetensors"
    spare.write_bytes(b"not used")
    return folder, write_index(folder, {**files, "squeezenet1_1_features_fp16": spare}), networks


def as_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize("net", list(INDEX_NAMES))
def test_it_equals_the_package_on_the_same_weights(net, random_weights, photo, reconstructions, monkeypatch):
    folder, index, networks = random_weights
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    (metric,) = create_metrics([f"lpips_{net}"], index_path=index)
    pairs = [photo[:97, :131]], [r[:97, :131] for r in reconstructions]
    scores = metric.score(metric.prepare(pairs[0][0]), pairs[1])[f"lpips_{net}"]
    with torch.no_grad():
        expected = [networks[net](as_input(pairs[0][0]), as_input(r)).item() for r in pairs[1]]
    # Random backbones give small distances: compare relatively as well.
    assert scores == pytest.approx(expected, abs=1e-6, rel=1e-5)
    assert all(value > 0 for value in scores)


@pytest.mark.parametrize("net", list(INDEX_NAMES))
def test_the_least_size_is_the_smallest_that_the_network_takes(net, random_weights, monkeypatch):
    folder, index, networks = random_weights
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    (metric,) = create_metrics([f"lpips_{net}"], index_path=index)
    side = metric.plan.least_side
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert metric.score(metric.prepare(image), [255 - image])[f"lpips_{net}"][0] > 0
    smaller = image[1:]
    with pytest.raises(MetricError, match=f"at least {side} pixels"):
        metric.prepare(smaller)
    with torch.no_grad(), pytest.raises(RuntimeError):
        value = networks[net](as_input(smaller), as_input(smaller))
        if not torch.isfinite(value).all():
            raise RuntimeError("no pixels are left in the last layer")


def test_the_example_pairs_of_the_package_have_their_published_values(shared_weights, monkeypatch):
    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    images = [np.array(Image.open(shared_weights / "lpips_example" / f"{n}.png")) for n in ("ex_ref", "ex_p0", "ex_p1")]
    (metric,) = create_metrics(["lpips_squeeze"])
    scores = metric.score(metric.prepare(images[0]), images[1:])["lpips_squeeze"]
    assert [round(value, 4) for value in scores] == [0.7112, 0.1479]


def test_identical_images_score_zero_and_the_distance_is_symmetric(random_weights, photo, reconstructions, monkeypatch):
    folder, index, _ = random_weights
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    for metric in create_metrics(["lpips_alex", "lpips_squeeze"], index_path=index):
        forward = metric.score(metric.prepare(photo), [photo.copy(), reconstructions[0]])[metric.name]
        backward = metric.score(metric.prepare(reconstructions[0]), [photo])[metric.name]
        assert forward[0] == pytest.approx(0, abs=1e-9)
        assert backward[0] == pytest.approx(forward[1], rel=1e-4)


def test_the_file_that_is_found_first_in_order_of_precision_decides_the_fingerprint(
    random_weights, shared_weights, monkeypatch
):
    folder, index, _ = random_weights
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    full = plan_metrics(["lpips_squeeze"], index)[0]
    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    half = plan_metrics(["lpips_squeeze"])[0]
    assert (full.weights[0].name, half.weights[0].name) == ("squeezenet1_1", "squeezenet1_1_features_fp16")
    assert full.fingerprint != half.fingerprint


def test_a_file_that_changes_after_planning_is_refused(random_weights, tmp_path, monkeypatch):
    folder, _, _ = random_weights
    backbone = tmp_path / "alex.pth"
    backbone.write_bytes((folder / "alex.pth").read_bytes())
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    (plan,) = plan_metrics(["lpips_alex"], write_index(tmp_path, {"alexnet": backbone}))
    backbone.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="changed while it was in use"):
        plan.create()


@pytest.mark.parametrize("content", ["other keys", "other shapes", "a pickle", "garbage"])
def test_a_file_that_is_no_backbone_is_refused(content, tmp_path, monkeypatch):
    path = tmp_path / "alex.pth"
    if content == "other keys":
        torch.save({"layer.weight": torch.zeros(1)}, path)
    elif content == "other shapes":
        names = [f"features.{i}.{kind}" for i in (0, 3, 6, 8, 10) for kind in ("weight", "bias")]
        torch.save({name: torch.zeros(1) for name in names}, path)
    elif content == "a pickle":
        torch.save({"features.0.weight": Path("code is not loaded")}, path)
    else:
        path.write_bytes(b"garbage")
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"alex\.pth"):
        create_metrics(["lpips_alex"], index_path=write_index(tmp_path, {"alexnet": path}))


def test_heads_of_another_version_are_refused(random_weights, monkeypatch):
    from rdp.metrics.lpips import build_network

    folder, _, _ = random_weights
    with pytest.raises(WeightsError, match="not those of version"):
        build_network("alex", folder / "alex.pth", "0" * 64)


def test_creating_it_prints_nothing_warns_of_nothing_and_changes_no_global_state(random_weights):
    folder, index, _ = random_weights
    code = f"""
import os, pathlib, torch, warnings
os.environ["RDP_WEIGHTS"] = {str(folder)!r}
state = lambda: (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), list(warnings.filters),
                 torch.backends.cudnn.allow_tf32, torch.initial_seed(), torch.get_rng_state().tolist())
import lpips, torchvision
before = state()
from rdp.metrics import create_metrics
import numpy as np
(metric,) = create_metrics(["lpips_squeeze"], index_path=pathlib.Path({str(index)!r}))
image = np.zeros((32, 32, 3), np.uint8)
metric.score(metric.prepare(image), [image])
assert state() == before
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "pretrained" not in done.stderr
