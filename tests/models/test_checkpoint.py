"""Weights on disk: what a file says of itself, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from rdp.errors import WeightsError
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, load_model, read_header, save_model
from rdp.models.registry import create_model


def small(architecture: str = "hyperprior", seed: int = 0, **config: object) -> CompressionModel:
    torch.manual_seed(seed)
    return create_model(architecture, channels=8, latent_channels=12, **config).eval()


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    model = small(activation="gsdn", quantizer="mixed")
    header = save_model(tmp_path / "m.safetensors", model, {"data": "photographs", "steps": "12"})
    loaded = load_model(tmp_path / "m.safetensors")
    assert not loaded.training
    assert loaded.config == model.config
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(loaded(x).x_hat, model(x).x_hat)
    assert read_header(tmp_path / "m.safetensors") == header
    assert header.notes == {"data": "photographs", "steps": "12"}
    assert header.identity == identity_of(loaded).hex()


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    """The hash of a file of weights is its name in tables."""
    files = [tmp_path / f"{i}.safetensors" for i in range(4)]
    for path in files:
        save_model(path, small(), {"steps": "1", "data": "a", "hardware": "b"})
    assert len({path.read_bytes() for path in files}) == 1


def test_headers_of_every_length_are_read(tmp_path: Path) -> None:
    """The first byte of a safetensors file is that of its header's length, which may be that of a pickle."""
    model = small()
    for length in range(0, 264, 8):
        save_model(tmp_path / "m.safetensors", model, {"note": "x" * length})
        assert read_header(tmp_path / "m.safetensors").notes == {"note": "x" * length}


def test_a_header_that_states_giant_widths_takes_no_memory(tmp_path: Path) -> None:
    """What it says is held against the tensors that there are."""
    save_model(tmp_path / "m.safetensors", small())
    giant = rewritten(tmp_path / "m.safetensors", config='{"channels": 9000, "latent_channels": 9000}')
    with pytest.raises(WeightsError, match=r"does not fit 'hyperprior': it says channels=9000"):
        load_model(giant)


def test_the_identity_leaves_the_decoder_out_and_nothing_else() -> None:
    """Decoders can be exchanged without making files unreadable; encoder and entropy model cannot."""
    first = identity_of(small())
    for name, _ in small().named_parameters():
        model = small()
        with torch.no_grad():
            dict(model.named_parameters())[name].reshape(-1)[0] += 0.125
        assert (identity_of(model) == first) == name.startswith("synthesis."), name
    assert identity_of(small(activation="relu")) != first


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> object:
            return Path.touch, (mark,)

    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match="pickle.*rdp weights convert"):
        load_model(path)
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, stream)
    path.write_bytes(stream.getvalue())
    with pytest.raises(WeightsError, match="pickle"):
        load_model(path)
    assert not mark.exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, small())
    whole = path.read_bytes()
    for data in (b"", b"abc", whole[:100], whole[:-40], b"\xff" * 200, struct.pack("<Q", 1 << 60) + whole[8:]):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="m.safetensors"):
            load_model(path)
    with pytest.raises(WeightsError, match="cannot read"):
        load_model(tmp_path / "none.safetensors")


def rewritten(path: Path, **changes: object) -> Path:
    """The file with other metadata."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"].update(changes)
    text = json.dumps(header).encode()
    changed = path.with_name("changed.safetensors")
    changed.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "factorized"}, "does not fit 'factorized'"),
        ({"architecture": "hyperpriro"}, "Did you mean 'hyperprior'"),
        ({"config": '{"channels": 16}'}, "does not fit"),
        ({"config": '{"chanels": 8}'}, "chanels"),
        ({"config": "[]"}, "configuration is no table"),
        ({"config": "{"}, "damaged"),
        ({"config": '{"channels": -1}'}, "cannot be used|does not fit"),
        ({"config": '{"channels": NaN}'}, "cannot be used"),
        ({"config": '{"channels": "8"}'}, "cannot be used"),
        ({"identity": "000000000000"}, "its identity is 000000000000, and its weights have"),
        ({"version": "9"}, "update rdp"),
        ({"format": "other"}, "not of a network of rdp"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    save_model(tmp_path / "m.safetensors", small())
    with pytest.raises(WeightsError, match=message):
        load_model(rewritten(tmp_path / "m.safetensors", **changes))


def test_a_header_whose_values_are_no_texts_is_damaged(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small())
    for changes in ({"config": {"channels": 8}}, {"architecture": ["hyperprior"]}, {"identity": 12}):
        with pytest.raises(WeightsError, match="not text"):
            load_model(rewritten(tmp_path / "m.safetensors", **changes))


def test_what_training_alone_uses_changes_no_identity() -> None:
    """A decoder tuned with another quantiser, or of another depth, reads the files that there are."""
    assert identity_of(small()) == identity_of(small(quantizer="ste"))
    torch.manual_seed(0)
    deep, shallow = (create_model("hific", width=0.05, residual_blocks=count) for count in (2, 1))
    shallow.load_state_dict(deep.state_dict(), strict=False)
    assert identity_of(deep) == identity_of(shallow)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.synthesis[0].weight[0, 0, 0, 0] = float("nan")
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(WeightsError, match=r"synthesis\.0\.weight.*not finite"):
        load_model(tmp_path / "m.safetensors")


def test_notes_cannot_pass_for_what_the_header_says(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'config'"):
        save_model(tmp_path / "m.safetensors", small(), {"config": "{}"})


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot write"):
        save_model(tmp_path / "none" / "m.safetensors", small())


# ---- half-size files


def stored_types(path: Path) -> dict[str, str]:
    """The type of every tensor in a file, as its header says it."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    return {name: fields["dtype"] for name, fields in header.items() if name != "__metadata__"}


