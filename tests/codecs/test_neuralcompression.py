"""The adapter of MS-ILLM, as far as it goes without the package: points, and errors that say what is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from rdp.codecs import create_codec, parse_point, parse_points
from rdp.errors import DependencyError, SpecError, WeightsError


def test_the_six_qualities_are_points() -> None:
    points = parse_points("neuralcompression:quality=1..6")
    assert [point.name for point in points] == [f"neuralcompression:model=msillm,quality={q}" for q in range(1, 7)]
    with pytest.raises(SpecError, match=r"it takes 1\.\.6"):
        parse_points("neuralcompression:quality=7")
    with pytest.raises(SpecError, match="it takes msillm"):
        parse_points("neuralcompression:model=noganms,quality=1")


@pytest.mark.skipif(importlib.util.find_spec("neuralcompression") is not None, reason="the package is here")
def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RDP_NEURALCOMPRESSION_PYTHON", raising=False)
    point = parse_point("neuralcompression:quality=1")
    with pytest.raises(DependencyError, match="pip install neuralcompression.*RDP_NEURALCOMPRESSION_PYTHON"):
        create_codec(point)
    monkeypatch.setenv("RDP_NEURALCOMPRESSION_PYTHON", sys.executable)
    with pytest.raises(DependencyError, match="has no such package .*neuralcompression"):
        create_codec(point)


def test_missing_weights_are_named_with_their_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter is this one, in front of whose packages lies the metadata of the library."""
    for name in ("neuralcompression", "torch"):
        folder = tmp_path / "site" / f"{name}-0.3.1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3.1\n")
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/site" exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("RDP_NEURALCOMPRESSION_PYTHON", str(program))
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path / "here"))
    point = parse_point("neuralcompression:quality=3")
    with pytest.raises(WeightsError, match=r"download https://\S+/msillm_target_0\.14bpp\.ckpt, and name the folder"):
        create_codec(point)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "msillm_target_0.14bpp.ckpt").write_bytes(b"weights")
    codec = create_codec(point)
    assert codec.version == "neuralcompression 0.3.1, torch 0.3.1"
    first = codec.encoder_id
    (tmp_path / "here" / "msillm_target_0.14bpp.ckpt").write_bytes(b"others")
    assert create_codec(point).encoder_id != first
