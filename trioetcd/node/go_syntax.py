"""Values as Go's flag package spells them: durations, booleans, whole numbers.

Only text in and values out; what a value may be is said in `trioetcd.node.validation`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_duration", "parse_bool", "parse_duration", "parse_int"]

_UNIT_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+)")
_SECONDS_MAX: Final = (2**63 - 1) / 1e9
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER: Final = re.compile(r"([+-]?)(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[0-9][0-9_]*)")


def parse_duration(text: str) -> float:
    """Give the seconds of a Go duration such as ``100ms``, ``1m0s`` or ``1h``.

    Raises:
        ValueError: the text is not a duration; the message says what one looks like.
    """
    if text in {"0", "+0", "-0"}:
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        hint = f"; add a unit: {text}s" if re.fullmatch(r"[0-9.]+", text) else ""
        raise ValueError(f"{text!r} is not a duration such as 100ms, 5s or 1m30s{hint}")
    seconds = sum(
        float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(match.group(2))
    )
    if seconds > _SECONDS_MAX:
        raise ValueError(f"{text!r} is longer than a duration can be")
    return -seconds if match.group(1) == "-" else seconds


def format_duration(seconds: float) -> str:
    """Spell seconds as Go would, near enough to be read back."""
    if seconds == 0:
        return "0s"
    rest = round(abs(seconds) * 1e9)
    parts = ["-"] if seconds < 0 else []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size * 1_000_000_000)
        if count:
            parts.append(f"{count}{unit}")
    for unit, size in (("ms", 1_000_000), ("us", 1_000), ("ns", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_bool(text: str) -> bool:
    """Give the truth that Go reads from `text`.

    Raises:
        ValueError: it is neither of Go's words for true nor for false.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def parse_int(text: str) -> int:
    """Give the whole number of `text`: decimal, 0x, 0b, or 0 and 0o for octal, as in Go.

    Raises:
        ValueError: it is none, or does not fit into 64 bits.
    """
    match = _INTEGER.fullmatch(text)
    if match is None or "__" in text or text.endswith("_"):
        raise ValueError(f"{text!r} is not a whole number")
    sign, digits = match.groups()
    digits = digits.replace("_", "")
    if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbBoO":
        digits = "0o" + digits[1:]
    try:
        number = int(sign + digits, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{text!r} does not fit into 64 bits")
    return number
