"""HEIC through pillow-heif (libheif with libx265): HEVC still pictures in the container that phones write.

Colours: libheif converts RGB to YCbCr, BT.601 matrix, full range, 8 bit, and says so in the file's `nclx` box (sRGB
primaries and transfer). The libx265 in here is pillow-heif's own copy, not PyAV's: `bpg` cannot change its tables.
A file spends about 400 bytes on its boxes.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key
from rdp.errors import CodecError, DependencyError, FormatError

if TYPE_CHECKING:
    import numpy as np

_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")

# Wavefronts change the file, and x265 turns them off where it finds one core only: without a pool there are never any.
_ONE_THREAD = {"x265:pools": "none", "x265:frame-threads": "1", "x265:wpp": "0"}

_MAX_SIDE = 65520  # what its decoder, libde265, reads; x265 itself refuses more than 142 megapixels, and thin strips


class Heic(Codec):
    """pillow-heif by its own functions: nothing is registered with Pillow.

    The defaults are libheif's. `tune=ssim` spreads the bits by local activity; `tune=psnr` does not, which is 0.2 dB
    better in PSNR at equal rate. Even quality 100 is lossy, in 4:2:0 by far (40 dB on photographs). libheif's decoder
    repeats chroma samples, where one that interpolates them gains 0.1 dB at 30 dB and 0.7 dB at 38 dB.
    """

    family = "heic"
    summary = "HEIC (HEVC still picture, libx265), one thread"
    keys = (
        Key("quality", "integer", "quality factor", default=50, minimum=0, maximum=100),
        Key("chroma", "choice", "chroma sampling", default="420", choices=("420", "422", "444")),
        Key("preset", "choice", "x265's effort, placebo is slowest", default="slow", choices=_PRESETS),
        Key("tune", "choice", "what x265 spends its bits on", default="ssim", choices=("ssim", "psnr", "grain")),
    )

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        try:
            import pillow_heif
        except ImportError as error:
            raise DependencyError(f"heic needs pillow-heif: pip install 'pillow-heif>=1.0' ({error})") from error
        # None where this pillow-heif only decodes.
        self._x265: str | None = pillow_heif.libheif_info()["encoders"].get("x265")
        self._parameters = {key: str(point.get(key)) for key in ("chroma", "preset", "tune")} | _ONE_THREAD

    def require_encoder(self) -> None:
        if self._x265 is None:
            raise DependencyError(
                "heic: this pillow-heif was built without x265, which encodes (decoding works): reinstall the binary "
                "wheel, which has it: pip install --force-reinstall --only-binary pillow-heif 'pillow-heif>=1.0'"
            )

    def _identity(self) -> Any:
        return self._parameters

    @property
    def version(self) -> str:
        import pillow_heif

        info = pillow_heif.libheif_info()
        return f"pillow-heif {pillow_heif.__version__}, libheif {info['libheif']}, {self._x265 or 'no x265'}"

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        import pillow_heif

        self.require_encoder()
        height, width = image.shape[:2]
        if max(height, width) > _MAX_SIDE:
            raise CodecError(
                f"{self.point.name} cannot encode an image of {width}x{height}: its sides end at {_MAX_SIDE}"
            )
        stream = io.BytesIO()
        try:
            pillow_heif.encode(
                "RGB",
                (width, height),
                image.tobytes(),
                stream,
                quality=self.point.integer("quality"),
                enc_params=dict(self._parameters),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CodecError(f"{self.point.name} cannot encode an image of {width}x{height}: {error}") from error
        return stream.getvalue()

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        import numpy as np
        import pillow_heif

        try:
            picture = pillow_heif.open_heif(io.BytesIO(data))
            if refusal := _refusal(picture):
                raise FormatError(f"not a heic file of one 8-bit RGB picture: {refusal}")
            return np.array(picture, dtype=np.uint8)
        except (OSError, ValueError, RuntimeError, SyntaxError, EOFError) as error:
            raise FormatError(f"not a valid heic file: {' '.join(str(error).split())}") from error


def _refusal(picture: Any) -> str:
    """What there is in a file beside one picture of 8-bit RGB, which decoding would drop; "" if nothing."""
    if len(picture) != 1:
        return f"it holds {len(picture)} pictures" if len(picture) else "it holds no picture"
    if picture.has_alpha:
        return f"it has alpha ({picture.mode}); flatten it first"
    if picture.mode != "RGB":
        return f"its colours are {picture.mode}"
    depth = picture.info.get("bit_depth", 8)
    return "" if depth == 8 else f"its samples have {depth} bits; convert it to 8 first"
