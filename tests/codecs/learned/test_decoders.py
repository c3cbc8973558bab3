"""Decoders as operating points: one file, several pictures."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rdp
from rdp.bitstream.container import unpack
from rdp.codecs import Resources, create_codec, parse_point, parse_points
from rdp.codecs.files import decode_file, encode_file
from rdp.codecs.learned import decoder_files, families, memory
from rdp.codecs.learned import network as network_module
from rdp.codecs.learned.codec import LearnedCodec
from rdp.codecs.learned.decoders import DecoderChoice, Mixture, read_choice
from rdp.codecs.learned.finding import weights_of
from rdp.errors import CodecError, SpecError, WeightsError
from rdp.images import read_image, write_png
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, load_model, read_header, save_model
from rdp.models.decoders import save_decoder
from rdp.models.provenance import trained_on_note
from rdp.weights import WeightsEntry, WeightsFile, sha256_of

ARCHITECTURES = ("factorized", "scale_hyperprior", "hyperprior", "checkerboard", "shrinkage", "hific")
NAMES = {"g1e-2": 1, "g1e-4": 2}
SHA = "0123456789ab"
Networks = Callable[..., Path]
Picture = Callable[[int, int], np.ndarray]


def tuned(path: Path, seed: int) -> CompressionModel:
    """The network of a file with a decoder that is no longer its own."""
    model = load_model(path)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.synthesis.parameters():
            parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    return model


def write_decoder(file: Path, path: Path, name: str, seed: int, **notes: str) -> Path:
    save_decoder(file, tuned(path, seed), name, read_header(path).identity, notes)
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights."""
    made = tmp_path / "weights"
    made.mkdir()
    monkeypatch.setenv("RDP_WEIGHTS", str(made))
    return made


@pytest.fixture
def path(networks: Networks, folder: Path) -> Path:
    """A hyperprior network's file, whose two decoders lie in the folder of weights."""
    file = networks("hyperprior")
    put_decoders(folder, file)
    return file


def put_decoders(folder: Path, path: Path) -> None:
    for name, seed in NAMES.items():
        write_decoder(folder / f"a-{path.stem}-{name}.safetensors", path, name, seed)


def codec_of(path: Path, decoder: str = "mse", resources: Resources | None = None, **keys: str) -> LearnedCodec:
    extra = "".join(f",{key}={value}" for key, value in keys.items())
    point = parse_point(f'checkpoint:path="{path}",decoder={decoder}{extra}')
    codec = create_codec(point, resources or Resources())
    assert isinstance(codec, LearnedCodec)
    return codec


