"""Feature networks: the libraries' own numbers, names that cannot be confused, and modules of the user."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rdp.errors import DependencyError, MetricError, SpecError, WeightsError
from rdp.metrics.feature_networks import NETWORKS, network_names, plan_network
from rdp.metrics.features import exact
from rdp.weights import load_index


def write_index(folder: Path, name: str, path: Path) -> Path:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    index = folder / "index.toml"
    index.write_text(
        f'version = 1\n[{name}]\nfilename = "{path.name}"\nsha256 = "{sha256}"\nlicence = "none"\n'
        'description = "random weights for a test"\n'
    )
    return index


def patches_of(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def pooled(kind: type[nn.Module] = nn.AdaptiveAvgPool2d, seed: int = 0, stride: int = 2) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 5, 3, stride), nn.ReLU(), kind(1), nn.Flatten())


class Scaled(nn.Module):
    """A module with a parameter, a buffer that is not saved, and a dropout that must be off."""

    def __init__(self, factor: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.register_buffer("shift", torch.tensor(shift), persistent=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(x.mean(dim=(2, 3)) * self.factor + self.shift)


# ---- inception


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """A folder with random weights in the library's format, its index, and the library's network with them."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    folder = tmp_path_factory.mktemp("inception")
    network = module.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(3)
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network, "load_state_dict", lambda *_: None)
        library = network("library", ["2048"])
    path = folder / load_index()["inception-2015-12-05"].filename
    torch.save(library.state_dict(), path)
    return folder, write_index(folder, "inception-2015-12-05", path), library


