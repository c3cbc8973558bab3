"""What decoders are called: names that operating points can hold, those of gammas among them. No torch here."""

from __future__ import annotations

import re
from decimal import Decimal

from rdp.errors import SpecError

FORMAT = "rdp-decoder"
"""What a decoder's file says that it is."""

OWN = "mse"
"""What points call the decoder in a network's own file of weights. No other decoder has this name."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_GAMMA = re.compile(r"g((?:\d+(?:\.\d*)?|\.\d+)(?:e-?\d{1,3})?)")


def gamma_name(gamma: Decimal | float | str) -> str:
    """What the decoder tuned with that weight of the distortion is called: g1e-4, g2.5e-3, g0, g3.

    Shortest digits, so that equal numbers have equal names. Raises `SpecError` for what is no finite number from 0 on.
    """
    try:
        number = Decimal(str(gamma))
    except ArithmeticError as error:
        raise SpecError(f"gamma {gamma!r} is not a number") from error
    if not number.is_finite() or number < 0:
        raise SpecError(f"gamma {gamma} is not a finite number, 0 or more")
    if number == 0:
        return "g0"
    _, digits, _ = number.normalize().as_tuple()
    power = number.adjusted()
    text = "".join(map(str, digits))
    mantissa = text[0] + ("." + text[1:] if text[1:] else "")
    return f"g{mantissa}" + (f"e{power}" if power else "")


def is_name(text: str) -> bool:
    """Whether points can call a decoder so, the network's own included."""
    return bool(_NAME.fullmatch(text)) and ".." not in text


def check_name(name: str) -> str:
    """The name, if a decoder may have it: lower-case letters, digits and `_.-`, a letter first, no `..`, not `mse`.

    Raises `SpecError` otherwise.
    """
    if not is_name(name) or name == OWN:
        raise SpecError(
            f"{name!r} is no name for a decoder: lower-case letters, digits and _.-, a letter first; {OWN!r} is the "
            "network's own"
        )
    return name


def canonical_name(name: str) -> str:
    """The name, that of a gamma in its shortest spelling: g0.0001 and g1e-04 are g1e-4."""
    gamma = _GAMMA.fullmatch(name)
    return gamma_name(gamma[1]) if gamma else name
