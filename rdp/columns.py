"""Every column of a table, once: its name, unit, direction and meaning.

Tables, metrics, the solver and the reports look names up here and nowhere else. A column that is not listed (a user's
own, from a CSV file) is allowed wherever numbers are; it just has no unit and no direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "real", "flag"]
Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `unit` is empty for a pure number. `direction` says which way is better, and is None where neither is.
    `label` is what an axis or a table head shows.
    """

    name: str
    kind: Kind
    unit: str
    direction: Direction | None
    meaning: str
    label: str = ""

    @property
    def title(self) -> str:
        """Label with unit, for axes and table heads."""
        label = self.label or self.name
        return f"{label} ({self.unit})" if self.unit else label


def _text(name: str, meaning: str) -> Column:
    return Column(name, "text", "", None, meaning)


KEY_COLUMNS = ("dataset", "image", "point")
"""The row key: a table holds each combination once."""

CELL_COLUMNS: tuple[Column, ...] = (
    _text("dataset", "name of the folder of images, or what --dataset says"),
    _text("image", "POSIX path of the image file relative to its folder, suffix included"),
    _text("point", "operating point in canonical spelling: family:key=value,..."),
    Column("width", "integer", "pixel", None, "width of the original image"),
    Column("height", "integer", "pixel", None, "height of the original image"),
    Column(
        "nbytes", "integer", "byte", "lower", "length of the whole file that a decoder needs, headers included", "File"
    ),
    Column("bpp", "real", "bit/pixel", "lower", "8 * nbytes / (width * height)", "Rate"),
    Column(
        "bpp_estimated", "real", "bit/pixel", "lower", "entropy estimate of a learned codec; never a file", "Est. rate"
    ),
    Column(
        "bpp_fixed_law",
        "real",
        "bit/pixel",
        "lower",
        "rate under the fixed unit Laplacian law; an estimate, never a file",
        "Fixed-law rate",
    ),
    _text("file_sha256", "SHA-256 of the encoded file; its name in objects/"),
    _text("pixels_sha256", "SHA-256 of the original: height and width as 4-byte big-endian integers, then RGB bytes"),
    _text("reconstruction_sha256", "the same of the decoded image"),
    _text("encoder_id", "hash of what determines the file: keys and weights; points that share it share the file"),
    _text("decoder_id", "hash of what determines the reconstruction, given the file"),
    _text("codec_version", "library or program, with version, that made the file"),
    Column("encode_s", "real", "s", "lower", "time to encode, image in memory to file in memory", "Encoding"),
    Column("decode_s", "real", "s", "lower", "time to decode, file in memory to image in memory", "Decoding"),
    _text("encode_device", "device that encoded: cpu, cuda:0, ..."),
    _text("decode_device", "device that decoded"),
    Column("contended", "flag", "", None, "other workers ran at the same time: the times are not measurements"),
    Column("session", "integer", "", None, "number of the evaluate call in run.json that made the row"),
    _text("status", "ok or failed"),
    _text("message", "why the cell failed"),
)

ESTIMATE_COLUMNS = ("bpp_estimated", "bpp_fixed_law")
"""Cell columns that a learned codec computes from its own file."""

METRIC_COLUMNS: tuple[Column, ...] = (
    Column("mse", "real", "", "lower", "mean squared error over all pixels and channels, 0..255 scale", "MSE"),
    Column("psnr", "real", "dB", "higher", "10 log10(255^2 / mse); infinite for identical images", "PSNR"),
    Column("psnr_y", "real", "dB", "higher", "PSNR of the BT.601 full-range luma", "PSNR-Y"),
    Column("ssim", "real", "", "higher", "structural similarity, mean over R, G and B", "SSIM"),
    Column("ssim_y", "real", "", "higher", "structural similarity of the BT.601 luma", "SSIM-Y"),
    Column("ms_ssim", "real", "", "higher", "multi-scale structural similarity over R, G and B", "MS-SSIM"),
    Column("ms_ssim_db", "real", "dB", "higher", "-10 log10(1 - ms_ssim) of each image", "MS-SSIM"),
    Column("ms_ssim_y", "real", "", "higher", "multi-scale structural similarity of the BT.601 luma", "MS-SSIM-Y"),
    Column("ms_ssim_y_db", "real", "dB", "higher", "-10 log10(1 - ms_ssim_y) of each image", "MS-SSIM-Y"),
    Column("lpips_alex", "real", "", "lower", "LPIPS v0.1 with AlexNet", "LPIPS (Alex)"),
    Column("lpips_vgg", "real", "", "lower", "LPIPS v0.1 with VGG-16", "LPIPS (VGG)"),
    Column("lpips_squeeze", "real", "", "lower", "LPIPS v0.1 with SqueezeNet 1.1", "LPIPS (Squeeze)"),
    Column(
        "histogram_kl",
        "real",
        "nat",
        "lower",
        "KL divergence between pixel histograms, original to reconstruction",
        "Histogram KL",
    ),
    Column(
        "histogram_kl_reverse",
        "real",
        "nat",
        "lower",
        "KL divergence between pixel histograms, reconstruction to original",
        "Histogram KL, reverse",
    ),
    Column("haarpsi", "real", "", "higher", "Haar wavelet perceptual similarity index", "HaarPSI"),
    Column("dists", "real", "", "lower", "deep image structure and texture similarity, at native size", "DISTS"),
    Column("niqe", "real", "", "lower", "natural image quality evaluator, no reference; the authors' model", "NIQE"),
    Column(
        "niqe_fitted",
        "real",
        "",
        "lower",
        "natural image quality evaluator, no reference; a model of the user's",
        "NIQE (own model)",
    ),
)

COLUMNS: dict[str, Column] = {}
for _column in (*CELL_COLUMNS, *METRIC_COLUMNS):
    if _column.name in COLUMNS:
        raise RuntimeError(f"column {_column.name!r} is defined twice")
    COLUMNS[_column.name] = _column


def describe(name: str, described: Mapping[str, Column] | None = None) -> Column:
    """The column of that name; a user's own column gets no unit and no direction.

    `described` are columns that this file cannot list (those of optional metrics), by name, as a run says what they
    are: `CellTable.describe` and `Problem.describe` know those of their run. A listed column keeps its meaning.
    """
    known = COLUMNS.get(name) or (described or {}).get(name)
    return known or Column(name, "real", "", None, "column of the user's table")


SET_LEVEL = ("fid", "kid", "fd_squeeze", "kd_squeeze", "swd")
"""Distances of sets, by name: to suggest them. There are more, of networks that the user names."""
_SET_LEVEL = re.compile(r"fid|kid|(fid|kid)_inception|(fd|kd)_[a-z][a-z0-9_]*|swd")


def is_set_level(name: str) -> bool:
    """Whether a name is that of a distance of sets, of all images together: such a value is no column of a table."""
    return _SET_LEVEL.fullmatch(name) is not None
