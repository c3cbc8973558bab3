"""PNG through Pillow: the lossless anchor."""

from __future__ import annotations

from typing import Any

from rdp.codecs.keys import Key
from rdp.codecs.pillow import PillowCodec


class Png(PillowCodec):
    family = "png"
    summary = "PNG, lossless"
    keys = (Key("level", "integer", "effort of the deflate coder", default=9, minimum=0, maximum=9),)
    pillow_format = "PNG"
    feature = "zlib"
    library = "zlib"

    def options(self) -> dict[str, Any]:
        return {"compress_level": self.point.integer("level")}

    @property
    def version(self) -> str:
        import PIL
        from PIL import features

        ng = features.version("zlib_ng")
        return f"Pillow {PIL.__version__}, {f'zlib-ng {ng}' if ng else 'zlib ' + str(features.version('zlib'))}"
