"""The family `bpg`: BPG files, through PyAV or through the reference programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key, Value
from rdp.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

    from rdp.codecs.bpg.reference import Programs

PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip


class Bpg(Codec):
    """BPG in BT.601, as bpgenc 0.9.8 writes it.

    `encoder` says which of the reference's two encoders libx265 stands in for: their files differ by several percent
    and in what a QP means, so the name always says it. Neither stand-in gives the bytes of `bpgenc`. Means over the
    Kodak set, with x265 4.2: 15 of 16 settings agree within 1 % in rate and 0.05 dB in PSNR; the other one is at
    +0.051 dB (encoder=x265, 4:2:0, QP 45; benchmarks/bpg_reference.py). `decode` takes the files of any BPG encoder,
    and needs no encoder.

    `encoder_id` holds what libx265 is told, and not which libx265 it is: another version gives other bytes under the
    same id. That is on purpose, so that runs can be put side by side; `version` says which, tables record it, and an
    evaluation notes rows of several versions. With backend=reference the ids hold the hashes of the two programs.
    """

    family = "bpg"
    summary = "BPG (HEVC intra): x265, set up like either encoder of bpgenc; or bpgenc itself"
    keys = (
        Key("qp", "integer", "quantiser, 0 is finest", default=29, minimum=0, maximum=51),
        Key("chroma", "choice", "chroma format", default="420", choices=("420", "422", "444")),
        Key("encoder", "choice", "like bpgenc -e x265, or like -e jctvc", default="x265", choices=("x265", "hm")),
        Key("preset", "choice", "effort; veryslow is bpgenc -m 8", default="veryslow", choices=PRESETS),
        Key("depth", "choice", "bits a sample in the file", default="8", choices=("8", "10")),
        Key("backend", "choice", "PyAV, or bpgenc and bpgdec", default="pyav", choices=("pyav", "reference")),
    )

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        self._settings = {key: str(point.get(key)) for key in ("chroma", "encoder", "preset", "depth")}
        self._qp = point.integer("qp")
        self._programs: Programs | None = None
        if point.get("backend") == "reference":
            from rdp.codecs.bpg.reference import find_programs

            self._programs = find_programs()
        else:
            from rdp.codecs.bpg.hevc import require_decoder

            require_decoder()

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        if values["backend"] == "reference" and values["preset"] == PRESETS[0]:
            raise SpecError(f"{where}: bpgenc has no preset {PRESETS[0]}; its fastest is {PRESETS[1]} (-m 1)")

    def require_encoder(self) -> None:
        if self._programs:
            self._programs.require_encoder()
            return
        from rdp.codecs.bpg.hevc import require_encoder

        require_encoder()

    @property
    def version(self) -> str:
        """What encodes; what decodes where there is no encoder that can be used."""
        if self._programs:
            return self._programs.version
        from rdp.codecs.bpg.hevc import versions

        return versions()

    def _identity(self) -> Any:
        if self._programs:
            return {"options": self._options(), "program": self._programs.encoder_hash}
        from rdp.codecs.bpg.hevc import fixed_settings

        return fixed_settings(self._settings["encoder"])

    def _decoder_identity(self) -> Any:
        return {"program": self._programs.decoder_hash} if self._programs else None

    def _options(self) -> list[str]:
        from rdp.codecs.bpg.reference import encode_options

        settings = self._settings
        return encode_options(
            self._qp, settings["encoder"], settings["preset"], settings["chroma"], int(settings["depth"])
        )

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        if self._programs:
            from rdp.codecs.bpg import reference

            return reference.encode_picture(self._programs, image, self._options())
        from rdp.codecs.bpg.hevc import require_encoder
        from rdp.codecs.bpg.picture import encode_picture

        require_encoder()
        settings = self._settings
        return encode_picture(
            image, self._qp, settings["encoder"], settings["preset"], settings["chroma"], int(settings["depth"])
        )

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        if self._programs:
            from rdp.codecs.bpg import reference

            return reference.decode_picture(self._programs, data)
        from rdp.codecs.bpg.picture import decode_picture

        return decode_picture(data)
