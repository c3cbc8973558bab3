"""Codecs: what turns an image into bytes and back. The protocol, the spec grammar, the registry, one file a family."""

from rdp.codecs.base import DTYPES, Codec, OperatingPoint, Resources
from rdp.codecs.keys import Key
from rdp.codecs.registry import create_codec, family_names, load_family, register_family
from rdp.codecs.spec import parse_point, parse_points
from rdp.codecs.tools import ExternalTool, load_tools

__all__ = [
    "DTYPES",
    "Codec",
    "ExternalTool",
    "Key",
    "OperatingPoint",
    "Resources",
    "create_codec",
    "family_names",
    "load_family",
    "load_tools",
    "parse_point",
    "parse_points",
    "register_family",
]
