"""Learned codecs: real files, decoded from the file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdp.codecs import Resources, create_codec, parse_point, parse_points
from rdp.codecs.learned.codec import LearnedCodec
from rdp.errors import CodecError, FormatError, RdpError, SpecError, WeightsError
from rdp.models.checkpoint import load_model

ARCHITECTURES = ("factorized", "scale_hyperprior", "hyperprior", "checkerboard", "shrinkage", "hific")
Networks = Callable[..., Path]


def codec_of(path: Path, *, dtype: str = "float32", **keys: str) -> LearnedCodec:
    extra = "".join(f",{key}={value}" for key, value in keys.items())
    codec = create_codec(parse_point(f'checkpoint:path="{path}"{extra}'), Resources(dtype=dtype))
    assert isinstance(codec, LearnedCodec)
    return codec


def forward(path: Path, image: np.ndarray) -> tuple[np.ndarray, float]:
    """The network's own reconstruction in floating point, as 8-bit pixels, and its estimate of the rate in bits."""
    model = load_model(path)
    height, width = image.shape[:2]
    bottom, right = -height % model.stride, -width % model.stride
    padded = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        output = model(x)
    pixels = (output.x_hat[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels[:height, :width], float(output.bits())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_decodes_to_what_the_network_reconstructs(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    image = picture(96, 150)
    codec = codec_of(networks(architecture))
    data = codec.encode(image)
    decoded = codec.decode(data)
    expected, _ = forward(networks(architecture), image)
    difference = np.abs(decoded.astype(int) - expected)
    assert decoded.shape == image.shape
    assert decoded.dtype == np.uint8
    # A latent that lies on a rounding boundary may fall to the other side; hardly any does.
    assert (difference > 1).mean() < 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_estimate_is_the_networks_own(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    image = picture(128, 128)
    codec = codec_of(networks(architecture))
    estimates = codec.estimates(codec.encode(image))
    _, bits = forward(networks(architecture), image)
    column = "bpp_fixed_law" if architecture == "shrinkage" else "bpp_estimated"
    assert estimates[column] == pytest.approx(bits / (128 * 128), rel=0.002)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_is_as_long_as_the_model_says(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    """Within 1 %, beyond the container's 20 bytes and the coder's last word.

    It may be shorter by more: of symbols that an untrained law calls impossible, the estimate says 30 bits and the
    file's escape takes fewer.
    """
    image = picture(192, 256)
    for tables in ("", "fixed", "flags") if architecture == "shrinkage" else ("",):
        codec = codec_of(networks(architecture), **({"tables": tables} if tables else {}))
        data = codec.encode(image)
        estimated = codec.estimates(data)["bpp_estimated"] * 192 * 256 / 8
        assert 0.94 * estimated < len(data) < 1.01 * estimated + 24, tables


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 131), (65, 3), (64, 64), (63, 129)])
def test_every_size_of_image_is_coded(networks: Networks, architecture: str, height: int, width: int) -> None:
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    codec = codec_of(networks(architecture))
    assert codec.decode(codec.encode(image)).shape == image.shape


def test_the_container_costs_at_most_20_bytes(networks: Networks, picture: Callable[[int, int], np.ndarray]) -> None:
    from rdp.bitstream.container import unpack

    for keys in ({}, {"step": "2"}):
        data = codec_of(networks("factorized"), **keys).encode(picture(512, 768))
        assert len(data) - len(unpack(data).payload) <= 20


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_larger_step_makes_a_smaller_file_and_the_file_says_its_step(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    image = picture(64, 128)
    path = networks(architecture)
    codecs = [codec_of(path, step=step) for step in ("1/2", "2/3", "1", "3/2", "2")]
    files = [codec.encode(image) for codec in codecs]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    for data, own in zip(files, codecs, strict=True):
        assert np.array_equal(codec_of(path).decode(data), own.decode(data)), "any codec of the weights decodes it"


def test_the_three_laws_of_a_shrinkage_latent_code_the_same_symbols(
    networks: Networks, picture: Callable[[int, int], np.ndarray]
) -> None:
    image, path = picture(64, 128), networks("shrinkage")
    made = {tables: codec_of(path, tables=tables) for tables in ("fixed", "flags")} | {"trained": codec_of(path)}
    files = {tables: codec.encode(image) for tables, codec in made.items()}
    pictures = [made["fixed"].decode(data) for data in files.values()]
    assert all(np.array_equal(pictures[0], other) for other in pictures)
    fixed = {tables: made[tables].estimates(data)["bpp_fixed_law"] for tables, data in files.items()}
    assert len(set(fixed.values())) == 1, (
        "the fixed law's rate is a column of its own, whatever the file was coded with"
    )
    assert len(files["flags"]) < 0.9 * len(files["fixed"]), "channels that are 0 everywhere cost a bit"
    assert files["trained"] != files["fixed"]


def test_other_networks_have_no_tables_to_choose(networks: Networks, picture: Callable[[int, int], np.ndarray]) -> None:
    with pytest.raises(SpecError, match="no choice of tables"):
        codec_of(networks("hyperprior"), tables="fixed").encode(picture(64, 64))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_companions_in_a_batch_change_nothing(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    images = [picture(64, 100), picture(60, 112), picture(33, 99)]
    codec = codec_of(networks(architecture))
    assert len({codec.batch_key(*image.shape[:2]) for image in images[:2]}) == 1
    files = codec.encode_batch(images[:2])
    assert files == [codec.encode(image) for image in images[:2]]
    together = codec.decode_batch(files)
    assert all(np.array_equal(a, codec.decode(b)) for a, b in zip(together, files, strict=True))


def test_a_batch_of_files_of_different_sizes_is_refused(
    networks: Networks, picture: Callable[[int, int], np.ndarray]
) -> None:
    codec = codec_of(networks("hyperprior"))
    files = [codec.encode(picture(64, 64)), codec.encode(picture(64, 200))]
    with pytest.raises(CodecError, match="one batch"):
        codec.decode_batch(files)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_transforms_decode_the_same_symbols(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    image, path = picture(64, 128), networks(architecture)
    full, half = codec_of(path), codec_of(path, dtype="bfloat16")
    for data in (full.encode(image), half.encode(image)):
        for a, b in zip(full.symbols(data), half.symbols(data), strict=True):
            assert np.array_equal(a, b)
    assert full.encoder_id != half.encoder_id
    assert full.decoder_id != half.decoder_id
    assert "bfloat16" in half.version
    data = full.encode(image)
    mean = np.abs(half.decode(data).astype(int) - full.decode(data)).mean()
    assert 0 < mean < 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_many_files_at_once_are_read_without_onednn_too(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    """Where oneDNN is off, PyTorch gives batches of 16 and more to algorithms that form other sums."""
    codec = codec_of(networks(architecture))
    files = [codec.encode(picture(64, 64)) for _ in range(17)]
    with torch.backends.mkldnn.flags(enabled=False):
        together = codec_of(networks(architecture)).symbols_of(files)
    for place, data in enumerate(files):
        assert all(np.array_equal(part[place], own) for part, own in zip(together, codec.symbols(data), strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_symbols_are_the_same_in_every_setting(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    """Threads, oneDNN, batches: zero differing symbols. `benchmarks/same_symbols.py` does it over whole data sets."""
    path = networks(architecture)
    codec = codec_of(path)
    images = [picture(64, 128) for _ in range(8)]
    files = [codec.encode(image) for image in images]
    expected = [codec.symbols(data) for data in files]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for enabled in (True, False):
                with torch.backends.mkldnn.flags(enabled=enabled):
                    again = codec_of(path)
                    for data, symbols in zip(files, expected, strict=True):
                        assert all(np.array_equal(a, b) for a, b in zip(again.symbols(data), symbols, strict=True))
    finally:
        torch.set_num_threads(threads)
    batch = codec.symbols_of(files)
    for place, symbols in enumerate(expected):
        assert all(np.array_equal(part[place], b) for part, b in zip(batch, symbols, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cuda_and_cpu_read_the_same_symbols(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    point = parse_point(f'checkpoint:path="{networks(architecture)}"')
    cpu, cuda = create_codec(point), create_codec(point, Resources("cuda"))
    assert isinstance(cpu, LearnedCodec)
    assert isinstance(cuda, LearnedCodec)
    image = picture(128, 192)
    for data in (cpu.encode(image), cuda.encode(image)):
        assert all(np.array_equal(a, b) for a, b in zip(cpu.symbols(data), cuda.symbols(data), strict=True))
        assert np.abs(cpu.decode(data).astype(int) - cuda.decode(data)).max() <= 1


# ---- points


def test_the_point_of_a_file_of_weights_is_named_by_its_hash(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rdp.weights import sha256_of

    path = networks("hyperprior")
    point = parse_point(f'checkpoint:path="{path}"')
    assert point.name == f"checkpoint:sha={sha256_of(path)[:12]},step=1"
    monkeypatch.setenv("RDP_WEIGHTS", str(path.parent))
    again = parse_point(point.name)
    assert create_codec(again).encoder_id == create_codec(point).encoder_id
    both = parse_points(f'checkpoint:path="{path}"|"{networks("factorized")}",step=1|2')
    assert len({p.name for p in both}) == 4


def test_networks_that_differ_in_their_decoder_share_their_files(
    networks: Networks, picture: Callable[[int, int], np.ndarray], tmp_path: Path
) -> None:
    from rdp.models.checkpoint import save_model

    model = load_model(networks("hyperprior"))
    with torch.no_grad():
        model.synthesis[0].weight.mul_(1.5)
    save_model(tmp_path / "tuned.safetensors", model, {"decoder": "tuned"})
    first, second = codec_of(networks("hyperprior")), codec_of(tmp_path / "tuned.safetensors")
    assert first.encoder_id == second.encoder_id
    assert first.decoder_id != second.decoder_id
    image = picture(64, 64)
    data = first.encode(image)
    assert data == second.encode(image)
    assert not np.array_equal(first.decode(data), second.decode(data))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("checkpoint:path=nowhere.safetensors", "there is no file nowhere.safetensors"),
        ("checkpoint:sha=0123456789ab", "give path=FILE"),
        ("checkpoint:sha=xyz", "not 12 hex digits"),
        ("checkpoint", "say which file, checkpoint:path=FILE"),
    ],
)
def test_a_checkpoint_that_cannot_be_found_is_said_to_be_missing(spec: str, message: str) -> None:
    with pytest.raises(RdpError, match=message):
        create_codec(parse_point(spec))


def test_weights_that_change_between_planning_and_use_are_refused(networks: Networks, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(networks("factorized").read_bytes())
    point = parse_point(f"checkpoint:path={path}")
    path.write_bytes(networks("hyperprior").read_bytes())
    with pytest.raises(WeightsError, match="changed"):
        create_codec(point)


# ---- what is not a file of these weights


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_of_other_weights_is_refused(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    data = codec_of(networks(architecture, 1)).encode(picture(64, 64))
    with pytest.raises(FormatError, match="other weights"):
        codec_of(networks(architecture)).decode(data)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_truncated_files_are_refused(
    networks: Networks, picture: Callable[[int, int], np.ndarray], architecture: str
) -> None:
    codec = codec_of(networks(architecture))
    data = codec.encode(picture(64, 64))
    for length in (0, 1, 4, 12, 17, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError):
            codec.decode(data[:length])
    with pytest.raises(FormatError):
        codec.decode(data + b"\x01")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_under_a_right_checksum_is_an_error_or_a_picture(networks: Networks, data: st.DataObject) -> None:
    """The checksum finds accidents; what is made on purpose has a right one, and must do no harm either."""
    import zlib

    codec = codec_of(networks(data.draw(st.sampled_from(ARCHITECTURES))))
    image = np.random.default_rng(5).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    file = bytearray(codec.encode(image))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(16, len(file) - 5))] ^= data.draw(st.integers(1, 255))
    file[-4:] = zlib.crc32(file[:-4]).to_bytes(4, "big")
    try:
        picture = codec.decode(bytes(file))
    except FormatError:
        return
    assert picture.shape == image.shape


@pytest.fixture
def little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has 3 MiB free."""
    (tmp_path / "meminfo").write_text("MemTotal:  4096 kB\nMemAvailable:  3072 kB\n")
    monkeypatch.setattr("rdp.codecs.learned.memory.MEMINFO", str(tmp_path / "meminfo"))


@pytest.mark.usefixtures("little_memory")
def test_a_picture_too_large_for_the_memory_is_an_error_with_numbers(
    networks: Networks, picture: Callable[[int, int], np.ndarray]
) -> None:
    codec = codec_of(networks("hyperprior"))
    with pytest.raises(CodecError, match=r"300x500 pixels needs about \d+ MiB of memory on cpu, and 3 MiB are free"):
        codec.encode(picture(500, 300))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("payload", [b"", b"\x12\x34\x56\x78" * 3])
def test_a_header_that_states_a_giant_picture_takes_no_memory(networks: Networks, payload: bytes) -> None:
    from rdp.bitstream.container import Container, pack

    codec = codec_of(networks("hyperprior"))
    with pytest.raises(CodecError, match="65535x65535 pixels needs about .* GiB"):
        codec.decode(pack(Container(codec.network.identity, 65535, 65535, b"", payload)))


def test_latents_that_are_not_finite_are_an_error(
    networks: Networks, picture: Callable[[int, int], np.ndarray]
) -> None:
    codec = codec_of(networks("factorized"))
    coding = codec.network.coding(Fraction(1), "trained")
    y = codec.network.analyse([picture(64, 64)]).clone()
    y[0, 3, 1, 1] = float("inf")
    with pytest.raises(CodecError, match="not finite"):
        coding.compress(y)
