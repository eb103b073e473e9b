"""What ``--auto-compaction-mode`` and ``--auto-compaction-retention`` say together."""

from __future__ import annotations

import re
from typing import Final

from trioetcd.node.go_syntax import parse_duration
from trioetcd.node.settings import Config
from trioetcd.runtime.auto_compaction import KeepRevisions, KeepSeconds, Rule

__all__ = ["compaction_rule", "parse_retention"]

_NUMBER: Final = re.compile(r"\+?[0-9]+")
_HOUR: Final = 3600.0
_SECONDS_MIN: Final = 1.0
_REVISIONS_MAX: Final = 2**63 - 1


def parse_retention(mode: str, text: str) -> float:
    """Read how much history is to be kept, as etcd does.

    Args:
        mode: ``periodic`` or ``revision``.
        text: a number of hours or a Go duration; or a number of revisions.

    Returns:
        Seconds, or revisions; 0 for all of it.

    Raises:
        ValueError: it is neither; the message says what to write.
    """
    text = text or "0"
    number = _NUMBER.fullmatch(text)
    if mode == "revision":
        if number is None:
            raise ValueError(f"{text!r} is not a number of revisions such as 1000")
        if int(text) > _REVISIONS_MAX:
            raise ValueError(f"{text!r} is more revisions than there can be")
        return int(text)
    if number is not None:
        return parse_duration(f"{int(text)}h")
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor a whole number of hours") from None
    if seconds and seconds < _SECONDS_MIN:
        raise ValueError(f"{text!r} is less than 1s")
    return seconds


def compaction_rule(config: Config, now: float) -> Rule | None:
    """Give the rule by which a member compacts by itself, from `now` on; None if it does not."""
    kept = parse_retention(config.auto_compaction_mode, config.auto_compaction_retention)
    if not kept:
        return None
    return (
        KeepRevisions(int(kept))
        if config.auto_compaction_mode == "revision"
        else KeepSeconds(kept, now)
    )
