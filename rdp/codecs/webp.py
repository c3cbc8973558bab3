"""WebP, lossy (VP8), through Pillow (libwebp)."""

from __future__ import annotations

from typing import Any

from rdp.codecs.keys import Key
from rdp.codecs.pillow import PillowCodec


class WebP(PillowCodec):
    family = "webp"
    summary = "WebP, lossy (libwebp)"
    keys = (
        Key("quality", "integer", "quality factor", default=75, minimum=0, maximum=100),
        Key("method", "integer", "effort, 6 is slowest", default=4, minimum=0, maximum=6),
    )
    pillow_format = "WEBP"
    feature = "webp"
    library = "libwebp"

    def options(self) -> dict[str, Any]:
        return {
            "quality": self.point.integer("quality"),
            "method": self.point.integer("method"),
            "lossless": False,
        }
