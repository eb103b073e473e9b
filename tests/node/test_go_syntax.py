"""Tests of `trioetcd.node.go_syntax`: what Go's flag package would read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.node.go_syntax import format_duration, parse_bool, parse_duration, parse_int


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("1m0s", 60),
        ("1h", 3600),
        ("1h2m3.5s", 3723.5),
        ("0", 0),
        ("-5s", -5),
        (".5s", 0.5),
        ("3us", 3e-6),
        ("3µs", 3e-6),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    """Go's spellings give their seconds."""
    assert seconds == pytest.approx(parse_duration(text))


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1d", "five", "1e3s", "5s5", "9999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused; a bare number is told its unit."""
    with pytest.raises(ValueError, match="duration" if text != "5" else "add a unit: 5s"):
        parse_duration(text)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_durations_come_back(nanoseconds: int) -> None:
    """A duration that was spelled is read as itself."""
    assert nanoseconds == round(parse_duration(format_duration(nanoseconds / 1e9)) * 1e9)


def test_booleans_are_gos_words() -> None:
    """Twelve words and no others."""
    assert all(parse_bool(word) for word in ("1", "t", "T", "TRUE", "true", "True"))
    assert not any(parse_bool(word) for word in ("0", "f", "F", "FALSE", "false", "False"))
    with pytest.raises(ValueError, match="neither true nor false"):
        parse_bool("yes")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("10", 10), ("-3", -3), ("0x1F", 31), ("010", 8), ("0b11", 3), ("1_000", 1000)],
)
def test_whole_numbers_are_gos(text: str, number: int) -> None:
    """Prefixes decide the base; a leading nought is octal."""
    assert number == parse_int(text)


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "1 ", "08", "99999999999999999999", "_1", "1__0_"]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"whole number|64 bits"):
        parse_int(text)
