"""The keys of a codec family: what values they take, and how a value is spelled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rdp.errors import SpecError, suggest

Value = int | Decimal | bool | str
Kind = Literal["integer", "decimal", "flag", "choice", "text"]

_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class Key:
    """One key of a family's schema.

    `default` None means that the key may be left out and is then left out of the canonical spelling too, unless it is
    `required`. `implied` is the value that is then meant, and so is never spelled: written out, it is left out of the
    canonical spelling again (for keys that a family gets when points without them have names already). `minimum` and
    `maximum` bound numbers, ends included. `form` says in words what a text is written like. `changes_file` is False
    for keys that only the decoder sees: points that differ in nothing else share the file.
    """

    name: str
    kind: Kind
    meaning: str
    default: Value | None = None
    required: bool = False
    minimum: int | Decimal | None = None
    maximum: int | Decimal | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    changes_file: bool = True
    implied: Value | None = None
    form: str = "text"

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "decimal")

    @property
    def values_text(self) -> str:
        """What may be written, in words: `0..100`, `420|422|444`, `true|false`."""
        if self.kind == "flag":
            return "true|false"
        if self.kind == "choice":
            return "|".join(self.choices)
        if self.kind == "text":
            return self.form
        low, high = self.minimum, self.maximum
        noun = "a whole number" if self.kind == "integer" else "a number"
        if low is not None and high is not None:
            return f"{spell(low)}..{spell(high)}"
        if low is not None:
            return f"{noun}, {spell(low)} or more"
        if high is not None:
            return f"{noun}, {spell(high)} or less"
        return noun

    def read(self, text: str, where: str) -> Value:
        """The value of one literal. Raises `SpecError`, with `where` naming the spec, if it is not allowed."""
        if self.kind == "flag":
            if text.lower() not in _FLAGS:
                raise self._refusal(text, where)
            return _FLAGS[text.lower()]
        if self.kind == "choice":
            if text not in self.choices:
                raise self._refusal(text, where, suggest(text, self.choices))
            return text
        if self.kind == "text":
            return text
        number = read_decimal(text)
        if number is None:
            raise self._refusal(text, where)
        return self.check_number(number, where)

    def check_number(self, number: Decimal, where: str) -> int | Decimal:
        """The number as this key holds it, if it lies in its range."""
        if self.kind == "integer" and number != number.to_integral_value():
            raise self._refusal(spell(number), where)
        if (self.minimum is not None and number < self.minimum) or (self.maximum is not None and number > self.maximum):
            raise self._refusal(spell(number), where)
        return int(number) if self.kind == "integer" else number.normalize() + 0

    def _refusal(self, text: str, where: str, hint: str = "") -> SpecError:
        return SpecError(f"{where}: {self.name}={text!r} is not allowed; it takes {self.values_text}.{hint}")


def read_decimal(text: str) -> Decimal | None:
    """A finite decimal literal such as 5, -0.25 or 1e-4, or None."""
    import re

    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", text):
        return None
    return Decimal(text)


def spell(value: Value) -> str:
    """The canonical spelling of a value: shortest decimal without exponent, true/false, text quoted where needed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        if value == 0:
            return "0"
        return format(value.normalize(), "f")
    return quote(value)


def quote(text: str) -> str:
    """Text as it stands in a spec: in double quotes if the grammar would read it otherwise."""
    if text and text == text.strip() and ".." not in text and not set(text) & set(",|=:\"'"):
        return text
    return '"' + text.replace('"', '""') + '"'
