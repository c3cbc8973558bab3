"""State dicts of CompressAI make our networks, which then give its numbers; anything else is refused by name.

The numbers in tests/data/compressai.safetensors come from the package itself (benchmarks/compressai_parity.py
--fixture), with random networks of 6 and 8 channels; the file's metadata says from which version.
"""

from __future__ import annotations

import os
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from rdp.errors import WeightsError
from rdp.models.base import CompressionModel
from rdp.models.conversion.compressai import convert_compressai, load_compressai
from rdp.models.factorized import FactorizedPrior
from rdp.models.hyperprior import Hyperprior, MeanScaleHyperprior, ScaleHyperprior

CASES: dict[str, type[CompressionModel]] = {
    "bmshj2018-factorized": FactorizedPrior,
    "bmshj2018-hyperprior": ScaleHyperprior,
    "mbt2018-mean": MeanScaleHyperprior,
}
WITH_OLD_KEYS = "bmshj2018-hyperprior"
NAMES = list(CASES)


@pytest.fixture(scope="module")
def tensors(root: Path) -> dict[str, Tensor]:
    with safe_open(root / "tests" / "data" / "compressai.safetensors", "pt") as file:
        assert set(file.metadata()) == {"compressai", "torch"}
        # Tensors of their own, which torch.save can write: the library's share one piece of memory.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- the file is no mapping


def reference_of(tensors: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    prefix = case + "/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def state_of(tensors: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    prefix = f"{case}/state/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def present_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the fixture's old layout as the present version has them."""
    return {
        re.sub(r"^module\.|(?<=entropy_bottleneck\.)_(?=matrices|biases|factors)", "", key): tensor
        for key, tensor in state.items()
    }


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> bool:
    return bool(((found - expected).abs() <= tolerance * expected.abs().clamp(min=1)).all())


@pytest.mark.parametrize("case", NAMES)
def test_our_network_gives_the_latents_likelihoods_and_reconstruction_of_compressai(
    tensors: dict[str, Tensor], case: str
) -> None:
    reference = reference_of(tensors, case)
    model = convert_compressai(state_of(tensors, case))
    assert type(model) is CASES[case]
    assert not model.training
    with torch.no_grad():
        output = model(reference["image"].float()[None] / 255)
    assert close(output.y, reference["y"])
    assert close(output.x_hat, reference["x_hat"])
    assert set(output.likelihoods) == {key.partition("/")[2] for key in reference if key.startswith("likelihoods")}
    for latent, likelihood in output.likelihoods.items():
        assert close(likelihood, reference[f"likelihoods/{latent}"])
        # Bits, in which small probabilities count as much as large ones.
        assert close(likelihood.log2(), reference[f"likelihoods/{latent}"].log2(), 1e-4)
    assert close(model.auxiliary_loss(), reference["auxiliary_loss"])
    if isinstance(model, Hyperprior):
        assert close(model.hyper_analyse(reference["y"]), reference["z"])


@pytest.mark.parametrize("case", NAMES)
def test_the_numbers_of_the_fixture_are_of_a_network_at_work(tensors: dict[str, Tensor], case: str) -> None:
    """Latents of several integers, and probabilities that are neither all 1 nor all at the bound."""
    reference = reference_of(tensors, case)
    assert len(reference["y"].round().unique()) > 6
    likelihoods = reference["likelihoods/y"]
    assert likelihoods.unique().numel() > 30
    assert ((likelihoods > 1e-8) & (likelihoods < 0.99)).float().mean() > 0.9


def test_the_keys_of_all_versions_of_compressai_make_the_same_network(tensors: dict[str, Tensor]) -> None:
    old = state_of(tensors, WITH_OLD_KEYS)
    assert all(key.startswith("module.") for key in old)
    assert "module.entropy_bottleneck._matrices.0" in old
    new = present_names(old)
    assert "entropy_bottleneck.matrices.0" in new
    between = {}
    for key, tensor in new.items():
        for plural, singular in (("matrices.", "_matrix"), ("biases.", "_bias"), ("factors.", "_factor")):
            key = key.replace(f"entropy_bottleneck.{plural}", f"entropy_bottleneck.{singular}")
        between[key] = tensor
    assert "entropy_bottleneck._matrix0" in between
    states = [convert_compressai(state).state_dict() for state in (old, new, between)]
    for state in states[1:]:
        assert list(state) == list(states[0])
        assert all(torch.equal(state[key], states[0][key]) for key in state)


@pytest.mark.parametrize("case", NAMES)
def test_a_converted_network_owns_float32_weights_that_can_be_trained(tensors: dict[str, Tensor], case: str) -> None:
    state = state_of(tensors, case)
    model = convert_compressai(state)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad and not p.is_meta for p in model.parameters())
    assert model.config["channels"] == 6
    assert model.config["latent_channels"] == 8
    before = {key: tensor.clone() for key, tensor in state.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(state[key], before[key]) for key in state)


