"""How a member takes part in consensus: timeouts in ticks, bounds, and what an entry may be.

No clock is read here. Entries stay opaque: the two functions are the owner's, and are all that
consensus ever learns about what an entry means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trioetcd.values import MemberID

__all__ = ["RaftConfig"]


def _never(_data: bytes) -> bool:
    return False


def _empty(_data: bytes) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Settings that do not change while a member runs.

    Attributes:
        member_id: this member.
        election_ticks: ticks without a leader after which a member campaigns; the real limit is
            drawn anew each time from this up to one and a half times this (Raft paper, section
            5.2).
        batch_bytes_max: how many bytes of entries one Ready asks to persist at most; a single
            larger entry, or a group received as one, still goes, alone.
        apply_entries_max: how many entries are handed out to apply at a time.
        append_bytes_max: how many bytes of entries one AppendEntries, or one Propose, holds at
            most; a single larger entry still goes, alone.
        inflight_max: how many AppendEntries with entries may be unacknowledged by one member.
        pre_vote: whether a member asks if it could win before it begins a term (dissertation,
            section 9.6).
        check_quorum: whether a leader that hears from no majority steps down, and members that
            hear from a leader ignore votes (dissertation, sections 6.2 and 4.2.3).
        is_conf_change: whether an entry changes the membership; asked of empty ones too.
        refused: gives the entry that takes the place of a membership change which may not be
            made now; the owner answers that one with an error.
    """

    member_id: MemberID
    election_ticks: int = 10
    batch_bytes_max: int = 4 << 20
    apply_entries_max: int = 1024
    append_bytes_max: int = 1 << 20
    inflight_max: int = 256
    pre_vote: bool = True
    check_quorum: bool = True
    is_conf_change: Callable[[bytes], bool] = _never
    refused: Callable[[bytes], bytes] = _empty

    def __post_init__(self) -> None:
        assert self.member_id, "member 0 means none"
        assert self.election_ticks > 0
        assert self.batch_bytes_max > 0
        assert self.apply_entries_max > 0
        assert self.append_bytes_max > 0
        assert self.inflight_max > 0
