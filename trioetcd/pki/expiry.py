"""How long something is still good for, as monitors and people want it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from trioetcd.pki.profile import PkiError

__all__ = ["Limits", "State", "read_span", "words_left"]

_WARN: Final = timedelta(days=30)
_CRIT: Final = timedelta(days=7)
_WARN_SHARE: Final = 1 / 4
_CRIT_SHARE: Final = 1 / 12
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SPAN: Final = re.compile(r"([0-9]{1,6})([dhms]?)")


class State(IntEnum):
    """What a monitoring plugin says; the value is its exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on the end of something is near.

    Where a limit is not given, 30 and 7 days hold, or for what does not live that long a quarter
    and a twelfth of its lifetime: a certificate of a week need not be a warning all its life.

    Attributes:
        warn: less than this left is a warning.
        crit: less than this left is critical.
    """

    warn: timedelta | None = None
    crit: timedelta | None = None

    def judge(self, *, begins: datetime, ends: datetime, now: datetime) -> State:
        """Say how something stands that is good from `begins` to `ends`."""
        left, lifetime = ends - now, ends - begins
        crit = min(_CRIT, lifetime * _CRIT_SHARE) if self.crit is None else self.crit
        warn = min(_WARN, lifetime * _WARN_SHARE) if self.warn is None else self.warn
        if left <= max(crit, timedelta()) or now < begins:
            return State.CRITICAL
        return State.WARNING if left <= warn else State.OK


def read_span(text: str) -> timedelta:
    """Read a span of time: ``30d``, ``12h``, ``90m``, ``45s``; a number alone is days.

    Raises:
        PkiError: it is none.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise PkiError(f"{text!r} is no span of time; write 30d, 12h, 90m or 45s")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "d"])


def words_left(ends: datetime, now: datetime) -> str:
    """Say how long something is good for yet, in its biggest unit."""
    seconds = int(abs(ends - now).total_seconds())
    words = next(
        (f"{seconds // size}{unit}" for unit, size in _UNITS.items() if seconds >= size), "0s"
    )
    return words if ends > now else f"ended {words} ago"