def pixels(x_hat: torch.Tensor, height: int, width: int) -> np.ndarray:
    """8 bits, (H, W, 3), of a picture (1, 3, H', W') in [0, 1]."""
    return (x_hat[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()[:height, :width]


# ---- pictures


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_decoder_makes_the_pictures_of_the_network_that_has_it_from_the_same_file(
    networks: Networks, picture: Picture, folder: Path, tmp_path: Path, architecture: str
) -> None:
    path, image = networks(architecture), picture(50, 70)
    put_decoders(folder, path)
    own = codec_of(path)
    data = own.encode(image)
    pictures = [own.decode(data)]
    for name, seed in NAMES.items():
        codec = codec_of(path, name)
        assert codec.encode(image) == data
        whole = tmp_path / "whole.safetensors"
        save_model(whole, tuned(path, seed))
        pictures.append(codec.decode(data))
        assert np.array_equal(pictures[-1], codec_of(whole).decode(data))
        assert codec.encoder_id == own.encoder_id and codec.decoder_id != own.decoder_id
        assert codec.estimates(data) == own.estimates(data)
    assert not any(np.array_equal(a, b) for a, b in pairwise(pictures))
    assert np.array_equal(own.decode(data), pictures[0]), "the network's own decoder is what it was"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_mixture_of_pictures_is_the_formula_before_rounding(
    networks: Networks, picture: Picture, folder: Path, architecture: str
) -> None:
    path, image = networks(architecture), picture(50, 70)
    put_decoders(folder, path)
    codec = codec_of(path, "g1e-2+0.3*mse")
    data = codec.encode(image)
    size = codec.network.size(50, 70)
    coding = codec.network.coding(Fraction(1), codec.network.tables[0])
    y_hat = coding.decompress([unpack(data).payload], size.rows, size.columns).y_hat
    with torch.inference_mode():
        one, two = (model.synthesise(y_hat) for model in (tuned(path, 1), load_model(path)))
    exact = (255 * (0.7 * one.double() + 0.3 * two.double()))[0].permute(1, 2, 0).numpy()[:50, :70].clip(0, 255)
    sure = np.abs(exact % 1 - 0.5) > 1e-2
    decoded = codec.decode(data)
    assert sure.mean() > 0.9
    assert np.array_equal(decoded[sure], np.rint(exact)[sure].astype(np.uint8))
    rounded = np.rint(0.7 * pixels(one, 50, 70) + 0.3 * pixels(two, 50, 70)).astype(np.uint8)
    assert not np.array_equal(decoded[sure], rounded[sure]), "pictures of 8 bits would have been mixed otherwise"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_mixture_of_weights_is_the_network_with_the_mixed_weights(
    networks: Networks, picture: Picture, folder: Path, tmp_path: Path, architecture: str
) -> None:
    path, image = networks(architecture), picture(50, 70)
    put_decoders(folder, path)
    model, other = load_model(path), tuned(path, 2)
    with torch.no_grad():
        for mine, its in zip(model.synthesis.parameters(), other.synthesis.parameters(), strict=True):
            mine.copy_(mine + 0.25 * (its - mine))
    save_model(tmp_path / "mixed.safetensors", model)
    codec, ends = codec_of(path, "mse~0.25*g1e-4"), [codec_of(path), codec_of(path, "g1e-4")]
    data = codec.encode(image)
    decoded, expected = (c.decode(data).astype(int) for c in (codec, codec_of(tmp_path / "mixed.safetensors")))
    assert np.abs(decoded - expected).max() <= 1 and (decoded != expected).mean() < 0.01
    assert all((decoded != end.decode(data)).mean() > 0.05 for end in ends)
    assert len(codec.synthesis.parts) == 1, "decodes once"


def test_files_decoded_together_are_decoded_as_alone(path: Path, picture: Picture) -> None:
    codec = codec_of(path, "mse+0.5*g1e-4")
    images = [picture(50, 60), picture(49, 64)]
    files = codec.encode_batch(images)
    together = codec.decode_batch(files)
    assert all(np.array_equal(one, codec.decode(data)) for one, data in zip(together, files, strict=True))
    assert [one.shape for one in together] == [image.shape for image in images]


def test_half_precision_mixes_in_float32(path: Path, picture: Picture) -> None:
    codec = codec_of(path, "mse+0.5*g1e-4", Resources(dtype="bfloat16"))
    data = codec.encode(picture(64, 64))
    full = codec_of(path, "mse+0.5*g1e-4").network
    size = full.size(64, 64)
    y_hat = full.coding(Fraction(1), "trained").decompress([unpack(data).payload], size.rows, size.columns).y_hat
    exact = full.synthesise(y_hat, [size], codec_of(path, "mse+0.5*g1e-4").synthesis)[0]
    assert np.abs(codec.decode(data).astype(int) - exact).mean() < 3
    assert codec.synthesis(y_hat).dtype == torch.float32


# ---- spelling


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("mse", ""), ("g1e-04", "g1e-4"), ("g0.0001", "g1e-4"), ("g.5", "g5e-1"), ("g0.0", "g0"), ("gan", "gan"),
     ("mse+0.30*g1e-4", "mse+0.3*g1e-4"), ("mse+3e-1*g.0001", "mse+0.3*g1e-4"), ("g1e-2 ~ .5 * mse", "g1e-2~0.5*mse"),
     ("g1e-2+0.5*lpips_v2.1", "g1e-2+0.5*lpips_v2.1")],
)  # fmt: skip
def test_decoders_have_one_spelling_and_the_networks_own_none(written: str, canonical: str) -> None:
    name = f"checkpoint:sha={SHA},step=1"
    expected = f"{name},decoder={canonical}" if canonical else name
    assert parse_point(f"checkpoint:sha={SHA},decoder={written}").name == expected


def test_a_list_of_decoders_is_a_list_of_points_each_once() -> None:
    points = parse_points(f"checkpoint:sha={SHA},step=1|2,decoder=mse|g1e-4|g0.0001|mse+0.5*g1e-4")
    assert [str(point.get("decoder")) for point in points] == ["None", "g1e-4", "mse+0.5*g1e-4"] * 2