def every_network() -> list[CompressionModel]:
    """One of every architecture, and of every activation that has parameters."""
    torch.manual_seed(0)
    shrinkage = create_model("shrinkage", channels=8, latent_channels=12, hyper_channels=8)
    others = [small(name) for name in ("factorized", "scale_hyperprior", "hyperprior", "checkerboard")]
    return [
        *others, small(activation="gsdn"), shrinkage, create_model("hific", width=0.05, residual_blocks=1)
    ]  # fmt: skip


def test_a_half_size_file_is_the_network_with_rounded_kernels(tmp_path: Path) -> None:
    for model in every_network():
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        header = save_model(tmp_path / "half.safetensors", model, {"a": "b"}, kernel_bits=16)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        loaded = load_model(tmp_path / "half.safetensors")
        assert header.identity == identity_of(loaded).hex() == read_header(tmp_path / "half.safetensors").identity
        assert header.identity != identity_of(model).hex()
        kernels = {
            f"{name}.weight"
            for name, part in model.named_modules()
            if isinstance(part, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        }
        types = stored_types(tmp_path / "half.safetensors")
        assert {name for name, kind in types.items() if kind == "F16"} == kernels
        assert set(types.values()) == {"F16", "F32"}
        for name, tensor in loaded.state_dict().items():
            assert tensor.dtype == torch.float32
            if name in kernels:
                error = (tensor - before[name]).abs()
                assert bool((error <= (before[name].abs() * 2**-11).clamp(min=2**-25)).all()), name
            else:
                assert torch.equal(tensor, before[name]), name


def test_a_half_size_file_of_a_network_of_real_width_has_half_the_bytes(tmp_path: Path) -> None:
    model = create_model("hyperprior", channels=48, latent_channels=64)
    for half in (False, True):
        save_model(tmp_path / f"{half}.safetensors", model, kernel_bits=16 if half else 32)
    sizes = [(tmp_path / f"{half}.safetensors").stat().st_size for half in (True, False)]
    assert 0.5 < sizes[0] / sizes[1] < 0.56


def test_rounding_twice_is_rounding_once(tmp_path: Path) -> None:
    model = small("factorized")
    once, twice, whole = (tmp_path / f"{name}.safetensors" for name in ("once", "twice", "whole"))
    save_model(once, model, {"a": "b"}, kernel_bits=16)
    save_model(twice, load_model(once), {"a": "b"}, kernel_bits=16)
    assert once.read_bytes() == twice.read_bytes()
    save_model(whole, load_model(once))
    assert set(stored_types(whole).values()) == {"F32"}
    assert read_header(whole).identity == read_header(once).identity, "files of the one decode with the other"


@pytest.mark.parametrize("value", [65_520.0, -1e9, float("inf"), float("nan")])
def test_what_float16_cannot_hold_is_refused_by_name(tmp_path: Path, value: float) -> None:
    model = small()
    with torch.no_grad():
        model.synthesis[2].weight[1, 0, 2, 0] = value
    with pytest.raises(WeightsError, match=r"half\.safetensors was not written: synthesis\.2\.weight.*65504"):
        save_model(tmp_path / "half.safetensors", model, kernel_bits=16)
    assert not (tmp_path / "half.safetensors").exists()


def test_large_numbers_that_are_no_kernels_are_no_hindrance(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.prior.quantiles[0] = 1e6
        model.synthesis[2].weight[1, 0, 2, 0] = 65_504.0
        model.synthesis[2].weight[1, 0, 2, 1] = 1e-9
    save_model(tmp_path / "half.safetensors", model, kernel_bits=16)
    loaded = load_model(tmp_path / "half.safetensors")
    assert loaded.prior.quantiles[0, 0].tolist() == [1e6, 1e6, 1e6]
    assert loaded.synthesis[2].weight[1, 0, 2].tolist()[:2] == [65_504.0, 0.0]


def test_a_half_size_file_that_states_giant_widths_takes_no_memory(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small(), kernel_bits=16)
    giant = rewritten(tmp_path / "m.safetensors", config='{"channels": 9000, "latent_channels": 9000}')
    with pytest.raises(WeightsError, match=r"does not fit 'hyperprior': it says channels=9000"):
        load_model(giant)
