"""The description of tfci that comes with rdp, run with a stand-in of that name which takes tfci's command line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rdp.codecs import Codec, create_codec, load_tools, parse_point
from rdp.codecs.tools import shipped_descriptions
from rdp.errors import CodecError, DependencyError, SpecError

# The arguments are those that tensorflow/compression's models/tfci.py defines with argparse: the commands `compress`
# (model, input_file, output_file) and `decompress` (input_file, output_file). What it does to the picture is halve its
# size, so that a decoder that did not read the file would show.
STAND_IN = """
import argparse
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--url_prefix")
parser.add_argument("--metagraph_cache")
commands = parser.add_subparsers(dest="command")
compress = commands.add_parser("compress")
compress.add_argument("model")
compress.add_argument("--target_bpp", type=float)
compress.add_argument("--bpp_strict", action="store_true")
decompress = commands.add_parser("decompress")
for command in (compress, decompress):
    command.add_argument("input_file")
    command.add_argument("output_file", nargs="?")
args = parser.parse_args()
if args.command == "compress":
    image = Image.open(args.input_file)
    assert image.format == "PNG"
    width, height = image.size
    small = image.resize(((width + 1) // 2, (height + 1) // 2))
    body = small.tobytes()
    with open(args.output_file, "wb") as f:
        f.write(f"TFCI {args.model} {width} {height}\\n".encode() + body)
elif args.command == "decompress":
    assert args.input_file.endswith(".tfci") and args.output_file.endswith(".png")
    header, _, body = open(args.input_file, "rb").read().partition(b"\\n")
    magic, model, width, height = header.decode().split()
    size = (int(width) + 1) // 2, (int(height) + 1) // 2
    Image.frombytes("RGB", size, body).resize((int(width), int(height))).save(args.output_file, "PNG")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tfci.py, first on the PATH; the interpreter is this one, with the metadata of the package."""
    place = tmp_path / "models"
    place.mkdir()
    (place / "tfci.py").write_text(STAND_IN)
    info = tmp_path / "site" / "tensorflow_compression-2.14.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow-compression\nVersion: 2.14.1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("RDP_TFCI_PYTHON", sys.executable)
    monkeypatch.delenv("RDP_TFCI", raising=False)
    monkeypatch.setenv("PATH", str(place), prepend=":")
    return place


def codec(model: str = "hific-lo") -> Codec:
    return create_codec(parse_point(f"external:tool=tfci,model={model}", load_tools(["tfci"])))


def test_the_description_that_comes_with_rdp_codes_with_a_program_found_on_the_path(folder: Path, picture) -> None:
    image = picture(41, 30)
    tfci = codec()
    data = tfci.encode(image)
    assert data.startswith(b"TFCI hific-lo 30 41\n")
    decoded = tfci.decode(data)
    assert decoded.shape == image.shape
    assert 0 < np.abs(decoded.astype(int) - image).mean() < 20
    assert tfci.version == "tfci, tensorflow-compression 2.14.1"
    assert tfci.point.name == "external:tool=tfci,model=hific-lo"


def test_the_command_lines_are_those_of_tfci(folder: Path, tmp_path: Path) -> None:
    tool = load_tools(["tfci"])["tfci"]
    assert tool.encode == ("{python}", "{script}", "compress", "{model}", "{input}", "{output}")
    assert tool.decode == ("{python}", "{script}", "decompress", "{input}", "{output}")
    assert (tool.suffix, tool.input, tool.output) == (".tfci", "png", "png")


def test_program_and_interpreter_are_named_by_the_environment(
    folder: Path, monkeypatch, picture, tmp_path: Path
) -> None:
    first = codec().encoder_id
    (folder / "tfci.py").rename(tmp_path / "other.py")
    with pytest.raises(DependencyError, match=r"needs tfci.py \(models/tfci.py of https\S+\), .* variable RDP_TFCI"):
        codec()
    monkeypatch.setenv("RDP_TFCI", str(tmp_path / "other.py"))
    assert codec().encode(picture(4, 4)).startswith(b"TFCI hific-lo 4 4")
    assert codec().encoder_id == first, "the place of the program is not a part of the codec"
    (tmp_path / "other.py").write_text(STAND_IN + "# another version")
    assert codec().encoder_id != first
    monkeypatch.setenv("RDP_TFCI", str(tmp_path / "none.py"))
    with pytest.raises(DependencyError, match="RDP_TFCI names .*none.py, which is no file"):
        codec()
    monkeypatch.setenv("RDP_TFCI_PYTHON", "/no/such/python")
    with pytest.raises(DependencyError, match="RDP_TFCI_PYTHON names /no/such/python"):
        codec()


def test_what_tfci_says_when_it_fails_is_heard(folder: Path, picture) -> None:
    (folder / "tfci.py").write_text("raise SystemExit('Could not find metagraph')")
    with pytest.raises(CodecError, match="failed with exit code 1. It says: Could not find metagraph"):
        codec("no-such-model").encode(picture(4, 4))


def test_descriptions_are_loaded_by_name_and_an_unknown_name_lists_them(tmp_path: Path, monkeypatch) -> None:
    assert shipped_descriptions() == ["tfci"]
    with pytest.raises(SpecError, match=r"cannot read codec file tfcy: .*Did you mean 'tfci'\? It has: tfci"):
        load_tools(["tfcy"])
    with pytest.raises(SpecError, match=r"cannot read codec file tfci\.toml"):
        load_tools(["tfci.toml"])
    # A file of that name in the folder where one works comes first.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tfci").write_text(
        '[tools.mine]\nencode = ["cp", "{input}", "{output}"]\ndecode = ["cp", "{input}", "{output}"]'
    )
    assert list(load_tools(["tfci"])) == ["mine"]


COMMANDS = 'encode = ["cp", "{input}", "{output}"]\ndecode = ["cp", "{input}", "{output}"]\n'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("files = 3", "files are tables"),
        ("[tools.t.files.a]\nvariable = 'X'", "file 'a': default must be text"),
        ("[tools.t.files.a]\nvariable = 1\ndefault = 'x'", "variable must be text"),
        ("[tools.t.files.a]\nvariables = 'X'", "unknown field 'variables'. Did you mean 'variable'"),
        ("[tools.t.files.here]\nvariable = 'X'\ndefault = 'x'", "a word other than input"),
        ("[tools.t.keys.a]\nkind = 'text'\n[tools.t.files.a]\nvariable = 'X'\ndefault = 'x'", "and the tool's keys"),
    ],
)
def test_a_wrong_file_of_a_tool_is_refused_with_its_place(body: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "codecs.toml"
    path.write_text(f"[tools.t]\n{COMMANDS}{body}")
    with pytest.raises(SpecError, match=message) as caught:
        load_tools([path])
    assert str(path) in str(caught.value)
