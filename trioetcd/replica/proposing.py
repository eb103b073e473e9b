"""Proposals on their way into the log: how many there may be, and what becomes of those too many.

A leader appends them, a member that follows sends them on to its leader. Either way they are
answered here, when their entry is applied here.
"""

from __future__ import annotations

import math

from trioetcd.cluster import CONF_CHANGES, MEMBER_ATTRIBUTES, Membership, attributes_command
from trioetcd.errors import (
    LEADER_CHANGED,
    NO_LEADER,
    NOT_SUPPORTED_FOR_LEARNER,
    STOPPED,
    TOO_MANY_REQUESTS,
    ErrorRow,
    EtcdError,
)
from trioetcd.raft import Propose, Raft, Role
from trioetcd.replica import consensus
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.inputs import Proposal
from trioetcd.replica.outputs import Outputs
from trioetcd.replica.pending import Pending
from trioetcd.statemachine import COMMAND_FORMAT, HEAD

__all__ = ["Proposing"]


class Proposing:
    """Takes commands to the log.

    Attributes:
        waiting_bytes: bytes of entries that a leader has appended and no batch has taken.
        stopped: whether nothing is taken any more.

    Args:
        raft: whose log it is.
        membership: the members as applied.
        pending: who waits for which proposal.
        config: settings.
        boot: which proposals are this boot's.
    """

    def __init__(
        self,
        raft: Raft,
        membership: Membership,
        pending: Pending,
        config: ReplicaConfig,
        *,
        boot: int,
    ) -> None:
        self.waiting_bytes = 0
        self.stopped = False
        self._raft = raft
        self._membership = membership
        self._pending = pending
        self._config = config
        self._member_id = raft.me
        self._boot = boot
        self._publish_at = -math.inf

    def propose(self, proposals: list[Proposal], now: float, outputs: Outputs) -> None:
        """Take clients' commands, as many as there is room for."""
        room = self._room()
        if len(proposals) > room:
            refusal = EtcdError(self._refusal() or TOO_MANY_REQUESTS)
            outputs.resolved.extend((ticket, refusal) for ticket, _, _ in proposals[room:])
            if not room:
                return
            proposals = proposals[:room]
        pending = self._pending
        waiting = pending.waiting
        counter = pending.counter
        member = self._member_id
        boot = self._boot
        pack = HEAD.pack
        datas: list[bytes] = []
        append = datas.append
        size = 0
        conf_change = False
        for ticket, kind, payload in proposals:
            counter += 1
            data = pack(COMMAND_FORMAT, kind, member, boot, counter) + payload
            size += len(data)
            append(data)
            if kind in CONF_CHANGES:
                conf_change = True
            if ticket is not None:
                waiting[counter] = ticket
        pending.counter = counter
        pending.stamp(now)
        raft = self._raft
        if raft.role == Role.LEADER:
            self.waiting_bytes += size
            if conf_change:
                datas = consensus.screen(datas, raft, self._membership, self._config)
        taken = raft.propose(datas)
        assert taken, "there was room, so there is a leader"

    def refusal(self) -> ErrorRow | None:
        """Say why clients may ask the leader for nothing through this member; None if they may."""
        if self.stopped:
            return STOPPED
        raft = self._raft
        return NOT_SUPPORTED_FOR_LEARNER if raft.me in raft.conf_state.learners else None

    def _refusal(self) -> ErrorRow | None:
        row = self.refusal()
        if row is not None:
            return row
        if not self._raft.leader:
            return NO_LEADER
        return LEADER_CHANGED if self._raft.transferee else None

    def _room(self) -> int:
        """Say how many proposals may come in now."""
        raft = self._raft
        if self.stopped or not raft.leader or raft.transferee:
            return 0
        if raft.role != Role.LEADER and self.refusal() is not None:
            return 0
        log = raft.log
        config = self._config
        if log.commit - log.applied > config.gap_max:
            return 0
        if self.waiting_bytes > config.proposal_bytes_max:
            return 0
        under_way = max(log.last - log.applied, len(self._pending.waiting))
        return max(0, config.proposals_max - under_way)

    def propose_own(self, kind: int, payload: bytes) -> None:
        """Take a command of this member's own, for which nobody waits and no bound holds."""
        pending = self._pending
        pending.counter += 1
        head = HEAD.pack(COMMAND_FORMAT, kind, self._member_id, self._boot, pending.counter)
        data = head + payload
        if self._raft.role == Role.LEADER:
            self.waiting_bytes += len(data)
        self._raft.propose([data])

    def publish(self, now: float) -> None:
        """Tell the cluster name and client URLs, unless it knows them; again if nobody heard."""
        me = self._membership.get(self._member_id)
        config = self._config
        if me is None or (me.name, me.client_urls) == (config.name, config.client_urls):
            return
        if now >= self._publish_at and self._raft.leader and not self.stopped:
            self._publish_at = now + config.request_seconds
            payload = attributes_command(self._member_id, config.name, config.client_urls)
            self.propose_own(MEMBER_ATTRIBUTES, payload)

    def admit(self, message: Propose) -> Propose | None:
        """Look through what another member sends on to this leader; None if it makes no sense."""
        datas = message.datas
        if not all(map(consensus.is_command, datas)):
            return None
        if not any(map(consensus.is_conf_change, datas)):
            return message
        datas = consensus.screen(datas, self._raft, self._membership, self._config)
        return message._replace(datas=datas)
