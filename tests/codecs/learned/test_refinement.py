"""Latents refined at encoding time: better files of the same format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rdp.bitstream.container import unpack
from rdp.codecs import Resources, create_codec, parse_point, parse_points
from rdp.codecs.learned import memory, refining
from rdp.codecs.learned.codec import LearnedCodec
from rdp.errors import CodecError, SpecError
from rdp.models import refinement
from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.models.decoders import save_decoder
from rdp.models.refinement import Refiner, Settings, drawn_rounding, soft_rounding, temperature_at
from rdp.weights import WeightsFile, load_index, sha256_of

ARCHITECTURES = ("factorized", "scale_hyperprior", "hyperprior", "checkerboard", "shrinkage", "hific")
LMBDA = "0.00001"
Networks = Callable[..., Path]
Picture = Callable[[int, int], np.ndarray]


def codec_of(path: Path, resources: Resources | None = None, **keys: str) -> LearnedCodec:
    extra = "".join(f",{key}={value}" for key, value in keys.items())
    codec = create_codec(parse_point(f'checkpoint:path="{path}"{extra}'), resources or Resources())
    assert isinstance(codec, LearnedCodec)
    return codec


def refined(path: Path, steps: int = 8, resources: Resources | None = None, **keys: str) -> LearnedCodec:
    return codec_of(path, resources, refine=str(steps), **{"lmbda": LMBDA, **keys})


def lagrangian(plain: LearnedCodec, data: bytes, image: np.ndarray, lmbda: float = float(LMBDA)) -> float:
    """J of a file: its bytes, and the picture that the codec without refinement makes of it."""
    error = plain.decode(data).astype(float) - image
    return 8 * len(data) / (image.shape[0] * image.shape[1]) + lmbda * float((error**2).mean())


def training_note(**arguments: object) -> dict[str, str]:
    distortion = {"class_path": "rdp.training.MeanSquaredError"}
    task = {"class_path": "rdp.training.RateDistortion", "init_args": {"distortion": distortion, **arguments}}
    return {"training": json.dumps({"task": task})}


@pytest.fixture(autouse=True)
def long_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps are then enough to see."""
    monkeypatch.setattr(refinement, "SOFT_RATE", 0.2)
    monkeypatch.setattr(refinement, "EPSILON", 0.05)


# ---- what it brings


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_refined_file_costs_less_and_the_plain_point_decodes_it_to_the_same_picture(
    networks: Networks, picture: Picture, architecture: str
) -> None:
    path, image = networks(architecture), picture(64, 64)
    plain, better = codec_of(path), refined(path)
    data = better.encode(image)
    gain = lagrangian(plain, plain.encode(image), image) - lagrangian(plain, data, image)
    # Of laws that are flat, as those of untrained densities are, there is little to gain: within the coder's last word.
    flat = architecture in ("factorized", "shrinkage")
    assert gain > (-32 / 64**2 if flat else 0.002)
    assert np.array_equal(plain.decode(data), better.decode(data))
    pairs = zip(plain.symbols(data), better.symbols(data), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 3), (63, 129)])
@pytest.mark.parametrize("architecture", ["factorized", "hyperprior"])
def test_every_size_of_image_is_refined_to_a_file_that_costs_no_more(
    networks: Networks, picture: Picture, architecture: str, height: int, width: int
) -> None:
    path, image = networks(architecture), picture(height, width)
    plain = codec_of(path)
    data = refined(path, steps=4).encode(image)
    # Of files of a few bytes the range coder's last word is a part.
    slack = 32 / (height * width)
    assert lagrangian(plain, data, image) <= lagrangian(plain, plain.encode(image), image) + slack


