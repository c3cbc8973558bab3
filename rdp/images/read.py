"""Reading by the protocol: 8-bit RGB at native size, or a message that names the file and says what to do."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdp.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Exif = Literal["ignore", "apply"]

GRAY_NOTE = "gray expanded to RGB"
ICC_NOTE = "ICC profile ignored"
EXIF_NOTE = "EXIF orientation ignored"
PALETTE_NOTE = "palette expanded to RGB"

_ADVICE = {
    "LA": "has an alpha channel: flatten it first, for example `magick in.png -background white -flatten out.png`",
    "RGBA": "has an alpha channel: flatten it first, for example `magick in.png -background white -flatten out.png`",
    "CMYK": "is CMYK: convert it to 8-bit RGB first",
    "YCCK": "is CMYK: convert it to 8-bit RGB first",
    "LAB": "is CIELAB: convert it to 8-bit RGB first",
    "HSV": "is HSV: convert it to 8-bit RGB first",
    "F": "holds floating-point samples: convert it to 8-bit RGB first",
    "I": "has more than 8 bits a sample: convert it to 8-bit RGB first",
}


@dataclass(frozen=True)
class LoadedImage:
    """Pixels (uint8, (H, W, 3), RGB) and what was done or ignored on the way, in words."""

    pixels: np.ndarray[Any, Any]
    notes: tuple[str, ...]


def read_image(path: str | Path, exif: Exif = "ignore") -> np.ndarray[Any, Any]:
    """The pixels of an image file: uint8, (H, W, 3), RGB. See `load_image`."""
    return load_image(path, exif).pixels


def load_image(path: str | Path, exif: Exif = "ignore") -> LoadedImage:
    """Read an image file as 8-bit RGB at native size.

    Gray and opaque palettes are expanded; EXIF orientation is ignored unless `exif="apply"`; ICC profiles are
    ignored; each is noted. Raises `ImageError` for what the protocol refuses: alpha, more than 8 bits, CMYK and
    other colour models, animation, damaged or truncated files, files that are no image.
    """
    from PIL import ImageOps

    path = Path(path)
    with _open(path) as image:
        _refuse(path, image)
        notes = []
        try:
            image.load()
            if image.info.get("icc_profile"):
                notes.append(ICC_NOTE)
            oriented = image.getexif().get(0x0112, 1) not in (0, 1)
            picture: Any = image
            if oriented and exif == "apply":
                picture = ImageOps.exif_transpose(image)
            elif oriented:
                notes.append(EXIF_NOTE)
            if image.mode in ("L", "1"):
                notes.append(GRAY_NOTE)
            elif image.mode == "P":
                notes.append(PALETTE_NOTE)
            pixels = _to_array(picture)
        except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
            raise ImageError(f"{path} is damaged or truncated ({error}): replace the file") from error
    return LoadedImage(pixels, tuple(notes))


def _to_array(picture: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ascontiguousarray(np.asarray(picture.convert("RGB"), dtype=np.uint8))


def _open(path: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and refuses only twice as large ones; a test set is trusted up to there.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist") from error
    except PermissionError as error:
        raise ImageError(f"no permission to read {path}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image that can be read: remove it from the folder or replace it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large to read ({error}): cut it into tiles") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} is damaged or truncated ({error}): replace the file") from error


def _refuse(path: Path, image: Image.Image) -> None:
    """Raise for what the protocol does not take; the header alone is read."""
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{path} is animated or has several pages: extract one frame first")
    if _deep(image):
        raise ImageError(f"{path} has more than 8 bits a sample: convert it to 8-bit RGB first")
    if image.mode in _ADVICE:
        raise ImageError(f"{path} {_ADVICE[image.mode]}")
    if "transparency" in image.info:
        raise ImageError(f"{path} {_ADVICE['RGBA']}")
    if image.mode not in ("RGB", "L", "1", "P"):
        raise ImageError(f"{path} has colour mode {image.mode}: convert it to 8-bit RGB first")


def _deep(image: Any) -> bool:
    """More than 8 bits a sample, also where Pillow would silently take the upper 8 of 16 (PNG and PNM in RGB)."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if image.format == "PNG":
        return _png_bit_depth(image) > 8
    if image.format == "PPM":
        return bool(image.tile) and _ppm_maximum(image) > 255
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False


def _png_bit_depth(image: Any) -> int:
    """Byte 24 of a PNG file: the bit depth in its IHDR, which Pillow forgets for 16-bit RGB."""
    stream = image.fp
    if stream is None:
        return 8
    position = stream.tell()
    stream.seek(24)
    depth = stream.read(1)
    stream.seek(position)
    return depth[0] if depth else 8


def _ppm_maximum(image: Any) -> int:
    """The maximum sample value in a PNM header; Pillow keeps it in the arguments of its decoder."""
    args = image.tile[0][3]
    if isinstance(args, tuple) and args and isinstance(args[-1], int) and args[-1] > 255:
        return args[-1]
    return 255


def write_png(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    """Write uint8 (H, W, 3) RGB pixels as PNG."""
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG")
