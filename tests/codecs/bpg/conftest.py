"""What the tests of BPG share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rdp.codecs import Codec, OperatingPoint
from rdp.codecs.bpg.codec import Bpg

DATA = Path(__file__).resolve().parents[2] / "data" / "bpg"


@pytest.fixture
def one_file() -> bytes:
    """A file of the reference encoder, without a length in its header (37x95, 4:2:0)."""
    return (DATA / "coffee_37x95_x265_420_q28.bpg").read_bytes()


@pytest.fixture(scope="session")
def make_codec() -> Callable[..., Codec]:
    """Makes the codec at a point; keys that are not given have their default."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'av>=15'")

    def make(**values: Any) -> Codec:
        filled = tuple((key.name, values.get(key.name, key.default)) for key in Bpg.keys)
        return Bpg(OperatingPoint("bpg", filled, "rdp.codecs.bpg.codec:Bpg"))

    return make