NAME = st.one_of(
    st.just("mse"), st.from_regex(r"[a-z][a-z0-9_-]{0,6}(\.[a-z0-9]{1,3})?", fullmatch=True),
    st.decimals(0, 100, places=6).map(lambda gamma: f"g{gamma}"),
)  # fmt: skip
SHARE = st.integers(1, 999_999).map(lambda millionths: Decimal(millionths) / 1_000_000)


@given(NAME, NAME, SHARE, st.sampled_from("+~"))
def test_the_canonical_spelling_reads_as_itself(first: str, second: str, share: Decimal, sign: str) -> None:
    one, two = (str(read_choice(name, "here")) for name in (first, second))
    text = f"{first}{sign}{share}*{second}"
    if one == two:
        with pytest.raises(SpecError, match="itself"):
            read_choice(text, "here")
        return
    choice = read_choice(text, "here")
    assert choice == DecoderChoice(one, Mixture("pictures" if sign == "+" else "weights", share.normalize(), two))
    assert read_choice(str(choice), "here") == choice
    point = parse_point(f"checkpoint:sha={SHA},decoder={text}")
    assert parse_point(point.name).name == point.name
    assert point.get("decoder") == str(choice)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("mse+0*g1e-4", "write decoder=mse"), ("mse+1*g1e-4", "write decoder=g1e-4"), ("g1e-4~1.0*mse", "decoder=mse"),
     ("mse+0.5*mse", "with itself"), ("g1e-4+0.5*g0.0001", "with itself"), ("mse+1.5*g1e-4", "not between"),
     ("mse+-0.5*g1e-4", "not between"), ("mse+0.1234567*g1e-4", "6 decimal places"), ("mse+1e-999*g0", "6 decimal"),
     ("mse+half*g1e-4", "not a decimal"), ("mse+nan*g0", "not a decimal"), ("mse+*g0", "not a decimal"),
     ("MSE", "not allowed"), ("g1e+2", "not allowed"), ("mse+0.5", "not allowed"), ("+0.5*g0", "not allowed"),
     ("mse+0.5*", "not allowed"), ("mse*0.5+g0", "not allowed"), ("mse+0.5*g0+0.5*g1", "not a"),
     ("a..b", "not allowed"), ("0.5*mse+0.5*g0", "not a"), ("'mse,g0'", "not allowed"), ("g0|", "not allowed"),
     ("mse+0.5*x.safetensors", "no file")],
)  # fmt: skip
def test_what_is_no_choice_is_refused_with_what_is_allowed(written: str, expected: str) -> None:
    with pytest.raises(SpecError, match="decoder") as caught:
        parse_point(f"checkpoint:sha={SHA},decoder={written}")
    assert expected in str(caught.value)
    if expected == "not allowed":
        assert "A+t*B" in str(caught.value) and "g1e-4" in str(caught.value)


def test_the_listing_says_how_decoders_are_written_and_what_is_meant_without(networks: Networks) -> None:
    from typer.testing import CliRunner

    from rdp.cli.app import app

    lines = CliRunner().invoke(app, ["codecs"]).output.splitlines()
    found = [line for line in lines if line.split()[:2] == ["decoder", "mse|NAME|A+t*B|A~t*B|FILE"]]
    assert found and all("[mse]" in line for line in found)


# ---- where decoders lie


def test_a_decoder_given_as_a_file_goes_by_its_name_also_in_other_items_and_processes(
    networks: Networks, picture: Picture, tmp_path: Path
) -> None:
    path = networks("factorized")
    file = write_decoder(tmp_path / "mine, of today.safetensors", path, "g1e-4", 2)
    spec = f'checkpoint:path="{path}",decoder="{file}"|mse+0.5*g1e-4'
    points = parse_points(spec)
    assert [point.get("decoder") for point in points] == ["g1e-4", "mse+0.5*g1e-4"]
    data = create_codec(points[0]).encode(picture(40, 40))
    (tmp_path / "work").write_bytes(pickle.dumps((points, data)))
    code = (
        "import pickle, sys, numpy; from pathlib import Path; from rdp.codecs import create_codec\n"
        "points, data = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "numpy.save(sys.argv[2], numpy.stack([create_codec(point).decode(data) for point in points]))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "work", tmp_path / "back.npy"], check=True, cwd="/")
    here = np.stack([create_codec(point).decode(data) for point in points])
    assert np.array_equal(np.load(tmp_path / "back.npy"), here)


