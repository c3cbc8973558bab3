"""Pictures to BPG files and back, through PyAV: what puts container, headers, colour and HEVC together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rdp.codecs.bpg import headers, hevc
from rdp.codecs.bpg.colour import to_planes, to_rgb
from rdp.codecs.bpg.container import LIMIT_TEXT, MAX_SAMPLES, MAX_SIDE, BpgFile, BpgHeader, read_file, write_file
from rdp.codecs.bpg.sps import read_sps
from rdp.errors import CodecError, FormatError

Plane = np.ndarray[Any, Any]

_BLOCK = 8
_SMALL_BLOCK = 16
# What is put behind a picture, so that decoding past its end shows: all ones, which end a slice at the next block and
# leave the rest of the picture empty; and all zeros, as they stand in a NAL unit. Arithmetic decoding is monotonic: if
# both give the same picture, so does everything between them.
_ONES = b"\xff" * 4096
_ZEROS = b"\x00\x00\x03" * 2048
# What a picture needs at most. H.265 (A.3) allows a coding tree block 5/3 of its raw bits; bytes against false start
# codes add half to the worst data; this leaves the rest for slice headers, and the allowance for PPS and messages.
_RAW_FACTOR = 3
_DATA_ALLOWANCE = 65_536
_OTHER_NALS = 64


def encode_picture(
    image: Plane, qp: int, mode: str, preset: str, chroma: str = "420", depth: int = 8, threads: int = 1
) -> bytes:
    """The BPG file of an image (uint8, (H, W, 3), RGB); its bytes do not depend on `threads`.

    `mode` is a key of `hevc.MODES`. Raises `CodecError` for an image larger than libx265 codes.
    """
    height, width = image.shape[:2]
    # Sides under 16 are below what FFmpeg hands to libx265: they are padded further, in larger blocks.
    block = _BLOCK if min(height, width) >= hevc.MIN_SIDE else _SMALL_BLOCK
    rows, columns = (-(-side // block) * block for side in (height, width))
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_SAMPLES:
        raise CodecError(f"bpg cannot encode an image of {width}x{height}: {LIMIT_TEXT}; cut it into tiles")
    header = BpgHeader(width, height, chroma, depth)
    planes = to_planes(image, header)
    padded = BpgHeader(columns, rows, chroma, depth)
    sizes = ((rows, columns), padded.chroma_size, padded.chroma_size)
    coding = hevc.Coding(qp, mode, preset, chroma, depth, block)
    stream = hevc.encode_planes(
        [_pad(plane, *size) for plane, size in zip(planes, sizes, strict=True)], coding, threads
    )
    return wrap(stream, header, block)


def _pad(plane: Plane, rows: int, columns: int) -> Plane:
    return np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")


def wrap(stream: bytes, header: BpgHeader, block: int) -> bytes:
    """A byte stream of the encoder as a BPG file: the parameter sets in short form, then what follows them."""
    nals = headers.split_nals(stream)
    tools = read_sps(next((nal for nal in nals if headers.nal_type(nal) == headers.SPS), b""))
    if 1 << tools.log2_min_cb != block:
        raise CodecError(f"libx265 did not keep to coding blocks of {block}: this version cannot be used for bpg")
    kept = [nal for nal in nals if headers.nal_type(nal) in (headers.PPS, *headers.IDR)]
    return write_file(header, headers.write_hevc_header(tools), headers.join_nals(kept)[len(headers.START_CODE) :])


def decode_picture(data: bytes, threads: int = 1) -> Plane:
    """The picture in a BPG file: uint8, (H, W, 3), RGB.

    Raises `FormatError` for what is not a BPG file, is not supported, is cut, or is damaged as far as that can be
    known: HEVC as BPG uses it carries no checksum, and a changed bit often gives another valid picture.
    """
    file = read_file(data)
    tools = headers.read_hevc_header(file.hevc_header)
    _check_excess(file, tools)
    nals = _picture_nals(file, tools)
    _check_length(file.header, tools, nals)
    stream = headers.join_nals([*headers.build_parameter_sets(tools, file.header), *nals])
    size = tools.padded(file.header.height), tools.padded(file.header.width)
    planes = _decode(stream + _ONES, file.header, size, threads)
    _check_end(planes, tools, file.header)
    if not file.sized:
        # Nothing says how long the data should be; but a whole picture does not depend on what follows it.
        again = _decode(stream + _ZEROS, file.header, size, threads)
        if not all(np.array_equal(one, other) for one, other in zip(planes, again, strict=True)):
            raise FormatError("the BPG file is cut: its picture data run out")
    return to_rgb([_crop(plane, file.header, index) for index, plane in enumerate(planes)], file.header)


def _check_excess(file: BpgFile, tools: headers.CodingTools) -> None:
    """Raise `FormatError` for more data or units than a picture of this size can need, before they are taken apart.

    Data: `_RAW_FACTOR` times the samples of whole coding tree blocks, and `_DATA_ALLOWANCE` bytes. Units: one slice a
    block, every PPS that can be told apart, and `_OTHER_NALS` messages.
    """
    header, blocks = file.header, tools.blocks(file.header.width, file.header.height)
    planes = {"gray": 2, "420": 3, "422": 4, "444": 6}[header.chroma]  # samples, in half planes of luma
    raw = (blocks << 2 * tools.log2_ctb) * planes * header.depth // 16
    limit = _RAW_FACTOR * raw + _DATA_ALLOWANCE
    if len(file.hevc_data) > limit:
        raise FormatError(
            f"the BPG file holds {len(file.hevc_data):,} bytes of picture data, and a picture of "
            f"{header.width}x{header.height} needs {limit:,} at most: it is damaged, or made to exhaust memory"
        )
    units = file.hevc_data.count(headers.START_CODE) + 1
    if units > (most := blocks + headers.MAX_PPS + _OTHER_NALS):
        raise FormatError(
            f"the BPG file holds {units:,} NAL units, and a picture of {header.width}x{header.height} needs "
            f"{most:,} at most: it is damaged, or made to exhaust memory"
        )


def _picture_nals(file: BpgFile, tools: headers.CodingTools) -> list[bytes]:
    """PPS and slices of the one picture. Raises `FormatError` for anything else that would change what is decoded."""
    kept: list[bytes] = []
    slices = 0
    numbers: set[int] = set()
    blocks = tools.blocks(file.header.width, file.header.height)
    for nal in headers.split_nals(file.hevc_data):
        kind = headers.nal_type(nal)
        if kind in headers.IGNORED:
            continue
        if kind == headers.PPS:
            if (number := headers.pps_id(nal)) in numbers:
                raise FormatError(f"the picture data holds two parameter sets of number {number}")
            numbers.add(number)
            _check_lossless(nal, tools)
        elif kind in headers.IDR:
            first = nal[2] >> 7 == 1
            if first != (slices == 0):
                raise FormatError("the picture data of the BPG file is not one whole picture")
            slices += 1
            if slices > blocks:
                raise FormatError(f"the picture data holds more slices than the {blocks:,} blocks of the picture")
        else:
            raise FormatError(f"the picture data holds a NAL unit of type {kind}, which BPG does not have")
        kept.append(nal)
    if not slices:
        raise FormatError("the BPG file is cut or damaged: it holds no picture data")
    return kept


def _check_lossless(pps: bytes, tools: headers.CodingTools) -> None:
    """Raise `FormatError` for the lossless coding that FFmpeg decodes wrongly (implicit RDPCM)."""
    if tools.has("implicit_rdpcm") and headers.allows_lossless(pps):
        raise FormatError("lossless BPG files with implicit RDPCM are not supported: decode it with bpgdec")


def _check_length(header: BpgHeader, tools: headers.CodingTools, nals: Sequence[bytes]) -> None:
    """Raise `FormatError` for less data than a picture of this size can have, before memory is spent on it.

    Every block of an intra picture holds a prediction mode, which costs a bit at least.
    """
    if 8 * sum(map(len, nals)) < tools.blocks(header.width, header.height):
        raise FormatError(f"the BPG file is cut: too little data for a picture of {header.width}x{header.height}")


def _decode(stream: bytes, header: BpgHeader, size: tuple[int, int], threads: int) -> list[Plane]:
    return hevc.decode_stream(stream, header.chroma, header.depth, size, threads)


def _check_end(planes: Sequence[Plane], tools: headers.CodingTools, header: BpgHeader) -> None:
    """Raise `FormatError` if the last block was not decoded: FFmpeg leaves zeros there, and no error.

    Zero in luma and in both chroma planes is no colour that RGB has (black has chroma in the middle of the range).
    In gray and RGB it is black, and nothing can be said.
    """
    block = 1 << tools.log2_min_cb
    ambiguous = header.chroma == "gray" or header.colour == "RGB"
    if not ambiguous and not any(plane[-block // 2 :, -block // 2 :].any() for plane in planes):
        raise FormatError("the picture data of the BPG file is damaged: it ends before the last block")


def _crop(plane: Plane, header: BpgHeader, index: int) -> Plane:
    rows, columns = header.chroma_size if index else (header.height, header.width)
    return plane[:rows, :columns]
