"""Tools of the user's own: described in a file, run without a shell, heard when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rdp.codecs import Codec, create_codec, load_tools, parse_points
from rdp.errors import CodecError, DependencyError, FormatError, SpecError

SCRIPT = """
import sys, time
from PIL import Image
side, source, target, quality = sys.argv[1:5]
if quality == "13":
    print("thirteen is unlucky", file=sys.stderr); sys.exit(3)
if quality == "14":
    time.sleep(60)
if quality == "15":
    sys.exit(0)
if side == "encode":
    Image.open(source).save(target, format="WEBP", quality=int(quality))
elif quality == "16":
    open(target, "w").write("no image")
else:
    Image.open(source).save(target)
"""


def describe(folder: Path, body: str) -> Path:
    path = folder / "codecs.toml"
    path.write_text(body)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    (tmp_path / "tool.py").write_text(SCRIPT)
    python = sys.executable
    return describe(
        tmp_path,
        f"""
[tools.mine]
encode = ["{python}", "{{here}}/tool.py", "encode", "{{input}}", "{{output}}", "{{quality}}"]
decode = ["{python}", "{{here}}/tool.py", "decode", "{{input}}", "{{output}}", "{{quality}}"]
version = ["{python}", "--version"]
suffix = ".webp"
input = "ppm"
timeout_s = 3

[tools.mine.keys.quality]
kind = "integer"
default = 50
minimum = 0
maximum = 100
meaning = "quality"
""",
    )


def codec(tools: Path, spec: str) -> Codec:
    return create_codec(parse_points(spec, load_tools([tools]))[0])


def test_a_described_tool_encodes_and_decodes(tools: Path, picture) -> None:
    image = picture(40, 50)
    mine = codec(tools, "external:tool=mine,quality=80")
    data = mine.encode(image)
    assert data[8:12] == b"WEBP"
    decoded = mine.decode(data)
    assert decoded.shape == image.shape and np.abs(decoded.astype(int) - image).mean() < 12
    assert mine.version.startswith("Python 3")


def test_its_keys_are_keys_of_the_point(tools: Path) -> None:
    points = parse_points("external:tool=mine,quality=10..30..10", load_tools([tools]))
    assert [point.name for point in points] == [f"external:tool=mine,quality={q}" for q in (10, 20, 30)]
    with pytest.raises(SpecError, match=r"it takes 0\.\.100"):
        parse_points("external:tool=mine,quality=101", load_tools([tools]))


def test_a_failing_tool_is_heard(tools: Path, picture) -> None:
    with pytest.raises(CodecError, match=r"exit code 3.*thirteen is unlucky"):
        codec(tools, "external:tool=mine,quality=13").encode(picture(8, 8))


def test_a_tool_that_runs_over_its_time_is_killed(tools: Path, picture) -> None:
    with pytest.raises(CodecError, match="ran over its 3 s and was killed"):
        codec(tools, "external:tool=mine,quality=14").encode(picture(8, 8))


def test_a_tool_that_writes_nothing_is_noticed(tools: Path, picture) -> None:
    with pytest.raises(CodecError, match="wrote no output file"):
        codec(tools, "external:tool=mine,quality=15").encode(picture(8, 8))


def test_a_decoder_that_writes_no_image_is_noticed(tools: Path, picture) -> None:
    mine = codec(tools, "external:tool=mine,quality=16")
    with pytest.raises(FormatError, match="cannot be used"):
        mine.decode(mine.encode(picture(8, 8)))


def test_a_program_that_is_not_there_is_said_before_anything_is_encoded(tmp_path: Path) -> None:
    path = describe(
        tmp_path,
        '[tools.t]\nencode = ["no-such-program", "{input}", "{output}"]\ndecode = ["cp", "{input}", "{output}"]',
    )
    with pytest.raises(DependencyError, match="no-such-program"):
        codec(path, "external:tool=t")


def test_arguments_reach_the_program_without_a_shell(tmp_path: Path, picture) -> None:
    code = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    path = describe(
        tmp_path,
        f"""
[tools.t]
encode = ["{sys.executable}", "-c", "{code}", "{{output}}", "{{text}}", "{{input}}"]
decode = ["cp", "{{input}}", "{{output}}"]
[tools.t.keys.text]
kind = "text"
""",
    )
    text = "$(touch /tmp/rdp-shell); `id` | cat > x && 'q'"
    quoted = text.replace('"', '""')
    assert codec(path, f'external:tool=t,text="{quoted}"').encode(picture(4, 4)) == text.encode()


def test_the_identity_changes_with_the_command_and_the_program(tmp_path: Path) -> None:
    ids = set()
    for k, program in enumerate(["one", "two"]):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "tool").write_text(f"#!/bin/sh\n# {program}\ncp $1 $2\n")
        (folder / "tool").chmod(0o755)
        for extra in ("", ', "-x"'):
            command = '["tool", "{input}", "{output}"'
            body = f"[tools.t]\nencode = {command}{extra}]\ndecode = {command}]"
            ids.add(codec(describe(folder, body), "external:tool=t").encoder_id)
    assert len(ids) == 4


COMMANDS = 'encode = ["cp", "{input}", "{output}"]\ndecode = ["cp", "{input}", "{output}"]\n'
REFUSED = {
    "[tools": "not valid TOML",
    "": "describes no tool",
    "[tool.t]": "describes no tool",
    f"[tools.t]\n{COMMANDS}[other]": "unknown table 'other'",
    '[tools.t]\nencode = ["cp", "{input}", "{output}"]': "decode must be a list",
    '[tools.t]\nencode = "cp {input} {output}"\ndecode = ["cp"]': "encode must be a list",
    '[tools.t]\nencode = ["cp", "{input}"]\ndecode = ["cp"]': r"encode must name \{output\}",
    '[tools.t]\nencode = ["cp", "{input}", "{output}", "{q}"]\ndecode = ["cp"]': r"names \{q\}, which is no key",
    '[tools.t]\nencode = ["cp", "{input", "{output}"]\ndecode = ["cp"]': "lone brace",
    f"[tools.t]\n{COMMANDS}timeout = 4": "Did you mean 'timeout_s'",
    f"[tools.t]\n{COMMANDS}timeout_s = 0": "timeout_s=0",
    f"[tools.t]\n{COMMANDS}input = 'tiff'": "it takes png|ppm",
    f"[tools.t]\n{COMMANDS}suffix = 'jxl'": "not a suffix",
    f"[tools.t]\n{COMMANDS}[tools.t.keys.q]\nkind = 'number'": "it takes integer",
    f"[tools.t]\n{COMMANDS}[tools.t.keys.q]\nkind = 'choice'": "choices",
    f"[tools.t]\n{COMMANDS}[tools.t.keys.q]\nkind = 'integer'\ndefault = 3\nmaximum = 2": "whole number, 2 or less",
    f"[tools.t]\n{COMMANDS}[tools.t.keys.input]\nkind = 'text'": "other than tool, input",
}


@pytest.mark.parametrize("body", REFUSED)
def test_a_wrong_description_is_refused_with_its_place(body: str, tmp_path: Path) -> None:
    path = describe(tmp_path, body)
    with pytest.raises(SpecError, match=REFUSED[body]) as caught:
        load_tools([path])
    assert str(path) in str(caught.value)


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read codec file"):
        load_tools([tmp_path / "none.toml"])
