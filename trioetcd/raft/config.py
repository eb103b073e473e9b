"""How a member takes part in consensus: timeouts in ticks, and bounds. No clock is read here."""

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.values import MemberID

__all__ = ["RaftConfig"]


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Settings that do not change while a member runs.

    Attributes:
        member_id: this member.
        election_ticks: ticks without a leader after which a member campaigns; the real limit is
            drawn anew each time from this up to twice this (Raft paper, section 5.2).
        batch_bytes_max: how many bytes of entries one Ready asks to persist at most; a single
            larger entry still goes, alone.
        apply_entries_max: how many entries are handed out to apply at a time.
    """

    member_id: MemberID
    election_ticks: int = 10
    batch_bytes_max: int = 4 << 20
    apply_entries_max: int = 1024

    def __post_init__(self) -> None:
        assert self.member_id, "member 0 means none"
        assert self.election_ticks > 0
        assert self.batch_bytes_max > 0
        assert self.apply_entries_max > 0
