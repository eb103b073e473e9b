"""Since when the links to other members have been whole, as far as anybody has said."""

from __future__ import annotations

import math
from typing import Final

from trioetcd.raft import Raft, Role
from trioetcd.values import MemberID

__all__ = ["Links"]

_NEVER: Final = math.inf


class Links:
    """What is known of the links on which this member speaks to others.

    Nothing is said of a link before it breaks for the first time: until then it counts as whole.

    Args:
        raft: who leads, and who votes.
    """

    def __init__(self, raft: Raft) -> None:
        self._raft = raft
        self._whole_since: dict[MemberID, float] = {}

    def broke(self, peer: MemberID) -> None:
        """Note that a link broke, or could not be made, if what it carries may matter here."""
        raft = self._raft
        conf = raft.conf_state
        if peer == raft.leader or peer in {*conf.voters, *conf.voters_outgoing}:
            self._whole_since[peer] = _NEVER

    def made(self, peer: MemberID, now: float) -> None:
        """Note that a link was made (anew)."""
        if peer in self._whole_since:
            self._whole_since[peer] = now

    def lost_since(self, then: float) -> bool:
        """Say whether a lost link may be why something got no answer that came here `then`.

        For whoever follows that is the link to the leader; for a leader it takes so many that
        those which held are no majority (etcd).
        """
        raft = self._raft
        if not raft.leader:
            return False
        if raft.role != Role.LEADER:
            return not self._held(raft.leader, then)
        conf = raft.conf_state
        return not all(
            2 * sum(voter == raft.me or self._held(voter, then) for voter in voters) > len(voters)
            for voters in (conf.voters, conf.voters_outgoing)
            if voters
        )

    def _held(self, peer: MemberID, then: float) -> bool:
        return self._whole_since.get(peer, -math.inf) <= then
