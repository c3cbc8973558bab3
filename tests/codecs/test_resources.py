"""Device and dtype of a run: what they may be, how they reach a codec; batches of codecs that know no better way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rdp.codecs import Codec, Resources, create_codec, parse_point, registry
from rdp.codecs.base import OperatingPoint
from rdp.codecs.files import decode_file, encode_file
from rdp.errors import SpecError
from rdp.execution.devices import device_names, require_device
from rdp.images import write_png


class Plain(Codec):
    """A user's codec that knows nothing of resources."""

    family = "plain"
    summary = "for tests"
    keys = ()

    def __init__(self, point: OperatingPoint, quality: int = 3) -> None:
        super().__init__(point)
        self.quality = quality

    def encode(self, image: Any) -> bytes:
        return bytes(image.shape[:2]) + image.tobytes()

    def decode(self, data: bytes) -> Any:
        return np.frombuffer(data[2:], np.uint8).reshape(data[0], data[1], 3)


class Heeding(Plain):
    """One that does, and says so in its identity."""

    def __init__(self, point: OperatingPoint, resources: Resources) -> None:
        Codec.__init__(self, point, resources)
        self.device = resources.device

    def _identity(self) -> Any:
        return self.resources.dtype


class Passing(Plain):
    """One that passes on whatever it is given."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        Codec.__init__(self, *arguments, **options)


CLASSES: dict[str, type[Codec]] = {"tests:P": Plain, "tests:H": Heeding, "tests:A": Passing}


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load_class
    monkeypatch.setattr(registry, "load_class", lambda name: CLASSES.get(name) or load(name))


def point(letter: str) -> OperatingPoint:
    return OperatingPoint("plain", (), f"tests:{letter}")


@pytest.mark.parametrize("letter", ["P", "H", "A"])
def test_every_codec_has_the_resources_whatever_its_constructor_takes(letter: str) -> None:
    wanted = Resources("cuda:1", "float16")
    assert create_codec(point(letter), wanted).resources == wanted
    assert create_codec(point(letter)).resources == Resources("cpu", "float32")


def test_resources_are_not_taken_for_another_argument_of_a_constructor() -> None:
    codec = create_codec(point("P"), Resources(dtype="bfloat16"))
    assert isinstance(codec, Plain) and codec.quality == 3


def test_a_codec_without_networks_says_cpu_and_keeps_its_identity_whatever_the_resources() -> None:
    plain, other = create_codec(point("P")), create_codec(point("P"), Resources("cuda", "bfloat16"))
    assert plain.device == other.device == "cpu" and plain.encoder_id == other.encoder_id
    one, two = create_codec(point("H")), create_codec(point("H"), Resources("cuda:0", "bfloat16"))
    assert two.device == "cuda:0" and one.encoder_id != two.encoder_id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpu",), "--device: unknown device 'gpu'"),
        (("cuda:",), "unknown device"),
        (("cuda:0,cuda:1",), "unknown device"),
        (("cpu:0",), "unknown device"),
        (("cpu", "flaot16"), "Did you mean 'float16'"),
        (("cpu", "float16"), "use bfloat16 or float32"),
        (("cpu", None), "unknown dtype"),
        ((None,), "unknown device"),
    ],
)
def test_what_is_no_device_or_dtype_is_refused_with_the_option(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Resources(*arguments)


def test_several_devices_are_numbered_gpus() -> None:
    assert device_names("cuda:0, cuda:1") == ("cuda:0", "cuda:1")
    assert device_names("cuda") == ("cuda",) and device_names("cpu") == ("cpu",)
    for text in ("cuda,cuda:1", "cpu,cuda:0", "cuda:0,cuda:0", "cuda:0,", ""):
        with pytest.raises(SpecError, match="--device"):
            device_names(text)


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path, picture: Any) -> None:
    require_device("cpu")
    image = tmp_path / "a.png"
    write_png(image, picture(16, 16))
    with pytest.raises(SpecError, match="--device cuda:99 is not there"):
        encode_file(image, tmp_path / "a.out", point("P"), resources=Resources("cuda:99"))
    with pytest.raises(SpecError, match="--device cuda:99 is not there"):
        decode_file(image, tmp_path / "b.png", point("P"), resources=Resources("cuda:99"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_a_file_is_coded_with_the_resources_that_are_given(
    tmp_path: Path, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "a.png"
    write_png(image, picture(16, 16))
    seen = []
    monkeypatch.setattr(Heeding, "encode", lambda self, image: seen.append(self.resources) or Plain.encode(self, image))
    monkeypatch.setattr(Heeding, "decode", lambda self, data: seen.append(self.resources) or Plain.decode(self, data))
    encode_file(image, tmp_path / "a.out", point("H"), resources=Resources(dtype="bfloat16"))
    decode_file(tmp_path / "a.out", tmp_path / "b.png", point("H"), resources=Resources(dtype="bfloat16"))
    assert seen == [Resources("cpu", "bfloat16")] * 2


def test_batches_are_one_by_one_unless_a_family_knows_better(picture: Any) -> None:
    codec = create_codec(parse_point("webp:quality=30"))
    images = [picture(24, 32), picture(40, 16)]
    files = codec.encode_batch(images)
    assert files == [codec.encode(image) for image in images]
    for one, data in zip(codec.decode_batch(files), files, strict=True):
        np.testing.assert_array_equal(one, codec.decode(data))
    assert codec.preferred_batch(24, 32) == 1 and codec.estimates(files[0]) == {}
    assert codec.batch_key(24, 32) == codec.batch_key(24, 32) != codec.batch_key(32, 24)
