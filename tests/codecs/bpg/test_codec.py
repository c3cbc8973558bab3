"""The family `bpg`: its names, its identity, and what it says when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rdp.codecs import Codec
from rdp.codecs.bpg.codec import Bpg
from rdp.errors import CodecError, DependencyError, FormatError, SpecError

MakeCodec = Callable[..., Codec]
DATA = Path(__file__).resolve().parents[2] / "data" / "bpg"

# Stand-ins for bpgenc and bpgdec, which cannot be had here: they take the real programs' options and write real files.
STAND_IN = """#!{python}
import sys
from pathlib import Path
sys.path[:0] = {path}
words = sys.argv[1:]
if not words:
    print("BPG Image Encoder version 0.9.8"); sys.exit(1)
Path({log!r}).write_text(" ".join(words[:-1]))
options, source = dict(zip(words[:-1:2], words[1:-1:2])), Path(words[-1])
from rdp.codecs.bpg.picture import decode_picture, encode_picture
from rdp.errors import RdpError
from rdp.images import read_image, write_png
try:
    if Path(sys.argv[0]).name == "bpgenc":
        if options["-q"] == "13":
            sys.exit("thirteen is unlucky")
        if options["-q"] != "14":
            Path(options["-o"]).write_bytes(encode_picture(read_image(source), int(options["-q"]), "hm", "ultrafast"))
    else:
        write_png(Path(options["-o"]), decode_picture(source.read_bytes()))