def test_inception_gives_the_librarys_features(
    random_inception: tuple[Path, Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, index, library = random_inception
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    plan = plan_network("inception", index_path=index, side=96)
    assert (plan.dimensions, plan.frechet, plan.kernel) == (2048, "fid_inception", "kid_inception")
    assert set(plan.notes) == {"torch-fidelity"}
    patches = patches_of(2, 96)
    found = plan.create().features(patches)
    with torch.no_grad():
        (expected,) = library(torch.from_numpy(patches).permute(0, 3, 1, 2).contiguous())
    assert found.dtype == np.float32 and found.shape == (2, 2048)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert np.abs(found[0] - found[1]).max() > 0


def test_weights_that_are_missing_or_wrong_are_named(
    random_inception: tuple[Path, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"'inception' needs .*rdp weights fetch inception-2015-12-05"):
        plan_network("inception")
    name = load_index()["inception-2015-12-05"].filename
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(WeightsError, match=f"{name} is not 'inception-2015-12-05'.*6726825d"):
        plan_network("inception")
    # Weights of another network, whose hash the index has.
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / name)
    index = write_index(tmp_path, "inception-2015-12-05", tmp_path / name)
    plan = plan_network("inception", index_path=index)
    with pytest.raises(WeightsError, match=f"{name} is not the Inception network"):
        plan.create()
    torch.save({"conv.weight": torch.zeros(4)}, tmp_path / name)
    with pytest.raises(WeightsError, match="changed while it was in use"):
        plan.create()


def test_code_in_a_weights_file_is_not_run(
    random_inception: tuple[Path, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "exploded",)

    path = tmp_path / "bomb.pth"
    torch.save({"x": Bomb()}, path)
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    plan = plan_network("inception", index_path=write_index(tmp_path, "inception-2015-12-05", path))
    with pytest.raises(WeightsError, match="bomb.pth"):
        plan.create()
    assert not (tmp_path / "exploded").exists()


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = NETWORKS["inception"]
    monkeypatch.setitem(NETWORKS, "inception", replace(entry, package="no-such-package"))
    with pytest.raises(DependencyError, match=r"no-such-package.*pip install 'rdp-toolkit\[inception\]'"):
        plan_network("inception")


# ---- squeeze


def test_squeeze_pools_the_last_layer_that_lpips_sees(shared_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rdp.metrics.lpips import build_network
    from rdp.metrics.registry import LPIPS_HEADS_SHA256

    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    plan = plan_network("squeeze", side=64)
    assert (plan.dimensions, plan.frechet, plan.kernel) == (512, "fd_squeeze", "kd_squeeze")
    patches = patches_of(3, 64)
    found = plan.create().features(patches)
    lpips = build_network("squeeze", plan.weights[0].path, LPIPS_HEADS_SHA256["squeeze"])
    pixels = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        # The package scales from [-1, 1] with constants of its own, rounded to three digits.
        expected = lpips.net(lpips.scaling_layer(pixels / 127.5 - 1))[-1].mean(dim=(2, 3)).numpy()
    assert found.shape == (3, 512)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * expected.max())
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999


def test_no_stand_in_is_called_fid_or_kid() -> None:
    for name in network_names():
        names = NETWORKS[name].frechet, NETWORKS[name].kernel
        assert any("fid" in one or "kid" in one for one in names) == (name == "inception")


def test_features_of_a_patch_depend_on_it_alone(shared_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    network = plan_network("squeeze", side=33).create()
    patches = patches_of(11, 33)
    together = network.features(patches)
    alone = np.concatenate([network.features(patch[None]) for patch in patches])
    # Batches of other sizes may be convolved by other algorithms.
    np.testing.assert_allclose(together, alone, rtol=0, atol=3e-5 * together.max())
    assert np.abs(together[0] - together[1]).max() > 0.1 * together.max()
    assert network.features(patches[:0]).shape == (0, 512)
    assert network.device == "cpu"


# ---- modules of the user


def test_a_module_of_the_user_is_called_in_evaluation_with_pixels_from_0_to_1() -> None:
    module = Scaled(2.0, 0.5).train()
    plan = plan_network(module, side=8)
    assert (plan.name, plan.dimensions, plan.frechet, plan.kernel) == ("scaled", 3, "fd_scaled", "kd_scaled")
    patches = patches_of(5, 8)
    expected = patches.mean(axis=(1, 2)) / 255 * 2 + 0.5
    np.testing.assert_allclose(plan.create().features(patches), expected, rtol=1e-5)
    assert module.training and module.factor.requires_grad, "the user's module must stay as it is"


def test_a_module_is_what_it_was_when_it_was_planned() -> None:
    module = Scaled(2.0)
    plan = plan_network(module, side=8)
    patches = patches_of(1, 8)
    before = plan.create().features(patches)
    with torch.no_grad():
        module.factor.fill_(7.0)
    assert np.array_equal(plan.create().features(patches), before)
    assert plan_network(module, side=8).fingerprint != plan.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        lambda: pooled(seed=1),
        lambda: pooled(nn.AdaptiveMaxPool2d),
        lambda: pooled(stride=1),
        lambda: pooled().double().float().append(nn.Identity()),
    ],
    ids=["weights", "a part without weights", "a setting", "another part"],
)
def test_other_modules_have_other_fingerprints(other: Callable[[], nn.Module]) -> None:
    first = plan_network(pooled(), side=16, name="mine")
    assert plan_network(pooled(), side=16, name="mine").fingerprint == first.fingerprint
    assert plan_network(other(), side=16, name="mine").fingerprint != first.fingerprint


def test_a_buffer_that_is_not_saved_changes_the_fingerprint() -> None:
    assert plan_network(Scaled(1.0, 0.0), side=8).fingerprint != plan_network(Scaled(1.0, 1.0), side=8).fingerprint


MODULE = """
import torch
class Means(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3)) * {factor}
made = Means()
number = 3
"""


def test_a_module_by_its_path_is_told_from_one_with_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from rdp.metrics.feature_networks import plan_network as p; print(p(sys.argv[1]).fingerprint)"

    def fingerprint(path: str, factor: int) -> str:
        (tmp_path / "mine.py").write_text(MODULE.format(factor=factor))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    first = fingerprint("mine:made", 1)
    assert fingerprint("mine:Means", 1) == first
    assert fingerprint("mine:made", 2) != first


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:x", "no_such_module"),
        ("mine:nothing", "nothing"),
        ("mine:number", "int, not a torch.nn.Module"),
        ("mine:torch.zeros", "without arguments"),
        ("mine:dict", "dict"),
    ],
)
def test_a_path_that_names_no_module_is_refused(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MODULE.format(factor=1) + "dict = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(SpecError, match=message):
        plan_network(path)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Identity(), r"gives torch.float32 \(2, 3, 8, 8\).*pool"),
        (nn.Flatten(0), r"gives torch.float32 \(384,\)"),
        (nn.Conv2d(4, 3, 3), "cannot be called"),
    ],
)
def test_a_module_that_gives_no_features_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        plan_network(module, side=8)


def test_features_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(MetricError, match="not finite"):
        plan_network(Scaled(float("inf")), side=8).create().features(patches_of(1, 8))


@pytest.mark.parametrize("name", ["inception", "squeeze", "My Net", ""])
def test_a_module_cannot_take_a_name_that_misleads(name: str) -> None:
    with pytest.raises(SpecError, match="name"):
        plan_network(Scaled(), name=name, side=8)


def test_unknown_networks_and_small_patches_are_refused(shared_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared_weights))
    with pytest.raises(SpecError, match="Did you mean 'inception'"):
        plan_network("incepton")
    with pytest.raises(MetricError, match="at least 17 pixels"):
        plan_network("squeeze", side=16)
    with pytest.raises(MetricError, match="uint8"):
        plan_network("squeeze").create().features(np.zeros((1, 32, 32, 3), np.float32))  # type: ignore[arg-type]


def test_float32_is_not_shortened_and_the_callers_choice_comes_back() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), exact(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_planning_a_registered_network_loads_no_torch(shared_weights: Path) -> None:
    code = (
        "import sys; from rdp.metrics.feature_networks import plan_network; "
        "plan_network('squeeze'); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"RDP_WEIGHTS": str(shared_weights), "PATH": "/usr/bin"}
    )
