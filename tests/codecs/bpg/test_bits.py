"""Bits and the numbers in headers: what is written is read back, and the codes are those of the specifications."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs.bpg.bits import BitReader, BitWriter, read_ue7, write_ue7
from rdp.errors import FormatError


@pytest.mark.parametrize(
    ("value", "code"), [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (7, "0001000"), (8, "0001001")]
)
def test_exp_golomb_codes_are_those_of_h265_table_9_2(value: int, code: str) -> None:
    bits = BitWriter()
    bits.ue(value)
    padded = code.ljust(-(-len(code) // 8) * 8, "0")
    assert bits.to_bytes() == int(padded, 2).to_bytes(len(padded) // 8, "big")


@pytest.mark.parametrize(("code", "value"), [("1", 0), ("010", 1), ("011", -1), ("00100", 2), ("00101", -2)])
def test_signed_numbers_alternate(code: str, value: int) -> None:
    assert BitReader(bytes([int(code.ljust(8, "0"), 2)])).se() == value


@given(st.lists(st.one_of(st.tuples(st.just("ue"), st.integers(0, 2**32 - 2)), st.tuples(st.integers(1, 40)))))
def test_what_is_written_is_read_back(fields: list[tuple]) -> None:
    writer = BitWriter()
    for field in fields:
        if field[0] == "ue":
            writer.ue(field[1])
        else:
            writer.u((1 << field[0]) - 1, field[0])
    reader = BitReader(writer.to_bytes())
    for field in fields:
        assert (reader.ue() == field[1]) if field[0] == "ue" else (reader.u(field[0]) == (1 << field[0]) - 1)
    assert reader.remaining < 8


def test_a_number_that_does_not_fit_is_a_bug_of_the_writer() -> None:
    with pytest.raises(ValueError, match="8 does not fit in 3 bits"):
        BitWriter().u(8, 3)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01"])
def test_reading_past_the_end_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="runs out"):
        BitReader(data).ue()


def test_an_endless_exp_golomb_code_is_refused() -> None:
    with pytest.raises(FormatError, match="more than 32 bits"):
        BitReader(bytes(100)).ue()


@pytest.mark.parametrize(("value", "code"), [(0, "00"), (127, "7f"), (128, "8100"), (131, "8103"), (16384, "818000")])
def test_sizes_are_written_in_groups_of_seven_bits(value: int, code: str) -> None:
    assert write_ue7(value).hex() == code


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_sizes_are_read_back_from_any_place(value: int, before: bytes, after: bytes) -> None:
    code = write_ue7(value)
    assert read_ue7(before + code + after, len(before), "a size") == (value, len(before) + len(code))


@pytest.mark.parametrize(
    ("code", "message"),
    [("8001", "shortest form"), ("ff", "ends inside"), ("ffffffffff7f", "32 bits"), ("9080808000", "32 bits")],
)
def test_sizes_of_another_form_are_refused(code: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_ue7(bytes.fromhex(code), 0, "a size")