def test_the_margin_of_a_padded_image_takes_no_part_in_the_distortion(networks: Networks, picture: Picture) -> None:
    refiner = Refiner(load_model(networks("hyperprior")))
    image = torch.from_numpy(picture(40, 64)).permute(2, 0, 1)[None]
    model = load_model(networks("hyperprior"))
    with torch.no_grad():
        y = model.analyse(torch.nn.functional.pad(image.float() / 255, (0, 0, 0, 24), mode="replicate"))
    found = refiner.refine(y, image, Settings(4, float(LMBDA)))
    assert found is not None and found.z is not None
    with torch.no_grad():
        shown = (model.synthesise(found.y)[..., :40, :] * 255).round().clamp(0, 255)
        law = model.gaussian_parameters(model.hyper_synthesis(found.z))
        mass = torch.distributions.Normal(law.mean.double(), law.scale.double().clamp(min=0.11))
        bits = -(mass.cdf(found.y.double() + 0.5) - mass.cdf(found.y.double() - 0.5)).clamp(min=1e-9).log2().sum()
        bits = bits - model.prior.likelihood(found.z).log2().sum()
    expected = float(bits) / (40 * 64) + float(LMBDA) * float((shown - image).square().mean())
    assert found.after == pytest.approx(expected, rel=1e-4) and found.after < found.before


def test_latents_that_cannot_be_improved_on_are_left_alone(
    networks: Networks, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "SOFT_RATE", 50.0)  # descent that only does harm
    monkeypatch.setattr(refinement, "SOFT_TRAVEL", 1000.0)
    path, image = networks("hyperprior"), picture(64, 64)
    assert refined(path, steps=2).encode(image) == codec_of(path).encode(image)


def test_more_weight_on_the_error_makes_a_better_picture(networks: Networks, picture: Picture) -> None:
    path, image = networks("hyperprior"), picture(64, 64)
    plain = codec_of(path)
    files = [refined(path, lmbda=lmbda).encode(image) for lmbda in ("0.00001", "0.01")]
    less, more = (np.square(plain.decode(data).astype(float) - image).mean() for data in files)
    assert more < less and len(files[1]) >= len(files[0])


def test_refinement_keeps_the_quantisation_step_and_the_tables(networks: Networks, picture: Picture) -> None:
    image = picture(64, 64)
    for architecture, keys in (("checkerboard", {"step": "2"}), ("shrinkage", {"step": "1/2", "tables": "fixed"})):
        path = networks(architecture)
        plain = codec_of(path, **keys)
        data = refined(path, **keys).encode(image)
        unrefined = plain.encode(image)
        assert lagrangian(plain, data, image) < lagrangian(plain, unrefined, image)
        assert unpack(data).parameters == unpack(unrefined).parameters != b""


# ---- what it depends on


def test_an_image_has_the_same_file_again_and_among_others(networks: Networks, picture: Picture) -> None:
    path = networks("hyperprior")
    images = [picture(64, 64) for _ in range(3)]
    alone = [refined(path).encode(image) for image in images]
    assert refined(path).encode(images[0]) == alone[0]
    codec = refined(path)
    codec.preferred_batch = lambda height, width: 4  # type: ignore[method-assign]
    assert codec.encode_batch(images) == alone
    assert len(codec.encode_batch(images[:1])) == 1


def test_the_callers_mode_and_the_type_of_the_transforms_do_not_matter(networks: Networks, picture: Picture) -> None:
    path, image = networks("hyperprior"), picture(64, 64)
    with torch.inference_mode():
        inside = refined(path).encode(image)
    assert inside == refined(path).encode(image)
    small = Resources(dtype="bfloat16")
    plain, better = codec_of(path, small), refined(path, resources=small)
    assert lagrangian(plain, better.encode(image), image) < lagrangian(plain, plain.encode(image), image)


def test_a_refined_point_leaves_no_gradients_behind(networks: Networks, picture: Picture) -> None:
    codec = refined(networks("hyperprior"), steps=2)
    codec.encode(picture(64, 64))
    refiner = codec.network._refiner
    assert refiner is not None
    assert all(p.grad is None and not p.requires_grad for p in refiner._model.parameters())