except RdpError as error:
    sys.exit(f"Could not decode: {{error}}")
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins on the PATH; the file that holds the options of the last call."""
    if os.name != "posix":
        pytest.skip("the stand-ins are scripts with a #! line")
    log = tmp_path / "options.txt"
    for name in ("bpgenc", "bpgdec"):
        script = tmp_path / name
        script.write_text(STAND_IN.format(python=sys.executable, path=sys.path, log=str(log)))
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return log


def test_the_name_holds_every_key_and_the_defaults_are_those_of_bpgenc(make_codec: MakeCodec) -> None:
    name = "bpg:qp=29,chroma=420,encoder=x265,preset=veryslow,depth=8,backend=pyav"
    assert make_codec().point.name == name


def test_a_picture_comes_back_through_the_codec(make_codec: MakeCodec, picture) -> None:
    codec = make_codec(qp=20, chroma="444", encoder="hm", preset="fast", depth="10")
    image = picture(31, 45)
    data = codec.encode(image)
    assert data[:4] == b"BPG\xfb" and data == codec.encode(image)
    decoded = codec.decode(data)
    assert decoded.shape == image.shape and np.abs(decoded.astype(int) - image).mean() < 3


def test_the_codec_decodes_files_of_any_encoder(make_codec: MakeCodec) -> None:
    assert make_codec().decode((DATA / "chelsea_64x64_jctvc_444_q30.bpg").read_bytes()).shape == (64, 64, 3)


@pytest.mark.parametrize("data", [b"", b"no file", b"\xff\xd8\xff\xe0" + bytes(40)])
def test_what_is_no_bpg_file_is_refused(make_codec: MakeCodec, data: bytes) -> None:
    with pytest.raises(FormatError, match="not a BPG file"):
        make_codec().decode(data)


def test_every_key_changes_the_identity_of_the_encoder(make_codec: MakeCodec) -> None:
    changes = [{}, {"qp": 30}, {"chroma": "444"}, {"encoder": "hm"}, {"preset": "slow"}, {"depth": "10"}]
    identities = {make_codec(**change).encoder_id for change in changes}
    assert len(identities) == len(changes)
    assert make_codec().encoder_id == make_codec().encoder_id


def test_the_version_names_pyav_and_x265(make_codec: MakeCodec) -> None:
    import av

    program, _, library = make_codec().version.partition(", ")
    assert program == f"PyAV {av.__version__}"
    assert library.startswith("x265 ") and library[5].isdigit()


@pytest.mark.parametrize("key", Bpg.keys, ids=lambda key: key.name)
def test_values_outside_the_keys_are_refused(key) -> None:
    with pytest.raises(SpecError, match=key.name):
        key.read("52" if key.name == "qp" else "jctvc", "bpg")


def test_without_pyav_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from rdp.codecs.bpg.hevc import require_decoder\n"
        "from rdp.errors import DependencyError\n"
        "try:\n    require_decoder()\nexcept DependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "bpg needs PyAV: pip install 'av>=15'"


REINSTALL = "pip install --force-reinstall --only-binary av 'av>=15'"


def test_a_pyav_without_an_hevc_decoder_is_named(make_codec, monkeypatch) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"hevc"})
    with pytest.raises(DependencyError, match=f"no HEVC decoder.*{REINSTALL}"):
        make_codec()


def test_a_pyav_without_libx265_decodes_and_says_what_encoding_needs(
    make_codec, monkeypatch, one_file, picture
) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx265"})
    codec = make_codec()
    assert codec.decode(one_file).shape == (95, 37, 3)
    assert codec.version == f"PyAV {av.__version__}, no x265"
    for encode in (codec.require_encoder, lambda: codec.encode(picture(20, 20))):
        with pytest.raises(DependencyError, match=f"without libx265.*{REINSTALL}"):
            encode()


def test_an_evaluation_without_the_encoder_ends_before_it_begins(tmp_path: Path, monkeypatch, picture) -> None:
    """One codec of two could encode: not even that one is started, and no run is made."""
    import av

    from rdp.evaluation import evaluate
    from rdp.images import write_png

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx265"})
    write_png(tmp_path / "image.png", picture(24, 24))
    with pytest.raises(DependencyError, match="without libx265"):
        evaluate([tmp_path / "image.png"], ["jpeg", "bpg"], ["psnr"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_decodes_without_an_encoder(tmp_path: Path, monkeypatch) -> None:
    import av

    from rdp.codecs.files import decode_file

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx265"})
    done = decode_file(DATA / "chelsea_64x64_jctvc_444_q30.bpg", tmp_path / "image.png")
    assert (done.width, done.height) == (64, 64) and done.codec_version.endswith("no x265")


def test_loading_the_family_loads_nothing_heavy() -> None:
    code = "import sys, rdp.codecs.bpg.codec; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"av", "numpy", "PIL"} & set(done.stdout.split())


def test_without_bpgdec_the_message_says_what_decodes_its_files(make_codec, programs: Path, monkeypatch) -> None:
    (programs.parent / "bpgdec").unlink()
    monkeypatch.setenv("PATH", str(programs.parent))
    with pytest.raises(DependencyError, match="bpgdec is not on the PATH.*decode with `--codec bpg`"):
        make_codec(backend="reference")


def test_without_bpgenc_bpgdec_decodes(make_codec, programs: Path, monkeypatch, one_file: bytes, picture) -> None:
    (programs.parent / "bpgenc").unlink()
    monkeypatch.setenv("PATH", str(programs.parent))
    codec = make_codec(backend="reference")
    assert codec.decode(one_file).shape == (95, 37, 3)
    assert codec.version.startswith("bpgdec, sha256 ") and len(codec.decoder_id) == 12
    for use in (codec.require_encoder, lambda: codec.encode(picture(20, 20)), lambda: codec.encoder_id):
        with pytest.raises(DependencyError, match="bpgenc is not on the PATH.*backend=pyav"):
            use()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x7fELF, and no program", "Exec format error"), (b"#!/bin/sh\nsleep 60\n", "did not end within 0.5 s")],
)
def test_a_bpgenc_that_does_not_work_is_named(
    make_codec, programs: Path, monkeypatch, one_file: bytes, content: bytes, message: str
) -> None:
    from rdp.codecs.bpg import reference

    monkeypatch.setattr(reference, "_START_TIMEOUT_S", 0.5)
    (programs.parent / "bpgenc").write_bytes(content)
    codec = make_codec(backend="reference")
    with pytest.raises(DependencyError, match=f"bpgenc.*{message}"):
        codec.require_encoder()
    assert codec.version.startswith("bpgdec, sha256 ")
    assert codec.decode(one_file).shape == (95, 37, 3)


def test_the_ids_follow_the_programs(make_codec, programs: Path) -> None:
    """Another bpgdec may decode to other pixels, another bpgenc may write other files."""
    first = make_codec(backend="reference")
    ids = first.encoder_id, first.decoder_id
    for changed, name in enumerate(("bpgenc", "bpgdec")):
        script = programs.parent / name
        before = script.read_text()
        script.write_text(before + "# another build\n")
        codec = make_codec(backend="reference")
        now = codec.encoder_id, codec.decoder_id
        assert now[changed] != ids[changed] and now[1 - changed] == ids[1 - changed]
        script.write_text(before)


def test_the_reference_programs_are_called_with_their_own_options(make_codec, programs: Path, picture) -> None:
    codec = make_codec(qp=33, chroma="422", encoder="hm", preset="medium", depth="10", backend="reference")
    image = picture(20, 30)
    data = codec.encode(image)
    options = programs.read_text().split()
    assert dict(zip(options[:10:2], options[1:10:2], strict=True)) == {
        "-q": "33", "-f": "422", "-e": "jctvc", "-b": "10", "-m": "5",
    }  # fmt: skip
    assert codec.decode(data).shape == image.shape
    assert codec.version == "bpgenc 0.9.8"
    assert codec.encoder_id != make_codec(backend="reference").encoder_id


def test_the_default_of_the_reference_is_its_level_8(make_codec, programs: Path, picture) -> None:
    make_codec(backend="reference").encode(picture(20, 30))
    assert programs.read_text().startswith("-q 29 -f 420 -e x265 -b 8 -m 8 -o ")


def test_what_the_reference_programs_say_when_they_fail_is_told(make_codec, programs: Path, picture) -> None:
    with pytest.raises(CodecError, match="bpgenc failed with exit code 1. thirteen is unlucky"):
        make_codec(qp=13, backend="reference").encode(picture(20, 30))
    with pytest.raises(CodecError, match="bpgenc wrote no file for an image of 30x20"):
        make_codec(qp=14, backend="reference").encode(picture(20, 30))
    with pytest.raises(FormatError, match="bpgdec failed with exit code 1. Could not decode"):
        make_codec(backend="reference").decode(b"no file")


def test_a_preset_that_bpgenc_does_not_have_is_refused() -> None:
    values = {key.name: key.default for key in Bpg.keys}
    Bpg.check({**values, "preset": "ultrafast"}, "bpg")
    with pytest.raises(SpecError, match="no preset ultrafast; its fastest is superfast"):
        Bpg.check({**values, "preset": "ultrafast", "backend": "reference"}, "bpg")
