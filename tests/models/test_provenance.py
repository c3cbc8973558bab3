"""What a file of weights says of the images that it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.errors import WeightsError
from rdp.images import hash_pixels
from rdp.models.checkpoint import ModelHeader, read_header, save_model
from rdp.models.provenance import DIGITS, trained_on, trained_on_note
from rdp.models.registry import create_model

HASHES = st.sets(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=5)


def header(**notes: str) -> ModelHeader:
    return ModelHeader(Path("m.safetensors"), "factorized", {}, "0" * 12, notes)


@given(HASHES)
def test_what_is_noted_is_what_is_read(hashes: set[str]) -> None:
    note = trained_on_note(hashes)
    assert trained_on(header(**note)) == {image[:DIGITS] for image in hashes}
    assert note == trained_on_note(sorted(hashes, reverse=True)), "the note of a set is one text"
    assert json.loads(note["trained_on"]) == sorted({image[:16] for image in hashes})
    assert note == trained_on_note(trained_on(header(**note))), "what was read can be noted again"


def test_the_note_travels_in_a_file_of_weights(tmp_path: Path) -> None:
    pictures = [np.full((8, 9, 3), value, np.uint8) for value in (1, 2, 2)]
    model = create_model("factorized", channels=8, latent_channels=8)
    note = trained_on_note(map(hash_pixels, pictures))
    for half in (False, True):
        save_model(tmp_path / "m.safetensors", model, {"steps": "3", **note}, kernel_bits=16 if half else 32)
        assert trained_on(read_header(tmp_path / "m.safetensors")) == {hash_pixels(p)[:16] for p in pictures}


def test_weights_that_say_nothing_have_seen_nothing_that_is_known() -> None:
    assert trained_on(header(steps="3")) == frozenset()
    assert trained_on(header(**trained_on_note([]))) == frozenset()


@pytest.mark.parametrize(
    "text",
    ["", "x", "{}", "3", '"0123456789abcdef"', "[1]", '["0123456789abcde"]', '["0123456789ABCDEF"]',
     '["0123456789abcdeg"]', '["0123456789abcdef0"]', "[[]]", "[" * 100_000],
)  # fmt: skip
def test_a_malformed_note_names_the_file(text: str) -> None:
    with pytest.raises(WeightsError, match=r"m\.safetensors is damaged: its note 'trained_on'"):
        trained_on(header(trained_on=text))


@pytest.mark.parametrize("image", ["", "0123456789abcde", "photo_0001_of_the_set.png", 12])
def test_what_is_no_hash_is_not_noted(image: object) -> None:
    with pytest.raises(WeightsError, match="is no hash of a training image"):
        trained_on_note([image])
