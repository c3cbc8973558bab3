"""HEVC headers: the short form of an SPS, the SPS made from it, and NAL units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs.bpg import headers
from rdp.codecs.bpg.container import BpgHeader, read_file
from rdp.codecs.bpg.headers import CodingTools, Pcm
from rdp.codecs.bpg.sps import read_sps
from rdp.errors import CodecError, FormatError

FILES = sorted((Path(__file__).resolve().parents[2] / "data" / "bpg").glob("*.bpg"))


@st.composite
def coding_tools(draw: st.DrawFn) -> CodingTools:
    """Tools that H.265 allows and FFmpeg carries out."""
    ctb = draw(st.integers(4, 6))
    cb = draw(st.integers(3, ctb))
    tb = draw(st.integers(2, min(cb - 1, 4)))
    top = draw(st.integers(tb, min(ctb, 5)))
    pcm = None
    if cb <= 5 and draw(st.booleans()):
        low = draw(st.integers(cb, min(ctb, 5)))
        pcm = Pcm(draw(st.integers(1, 8)), draw(st.integers(1, 8)), low, min(ctb, 5) - low, draw(st.booleans()))
    flags = draw(st.lists(st.booleans(), min_size=9, max_size=9))
    flags[3] = flags[4] = flags[6] = flags[8] = False
    return CodingTools(
        cb, ctb - cb, tb, top - tb, draw(st.integers(0, ctb - tb)), draw(st.booleans()), pcm, draw(st.booleans()),
        tuple(flags) if draw(st.booleans()) else (),
    )  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_short_sps_of_the_reference_is_read_and_written_alike(path: Path) -> None:
    short = read_file(path.read_bytes()).hevc_header
    assert headers.write_hevc_header(headers.read_hevc_header(short)) == short


@given(coding_tools())
def test_the_short_sps_is_read_back(tools: CodingTools) -> None:
    assert headers.read_hevc_header(headers.write_hevc_header(tools)) == tools


@given(coding_tools(), st.sampled_from(["gray", "420", "422", "444"]), st.sampled_from([8, 10]))
def test_the_sps_that_is_built_for_a_decoder_says_what_the_short_one_says(tools, chroma, depth) -> None:
    vps, sps = headers.build_parameter_sets(tools, BpgHeader(130, 77, chroma, depth))
    assert (headers.nal_type(vps), headers.nal_type(sps)) == (headers.VPS, headers.SPS)
    assert read_sps(sps) == tools


def test_sides_are_rounded_up_to_whole_coding_blocks() -> None:
    tools = headers.read_hevc_header(bytes.fromhex("924740"))
    assert (tools.log2_min_cb, tools.log2_ctb) == (3, 6)
    assert [tools.padded(side) for side in (1, 8, 9)] == [8, 8, 16]
    assert tools.blocks(65, 64) == 2


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        (CodingTools(3, 0, 2, 0, 0, True, None, True), "block sizes"),
        (CodingTools(3, 4, 2, 3, 0, True, None, True), "block sizes"),
        (CodingTools(3, 3, 3, 2, 0, True, None, True), "block sizes"),
        (CodingTools(3, 3, 2, 4, 0, True, None, True), "block sizes"),
        (CodingTools(3, 3, 2, 3, 9, True, None, True), "block sizes"),
        (CodingTools(3, 3, 2, 3, 1, True, Pcm(8, 8, 3, 3, False), True), "PCM block sizes"),
        (CodingTools(3, 3, 2, 3, 1, True, None, True, (*[False] * 4, True, *[False] * 4)), "extended_precision"),
        (CodingTools(3, 3, 2, 3, 1, True, None, True, (*[False] * 8, True)), "cabac_bypass_alignment"),
    ],
)
def test_tools_that_no_decoder_takes_are_refused(tools: CodingTools, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        headers.read_hevc_header(headers.write_hevc_header(tools))


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\xff", b"\x00")))
def test_emulation_prevention_hides_start_codes_and_is_taken_away_again(payload: bytes) -> None:
    escaped = headers.escape(payload + b"\x80")
    assert headers.unescape(escaped) == payload + b"\x80"
    assert not any(code in escaped for code in (b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02"))


@given(st.lists(st.binary(min_size=3, max_size=20).map(lambda data: headers.escape(data) + b"\x80"), min_size=1))
def test_nal_units_are_split_where_they_were_joined(nals: list[bytes]) -> None:
    stream = headers.join_nals(nals)
    assert headers.split_nals(stream) == nals
    assert headers.split_nals(stream[3:]) == nals
    assert headers.split_nals(b"\x00" + stream.replace(headers.START_CODE, b"\x00" + headers.START_CODE)) == nals


@pytest.mark.parametrize("nal", [b"\x26\x01", b"\xa6\x01\xaf", b"\x27\x01\xaf", b"\x26\x09\xaf", b"\x26\x02\xaf"])
def test_units_of_other_layers_are_refused(nal: bytes) -> None:
    with pytest.raises(FormatError, match="NAL unit"):
        headers.nal_type(nal)


def x265_sps(params: str) -> bytes:
    """An SPS as libx265 writes it with some more parameters."""
    av = pytest.importorskip("av", reason="needs PyAV: pip install 'av>=15'")
    frame = av.VideoFrame(64, 64, "yuv420p")
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = 128
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt, context.framerate = 64, 64, "yuv420p", 25
    context.options = {"preset": "ultrafast", "x265-params": f"log-level=none:info=0:{params}"}
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    return next(nal for nal in headers.split_nals(stream) if headers.nal_type(nal) == headers.SPS)


def test_the_sps_of_libx265_is_read_with_and_without_usability_information() -> None:
    plain = read_sps(x265_sps("min-cu-size=8:keyint=1"))
    rich = read_sps(
        x265_sps(
            "min-cu-size=8:keyint=1:sar=5:overscan=show:colorprim=bt709:transfer=bt709:colormatrix=bt709:chromaloc=1"
        )
    )
    assert plain == rich
    assert (plain.log2_min_cb, plain.range_flags) == (3, ())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("scaling-list=default", "scaling lists"),
        ("vbv-maxrate=900:vbv-bufsize=900:hrd=1", "buffering parameters"),
        ("display-window=0,0,2,2", "display window"),
    ],
)
def test_what_a_bpg_file_cannot_carry_is_refused(params: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_sps(x265_sps(params))


def test_the_flag_that_allows_lossless_blocks_is_found_in_a_pps() -> None:
    pps = bytes.fromhex("4401c1909581160370")
    assert not headers.allows_lossless(pps)
    # PPS 0 of SPS 0, seven flags, three numbers of 0, three flags, two numbers of 0, three flags, then this one.
    bits = "11" + "0000000" + "111" + "000" + "11" + "000" + "1" + "000"
    assert headers.allows_lossless(b"\x44\x01" + int(bits, 2).to_bytes(3, "big"))