def test_soft_rounding_is_the_identity_at_first_and_grows_hard() -> None:
    v = torch.linspace(-3.2, 3.2, 129, requires_grad=True)
    assert torch.allclose(soft_rounding(1.0)(v), v, atol=2e-4)
    distances = [float((soft_rounding(t)(v) - v.round()).detach().abs().mean()) for t in (1.0, 0.5, 0.2, 0.01)]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.03
    soft_rounding(0.05)(v).sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())
    temperatures = [temperature_at(done, 1.0, 0.1) for done in (0.0, 0.3, 0.5, 0.9, 1.0)]
    assert temperatures[0] == temperatures[1] == 1.0 and temperatures == sorted(temperatures, reverse=True)


def test_draws_are_of_the_two_neighbours_and_grow_hard() -> None:
    v = torch.tensor([-1.3, 0.2, 0.5, 4.9]).repeat(20_000, 1).requires_grad_()
    for temperature, softest in ((0.5, 0.5), (0.05, 0.02)):
        drawn = drawn_rounding(temperature, torch.Generator().manual_seed(0))(v)
        fractions = (drawn - v.floor()).detach()
        assert ((fractions >= 0) & (fractions <= 1)).all()
        assert torch.minimum(fractions, 1 - fractions).mean() < softest
        assert fractions[:, 2].mean() == pytest.approx(0.5, abs=0.02)
        assert (fractions[:, 0] > 0.5).float().mean() > 0.5 > (fractions[:, 1] > 0.5).float().mean()
    drawn.sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())


def test_draws_bring_something_too_and_are_the_same_again(
    networks: Networks, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "DRAWS_FROM", 2)
    monkeypatch.setattr(refinement, "DRAWN_RATE", 0.2)
    path, image = networks("checkerboard"), picture(64, 64)
    plain, data = codec_of(path), refined(path).encode(image)
    assert lagrangian(plain, data, image) < lagrangian(plain, plain.encode(image), image)
    torch.manual_seed(7)
    assert refined(path).encode(image) == data


