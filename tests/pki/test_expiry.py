"""Tests of `trioetcd.pki.expiry`: when an end is near, and how that is said."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.pki.material import NOW
from trioetcd.pki import Limits, PkiError, State, read_span, words_left

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("lifetime", "left", "state"),
    [
        (365, 31, State.OK),
        (365, 30, State.WARNING),
        (365, 8, State.WARNING),
        (365, 7, State.CRITICAL),
        (365, 0, State.CRITICAL),
        (90, 30, State.OK),  # where a peer's is renewed
        (90, 22, State.WARNING),
        (30, 8, State.OK),
        (30, 7, State.WARNING),
        (30, 2, State.CRITICAL),
    ],
)
def test_short_lives_are_judged_by_their_length(lifetime: int, left: int, state: State) -> None:
    """Thirty and seven days hold, but never more than a quarter and a twelfth of the lifetime."""
    ends = NOW + left * DAY
    assert state is Limits().judge(begins=ends - lifetime * DAY, ends=ends, now=NOW)


def test_limits_that_are_given_hold_as_they_are() -> None:
    """Whoever asks for forty days of a certificate of ninety gets them."""
    limits = Limits(40 * DAY, 20 * DAY)
    for left, state in ((41, State.OK), (40, State.WARNING), (20, State.CRITICAL)):
        ends = NOW + left * DAY
        assert state is limits.judge(begins=ends - 90 * DAY, ends=ends, now=NOW)
    assert State.CRITICAL is limits.judge(begins=NOW + DAY, ends=NOW + 90 * DAY, now=NOW)


def test_spans() -> None:
    """A number with a unit, or days; anything else is refused with the form."""
    assert [30 * DAY, 12 * DAY / 24, 90 * DAY / 1440, DAY / 86400, 7 * DAY] == [
        read_span(text) for text in ("30d", "12h", "90m", "1s", "7")
    ]
    for text in ("", "d", "-1d", "1w", "1d2h", "٣d", "9999999d"):
        with pytest.raises(PkiError, match="is no span of time; write 30d"):
            read_span(text)


def test_words() -> None:
    """The biggest unit of which there is one; the past says so."""
    left = {2 * DAY: "2d", DAY / 12: "2h", DAY / 720: "2m", DAY / 43200: "2s"}
    for span, words in left.items():
        assert words == words_left(NOW + span, NOW)
        assert f"ended {words} ago" == words_left(NOW - span, NOW)
    assert words_left(NOW, NOW) == "ended 0s ago"
