"""JPEG 2000 through Pillow (OpenJPEG): JP2 files, one quality layer, aimed at a rate or at a PSNR."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rdp.codecs.keys import Key, Value
from rdp.codecs.pillow import PillowCodec
from rdp.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

_BITS_PER_PIXEL = 24
_MAX_RESOLUTIONS = 6


class Jpeg2000(PillowCodec):
    """OpenJPEG with the colour transform and the irreversible 9/7 wavelet, or the reversible transform and 5/3.

    `rate` is what the encoder is asked for, in bit/pixel of the original; OpenJPEG takes the compression ratio
    24/rate, keeps below it and counts without some headers, so the `bpp` of a row is measured and may differ a little.
    `psnr` asks for an error instead.
    """

    family = "jpeg2000"
    summary = "JPEG 2000 (OpenJPEG), JP2 file, one layer"
    keys = (
        Key("rate", "decimal", "wanted rate in bit/pixel", minimum=Decimal("0.001"), maximum=24),
        Key("psnr", "decimal", "wanted PSNR in dB", minimum=10, maximum=100),
        Key("irreversible", "flag", "9/7 wavelet; false is the reversible 5/3", default=True),
    )
    pillow_format = "JPEG2000"
    feature = "jpg_2000"
    library = "OpenJPEG"

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        if ("rate" in values) == ("psnr" in values):
            raise SpecError(f"{where}: jpeg2000 takes either rate= (bit/pixel) or psnr= (dB)")

    def options(self) -> dict[str, Any]:
        rate, psnr = self.point.get("rate"), self.point.get("psnr")
        layer: dict[str, Any]
        if isinstance(rate, Decimal):
            layer = {"quality_mode": "rates", "quality_layers": [_BITS_PER_PIXEL / float(rate)]}
        else:
            layer = {"quality_mode": "dB", "quality_layers": [float(psnr or 0)]}
        # Pillow leaves the colour transform off unless told otherwise: 2.5 to 3 dB at 0.4 bit/pixel on Kodak.
        return {**layer, "irreversible": bool(self.point.get("irreversible")), "mct": 1}

    def _options_for(self, image: np.ndarray[Any, Any]) -> dict[str, Any]:
        # OpenJPEG refuses more resolutions than the shorter side can be halved.
        resolutions = min(_MAX_RESOLUTIONS, min(image.shape[:2]).bit_length())
        return {**self._options, "num_resolutions": resolutions}
