"""Proposals on their way into the log: how many there may be, and what becomes of those too many.

A leader appends them, a member that follows sends them on to its leader; while leadership moves
they are held for the next one (`forwarding`). However they go, they are answered here, when their
entry is applied here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trioetcd.auth import AuthStore
from trioetcd.cluster import CONF_CHANGES, MEMBER_ATTRIBUTES, Membership, attributes_command
from trioetcd.errors import (
    NO_LEADER,
    NOT_SUPPORTED_FOR_LEARNER,
    STOPPED,
    TIMEOUT_DUE_TO_LEADER_FAIL,
    TOO_MANY_REQUESTS,
    UNHEALTHY,
    ErrorRow,
    EtcdError,
)
from trioetcd.raft import Propose, Raft, Role
from trioetcd.replica import consensus
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.forwarding import Forwarding
from trioetcd.replica.inputs import Proposal
from trioetcd.replica.links import Links
from trioetcd.replica.outputs import Outputs
from trioetcd.replica.pending import Pending
from trioetcd.statemachine import COMMAND_FORMAT, HEAD, KIND_BITS, MEMBER, stamp

__all__ = ["Proposing"]


class Proposing:
    """Takes commands to the log.

    Attributes:
        waiting_bytes: bytes of entries that a leader has appended and no batch has taken.
        stopped: whether nothing is taken any more.
        links: how commands get to others; whoever hears of it tells them.

    Args:
        raft: whose log it is.
        membership: the members as applied.
        auth: whether entries must say who asks.
        pending: who waits for which proposal.
        config: settings.
        boot: which proposals are this boot's.
    """

    def __init__(
        self,
        raft: Raft,
        membership: Membership,
        auth: AuthStore,
        pending: Pending,
        config: ReplicaConfig,
        *,
        boot: int,
    ) -> None:
        self.waiting_bytes = 0
        self.stopped = False
        self.links = Links(raft)
        self._raft = raft
        self._membership = membership
        self._auth = auth
        self._pending = pending
        self._config = config
        self._member_id = raft.me
        self._boot = boot
        self._publish_at = -math.inf
        # After so long without a leader every member that may campaign has done so.
        self._forwarding = Forwarding(pending.waiting, patience=2 * config.election_seconds)
        self._gives_way = False

    @property
    def led_since(self) -> float:
        """Since when the leader has been known that is known now, or was last."""
        return self._forwarding.led_since

    @property
    def leaders(self) -> int:
        """How often a leader has come to be known; a member alone leads without being told."""
        return max(self._forwarding.leaders, int(bool(self._raft.leader)))

    def expire(self, now: float, outputs: Outputs) -> None:
        """Give up on commands that nobody has answered in time.

        What was on its way when a leader came is in its log by the time the first entry of its term
        is committed, or was sent on to it, or is lost. It is given an election timeout more.
        """
        pending, forwarding, raft = self._pending, self._forwarding, self._raft
        outputs.resolved.extend(pending.expire(now, forwarding.led_since, self.links.lost_since))
        if forwarding.doubtful and now - forwarding.led_since >= self._config.election_seconds:
            log = raft.log
            if raft.leader and log.applied == log.commit and consensus.has_committed_in_term(raft):
                lost = pending.give_up(forwarding.doubtful, TIMEOUT_DUE_TO_LEADER_FAIL)
                outputs.resolved.extend(lost)
                forwarding.doubtful = 0

    def propose(self, proposals: list[Proposal], now: float, outputs: Outputs) -> None:
        """Take clients' commands, as many as there is room for."""
        room = self._room(now)
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
            if kind & KIND_BITS in CONF_CHANGES:
                conf_change = True
            if ticket is not None:
                waiting[counter] = ticket
        pending.counter = counter
        pending.stamp(now)
        raft = self._raft
        leads = raft.role == Role.LEADER and not self._forwarding.held
        if leads and not conf_change and raft.propose(datas):
            self.waiting_bytes += size  # as nearly always
        else:
            self._take(datas, size, now, changes_members=conf_change)

    def _take(self, datas: list[bytes], size: int, now: float, *, changes_members: bool) -> None:
        """Append commands, send them on, or hold them, whichever can be done."""
        raft, forwarding = self._raft, self._forwarding
        leads = raft.role == Role.LEADER
        held = forwarding.held or raft.transferee or (not leads and forwarding.gathers(now))
        if changes_members and leads and not held:
            datas = self._screen(datas)
        if held or not raft.propose(datas):
            forwarding.hold(datas, changes_members=changes_members)
        elif leads:
            self.waiting_bytes += size
        else:
            forwarding.sent(self._pending.counter, size, now)

    def _screen(self, datas: list[bytes]) -> list[bytes]:
        """Look through commands of which some change the members, before this leader takes them.

        One that removes this leader from a cluster of two is not taken yet: when it is committed
        the other one may not know that, and would wait for a vote that never comes. The other one
        is to lead first, and is sent what comes meanwhile. If it does not, the removal is refused.
        """
        raft = self._raft
        datas = consensus.screen(datas, raft, self._membership, self._config)
        others = [voter for voter in raft.conf_state.voters if voter != raft.me]
        if len(others) != 1:
            return datas
        if self._gives_way:
            return [consensus.refuse_removal(data, raft.me, UNHEALTHY) for data in datas]
        if any(consensus.is_removal(data, raft.me) for data in datas):
            raft.transfer(others[0])
            self._gives_way = bool(raft.transferee)
        return datas

    def go_on(self, now: float, outputs: Outputs) -> None:
        """Let what was held go to who leads now; without a leader, give up after a while."""
        raft, forwarding = self._raft, self._forwarding
        if forwarding.led(raft.leader, now):
            forwarding.doubtful = self._first_held() - 1
        if not forwarding.held or raft.transferee:
            return
        if not raft.leader:
            if not forwarding.expects_leader(now):
                self.drop_held(outputs, NO_LEADER)
            return
        if raft.role != Role.LEADER and forwarding.gathers(now):
            return
        if forwarding.changes_members and not consensus.has_committed_in_term(raft):
            return  # a leader refuses changes of members before that
        changes_members = forwarding.changes_members
        datas = forwarding.release()
        self._take(datas, sum(map(len, datas)), now, changes_members=changes_members)
        self._gives_way = False

    def _first_held(self) -> int:
        """Give the count of the first own command that is held, or of the next one to come."""
        for data in self._forwarding.held:
            _, _, _, boot, counter = HEAD.unpack_from(data)
            if boot == self._boot:
                return int(counter)
        return self._pending.counter + 1

    def drop_held(self, outputs: Outputs, row: ErrorRow) -> None:
        """Give up on what is held; those who wait for their own commands are told why."""
        self._gives_way = False
        for data in self._forwarding.release():
            _, _, _, boot, counter = HEAD.unpack_from(data)
            if boot == self._boot:
                outputs.resolved.extend(self._pending.give_up_one(counter, row))

    def refusal(self) -> ErrorRow | None:
        """Say why clients may ask the leader for nothing through this member; None if they may."""
        if self.stopped:
            return STOPPED
        raft = self._raft
        return NOT_SUPPORTED_FOR_LEARNER if raft.me in raft.conf_state.learners else None

    def _refusal(self) -> ErrorRow | None:
        row = self.refusal()
        return row if row is not None or self._raft.leader else NO_LEADER

    def _room(self, now: float) -> int:
        """Say how many proposals may come in now."""
        if self.stopped:
            return 0
        raft, forwarding = self._raft, self._forwarding
        config = self._config
        size = self.waiting_bytes + forwarding.held_bytes
        if raft.role != Role.LEADER:
            if self.refusal() is not None:
                return 0
            if not (raft.leader or forwarding.expects_leader(now)):
                return 0
            # The lane that leads to the leader holds no more, and has its overhead.
            size = 2 * forwarding.size()
        log = raft.log
        if log.commit - log.applied > config.gap_max:
            return 0
        if size > config.proposal_bytes_max:
            return 0
        under_way = max(log.last - log.applied, len(self._pending.waiting))
        return max(0, config.proposals_max - under_way)

    def append_own(self, kind: int, payloads: Sequence[bytes]) -> bool:
        """Append a leader's own commands, for which no bound holds, to its log and to no other's.

        Returns:
            Whether that could be done; if not, it is as if they had never been.
        """
        raft = self._raft
        if raft.role != Role.LEADER or self.stopped:
            return False
        datas = [self._own(kind, payload) for payload in payloads]
        if not raft.propose(datas):
            return False
        self.waiting_bytes += sum(map(len, datas))
        return True

    def _own(self, kind: int, payload: bytes) -> bytes:
        if self._auth.enabled:
            kind, payload = stamp(kind, payload, MEMBER)
        pending = self._pending
        pending.counter += 1
        head = HEAD.pack(COMMAND_FORMAT, kind, self._member_id, self._boot, pending.counter)
        return head + payload

    def propose_own(self, kind: int, payload: bytes) -> None:
        """Take a command of this member's own, for which nobody waits and no bound holds."""
        data = self._own(kind, payload)
        if self._raft.propose([data]) and self._raft.role == Role.LEADER:
            self.waiting_bytes += len(data)

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

    def receive(self, message: Propose, now: float) -> None:
        """Take what another member sends on, in whichever term it believed that this one leads.

        A member that leads no more sends it on in its turn; terms only grow from one to the next,
        so it goes round no circle. What cannot be held is dropped: whoever asked is told so by
        the member it asked, when time is up.
        """
        datas = message.datas
        if not datas or not all(map(consensus.is_command, datas)):
            return
        raft, forwarding = self._raft, self._forwarding
        if not (raft.leader or forwarding.expects_leader(now)):
            return
        if forwarding.held_bytes > self._config.proposal_bytes_max:
            return
        changes_members = any(map(consensus.is_conf_change, datas))
        self._take(datas, sum(map(len, datas)), now, changes_members=changes_members)