def test_a_decoder_that_is_not_there_is_refused_with_those_that_are(path: Path, folder: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        codec_of(path, "mse+0.5*g1e-3")
    message = str(caught.value)
    assert "no decoder 'g1e-3'" in message and "There are: mse, g1e-2, g1e-4" in message and "Did you mean" in message
    assert str(folder) in message and read_header(path).identity in message and "decoder=FILE" in message


def test_the_decoders_of_other_encoders_are_not_offered(path: Path, networks: Networks) -> None:
    with pytest.raises(WeightsError, match="There are: mse. "):
        codec_of(networks("hyperprior", 1), "g1e-4")


def test_a_file_of_another_encoder_is_refused_by_both_identities(networks: Networks, tmp_path: Path) -> None:
    mine, other = networks("hyperprior"), networks("hyperprior", 1)
    file = write_decoder(tmp_path / "d.safetensors", other, "g1e-4", 2)
    with pytest.raises(WeightsError, match=f"{read_header(other).identity}.*{read_header(mine).identity}"):
        codec_of(mine, str(file))


def test_files_of_several_encoders_go_to_the_networks_that_they_fit(networks: Networks, tmp_path: Path) -> None:
    paths = [networks("factorized"), networks("factorized", 1)]
    files = [write_decoder(tmp_path / f"{k}.safetensors", path, "g1e-4", 2) for k, path in enumerate(paths)]
    points = parse_points(f'checkpoint:path="{paths[0]}"|"{paths[1]}",decoder={files[1]}|{files[0]}')
    assert len(points) == 2 and {point.get("decoder") for point in points} == {"g1e-4"}
    assert len({create_codec(point).decoder_id for point in points}) == 2


def test_two_decoders_of_one_name_are_refused_by_both_files_and_copies_are_not(
    path: Path, folder: Path, tmp_path: Path
) -> None:
    first = folder / f"a-{path.stem}-g1e-4.safetensors"
    copy = folder / "z.safetensors"
    copy.write_bytes(first.read_bytes())
    codec_of(path, "g1e-4")
    other = write_decoder(copy, path, "g0.0001", 3)
    with pytest.raises(WeightsError, match=f"{first.name}.*z.safetensors.*different decoders.*decoder=FILE"):
        codec_of(path, "g1e-4")
    codec_of(path, "g1e-2")
    codec_of(path, str(other))
    with pytest.raises(SpecError, match="different decoders of one encoder"):
        codec_of(path, f"{first}|{other}")
    with pytest.raises(SpecError, match="different decoders of one encoder"):
        parse_points([f'checkpoint:path="{path}",decoder={file}' for file in (first, other)])
    assert len(parse_points([f'checkpoint:path="{path}",decoder={file}' for file in (first, first)])) == 1


def test_numbers_that_are_not_finite_are_refused_when_they_are_loaded(
    networks: Networks, picture: Picture, tmp_path: Path
) -> None:
    path = networks("factorized")
    model = tuned(path, 1)
    with torch.no_grad():
        next(model.synthesis.parameters()).view(-1)[0] = float("nan")
    save_decoder(tmp_path / "nan.safetensors", model, "g0", identity_of(model).hex())
    for decoder in ("g0", "mse+0.5*g0", "mse~0.5*g0"):
        point = parse_points(f'checkpoint:path="{path}",decoder={tmp_path / "nan.safetensors"}|{decoder}')[-1]
        codec = create_codec(point)
        with pytest.raises(WeightsError, match=r"nan\.safetensors is of no use"):
            codec.decode(codec.encode(picture(32, 32)))


def test_files_that_are_the_wrong_thing_are_named(path: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no decoder"):
        codec_of(path, str(path))
    with pytest.raises(WeightsError, match="holds a decoder alone.*decoder=FILE"):
        codec_of(folder / f"a-{path.stem}-g1e-4.safetensors").network  # noqa: B018 - loads the network
    (tmp_path / "x.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"x\.safetensors is no safetensors file"):
        codec_of(path, str(tmp_path / "x.safetensors"))


def test_a_decoder_that_changes_after_it_was_named_is_refused(path: Path, picture: Picture, tmp_path: Path) -> None:
    file = write_decoder(tmp_path / "d.safetensors", path, "mine", 4)
    codec = codec_of(path, str(file))
    data = codec.encode(picture(32, 32))
    write_decoder(file, path, "mine", 55)
    with pytest.raises(WeightsError, match="changed while it was in use"):
        codec.decode(data)


def test_a_decoder_in_the_index_is_what_the_index_says(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / f"a-{path.stem}-g1e-4.safetensors"
    for sha256, good in ((sha256_of(file), True), ("0" * 64, False)):
        entry = WeightsEntry("d", file.name, "", sha256, "", None, "MIT", "a decoder", ())
        monkeypatch.setattr(decoder_files, "load_index", lambda entry=entry: {"d": entry})
        if good:
            codec_of(path, "g1e-4")
        else:
            with pytest.raises(WeightsError, match="expected SHA-256 0000"):
                codec_of(path, "g1e-4")


def test_published_archives_have_decoders_too(networks: Networks, folder: Path, picture: Picture) -> None:
    """They carry no identity: that of the network they hold counts."""
    names = {"analysis": "g_a", "synthesis": "g_s", "hyper_analysis": "h_a", "hyper_synthesis": "h_s"}
    state = {}
    for key, tensor in load_model(networks("hyperprior")).state_dict().items():
        part, _, rest = key.partition(".")
        state[f"{names.get(part, 'entropy_bottleneck')}.{rest}"] = tensor
    archive = folder / "mbt2018-mean-9-0123abcd.pth.tar"
    torch.save(state, archive)
    own = codec_of(archive)
    identity = own.network.identity.hex()
    model = network_module.load_weights(archive)
    with torch.no_grad():
        next(model.synthesis.parameters()).mul_(1.5)
    save_decoder(folder / "d.safetensors", model, "g1e-4", identity)
    codec = codec_of(archive, "g1e-4")
    data = own.encode(picture(40, 40))
    assert codec.encoder_id == own.encoder_id
    assert not np.array_equal(codec.decode(data), own.decode(data))


# ---- families of the index


def test_families_of_the_index_have_decoders_and_entries_of_decoders_are_no_networks(
    path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = WeightsEntry("rdp-hyperprior-1", path.name, "", sha256_of(path), "", None, "MIT", "a network", ())
    keys = {"weights": "rdp", "quality": "1"}
    listed = [(keys, entry), ({**keys, "decoder": "g1e-4"}, entry), ({**keys, "quality": "2", "decoder": "g0"}, entry)]
    monkeypatch.setattr(families, "entries_used_by", lambda family: listed)
    monkeypatch.setattr(families, "resolve", lambda name: WeightsFile(name, path, sha256_of(path)))
    points = parse_points("hyperprior:quality=1,decoder=mse|g1e-2|g0.0001|mse+0.5*g1e-4")
    name = "hyperprior:weights=rdp,quality=1,step=1"
    assert [point.name for point in points] == [
        name, f"{name},decoder=g1e-2", f"{name},decoder=g1e-4", f"{name},decoder=mse+0.5*g1e-4"
    ]  # fmt: skip
    codecs = [create_codec(point) for point in points]
    assert len({codec.encoder_id for codec in codecs}) == 1 and len({codec.decoder_id for codec in codecs}) == 4
    data = codecs[0].encode(picture(40, 40))
    assert len({codec.decode(data).tobytes() for codec in codecs}) == 4
    with pytest.raises(SpecError, match="quality='2' is not allowed"):
        parse_point("hyperprior:quality=2")


# ---- what is shared, counted and said


def test_points_share_the_network_and_every_decoder_is_loaded_once(
    path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    whole: list[Path] = []
    load_decoder, load_weights = network_module.load_decoder, network_module.load_weights
    monkeypatch.setattr(network_module, "load_decoder", lambda *args: loaded.append(args[0]) or load_decoder(*args))
    monkeypatch.setattr(network_module, "load_weights", lambda *args: whole.append(args[0]) or load_weights(*args))
    codecs = [codec_of(path, d) for d in ("mse", "g1e-2", "g1e-4", "mse+0.5*g1e-4", "g1e-2+0.1*g1e-4", "g1e-4")]
    data = codecs[0].encode(picture(32, 32))
    for codec in codecs * 2:
        codec.decode(data)
    assert len({id(codec.network) for codec in codecs}) == 1
    assert whole == [path] and len(loaded) == 2


def test_weights_and_training_images_of_decoders_count(networks: Networks, tmp_path: Path) -> None:
    model = load_model(networks("factorized"))
    path = tmp_path / "network.safetensors"
    save_model(path, model, trained_on_note(["a" * 64]))
    files = [
        write_decoder(tmp_path / f"{k}.safetensors", path, f"d{k}", 1, **trained_on_note([k * 64])) for k in ("b", "c")
    ]
    points = parse_points(f'checkpoint:path="{path}",decoder=mse|{files[0]}|{files[1]}|db+0.5*dc|dc~0.5*mse')
    codecs = {str(point.get("decoder")): create_codec(point) for point in points}
    images = {name: {image[0] for image in codec.trained_on()} for name, codec in codecs.items()}
    assert images == {
        "None": {"a"}, "db": {"a", "b"}, "dc": {"a", "c"}, "db+0.5*dc": {"a", "b", "c"}, "dc~0.5*mse": {"a", "c"}
    }  # fmt: skip
    own, size = path.stat().st_size, files[0].stat().st_size
    assert codecs["None"].weights_nbytes == own and codecs["db"].weights_nbytes == own + size
    assert codecs["db+0.5*dc"].weights_nbytes == own + size + files[1].stat().st_size


def test_a_mixture_of_pictures_asks_for_the_memory_of_both(
    path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, both = codec_of(path, "g1e-4"), codec_of(path, "mse+0.5*g1e-4")
    network, size = one.network, one.network.size(512, 512)
    y_hat = torch.zeros(1, 12, size.rows, size.columns)
    alone = one.synthesis.peak_bytes(size.rows, size.columns, 12, 1, 512 * 512) + 512 * 512 * network_module.PIXEL_BYTES
    synthesis = both.synthesis
    for free, enough in ((alone, (True, False)), (alone + 12 * 512 * 512, (True, True)), (alone - 1, (False, False))):
        monkeypatch.setattr(memory, "available_bytes", lambda device, free=free: free)
        for chosen, passes in zip((one.synthesis, synthesis), enough, strict=True):
            if passes:
                assert network.synthesise(y_hat, [size], chosen)[0].shape == (512, 512, 3)
            else:
                with pytest.raises(CodecError, match="of memory"):
                    network.synthesise(y_hat, [size], chosen)


# ---- runs and files


@pytest.mark.parametrize("workers", ["pool", pytest.param("batched", marks=pytest.mark.slow)])
def test_a_run_encodes_once_and_decodes_with_every_decoder(
    path: Path, picture: Picture, tmp_path: Path, workers: str
) -> None:
    write_png(tmp_path / "image.png", picture(60, 50))
    codec = f'checkpoint:path="{path}",decoder=mse|g1e-4|mse+0.5*g1e-4'
    run = rdp.evaluate(tmp_path / "image.png", codec, ["psnr"], tmp_path / "run", jobs=1, workers=workers)
    frame = run.to_pandas()
    assert list(frame.status) == ["ok"] * 3, list(frame.message)
    for column in ("file_sha256", "encode_s", "nbytes", "encoder_id", "bpp_estimated"):
        assert frame[column].nunique() == 1, column
    for column in ("point", "decoder_id", "reconstruction_sha256", "psnr"):
        assert frame[column].nunique() == 3, column


def test_a_file_is_decoded_by_its_own_decoder_or_the_one_that_is_named(
    path: Path, picture: Picture, folder: Path, tmp_path: Path
) -> None:
    (folder / "network.safetensors").write_bytes(path.read_bytes())
    write_png(tmp_path / "image.png", picture(60, 50))
    spec = f"checkpoint:sha={sha256_of(path)[:12]}"
    encoded = encode_file(tmp_path / "image.png", tmp_path / "x.bin", f"{spec},decoder=g1e-4")
    assert encoded.point == f"{spec},step=1,decoder=g1e-4"
    data = (tmp_path / "x.bin").read_bytes()
    assert weights_of(data, "x.bin") == folder / "network.safetensors", "files of decoders are passed over"
    decode_file(tmp_path / "x.bin", tmp_path / "own.png")
    decode_file(tmp_path / "x.bin", tmp_path / "g.png", encoded.point)
    assert np.array_equal(read_image(tmp_path / "own.png"), codec_of(path).decode(data))
    assert np.array_equal(read_image(tmp_path / "g.png"), codec_of(path, "g1e-4").decode(data))
    assert not np.array_equal(read_image(tmp_path / "own.png"), read_image(tmp_path / "g.png"))
