"""The payload of files of foreign libraries, and which interpreter runs them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs.workers.codec import join_strings, part_strings
from rdp.errors import FormatError


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=6))
def test_strings_come_back_from_a_payload(strings: list[bytes]) -> None:
    payload = join_strings([len(part) for part in strings], b"".join(strings))
    lengths, body = part_strings(payload)
    assert lengths == [len(part) for part in strings] and body == b"".join(strings)
    # A byte says how many, and one or two the length of each string but the last: short of 128 and of 16384.
    assert len(payload) == len(body) + 1 + sum(1 if len(part) < 128 else 2 for part in strings[:-1])


@given(st.binary(max_size=40))
def test_any_payload_gives_strings_that_fill_it_or_is_refused(payload: bytes) -> None:
    try:
        lengths, body = part_strings(payload)
    except FormatError:
        return
    assert sum(lengths) == len(body) and min(lengths) >= 0


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x02", b"\x02\x05abcd", b"\x02\xff\xff\xff\xff\xff\x01"])
def test_lengths_that_do_not_fit_are_refused(payload: bytes) -> None:
    with pytest.raises(FormatError, match="do not fit"):
        part_strings(payload)
