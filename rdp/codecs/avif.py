"""AVIF through Pillow (libavif with libaom), one thread and one tile: its bytes would depend on either."""

from __future__ import annotations

from typing import Any

from rdp.codecs.keys import Key
from rdp.codecs.pillow import SUBSAMPLINGS, PillowCodec


class Avif(PillowCodec):
    family = "avif"
    summary = "AVIF (libaom), one thread, one tile"
    keys = (
        Key("quality", "integer", "quality factor", default=75, minimum=0, maximum=100),
        Key("speed", "integer", "0 is slowest and best", default=6, minimum=0, maximum=10),
        Key("subsampling", "choice", "chroma sampling", default="420", choices=tuple(SUBSAMPLINGS)),
    )
    pillow_format = "AVIF"
    feature = "avif"
    library = "libavif"

    def options(self) -> dict[str, Any]:
        return {
            "quality": self.point.integer("quality"),
            "speed": self.point.integer("speed"),
            "subsampling": SUBSAMPLINGS[str(self.point.get("subsampling"))],
            "codec": "aom",
            "max_threads": 1,
            "autotiling": False,
            "tile_rows": 0,
            "tile_cols": 0,
        }

    @property
    def version(self) -> str:
        from PIL import AvifImagePlugin

        return f"{super().version}, libaom {AvifImagePlugin.get_codec_version('aom')}"
