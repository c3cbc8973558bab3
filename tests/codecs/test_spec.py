"""The grammar of operating points."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs import ExternalTool, Key, parse_point, parse_points
from rdp.codecs.keys import spell
from rdp.errors import SpecError

TOOL = ExternalTool(
    "tool",
    ("true", "{input}", "{output}"),
    ("true", "{input}", "{output}"),
    Path("/"),
    keys=(
        Key("text", "text", "", default="x"),
        Key("number", "decimal", "", default=Decimal(1)),
        Key("count", "integer", "", default=3, minimum=-1000, maximum=1000),
        Key("flag", "flag", "", default=False),
    ),
)


def names(spec: str) -> list[str]:
    return [point.name for point in parse_points(spec, {"tool": TOOL})]


def test_every_key_that_changes_the_output_is_written_out() -> None:
    assert names("webp:quality=50") == ["webp:quality=50,method=4"]
    assert names("jpeg") == ["jpeg:quality=75,subsampling=420,optimise=false,progressive=false"]
    assert names("avif:speed=8") == ["avif:quality=75,speed=8,subsampling=420"]


def test_keys_stand_in_schema_order_however_they_are_written() -> None:
    assert names(" webp : method = 2 , quality = 7 ") == ["webp:quality=7,method=2"]


def test_a_key_may_have_another_spelling() -> None:
    assert names("jpeg:optimize=true") == names("jpeg:optimise=true")


def test_a_range_includes_its_end() -> None:
    assert names("webp:quality=5..25..10") == [f"webp:quality={q},method=4" for q in (5, 15, 25)]
    assert names("webp:quality=3..5") == [f"webp:quality={q},method=4" for q in (3, 4, 5)]


def test_ranges_run_in_decimal_arithmetic() -> None:
    points = names("jpeg2000:rate=0.1..0.5..0.1")
    assert points == [f"jpeg2000:rate={r},irreversible=true" for r in ("0.1", "0.2", "0.3", "0.4", "0.5")]


def test_lists_and_ranges_mix_and_repeats_count_once() -> None:
    assert len(names("avif:quality=10|20..40..10|30,speed=6|8")) == 8


def test_several_specs_keep_their_order_and_repeats_count_once() -> None:
    assert [p.name for p in parse_points(["webp:quality=9", "png", "webp:quality=8..9"])] == [
        "webp:quality=9,method=4",
        "png:level=9",
        "webp:quality=8,method=4",
    ]


def test_quotes_protect_a_value() -> None:
    assert names('external:tool=tool,text="a,b|c=d..e"') == [
        'external:tool=tool,text="a,b|c=d..e",number=1,count=3,flag=false'
    ]
    assert names("external:tool=tool,text='say \"hi\"'") == [
        'external:tool=tool,text="say ""hi""",number=1,count=3,flag=false'
    ]


REFUSED = {
    "wepb:quality=3": "Did you mean 'webp'",
    "webp:qualty=3": "Did you mean 'quality'",
    "webp:quality=300": "it takes 0..100",
    "webp:quality=-1": "it takes 0..100",
    "webp:quality=fine": "it takes 0..100",
    "webp:quality=1.5": "it takes 0..100",
    "webp:quality=nan": "it takes 0..100",
    "webp:quality=9..5": "runs backwards; write 5..9",
    "webp:quality=5..100..10": "end it at 95 or 105",
    "webp:quality=1..9..0": "a step is above 0",
    "webp:quality=1..9..-1": "a step is above 0",
    "webp:quality=1..2..3..4": "not a range",
    "webp:quality=..5": "not a range",
    "webp:quality=": "not key=value",
    "webp:quality": "not key=value",
    "webp:=5": "not key=value",
    "webp:quality=5|": "empty value",
    "webp:quality=5,quality=6": "given twice",
    "jpeg:optimise=true,optimize=true": "given twice",
    'external:tool="too': "quote is not closed",
    "jpeg:subsampling=440": "420|422|444",
    "jpeg:progressive=yes": "true|false",
    "jpeg2000": "either rate= .* or psnr=",
    "jpeg2000:rate=1,psnr=30": "either rate= .* or psnr=",
    "jpeg2000:rate=0.001..24..0.001": "over 10000",
    "external": "say which tool",
    "external:tool=tol": "Did you mean 'tool'",
    "": "unknown codec family",
    "png:level=1,colour=2": "unknown key 'colour'",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_what_is_wrong_is_said_with_what_would_be_right(spec: str) -> None:
    with pytest.raises(SpecError, match=REFUSED[spec]):
        names(spec)


def test_no_spec_at_all_is_refused() -> None:
    with pytest.raises(SpecError, match="no codec"):
        parse_points([])


def test_one_point_is_not_several() -> None:
    with pytest.raises(SpecError, match="names 2 operating points"):
        parse_point("webp:quality=1|2")


numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=5)


@given(st.text(max_size=12), numbers, st.integers(-1000, 1000), st.booleans())
def test_the_canonical_name_of_a_point_is_a_spec_of_that_point(
    text: str, number: Decimal, count: int, flag: bool
) -> None:
    written = f"external:tool=tool,text={_quoted(text)},number={number},count={count},flag={spell(flag)}"
    point = parse_point(written, {"tool": TOOL})
    assert point.get("text") == text
    assert point.get("number") == number and point.get("count") == count and point.get("flag") is flag
    assert parse_point(point.name, {"tool": TOOL}) == point
    assert parse_point(point.name, {"tool": TOOL}).name == point.name


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@given(numbers)
def test_a_number_has_one_shortest_spelling(number: Decimal) -> None:
    text = spell(number)
    assert Decimal(text) == number
    assert "e" not in text.lower() and not text.endswith(".")
    assert not ("." in text and text.endswith("0"))
    assert spell(Decimal(text + ("0" if "." in text else ".000"))) == text


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 10))
def test_a_range_is_what_python_says_it_is(start: int, step: int, count: int) -> None:
    end = start + step * count
    if end > 100:
        return
    found = [p.get("quality") for p in parse_points(f"webp:quality={start}..{end}..{step}")]
    assert found == list(range(start, end + 1, step))


@given(st.text(max_size=30))
def test_any_text_is_a_spec_or_an_error_of_ours(text: str) -> None:
    try:
        points = parse_points(text, {"tool": TOOL})
    except SpecError:
        return
    assert all(parse_point(point.name, {"tool": TOOL}) == point for point in points)
