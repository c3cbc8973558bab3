"""Which decoder makes a point's pictures: `decoder=NAME`, or a mixture of two, `A+t*B` or `A~t*B`.

    NAME    a decoder of the network's encoder: `mse`, the network's own, or the name in a decoder's file (g1e-4)
    A+t*B   output interpolation: both decode, and the picture is (1-t)*A + t*B, mixed before it is rounded to 8 bits
    A~t*B   interpolation of the weights: one decoder, whose parameters are (1-t)*W_A + t*W_B; decodes once

t is a decimal above 0 and below 1. Pictures are mixed on the scale [0, 1], not clamped before the sum, so that the
mixture of pictures is linear in t (the dial between a decoder of least MSE and a perceptual one of Yan et al.,
"Optimally Controllable Perceptual Lossy Compression", ICML 2022). Weights are mixed as they are stored
(`rdp.models.decoders.mix_decoders`); that gives a useful decoder where one was tuned from the other, with nothing in
theory behind it.

The canonical spelling has the shortest decimals, and the names of gammas as `gamma_name` has them: `mse+.30*g0.0001` is
`mse+0.3*g1e-4`. The order of A and B stays as written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rdp.codecs.keys import Key, read_decimal, spell
from rdp.errors import SpecError
from rdp.models.decoder_names import OWN, canonical_name, is_name

PLACES = 6
"""Decimal places that t may have."""

DECODER_KEY = Key(
    "decoder",
    "text",
    f"what makes the pictures: {OWN} is the network's own, + mixes pictures, ~ weights",
    implied=OWN,
    form=f"{OWN}|NAME|A+t*B|A~t*B|FILE",
    changes_file=False,
)

ALLOWED = (
    f"a decoder is {OWN} (the network's own), the name of another such as g1e-4, a mixture of pictures A+t*B or of "
    f"weights A~t*B with t between 0 and 1, such as {OWN}+0.3*g1e-4, or a file that ends in .safetensors"
)

_KINDS: dict[str, Literal["pictures", "weights"]] = {"+": "pictures", "~": "weights"}
_SIGNS = {kind: sign for sign, kind in _KINDS.items()}
_MIXTURE = re.compile(r"([^+~*]*)([+~])([^*]*)\*([^*]*)")


@dataclass(frozen=True)
class Mixture:
    """The other decoder and its share, above 0 and below 1, in pictures or in weights."""

    of: Literal["pictures", "weights"]
    share: Decimal
    second: str


@dataclass(frozen=True)
class DecoderChoice:
    """One decoder, by its canonical name, or the mixture of it with another. Its text is the canonical spelling."""

    first: str = OWN
    mixture: Mixture | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The decoders that take part, one or two."""
        return (self.first,) if self.mixture is None else (self.first, self.mixture.second)

    def __str__(self) -> str:
        mixture = self.mixture
        if mixture is None:
            return self.first
        return f"{self.first}{_SIGNS[mixture.of]}{spell(mixture.share)}*{mixture.second}"


def read_choice(text: str, where: str) -> DecoderChoice:
    """The choice that a text spells. Raises `SpecError`, with `where` naming the spec, for what is none."""
    mixture = _MIXTURE.fullmatch(text)
    if mixture is None:
        return DecoderChoice(_read_name(text, text, where))
    first, sign, share, second = (part.strip() for part in mixture.groups())
    first, second = _read_name(first, text, where), _read_name(second, text, where)
    if first == second:
        raise SpecError(f"{where}: decoder={text} mixes {first} with itself: write decoder={first}")
    return DecoderChoice(first, Mixture(_KINDS[sign], _read_share(share, (first, second), text, where), second))


def _read_name(name: str, text: str, where: str) -> str:
    if not is_name(name):
        raise SpecError(f"{where}: decoder={text!r} is not allowed; {ALLOWED}")
    return canonical_name(name)


def _read_share(share: str, names: tuple[str, str], text: str, where: str) -> Decimal:
    number = read_decimal(share)
    if number is None:
        raise SpecError(f"{where}: in decoder={text!r} {share!r} is not a decimal; {ALLOWED}")
    if number in (0, 1):
        alone = names[int(number)]
        raise SpecError(f"{where}: decoder={text} is {alone} alone: write decoder={alone}")
    if not 0 < number < 1:
        raise SpecError(f"{where}: in decoder={text} the share {share} is not between 0 and 1")
    if number != round(number, PLACES):
        raise SpecError(f"{where}: in decoder={text} the share {share} has more than {PLACES} decimal places")
    return number.normalize()
