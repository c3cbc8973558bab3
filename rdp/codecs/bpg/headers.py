"""HEVC headers: NAL units, the SPS that libx265 writes, and the short form of it in a BPG file.

A BPG file leaves VPS and SPS out and keeps a dozen fields of the SPS (`CodingTools`). The encoder reads them out of the
encoder's SPS; the decoder writes a VPS and an SPS again from them. Clauses are those of H.265 (v4, 2016).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdp.codecs.bpg.bits import BitReader, BitWriter
from rdp.codecs.bpg.container import BpgHeader
from rdp.errors import FormatError

VPS, SPS, PPS = 32, 33, 34
IDR = (19, 20)
MAX_PPS = 64
IGNORED = (35, 38, 39, 40)  # access unit delimiter, filler data, SEI
START_CODE = b"\x00\x00\x01"

CHROMA_IDC = {"gray": 0, "420": 1, "422": 2, "444": 3}
_LEVEL_6_2 = 186
_RANGE_EXTENSIONS = 4
RANGE_FLAGS = (
    "transform_skip_rotation",
    "transform_skip_context",
    "implicit_rdpcm",
    "explicit_rdpcm",
    "extended_precision_processing",
    "intra_smoothing_disabled",
    "high_precision_offsets",
    "persistent_rice_adaptation",
    "cabac_bypass_alignment",
)


@dataclass(frozen=True)
class Pcm:
    """Blocks of plain samples (7.3.2.2): bits a sample, log2 of the smallest block, sizes above it, loop filter off."""

    luma_bits: int
    chroma_bits: int
    log2_min: int
    log2_range: int
    filter_off: bool


@dataclass(frozen=True)
class CodingTools:
    """The fields of an SPS that a BPG file keeps. `range_flags` is empty where the extension is not written."""

    log2_min_cb: int
    log2_cb_range: int
    log2_min_tb: int
    log2_tb_range: int
    intra_depth: int
    sao: bool
    pcm: Pcm | None
    strong_intra_smoothing: bool
    range_flags: tuple[bool, ...] = ()

    @property
    def log2_ctb(self) -> int:
        return self.log2_min_cb + self.log2_cb_range

    def has(self, flag: str) -> bool:
        """Whether a flag of the range extension is set."""
        return bool(self.range_flags) and self.range_flags[RANGE_FLAGS.index(flag)]

    def padded(self, length: int) -> int:
        """A side rounded up to whole coding blocks, as the decoder sees it."""
        block = 1 << self.log2_min_cb
        return -(-length // block) * block

    def blocks(self, width: int, height: int) -> int:
        """The number of coding tree blocks of a picture."""
        size = 1 << self.log2_ctb
        return -(-width // size) * -(-height // size)


def split_nals(stream: bytes) -> list[bytes]:
    """The NAL units of a byte stream (annex B), with or without its first start code; empty ones are left out."""
    return [nal for nal in (part.rstrip(b"\x00") for part in re.split(b"\x00\x00\x01", stream)) if nal]


def join_nals(nals: list[bytes]) -> bytes:
    """A byte stream with three-byte start codes."""
    return b"".join(START_CODE + nal for nal in nals)


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` (7.4.2.2). Raises `FormatError` for a unit too short, or of another layer or sub-layer."""
    if len(nal) < 3:
        raise FormatError("a NAL unit of the picture data is empty")
    header = int.from_bytes(nal[:2], "big")
    if header >> 15 or header & 0x1FF != 1:
        raise FormatError("the picture data holds a NAL unit of another layer (alpha, sub-layers), or is damaged")
    return header >> 9


