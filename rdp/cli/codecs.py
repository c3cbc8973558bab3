"""`rdp codecs`: the families, their keys, and what a spec expands to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rdp.codecs import OperatingPoint


def codecs_command(
    spec: Annotated[list[str] | None, typer.Argument(help="Specs to expand instead of listing the families.")] = None,
    codec_file: Annotated[list[Path] | None, typer.Option("--codec-file", help="TOML file of external tools.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the codec families and their keys; or expand specs to the canonical names of their operating points."""
    from rdp.codecs import load_tools, parse_points

    tools = load_tools(codec_file or [])
    if spec:
        points = parse_points(spec, tools)
        names = [point.name for point in points]
        typer.echo(json.dumps(names) if as_json else "\n".join(names))
        for note in _training_notes(points):
            typer.echo(note, err=True)
        return
    families = [_describe(name) for name in _families()]
    if as_json:
        typer.echo(json.dumps(families))
        return
    for family in families:
        typer.echo(f"{family['family']:<10} {family['summary']}")
        for key in family["keys"]:
            usual = key["implied"] if key["default"] is None else key["default"]
            default = "required" if key["required"] else "optional" if usual is None else usual
            typer.echo(f"    {key['name']:<14} {key['values']:<34} [{default}]  {key['meaning']}")


def _training_notes(points: Sequence[OperatingPoint]) -> Iterator[str]:
    """On how many images the weights of points were trained, as far as weights are on this machine and say it."""
    from rdp.codecs import Codec, create_codec
    from rdp.codecs.registry import load_class
    from rdp.errors import RdpError

    found: dict[frozenset[str], list[str]] = {}
    for point in points:
        if load_class(point.implementation).trained_on is Codec.trained_on:
            continue  # a family that knows of no training images: nothing is made or hashed for it
        try:
            found.setdefault(create_codec(point).trained_on(), []).append(point.name)
        except RdpError:
            continue  # what is wrong with weights is said by whoever uses them
    for images, names in found.items():
        if images:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{names[0]}{more}: weights trained on {len(images)} images, on which `rdp evaluate` refuses them"


def _families() -> list[str]:
    from rdp.codecs import family_names

    return family_names()


def _describe(name: str) -> dict[str, Any]:
    from rdp.codecs import load_family
    from rdp.codecs.keys import spell

    family = load_family(name)
    keys = [
        {
            "name": key.name,
            "values": key.values_text,
            "default": None if key.default is None else spell(key.default),
            "implied": None if key.implied is None else spell(key.implied),
            "required": key.required,
            "meaning": key.meaning,
        }
        for key in family.schema(None)
    ]
    return {"family": name, "summary": family.summary, "keys": keys}
