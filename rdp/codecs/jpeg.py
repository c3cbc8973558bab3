"""JPEG through Pillow (libjpeg-turbo), baseline or progressive, with the standard tables scaled by quality."""

from __future__ import annotations

from typing import Any

from rdp.codecs.keys import Key
from rdp.codecs.pillow import SUBSAMPLINGS, PillowCodec


class Jpeg(PillowCodec):
    family = "jpeg"
    summary = "JPEG (libjpeg-turbo), standard tables"
    keys = (
        Key("quality", "integer", "quality factor of the standard tables", default=75, minimum=1, maximum=100),
        Key("subsampling", "choice", "chroma sampling", default="420", choices=tuple(SUBSAMPLINGS)),
        Key("optimise", "flag", "Huffman tables made for the image", default=False, aliases=("optimize",)),
        Key("progressive", "flag", "progressive scans", default=False),
    )
    pillow_format = "JPEG"
    feature = "jpg"
    library = "libjpeg"

    def options(self) -> dict[str, Any]:
        return {
            "quality": self.point.integer("quality"),
            "subsampling": SUBSAMPLINGS[str(self.point.get("subsampling"))],
            "optimize": bool(self.point.get("optimise")),
            "progressive": bool(self.point.get("progressive")),
        }

    @property
    def version(self) -> str:
        import PIL
        from PIL import features

        turbo = features.version("libjpeg_turbo")
        library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
        return f"Pillow {PIL.__version__}, {library}"
