"""What a member does because there are others: hears them, speaks to them, catches up with them."""

from __future__ import annotations

from trioetcd.cluster import Membership
from trioetcd.questions import LeaseAnswer, LeaseQuestion
from trioetcd.raft import Propose, Raft, Role
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.envelope import Envelope
from trioetcd.replica.inbox import Inbox
from trioetcd.replica.lease_desk import LeaseDesk
from trioetcd.replica.outputs import Outputs
from trioetcd.replica.proposing import Proposing
from trioetcd.values import MemberID

__all__ = ["Peering"]


class Peering:
    """One member among others.

    Attributes:
        deaf: whether what others say is dropped, as if it had been lost.

    Args:
        raft: this member's consensus.
        membership: the members as applied.
        proposing: looks through what others send on to a leader.
        desk: knows what they ask about leases.
        config: settings.
        boot: random bits drawn for this start.
        now: the time at the start.
    """

    def __init__(
        self,
        raft: Raft,
        membership: Membership,
        proposing: Proposing,
        desk: LeaseDesk,
        config: ReplicaConfig,
        *,
        boot: int,
        now: float,
    ) -> None:
        self.deaf = False
        self._raft = raft
        self._membership = membership
        self._proposing = proposing
        self._desk = desk
        self._boot = boot
        self._recovered = raft.log.last
        self._patience = config.election_seconds
        self._inbox = Inbox()
        self._sequence = 0
        self._leader = raft.leader
        self._leader_since = now

    def receive(self, envelopes: list[Envelope], now: float) -> None:
        """Take in what others say."""
        if self.deaf:
            return
        raft = self._raft
        for envelope in envelopes:
            if envelope.to != raft.me or not self._inbox.admits(envelope):
                continue
            message = envelope.message
            if isinstance(message, (LeaseQuestion, LeaseAnswer)):
                self._desk.receive(message, now)
            elif not isinstance(message, Propose):
                raft.step(message)
            else:
                if message.term > raft.term:
                    raft.step(message)  # whoever is asked, and leads no more, follows
                self._proposing.receive(message, now)

    def is_old_news(self, envelopes: list[Envelope]) -> bool:
        """Say whether nobody waits for what these would bring about (`Raft.is_old_news`)."""
        raft = self._raft
        if raft.role != Role.LEADER:
            return False
        for envelope in envelopes:
            message = envelope.message
            if isinstance(message, (LeaseQuestion, LeaseAnswer)) or not raft.is_old_news(message):
                return False
        return True

    def speak(self, outputs: Outputs) -> None:
        """Give what others are to be told and sent now."""
        raft = self._raft
        boot, me = self._boot, raft.me
        sequence = self._sequence
        questions, self._desk.messages = self._desk.messages, []
        for message in (*raft.take_messages(), *questions):
            sequence += 1
            outputs.sends.append(Envelope(me, message.to, boot, sequence, message))
        self._sequence = sequence
        outputs.snapshots = raft.take_snapshots()
        outputs.expelled = self._membership.is_removed(me)

    def link_broke(self, peer: MemberID) -> None:
        """Note that what was said to another member may be lost, and why."""
        self._raft.report_unreachable(peer)
        self._proposing.links.broke(peer)

    def link_made(self, peer: MemberID, now: float) -> None:
        """Note that another member can be spoken to again."""
        self._proposing.links.made(peer, now)

    def transfer(self, to: MemberID, connected: frozenset[MemberID]) -> None:
        """Hand leadership over to a voter; 0 is the one that is connected and has most of the log.

        Args:
            to: the voter, or 0.
            connected: whom messages reach.
        """
        raft = self._raft
        if not to:
            others = [voter for voter in self._membership.voters() if voter != raft.me]
            to = max(
                others,
                key=lambda voter: (voter in connected, raft.match.get(voter, 0)),
                default=raft.me,
            )
        raft.transfer(to)

    def has_caught_up(self, now: float) -> bool:
        """Say whether a follower has come as far as it had before it was started again.

        Its leader knows of every commit it ever heard of. The leader's word for it is the log
        it agrees with, or, if nothing was to be said about that, an election timeout's silence.
        """
        raft = self._raft
        if raft.leader != self._leader:
            self._leader = raft.leader
            self._leader_since = now
        if not raft.leader or raft.log.applied < raft.log.commit:
            return False
        return raft.accepted >= self._recovered or now - self._leader_since > self._patience