def unescape(nal: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (7.4.2)."""
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


def escape(payload: bytes) -> bytes:
    """A payload with emulation prevention bytes, so that no start code appears in it."""
    return re.sub(b"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)


def pps_id(pps: bytes) -> int:
    """`pps_pic_parameter_set_id` (7.4.3.3.1). Raises `FormatError` for one that does not exist."""
    number = BitReader(unescape(pps[2:])).ue()
    if number >= MAX_PPS:
        raise FormatError(f"the picture data holds a parameter set of number {number}; the last one is {MAX_PPS - 1}")
    return number


def allows_lossless(pps: bytes) -> bool:
    """`transquant_bypass_enabled_flag` of a PPS (7.3.2.3.1)."""
    bits = BitReader(unescape(pps[2:]))
    bits.ue()
    bits.ue()
    bits.u(7)  # dependent slices, output flag, extra bits, sign hiding, initial contexts
    bits.ue()
    bits.ue()
    bits.se()
    bits.u(2)
    if bits.flag():
        bits.ue()  # QP changes
    bits.se()
    bits.se()
    bits.u(3)
    return bits.flag()


def read_hevc_header(data: bytes) -> CodingTools:
    """The short SPS of a BPG file. Raises `FormatError` for fields that no decoder takes."""
    bits = BitReader(data)
    sizes = bits.ue() + 3, bits.ue(), bits.ue() + 2, bits.ue(), bits.ue()
    sao = bits.flag()
    pcm = read_pcm(bits) if bits.flag() else None
    tools = CodingTools(*sizes, sao, pcm, bits.flag(), _read_range_flags(bits))
    if bits.remaining >= 8:
        raise FormatError("the HEVC header is longer than its content")
    _check_tools(tools)
    return tools


def read_pcm(bits: BitReader) -> Pcm:
    """The fields of `pcm_enabled_flag`, as SPS and BPG header both write them."""
    return Pcm(bits.u(4) + 1, bits.u(4) + 1, bits.ue() + 3, bits.ue(), bits.flag())


def _read_range_flags(bits: BitReader) -> tuple[bool, ...]:
    if not bits.flag():
        return ()
    extended = bits.flag()
    if bits.u(7):
        raise FormatError("the HEVC header asks for an extension other than range extensions")
    return tuple(bits.flag() for _ in RANGE_FLAGS) if extended else ()


def _check_tools(tools: CodingTools) -> None:
    """Raise `FormatError` for block sizes outside 7.4.3.2.1 and for tools that FFmpeg does not carry out."""
    log2_max_tb = tools.log2_min_tb + tools.log2_tb_range
    sizes_fit = tools.log2_min_tb < tools.log2_min_cb and log2_max_tb <= min(tools.log2_ctb, 5)
    if not 4 <= tools.log2_ctb <= 6 or not sizes_fit or tools.intra_depth > tools.log2_ctb - tools.log2_min_tb:
        raise FormatError("the HEVC header holds block sizes that do not exist")
    pcm = tools.pcm
    if pcm and (pcm.log2_min < tools.log2_min_cb or pcm.log2_min + pcm.log2_range > min(tools.log2_ctb, 5)):
        raise FormatError("the HEVC header holds PCM block sizes that do not exist")
    for name in ("extended_precision_processing", "cabac_bypass_alignment"):
        if tools.has(name):
            raise FormatError(f"BPG files with {name} are not supported")


def write_hevc_header(tools: CodingTools) -> bytes:
    """The short SPS of a BPG file."""
    bits = BitWriter()
    _write_tools(bits, tools, inter_depth=False)
    return bits.to_bytes()


def _write_tools(bits: BitWriter, tools: CodingTools, inter_depth: bool) -> None:
    """The fields in the order of the SPS; with `inter_depth` those that only the full SPS has are put between."""
    for value in (tools.log2_min_cb - 3, tools.log2_cb_range, tools.log2_min_tb - 2, tools.log2_tb_range):
        bits.ue(value)
    if inter_depth:
        bits.ue(tools.intra_depth)
    bits.ue(tools.intra_depth)
    if inter_depth:
        bits.flag(False)  # scaling lists
        bits.flag(True)  # asymmetric partitions
    bits.flag(tools.sao)
    bits.flag(tools.pcm is not None)
    if tools.pcm:
        bits.u(tools.pcm.luma_bits - 1, 4)
        bits.u(tools.pcm.chroma_bits - 1, 4)
        bits.ue(tools.pcm.log2_min - 3)
        bits.ue(tools.pcm.log2_range)
        bits.flag(tools.pcm.filter_off)
    if inter_depth:
        bits.ue(0)  # reference picture sets
        bits.flag(False)  # long-term references
        bits.flag(True)  # temporal motion vector prediction
    bits.flag(tools.strong_intra_smoothing)
    if inter_depth:
        bits.flag(False)  # VUI
    bits.flag(bool(tools.range_flags))
    if tools.range_flags:
        bits.flag(True)
        bits.u(0, 7)
        for flag in tools.range_flags:
            bits.flag(flag)


def build_parameter_sets(tools: CodingTools, header: BpgHeader) -> list[bytes]:
    """VPS and SPS (NAL units) for a decoder, from what a BPG file keeps."""
    return [_build_vps(), _build_sps(tools, header)]


def _nal(kind: int, bits: BitWriter) -> bytes:
    bits.stop()
    return (kind << 9 | 1).to_bytes(2, "big") + escape(bits.to_bytes())


def _write_profile(bits: BitWriter) -> None:
    bits.u(_RANGE_EXTENSIONS, 8)  # profile space 0, main tier, format range extensions
    bits.u(1 << (31 - _RANGE_EXTENSIONS), 32)
    bits.u(0b1001 << 44, 48)  # progressive, frames only
    bits.u(_LEVEL_6_2, 8)


def _write_buffering(bits: BitWriter) -> None:
    bits.flag(True)
    for value in (0, 0, 0):  # one picture, no reordering, no latency limit
        bits.ue(value)


def _build_vps() -> bytes:
    bits = BitWriter()
    bits.u(0b0000_11_000000_000_1, 16)  # id 0, base layer, one layer, one sub-layer
    bits.u(0xFFFF, 16)
    _write_profile(bits)
    _write_buffering(bits)
    bits.u(0, 6)
    bits.ue(0)
    bits.u(0, 2)  # no timing, no extension
    return _nal(VPS, bits)


def _build_sps(tools: CodingTools, header: BpgHeader) -> bytes:
    bits = BitWriter()
    bits.u(0b0000_000_1, 8)  # VPS 0, one sub-layer
    _write_profile(bits)
    bits.ue(0)
    bits.ue(CHROMA_IDC[header.chroma])
    if header.chroma == "444":
        bits.flag(False)
    bits.ue(tools.padded(header.width))
    bits.ue(tools.padded(header.height))
    bits.flag(False)  # conformance window: the container holds the size
    bits.ue(header.depth - 8)
    bits.ue(header.depth - 8)
    bits.ue(4)
    _write_buffering(bits)
    _write_tools(bits, tools, inter_depth=True)
    return _nal(SPS, bits)