def test_an_image_that_needs_too_much_memory_is_an_error_beforehand(
    networks: Networks, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = refined(networks("hyperprior"), steps=1)
    image = picture(256, 256)
    codec.encode(image)
    refiner = codec.network._refiner
    assert refiner is not None
    needed = refiner.peak_bytes(256 * 256)
    assert 50 * 256 * 256 < needed < 5000 * 256 * 256
    monkeypatch.setattr(memory, "available_bytes", lambda device: needed - 1)
    with pytest.raises(CodecError, match="256x256 pixels needs about"):
        codec.encode(image)


# ---- names


def test_points_without_refinement_keep_their_names_and_encoders(networks: Networks) -> None:
    path = networks("hyperprior")
    plain, none = (parse_point(f"checkpoint:path={path}{extra}") for extra in ("", ",refine=0"))
    assert plain.name == none.name == f"checkpoint:sha={sha256_of(path)[:12]},step=1"
    assert plain.values == (("sha", sha256_of(path)[:12]), ("step", "1"))
    assert create_codec(plain).encoder_id == create_codec(none).encoder_id


def test_the_canonical_name_of_a_refined_point_is_read_again(networks: Networks) -> None:
    path = networks("hyperprior")
    points = parse_points(f"checkpoint:path={path},decoder=mse|g1e-4,lmbda=0.010,refine=25|050")
    assert {point.name.partition(",step=1,")[2] for point in points} == {
        f"refine={steps},lmbda=0.01{decoder}" for steps in (25, 50) for decoder in ("", ",decoder=g1e-4")
    }
    for point in points:
        sha = point.name.replace(f"sha={sha256_of(path)[:12]}", f"path={path}")
        assert parse_point(sha).name == point.name


def test_what_decides_the_file_decides_the_encoders_id(networks: Networks, tmp_path: Path) -> None:
    path = networks("hyperprior")
    model = load_model(path)
    with torch.no_grad():
        model.synthesis[-1].bias.add_(0.01)
    other = tmp_path / "other.safetensors"
    save_model(other, model)
    assert read_header(other).identity == read_header(path).identity
    ids = [
        codec_of(path).encoder_id,
        refined(path, 8).encoder_id,
        refined(path, 9).encoder_id,
        refined(path, 8, lmbda="0.02").encoder_id,
        refined(other, 8).encoder_id,
    ]
    assert len(set(ids)) == len(ids)


def test_a_refined_file_is_shared_by_the_points_that_decode_it(
    networks: Networks, picture: Picture, tmp_path: Path
) -> None:
    path, image = networks("hyperprior"), picture(64, 64)
    model = load_model(path)
    with torch.no_grad():
        model.synthesis[-1].bias.add_(0.1)
    decoder = tmp_path / "decoder.safetensors"
    save_decoder(decoder, model, "g1e-4", read_header(path).identity, {})
    own, tuned = refined(path), refined(path, decoder=str(decoder))
    data = own.encode(image)
    assert tuned.encoder_id == own.encoder_id and tuned.encode(image) == data
    assert not np.array_equal(tuned.decode(data), own.decode(data))


# ---- what it is for


def test_the_weight_of_the_error_is_the_one_in_the_note_on_the_training(
    networks: Networks, picture: Picture, tmp_path: Path
) -> None:
    path, image = tmp_path / "noted.safetensors", picture(64, 64)
    save_model(path, load_model(networks("hyperprior")), training_note(lmbda=float(LMBDA)))
    assert codec_of(path, refine="8").encode(image) == refined(path, 8).encode(image)
    assert codec_of(path, refine="8").encode(image) != refined(path, 8, lmbda="0.1").encode(image)


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"training": "no JSON"},
        {"training": "[]"},
        {"training": json.dumps({"task": {"class_path": "mine.Task", "init_args": {"lmbda": 0.01}}})},
        training_note(lmbda=0),
        training_note(lmbda="much"),
        training_note(lmbda=0.01, distortion={"class_path": "rdp.training.WeightedSum"}),
    ],
)
def test_weights_that_do_not_say_what_they_were_trained_for_need_lmbda(
    networks: Networks, tmp_path: Path, note: dict[str, str]
) -> None:
    path = tmp_path / "unknown.safetensors"
    save_model(path, load_model(networks("factorized")), note)
    codec_of(path)
    refined(path)
    with pytest.raises(SpecError, match=r"unknown\.safetensors does not say .* add lmbda="):
        codec_of(path, refine="8")


def test_of_published_models_the_index_knows_the_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = load_index()
    entry = index["mbt2018-mean-mse-3"]
    digits = entry.expected.ljust(64, "0")
    assert refining.trained_lmbda(WeightsFile("any", tmp_path / "a.pth.tar", digits)) == 0.0067
    assert refining.trained_lmbda(WeightsFile("any", tmp_path / "a.pth.tar", "f" * 64)) is None
    other = index["mbt2018-mean-ms-ssim-3"]
    assert refining.trained_lmbda(WeightsFile("any", tmp_path / "a.pth.tar", other.expected.ljust(64, "0"))) is None
    for name in refining.PUBLISHED_SETS:
        assert sum(entry.set == name for entry in index.values()) == len(refining.PUBLISHED_LMBDAS)


# ---- refusals


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("lmbda=0.01", "add refine=STEPS"),
        ("refine=0,lmbda=0.01", "add refine=STEPS"),
        ("refine=-1", "it takes 0..10000"),
        ("refine=10001", "it takes 0..10000"),
        ("refine=1.5", "it takes 0..10000"),
        ("refine=1,lmbda=0", "'0' is not allowed"),
        ("refine=1,lmbda=-1", "'-1' is not allowed"),
        ("refine=1,tables=flags", "cannot be refined for tables=flags"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(networks: Networks, extra: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_points(f"checkpoint:path={networks('shrinkage')},{extra}")


def test_an_architecture_without_a_rate_to_descend_is_refused(networks: Networks) -> None:
    model = load_model(networks("factorized"))
    type(model).architecture, kept = "mine", type(model).architecture
    try:
        with pytest.raises(SpecError, match="'mine' network cannot be refined"):
            Refiner(model)
    finally:
        type(model).architecture = kept