def test_what_is_computed_from_the_weights_may_be_there_or_not(tensors: dict[str, Tensor]) -> None:
    state = state_of(tensors, "mbt2018-mean")
    bare = {key: tensor for key, tensor in state.items() if tensor.dtype == torch.float16}
    assert len(bare) < len(state)
    full = state | {
        "entropy_bottleneck._quantized_cdf": torch.zeros(6, 40, dtype=torch.int32),
        "entropy_bottleneck._offset": torch.zeros(6, dtype=torch.int32),
        "entropy_bottleneck._cdf_length": torch.zeros(6, dtype=torch.int32),
        "gaussian_conditional._quantized_cdf": torch.zeros(64, 900, dtype=torch.int32),
        "gaussian_conditional.scale_table": torch.rand(64),
    }
    first, second = convert_compressai(bare).state_dict(), convert_compressai(full).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def changed(state: dict[str, Tensor], **changes: Any) -> dict[str, Any]:
    names = {name.replace("__", "."): value for name, value in changes.items()}
    return {key: value for key, value in {**state, **names}.items() if value is not None}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a missing tensor": ({"g_s__1__gamma": None}, "missing g_s.1.gamma"),
    "a missing part of the density": ({"entropy_bottleneck__biases__2": None}, "missing entropy_bottleneck.biases.2"),
    "an unknown tensor": ({"context_prediction__weight": torch.zeros(1)}, "unknown context_prediction.weight"),
    "another shape": ({"g_a__2__weight": torch.zeros(6, 6, 3, 3)}, r"g_a.2.weight is \(6, 6, 3, 3\) and not \(6, 6, 5"),
    "a number for a tensor": ({"g_a__2__bias": 3.0}, "g_a.2.bias is float and not a tensor"),
    "integers for weights": ({"g_a__2__bias": torch.zeros(6, dtype=torch.int64)}, "g_a.2.bias is torch.int64"),
    "no first layer": ({"g_a__0__weight": None}, "there is no g_a.0.weight: this is no state dict of CompressAI"),
    "a first layer that is none": ({"g_a__0__weight": torch.zeros(6)}, r"g_a.0.weight is \(6,\), which is no convol"),
    "a value that is no number": ({"g_a__2__bias": torch.full((6,), torch.nan)}, "g_a.2.bias"),
    "one tensor under two names": ({"entropy_bottleneck___bias0": torch.zeros(6, 3, 1)}, "_bias0 is there twice"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_state_dict_that_is_not_such_a_network_is_refused_with_the_key(tensors: dict[str, Tensor], what: str) -> None:
    changes, message = REFUSED[what]
    state = changed(state_of(tensors, "mbt2018-mean"), **changes)
    with pytest.raises(WeightsError, match=message):
        convert_compressai(state)


def test_a_scale_hyperprior_without_its_last_layer_is_refused(tensors: dict[str, Tensor]) -> None:
    state = changed(present_names(state_of(tensors, WITH_OLD_KEYS)), h_s__4__weight=None)
    with pytest.raises(WeightsError, match="there is no h_s.4.weight"):
        convert_compressai(state)


def test_an_empty_state_dict_is_refused() -> None:
    with pytest.raises(WeightsError, match="no tensors"):
        convert_compressai({})


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_is_loaded_in_both_formats_of_pytorch_with_or_without_a_wrapper(
    tensors: dict[str, Tensor], tmp_path: Path, zipped: bool, wrapped: bool
) -> None:
    state = state_of(tensors, "bmshj2018-factorized")
    path = tmp_path / "model.pth.tar"
    document = {"epoch": 3, "state_dict": state, "optimizer": {"param_groups": [{"lr": 1e-4}]}} if wrapped else state
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    loaded, converted = load_compressai(path).state_dict(), convert_compressai(state).state_dict()
    assert all(torch.equal(loaded[key], converted[key]) for key in converted)


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    archive, bare, old = tmp_path / "archive.pth", tmp_path / "bare.pkl", tmp_path / "old.pkl"
    torch.save({"g_a.0.weight": Code(mark)}, archive)
    bare.write_bytes(pickle.dumps({"g_a.0.weight": Code(mark)}))
    old.write_bytes(pickle.dumps({"g_a.0.weight": Code(mark)}, protocol=2))
    for path, message in ((archive, "would run code when loaded"), (bare, "no archive"), (old, "archive|would run")):
        with pytest.raises(WeightsError, match=message) as caught:
            load_compressai(path)
        assert str(path) in str(caught.value)
        assert "weights_only" not in str(caught.value)
    assert not mark.exists()


def test_a_whole_saved_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "module.pth"
    torch.save(torch.nn.Conv2d(1, 1, 1), path)
    with pytest.raises(WeightsError, match=r"torch.nn.modules.conv.Conv2d.*torch.save\(model.state_dict\(\), path\)"):
        load_compressai(path)


def test_files_that_are_no_checkpoint_are_refused_by_name(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save({"a": torch.rand(100)}, good)
    files: dict[str, bytes] = {
        "empty": b"",
        "page": b"<html>403</html>",
        "cut": good.read_bytes()[:500],
        "zeros": bytes(2000),
    }
    for name, data in files.items():
        path = tmp_path / f"{name}.pth.tar"
        path.write_bytes(data)
    with tarfile.open(tmp_path / "tar.pth.tar", "w") as archive:
        archive.add(good, "good.pth")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    torch.save([torch.rand(3)], tmp_path / "list.pth")
    names = [*(f"{name}.pth.tar" for name in (*files, "tar")), "arrays.npz", "list.pth", "nothing.pth", "good.pth", "."]
    for name in names:
        with pytest.raises(WeightsError) as caught:
            load_compressai(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(WeightsError, match="No such file"):
        load_compressai(tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="holds a list and not a state dict"):
        load_compressai(tmp_path / "list.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_an_error_or_a_network_and_never_a_crash(
    tensors: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "model.pth"
    torch.save(state_of(tensors, "bmshj2018-factorized"), path, _use_new_zipfile_serialization=zipped)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        mutant = data.copy()
        # The beginning has the structure; most of the rest is numbers.
        mutant[rng.integers(0, 4000, 3)] = rng.integers(0, 256, 3, np.uint8)
        path.write_bytes(mutant.tobytes())
        try:
            load_compressai(path)
        except WeightsError:
            refused += 1
    assert refused > 20


def test_tensors_that_are_not_plain_are_refused() -> None:
    state = compressai_layout(MeanScaleHyperprior(4, 6))
    for odd in (lambda t: t.to_sparse(), lambda t: t.to("meta")):
        with pytest.raises(WeightsError, match=r"sparse, quantised or empty"):
            convert_compressai(state | {"g_a.0.weight": odd(state["g_a.0.weight"])})


def compressai_layout(model: CompressionModel) -> dict[str, Tensor]:
    """A state dict as CompressAI names it."""
    names = {
        "analysis.": "g_a.",
        "synthesis.": "g_s.",
        "hyper_analysis.": "h_a.",
        "hyper_synthesis.": "h_s.",
        "prior.": "entropy_bottleneck.",
    }
    return {
        next(theirs + key[len(ours) :] for ours, theirs in names.items() if key.startswith(ours)): tensor.detach()
        for key, tensor in model.state_dict().items()
    }


def test_the_layout_of_the_tests_is_the_packages() -> None:
    model = MeanScaleHyperprior(4, 6)
    assert convert_compressai(compressai_layout(model)).config["latent_channels"] == 6
