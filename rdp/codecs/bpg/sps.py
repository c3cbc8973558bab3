"""The sequence parameter set of an encoder (H.265, 7.3.2.2), read for the fields that a BPG file keeps."""

from __future__ import annotations

from rdp.codecs.bpg.bits import BitReader
from rdp.codecs.bpg.headers import RANGE_FLAGS, SPS, CodingTools, nal_type, read_pcm, unescape
from rdp.errors import CodecError

_NOT_CARRIED = ("explicit_rdpcm", "extended_precision_processing", "high_precision_offsets", "cabac_bypass_alignment")
_EXTENDED_ASPECT = 255


def read_sps(nal: bytes) -> CodingTools:
    """The coding tools of an encoder's SPS. Raises `CodecError` for what a BPG file has no field for."""
    if nal_type(nal) != SPS:
        raise CodecError("the HEVC encoder wrote no SPS where one belongs")
    bits = BitReader(unescape(nal[2:]))
    bits.u(4)
    _refuse(bits.u(3) != 0, "sub-layers")
    bits.flag()
    bits.u(88)  # profile and tier
    bits.u(8)  # level
    bits.ue()
    if bits.ue() == 3:
        _refuse(bits.flag(), "separate colour planes")
    bits.ue()
    bits.ue()
    if bits.flag():
        _refuse(any(bits.ue() for _ in range(4)), "a conformance window")
    _refuse(bits.ue() != bits.ue(), "luma and chroma of different depth")
    bits.ue()
    bits.flag()
    for _ in range(3):
        bits.ue()
    sizes = bits.ue() + 3, bits.ue(), bits.ue() + 2, bits.ue()
    bits.ue()  # depth of inter transforms
    intra_depth = bits.ue()
    _refuse(bits.flag(), "scaling lists")
    bits.flag()  # asymmetric partitions: of no effect in intra pictures
    sao = bits.flag()
    pcm = read_pcm(bits) if bits.flag() else None
    _refuse(bits.ue() != 0, "reference picture sets")
    _refuse(bits.flag(), "long-term reference pictures")
    bits.flag()
    strong = bits.flag()
    if bits.flag():
        _skip_vui(bits)
    return CodingTools(*sizes, intra_depth, sao, pcm, strong, _read_extension(bits))


def _refuse(found: bool, what: str) -> None:
    if found:
        raise CodecError(f"the HEVC encoder used {what}, which a BPG file cannot carry")


def _read_extension(bits: BitReader) -> tuple[bool, ...]:
    if not bits.flag():
        return ()
    extended = bits.flag()
    _refuse(bits.u(7) != 0, "an extension other than range extensions")
    if not extended:
        return ()
    flags = tuple(bits.flag() for _ in RANGE_FLAGS)
    for name in _NOT_CARRIED:
        _refuse(flags[RANGE_FLAGS.index(name)], name)
    return flags


def _skip_vui(bits: BitReader) -> None:
    """Read over the usability information (E.2.1), which says nothing that a decoder of BPG files needs."""
    if bits.flag() and bits.u(8) == _EXTENDED_ASPECT:
        bits.u(32)
    if bits.flag():
        bits.flag()  # overscan
    if bits.flag():
        bits.u(4)  # video format and range
        if bits.flag():
            bits.u(24)  # colour description
    if bits.flag():
        bits.ue()
        bits.ue()  # chroma siting
    bits.u(3)
    _refuse(bits.flag() and any(bits.ue() for _ in range(4)), "a display window")
    if bits.flag():
        bits.u(64)  # timing
        if bits.flag():
            bits.ue()
        _refuse(bits.flag(), "buffering parameters")
    if bits.flag():
        bits.u(3)  # bitstream restrictions
        for _ in range(5):
            bits.ue()
