"""`manifest.json` of a delivery: what was delivered, at which points, with which bytes, and what was promised.

    format, version     "rdp pack", 2
    rdp_version
    protocol            how originals were read, as in the run
    selection           status, solver, statement (the words of `rdp solve`), objective (with the gap that counts as
                        optimal, allowed_gap), points (all that were offered)
    selection_sha256    of `selection.json`, which lies beside it: the selection as `rdp solve` wrote it
    budgets             one object each: column, sense, budget, weighting, average, group (empty where the average is
                        that of all images); with the bits beside the files, where the selection was solved with such
    image_bounds        bounds on each image: column, sense, bound, worst (the value of the image nearest to it)
    averages            one object a column: column, weighting, average; of the files alone, without bits beside them
    total_bits          of all files
    side_information    see `rdp.report.side_information`
    decoder_information see `rdp.report.decoder_information`; not there where no bits that name decoders are charged
    points              one object a point in use: point, images, encoder_ids (keys and weights), decoder_ids,
                        codec_versions
    metrics             name, fingerprint, identity (with the SHA-256 of its weights) of what the averages are of
    tools               external tools: information for people. `rdp unpack` never runs a command line out of it
    files               one object an image: dataset, image, point, file (path in the delivery), nbytes, file_sha256,
                        reconstruction_sha256, pixels_sha256 (of the original), width, height, group (empty where no
                        budget is of groups), and beside decoder_information decoders (among how many the file's was
                        chosen)

Whether the selection was solved with side information, or with the bits that name decoders, is in the words of its
statement (`side_info`, `decoder_info`); its objective is then with them. Version 1 has no groups, and no limit and
shared bits in its side information; it is still read.

There are no NaN or Infinity literals: such a number is null, and beside `name` stands `name_is`, as in
`selection.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from rdp.report.decoder_information import DecoderInformation
from rdp.report.delivery_names import PackError, check_names, read_inside
from rdp.report.json_fields import (
    parse_json,
    read_choice,
    read_flag,
    read_hash,
    read_list,
    read_object,
    read_real,
    read_text,
    read_texts,
    read_weighting,
    read_whole,
)
from rdp.report.manifest_parts import (
    PackedAverage,
    PackedBound,
    PackedBudget,
    PackedFile,
    PackedMetric,
    PackedPoint,
)
from rdp.report.side_information import SideInformation
from rdp.selection.document import json_text, number
from rdp.selection.statement import Sense

MANIFEST = "manifest.json"
SELECTION = "selection.json"
FORMAT = "rdp pack"
VERSION = 2
VERSIONS = (1, 2)
"""Those that are read."""


@dataclass(frozen=True)
class Manifest:
    """The whole document; the module's text says what its parts are."""

    files: tuple[PackedFile, ...]
    averages: tuple[PackedAverage, ...]
    budgets: tuple[PackedBudget, ...]
    image_bounds: tuple[PackedBound, ...]
    points: tuple[PackedPoint, ...]
    metrics: tuple[PackedMetric, ...]
    total_bits: int
    side_information: SideInformation
    selection: Mapping[str, Any]
    selection_sha256: str
    protocol: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...] = ()
    rdp_version: str = ""
    caps: Mapping[str, float] = field(default_factory=dict)
    decoder_information: DecoderInformation | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        side = asdict(self.side_information)
        files, decoders = [asdict(one) for one in self.files], {}
        if self.decoder_information is None:
            files = [{name: value for name, value in one.items() if name != "decoders"} for one in files]
        else:
            decoders = {"decoder_information": asdict(self.decoder_information)}
        return {
            "format": FORMAT,
            "version": VERSION,
            "rdp_version": self.rdp_version,
            "protocol": dict(self.protocol),
            "selection": dict(self.selection),
            "selection_sha256": self.selection_sha256,
            "budgets": [asdict(one) | number("average", one.average) for one in self.budgets],
            "image_bounds": [asdict(one) | number("worst", one.worst) for one in self.image_bounds],
            "averages": [asdict(one) | number("average", one.average) for one in self.averages],
            "total_bits": self.total_bits,
            "side_information": side | {"explanation": self.side_information.explanation},
            **decoders,
            "points": [asdict(one) for one in self.points],
            "metrics": [asdict(one) for one in self.metrics],
            "tools": [dict(tool) for tool in self.tools],
            "files": files,
        }

    def to_bytes(self) -> bytes:
        """The content of `manifest.json`."""
        return json_text(self.to_dict()).encode()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a delivery, checked as what a stranger may have written.

    Raises `PackError` if there is none, if it is of another version or damaged, and if it names files outside the
    delivery, or one twice.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise PackError(f"{folder} does not exist: name a folder that rdp pack wrote")
    try:
        text = read_inside(folder, MANIFEST)
    except PackError as error:
        raise PackError(f"{path} {error}; rdp pack writes it last, so the delivery is not complete") from error
    document = parse_json(path, text)
    version = document.get("version")
    if document.get("format") != FORMAT or type(version) is not int or version not in VERSIONS:
        raise PackError(
            f"{path} is of format {document.get('format')!r}, version {document.get('version')!r}; this rdp reads "
            f"{FORMAT!r}, versions {' and '.join(map(str, VERSIONS))}: unpack it with the rdp that made it"
        )
    try:
        manifest = _manifest(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PackError(f"{path} is damaged: {type(error).__name__} {error}") from error
    check_names([one.file for one in manifest.files])
    if len({(one.dataset, one.image) for one in manifest.files}) < len(manifest.files):
        raise PackError(f"{path} is damaged: it names an image twice")
    return manifest


def _manifest(document: dict[str, Any]) -> Manifest:
    document = _completed(document)
    side = dict(document["side_information"])
    side.pop("explanation", None)
    selection = read_object(document["selection"])
    statement = read_object(selection.get("statement", {}))
    caps = read_object(statement.get("cap", {}))
    files = read_list(document, "files", _file)
    if not files:
        raise ValueError("it names no file")
    return Manifest(
        files=files,
        averages=read_list(document, "averages", _average),
        budgets=read_list(document, "budgets", _budget),
        image_bounds=read_list(document, "image_bounds", _bound),
        points=read_list(document, "points", _point),
        metrics=read_list(document, "metrics", _metric),
        total_bits=read_whole(document, "total_bits"),
        side_information=_side(side),
        selection=selection,
        selection_sha256=read_hash(document, "selection_sha256"),
        protocol=read_object(document["protocol"]),
        tools=tuple(read_object(tool) for tool in document["tools"]),
        rdp_version=read_text(document, "rdp_version"),
        caps={name: read_real(caps, name) for name in caps},
        decoder_information=_decoder_information(document),
    )


def _decoder_information(document: Mapping[str, Any]) -> DecoderInformation | None:
    if "decoder_information" not in document:
        return None
    entry = read_object(document["decoder_information"])
    rates = (read_real(entry, name) for name in ("bpp", "bpp_files", "bpp_total"))
    images, bits = read_whole(entry, "images_that_need_it"), read_real(entry, "total_bits")
    return DecoderInformation(images, bits, read_weighting(entry), *rates)


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """A document of version 1 with what version 2 says beside it."""
    if document["version"] > 1:
        return document
    side = read_object(document["side_information"])
    return document | {
        "side_information": {**side, "limit": side["points"], "shared_bits": 0},
        "budgets": [{**read_object(entry), "group": ""} for entry in document["budgets"]],
        "files": [{**read_object(entry), "group": ""} for entry in document["files"]],
    }


def _file(entry: Mapping[str, Any]) -> PackedFile:
    texts = {name: read_text(entry, name) for name in ("dataset", "image", "point", "file", "group")}
    hashes = {name: read_hash(entry, name) for name in ("file_sha256", "reconstruction_sha256", "pixels_sha256")}
    return PackedFile(
        **texts,
        **hashes,
        nbytes=read_whole(entry, "nbytes", 1),
        width=read_whole(entry, "width", 1),
        height=read_whole(entry, "height", 1),
        decoders=read_whole(entry, "decoders", 1) if "decoders" in entry else 1,
    )


def _average(entry: Mapping[str, Any]) -> PackedAverage:
    return PackedAverage(read_text(entry, "column"), read_weighting(entry), read_real(entry, "average"))


def _budget(entry: Mapping[str, Any]) -> PackedBudget:
    sense = read_choice(entry, "sense", ("at_most", "at_least"))
    return PackedBudget(
        read_text(entry, "column"),
        cast("Sense", sense),
        read_real(entry, "budget"),
        read_weighting(entry),
        read_real(entry, "average"),
        read_text(entry, "group"),
    )


def _bound(entry: Mapping[str, Any]) -> PackedBound:
    sense = cast("Sense", read_choice(entry, "sense", ("at_most", "at_least")))
    return PackedBound(read_text(entry, "column"), sense, read_real(entry, "bound"), read_real(entry, "worst"))


def _ids(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Identities of codecs, each of 12 hex digits."""
    ids = read_texts(entry, name)
    for one in ids:
        if not re.fullmatch(r"[0-9a-f]{12}", one):
            raise ValueError(f"{name} holds {one!r:.80}, which is not 12 hex digits")
    return ids


def _point(entry: Mapping[str, Any]) -> PackedPoint:
    return PackedPoint(
        read_text(entry, "point"),
        read_whole(entry, "images", 1),
        _ids(entry, "encoder_ids"),
        _ids(entry, "decoder_ids"),
        read_texts(entry, "codec_versions"),
    )


def _metric(entry: Mapping[str, Any]) -> PackedMetric:
    return PackedMetric(
        read_text(entry, "name"),
        read_texts(entry, "columns"),
        read_text(entry, "fingerprint"),
        read_object(entry["identity"]),
    )


def _side(entry: Mapping[str, Any]) -> SideInformation:
    readers: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
        "int": read_whole,
        "float": read_real,
        "bool": read_flag,
    }
    values: dict[str, Any] = {
        item.name: read_weighting(entry) if item.name == "weighting" else readers[str(item.type)](entry, item.name)
        for item in fields(SideInformation)
    }
    return SideInformation(**values)
