"""JPEG XL through imagecodecs (libjxl), one thread.

Colours: libjxl takes the image as sRGB and codes it in XYB, its own perceptual space, without chroma subsampling;
the decoder gives sRGB back. Rates in PSNR are therefore a decibel or more behind AVIF's: libjxl aims at Butteraugli.
imagecodecs rather than pillow-jxl-plugin: it takes the distance itself and a number of threads at both ends, importing
it registers nothing with Pillow, and its licence is BSD.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key, Value
from rdp.errors import CodecError, DependencyError, FormatError, SpecError

if TYPE_CHECKING:
    import numpy as np

_SMALLEST = Decimal("0.01")
_PACKAGE = "pip install 'imagecodecs>=2024.6.1'"


class Jxl(Codec):
    """A bare JPEG XL codestream; `distance=0` is lossless (modular mode, no XYB)."""

    family = "jxl"
    summary = "JPEG XL (libjxl), one thread; distance 0 is lossless"
    keys = (
        Key("distance", "decimal", "Butteraugli distance, 1 is near-transparent", Decimal(1), minimum=0, maximum=25),
        Key("effort", "integer", "effort, 10 is slowest", default=7, minimum=1, maximum=10),
    )

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        try:
            import imagecodecs
        except ImportError as error:
            raise DependencyError(f"jxl needs imagecodecs: {_PACKAGE} ({error})") from error
        if not imagecodecs.JPEGXL.available:
            raise DependencyError(f"jxl: this imagecodecs was built without JPEG XL: {_PACKAGE}")
        distance = float(str(point.get("distance")))
        self._options: dict[str, Any] = {
            "distance": distance,
            "effort": point.integer("effort"),
            "lossless": distance == 0,
            "usecontainer": False,
        }

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        distance = values.get("distance", 1)
        if isinstance(distance, Decimal) and 0 < distance < _SMALLEST:
            raise SpecError(f"{where}: distance={distance:f} is not allowed; it takes 0 (lossless) or {_SMALLEST}..25")

    def _identity(self) -> Any:
        return self._options

    @property
    def version(self) -> str:
        import imagecodecs

        return f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}"

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        import imagecodecs

        try:
            return bytes(imagecodecs.jpegxl_encode(image, numthreads=1, **self._options))
        except (ValueError, RuntimeError) as error:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise CodecError(f"{self.point.name} cannot encode an image of {size}: {error}") from error

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        import imagecodecs
        import numpy as np

        try:
            image: np.ndarray[Any, Any] = np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))
        except (ValueError, RuntimeError, MemoryError) as error:
            raise FormatError(f"not a valid jxl file: {error}") from error
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise FormatError(f"not a jxl file of one 8-bit RGB picture: it holds {_features(image)}")
        return image


def _features(image: np.ndarray[Any, Any]) -> str:
    """What a decoded file has that 8-bit RGB has not, in words: (H, W), (H, W, C) or (frames, H, W, C) samples."""
    found = []
    if image.ndim == 4 and image.shape[0] > 1:
        found.append(f"an animation of {image.shape[0]} frames")
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if channels in (2, 4):
        found.append("an alpha channel")
    if channels in (1, 2):
        found.append("gray instead of RGB")
    if image.dtype.kind == "f":
        found.append("floating-point samples")
    elif image.dtype.itemsize > 1:
        found.append("more than 8 bits a sample")
    return f"{', '.join(found) or 'something else'} ({image.dtype} {image.shape})"
