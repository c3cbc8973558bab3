"""Files of learned codecs on disk: written and read by name, by weights, and by the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rdp.codecs import create_codec, parse_point
from rdp.codecs.files import decode_file, encode_file
from rdp.codecs.learned.finding import weights_of
from rdp.errors import FormatError, RdpError, WeightsError
from rdp.images import read_image, write_png

Networks = Callable[..., Path]
Picture = Callable[[int, int], np.ndarray]


@pytest.fixture
def image(tmp_path: Path, picture: Picture) -> Path:
    path = tmp_path / "image.png"
    write_png(path, picture(70, 90))
    return path


def test_a_file_decodes_with_the_weights_alone(
    networks: Networks, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says which codec made it: the file's identity finds the weights among others."""
    path = networks("hyperprior")
    networks("factorized"), networks("hyperprior", 1)
    point = f'checkpoint:path="{path}"'
    encoded = encode_file(image, tmp_path / "image.bin", point)
    assert encoded.notes == ()
    monkeypatch.setenv("RDP_WEIGHTS", str(path.parent))
    decoded = decode_file(tmp_path / "image.bin", tmp_path / "back.png")
    assert decoded.family == "checkpoint"
    expected = create_codec(parse_point(point)).decode((tmp_path / "image.bin").read_bytes())
    assert np.array_equal(read_image(tmp_path / "back.png"), expected)


def test_without_the_weights_the_error_says_what_to_do(networks: Networks, image: Path, tmp_path: Path) -> None:
    encode_file(image, tmp_path / "image.bin", f'checkpoint:path="{networks("hyperprior")}"')
    with pytest.raises(WeightsError, match=r"image\.bin was made by a learned codec.*--codec.*RDP_WEIGHTS"):
        decode_file(tmp_path / "image.bin", tmp_path / "back.png")
    assert not (tmp_path / "back.png").exists()


def test_other_files_in_the_folders_of_weights_are_passed_over(
    networks: Networks, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(b"damaged")
    (folder / "b.safetensors").write_bytes(networks("factorized").read_bytes())
    monkeypatch.setenv("RDP_WEIGHTS", f"{tmp_path / 'nowhere'}:{folder}")
    data = create_codec(parse_point(f'checkpoint:path="{networks("factorized")}"')).encode(read_image(image))
    assert weights_of(data, "x.bin") == folder / "b.safetensors"


def test_the_wrong_codec_is_told_from_the_right_one(networks: Networks, image: Path, tmp_path: Path) -> None:
    encode_file(image, tmp_path / "image.bin", f'checkpoint:path="{networks("hyperprior")}"')
    with pytest.raises(FormatError, match=r"image\.bin: the file was made with other weights"):
        decode_file(tmp_path / "image.bin", tmp_path / "back.png", f'checkpoint:path="{networks("factorized")}"')


def test_the_command_line_encodes_and_decodes(networks: Networks, image: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from rdp.cli.app import app

    codec = f'checkpoint:path="{networks("checkerboard")}"'
    run = CliRunner().invoke
    encoded = run(app, ["encode", str(image), str(tmp_path / "f.bin"), "--codec", codec, "--dtype", "bfloat16"])
    assert encoded.exit_code == 0, encoded.output
    decoded = run(app, ["decode", str(tmp_path / "f.bin"), str(tmp_path / "f.png"), "--codec", codec])
    assert decoded.exit_code == 0, decoded.output
    assert read_image(tmp_path / "f.png").shape == (70, 90, 3)
    wrong = run(app, ["encode", str(image), str(tmp_path / "g.bin"), "--codec", codec, "--dtype", "half"])
    assert wrong.exit_code != 0
    assert "--dtype" in f"{wrong.output} {wrong.exception}"
    assert not (tmp_path / "g.bin").exists()


def test_a_run_evaluates_a_learned_codec_and_fills_its_columns(networks: Networks, image: Path, tmp_path: Path) -> None:
    import rdp

    codec = f'checkpoint:path="{networks("shrinkage")}",step=1|2'
    run = rdp.evaluate(image, codec, out=tmp_path / "run", jobs=1)
    rows = run.table().data.to_pylist()
    assert len(rows) == 2
    assert all(row["status"] == "ok" and row["encode_device"] == "cpu" for row in rows)
    assert all(row["bpp_estimated"] > 0 and row["bpp_fixed_law"] > 0 for row in rows)
    assert rows[0]["bpp"] > rows[1]["bpp"]


def test_published_weights_are_found_by_what_a_file_carries(
    networks: Networks, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other people's checkpoints carry no identity of ours: they are loaded for it. So is a point named by its hash."""
    import torch

    from rdp.models.checkpoint import load_model

    names = {"analysis": "g_a", "synthesis": "g_s", "hyper_analysis": "h_a", "hyper_synthesis": "h_s"}
    state = {}
    for key, tensor in load_model(networks("hyperprior")).state_dict().items():
        part, _, rest = key.partition(".")
        state[f"{names.get(part, 'entropy_bottleneck')}.{rest}"] = tensor
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(state, folder / "mbt2018-mean-9-0123abcd.pth.tar")
    encoded = encode_file(image, tmp_path / "image.bin", f"checkpoint:path={folder}/mbt2018-mean-9-0123abcd.pth.tar")
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    decode_file(tmp_path / "image.bin", tmp_path / "back.png")
    decode_file(tmp_path / "image.bin", tmp_path / "again.png", encoded.point)
    assert np.array_equal(read_image(tmp_path / "back.png"), read_image(tmp_path / "again.png"))


def test_a_damaged_file_is_named_whether_or_not_a_codec_is(networks: Networks, image: Path, tmp_path: Path) -> None:
    point = f'checkpoint:path="{networks("factorized")}"'
    encode_file(image, tmp_path / "image.bin", point)
    (tmp_path / "cut.bin").write_bytes((tmp_path / "image.bin").read_bytes()[:-9])
    for codec in (None, point):
        with pytest.raises(FormatError, match=r"cut\.bin: the file is damaged"):
            decode_file(tmp_path / "cut.bin", tmp_path / "back.png", codec)


def test_packing_needs_no_weights_and_unpacking_finds_them(
    networks: Networks, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rdp

    path = networks("hyperprior")
    rdp.evaluate(image, f'checkpoint:path="{path}",step=1/2|1|2', out=tmp_path / "run", jobs=1)
    selection = rdp.solve(tmp_path / "run", minimize="mse")
    done = rdp.pack(tmp_path / "run", selection, tmp_path / "delivery")
    with pytest.raises(RdpError, match="RDP_WEIGHTS"):
        rdp.unpack(done.out, tmp_path / "none")
    monkeypatch.setenv("RDP_WEIGHTS", str(path.parent))
    assert rdp.unpack(done.out, tmp_path / "pictures").ok
