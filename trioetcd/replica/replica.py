"""A whole member as one deterministic object: inputs in, outputs out, no clock, no disk, no task.

``step(inputs, now)`` takes what has happened and answers with what is to be done; equal inputs
give equal outputs. The order in which things become durable, committed, applied and answered is
decided here and nowhere else:

1. A proposal becomes an entry of the log. One atomic batch carries entries, hard state and the
   effects of entries applied before, and one batch is in flight at a time: what comes meanwhile
   waits for the next one, which is all there is to group commit.
2. When the batch is durable, Raft counts this member, and entries commit.
3. Entries that are committed *and* durable here are applied, in order, into the overlay; only
   then are their proposals answered and their events published.
4. Their effects and the applied index ride together in the next batch, so that a restart repeats
   exactly the entries whose effects are not there. It repeats them through the same code.

This file is the order of things. What waits lives in `pending` and `reads`, what is thrown away
in `housekeeping`, how a batch is put together in `batches`, what a command means in
`statemachine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, assert_never

from trioetcd.errors import STOPPED, TIMEOUT, EtcdError
from trioetcd.ports import Backend, Entropy
from trioetcd.raft import Role
from trioetcd.replica import consensus
from trioetcd.replica.applying import Applying
from trioetcd.replica.archive import StoredGroups
from trioetcd.replica.batches import Batches
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.housekeeping import Housekeeping
from trioetcd.replica.inputs import (
    BarrierRequested,
    Input,
    LeaseAsked,
    Persisted,
    Proposed,
    Reachable,
    ReadRequested,
    Received,
    SnapshotEnded,
    SnapshotOffered,
    SnapshotPiece,
    SnapshotSent,
    Stopped,
    Tick,
    Ticket,
    TransferRequested,
    Unreachable,
)
from trioetcd.replica.installing import Installing
from trioetcd.replica.lease_desk import LeaseDesk
from trioetcd.replica.lease_keeper import LeaseKeeper
from trioetcd.replica.machine import assemble
from trioetcd.replica.outputs import Outputs
from trioetcd.replica.overlay import Overlay
from trioetcd.replica.peering import Peering
from trioetcd.replica.pending import Pending
from trioetcd.replica.proposing import Proposing
from trioetcd.replica.reads import Reads
from trioetcd.replica.rows import Recovered
from trioetcd.replica.state_cut import SnapshotMeta, StateCut, after_epoch
from trioetcd.replica.statistics import ReplicaStatistics
from trioetcd.values import Index, MemberID, Term

__all__ = ["Replica"]

_ROW_BYTES: Final = 64
"""What a gathered row adds, roughly, to what its entry's bytes already count for."""

_OVERLAY_ROWS_MAX: Final = 8192
"""So many gathered rows are enough for a batch; compaction waits until they are written."""


def _never() -> bool:
    return False


class Replica:
    """One member.

    Attributes:
        space: all rows, durable or not, as the state machine sees them.
        store, lessor, alarms, membership, auth, applier: the parts of the state machine.
        member_id, cluster_id: who this is.
        is_current: whether a linearizable read may be answered from the store as it stands;
            changes only within `step`.
        ready: whether clients may be served: the store has come to an entry of a live term, so no
            read, not even a serializable one, goes back behind what was promised before a restart.
        stalled: whether a batch has been in flight for longer than an election timeout.

    Args:
        backend: the rows that are durable; only read here.
        recovered: what `rows.recover` found there.
        config: settings.
        boot: 64 random bits drawn for this start.
        entropy: for election timeouts.
        now: the clock that `step` will be given.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        recovered: Recovered,
        config: ReplicaConfig,
        boot: int,
        entropy: Entropy,
        now: float,
    ) -> None:
        self.config = config
        self.space = Overlay(backend)
        self._machine = machine = assemble(self.space, recovered, config)
        self.store = machine.store
        self.lessor = machine.lessor
        self.alarms = machine.alarms
        self.membership = machine.membership
        self.auth = machine.auth
        self.auth = machine.auth
        self.applier = machine.applier
        self.member_id = recovered.member_id
        self.cluster_id = recovered.cluster_id
        self.is_current = False
        self.ready = False
        self.stalled = False
        self._boot = boot
        self._archive = StoredGroups(self.space, recovered.first)
        self._raft = consensus.restore(recovered, config, self.membership, entropy, self._archive)
        self._log = self._raft.log
        self._housekeeping = Housekeeping(recovered, config)
        self._batches = Batches(recovered, self._housekeeping)
        self._pending = Pending(
            timeout=config.request_seconds, election=2 * config.election_seconds
        )
        self._proposing = Proposing(
            self._raft, self.membership, self.auth, self._pending, config, boot=boot
        )
        self._reads = Reads(timeout=config.request_seconds, boot=boot)
        append = self._proposing.append_own
        self._desk = LeaseDesk(self._raft, self.lessor, self._reads, append, config)
        self._peering = Peering(
            self._raft, self.membership, self._proposing, self._desk, config, boot=boot, now=now
        )
        self._installing = Installing(self.space, self._raft, recovered.epoch)
        self._lease_keeper = LeaseKeeper(self._raft, self.lessor, self.alarms, append)
        self._applying = Applying(
            self._raft,
            self.applier,
            self._pending.waiting,
            boot=boot,
            slices=config.slices_per_step,
            on_empty=self._on_empty_entry,
            on_conf_change=self._on_conf_change,
        )
        self._barriers: list[tuple[int, Ticket]] = []
        self._freeing: list[tuple[bytes, bytes]] = []
        self._now = now
        self._in_flight = False
        self._cut_at = now
        self._ticked_at = now
        # A timer that fires a hair early still makes a tick.
        self._tick_seconds = 0.9 * config.heartbeat_seconds
        self._dirty_since: float | None = None
        self._written_applied = recovered.applied
        # Nobody else could be elected, so there is nothing to wait for.
        if self.membership.voters() == (self.member_id,):
            self._raft.campaign()

    # -- what others may ask -----------------------------------------------------------------

    @property
    def term(self) -> Term:
        """The current term."""
        return self._raft.term

    @property
    def leader(self) -> MemberID:
        """The leader of the current term; 0 if none is known."""
        return self._raft.leader

    @property
    def commit_index(self) -> Index:
        """Up to where entries are known to be committed."""
        return self._log.commit

    @property
    def applied_index(self) -> Index:
        """Up to where entries have been applied."""
        return self._log.applied

    @property
    def wants_flush(self) -> bool:
        """Whether effects wait for a batch: a step is wanted within ``flush_seconds``."""
        return self._dirty_since is not None and not self._in_flight

    def is_old_news(self, received: Received) -> bool:
        """Say whether these may be taken in with the next input, whenever that comes."""
        return self._peering.is_old_news(received.envelopes)

    def statistics(self) -> ReplicaStatistics:
        """Give what waits inside."""
        return ReplicaStatistics(
            pending=len(self._pending.waiting),
            reads=self._reads.count,
            unapplied=self._log.last - self._log.applied,
            waiting_bytes=self._proposing.waiting_bytes,
            overlay_rows=len(self.space.gathering) + len(self.space.writing),
            log_bytes=self._housekeeping.log_bytes,
            batches=self._batches.number,
            leaders=self._proposing.leaders,
            proposals_failed=self._pending.failed,
            reads_failed=self._reads.failed,
            reads_unanswered=self._reads.unanswered,
        )

    # -- the step ----------------------------------------------------------------------------

    def step(
        self, inputs: Sequence[Input], now: float, overdue: Callable[[], bool] = _never
    ) -> Outputs:
        """Take in what has happened; give what is to be done, in the order of `Outputs`.

        Args:
            inputs: what has happened, in order.
            now: seconds that never go back.
            overdue: asked between slices of work; when it says True the step ends soon and
                `Outputs.more` is set.
        """
        outputs = Outputs()
        for entry in inputs:
            # A pattern that also takes a field out costs several times as much.
            match entry:
                case Persisted():
                    self._on_persisted(entry.number, outputs)
                case Proposed():
                    self._proposing.propose(entry.proposals, now, outputs)
                case ReadRequested():
                    self._reads.ask_for(entry.tickets, now, self._proposing.refusal(), outputs)
                case LeaseAsked():
                    self._desk.ask(entry, now, self._proposing.refusal(), outputs)
                case BarrierRequested():
                    self._on_barrier(entry.ticket, outputs)
                case Stopped():
                    self._on_stopped(outputs)
                case Received():
                    self._peering.receive(entry.envelopes, now)
                case Unreachable():
                    self._peering.link_broke(entry.peer)
                case Reachable():
                    self._peering.link_made(entry.peer, now)
                case TransferRequested():
                    self._peering.transfer(entry.to, entry.connected)
                case SnapshotSent():
                    self._raft.report_snapshot(entry.peer, ok=entry.ok)
                case SnapshotOffered():
                    outputs.accepting = self._installing.offer(entry.sender, entry.term, entry.meta)
                case SnapshotPiece():
                    self._installing.take(entry.rows)
                case SnapshotEnded():
                    self._installing.end(ok=entry.ok)
                case Tick():
                    pass
                case _:
                    assert_never(entry)
        self._now = self.applier.now = now
        if now - self._ticked_at >= self._tick_seconds:
            self._tick(now, outputs)
        self._applying.run(outputs, overdue)
        if self._lease_keeper.busy and self._lease_keeper.go_on(now):
            outputs.more = True
        if self.store.compaction.pending:
            self._compact(outputs, overdue)
        if self._installing.untidy and len(self.space.gathering) <= _OVERLAY_ROWS_MAX:
            self._installing.sweep(self.store.freed)
            outputs.more = True
        if not self._in_flight:
            self._cut(now, outputs)
        desk = self._desk
        if desk.busy:
            desk.go_on(now)
        self._confirm_reads(now, outputs)
        if desk.busy:
            desk.collect(outputs, now)
        raft = self._raft
        if not raft.sole_voter or raft.progress or raft.outbox:
            self._follow_up(now, outputs)
        return outputs

    # -- inputs ------------------------------------------------------------------------------

    def _on_persisted(self, number: int, outputs: Outputs) -> None:
        assert self._in_flight, "an acknowledgement of nothing"
        assert number == self._batches.number, "an acknowledgement of another batch"
        self._in_flight = False
        self.stalled = False
        self.space.persisted()
        if self._peering.deaf:
            self._switch(outputs)
        self._raft.persisted()
        if self._freeing:
            outputs.freed = self._freeing
            self._freeing = []
        while self._barriers and self._barriers[0][0] <= number:
            outputs.reached.append(self._barriers.pop(0)[1])

    def _on_barrier(self, ticket: Ticket, outputs: Outputs) -> None:
        if self._dirty():
            self._barriers.append((self._batches.number + 1, ticket))
        elif self._in_flight:
            self._barriers.append((self._batches.number, ticket))
        else:
            outputs.reached.append(ticket)

    def _on_stopped(self, outputs: Outputs) -> None:
        self._proposing.stopped = True
        self._proposing.drop_held(outputs, STOPPED)
        outputs.resolved.extend(self._pending.fail(STOPPED))
        outputs.resolved.extend(self._reads.fail(STOPPED))
        self._desk.fail(STOPPED, outputs)

    def _tick(self, now: float, outputs: Outputs) -> None:
        """Let one tick pass, however long the pause: what arrived in it has come first."""
        self._ticked_at = now
        raft = self._raft
        raft.tick()
        self.stalled = self._in_flight and now - self._cut_at > self.config.election_seconds
        if self.stalled and raft.role == Role.LEADER and not raft.sole_voter:
            raft.resign()  # somebody whose disk works had better lead
        self._proposing.publish(now)
        self._proposing.expire(now, outputs)
        outputs.resolved.extend(self._reads.expire(now, self._proposing.led_since))
        self._desk.expire(now, outputs)
        self._lease_keeper.tick(now)

    # -- leading -----------------------------------------------------------------------------

    def _on_empty_entry(self) -> None:
        """Begin to lead in earnest: an entry of this leader's own term has been applied."""
        if self._raft.role != Role.LEADER or self._log.applied != self._raft.term_start:
            return
        # Only now: whatever earlier leaders proposed about leases has been applied before.
        self._lease_keeper.lead(self._now, self.config.election_seconds)
        self.ready = True
        self._proposing.publish(self._now)

    def _on_conf_change(self) -> None:
        """Let Raft go by the members as they are now."""
        self._raft.apply_conf_change(self.membership.conf_state())

    def _follow_up(self, now: float, outputs: Outputs) -> None:
        """Do what is to be done at the end of a step because there are others."""
        self._proposing.go_on(now, outputs)
        self._peering.speak(outputs)
        if self.lessor.primary and self._raft.role != Role.LEADER:
            self._lease_keeper.retire()
        if not self.ready:
            self.ready = self._peering.has_caught_up(now)

    def _compact(self, outputs: Outputs, overdue: Callable[[], bool]) -> None:
        """Forget compacted history, a slice at a time, when nothing more urgent is to be done."""
        if self._applying.busy:
            return
        store = self.store
        config = self.config
        for _ in range(config.slices_per_step):
            # While a batch is in flight the overlay only grows; the disk sets the pace.
            if self._in_flight and len(self.space.gathering) > _OVERLAY_ROWS_MAX:
                return
            if not store.compact_step(config.compaction_rows):
                return
            if outputs.more or overdue():
                break
        outputs.more = True

    # -- batches -----------------------------------------------------------------------------

    def _dirty(self) -> bool:
        """Whether something applied is in no batch yet."""
        return bool(self.space.gathering) or self._log.applied != self._written_applied

    def _flush_due(self, now: float) -> bool:
        since = self._dirty_since
        if since is None:
            return False
        config = self.config
        return (
            self._proposing.stopped
            or bool(self._barriers)
            or now - since >= config.flush_seconds
            or self._applying.effect_bytes + _ROW_BYTES * len(self.space.gathering)
            >= config.flush_bytes
        )

    def _cut(self, now: float, outputs: Outputs) -> None:
        """Cut a batch, now that none is in flight, if there is a reason for one."""
        if self._installing.complete and self._cut_switch(now, outputs):
            return
        if self._dirty_since is None and self._dirty():
            self._dirty_since = now
        raft = self._raft
        log = self._log
        nothing_new = log.stable == log.last and raft.durable == (raft.term, raft.vote)
        if nothing_new and not self._flush_due(now):
            return
        ready = raft.ready()
        if not ready.must_persist and not self._flush_due(now):
            return
        outputs.persist = self._batches.cut(
            self.space,
            ready,
            log,
            revision=self.store.revision,
            compact_revision=self.store.compact_revision,
        )
        raft.persist(ready)
        self._archive.first = log.first
        if log.writing == log.last:
            self._proposing.waiting_bytes = 0
        else:
            taken = sum(sum(map(len, group.datas)) for group in ready.groups)
            self._proposing.waiting_bytes = max(0, self._proposing.waiting_bytes - taken)
        freed = self.store.freed
        if freed:
            self._freeing = freed[:]
            freed.clear()
        self._in_flight = True
        self._cut_at = now
        self._written_applied = log.applied
        self._dirty_since = None
        self._applying.effect_bytes = 0

    # -- another's state ---------------------------------------------------------------------

    def cut_state(self) -> StateCut:
        """Pin the state as it stands, for a member whose entries are gone (`Outputs.snapshots`)."""
        log, store = self._log, self.store
        meta = SnapshotMeta(
            log.applied, log.term(log.applied), store.revision, store.compact_revision
        )
        epoch = self._installing.epoch
        return StateCut(meta, self.space.snapshot(epoch, after_epoch(epoch)), epoch)

    def _cut_switch(self, now: float, outputs: Outputs) -> bool:
        """Cut the batch that puts what was received in place of this state, if it is wanted."""
        installing = self._installing
        ready = self._raft.ready()
        if not installing.still_wanted():
            installing.abandon()
            return False
        assert installing.meta is not None
        outputs.persist = self._batches.cut_switch(
            self.space, ready.hard_state, installing.meta, installing.next_epoch
        )
        self._raft.persist(ready._replace(groups=[]))
        # What is acknowledged while the log is being replaced might be thrown away with it.
        self._peering.deaf = True
        self._in_flight = True
        self._cut_at = now
        return True

    def _switch(self, outputs: Outputs) -> None:
        """Go on with the state that was received, which is durable now."""
        self._peering.deaf = False
        meta = self._installing.switched()
        self._machine.load(
            epoch=self._installing.epoch,
            revision=meta.revision,
            compact_revision=meta.compact_revision,
        )
        dropped = self._applying.drop()
        if dropped is not None:
            outputs.resolved.append((dropped, EtcdError(TIMEOUT)))
        restored = self._raft.restore(meta.last_index, meta.last_term, self.membership.conf_state())
        assert restored, "no message was taken in since it was wanted"
        self._archive.first = self._log.first
        self._written_applied = self._log.applied
        self._proposing.waiting_bytes = 0
        outputs.reloaded = True

    def _confirm_reads(self, now: float, outputs: Outputs) -> None:
        """Let reads go that the store is current enough for, and say whether it is now."""
        raft, applied = self._raft, self._log.applied
        index = raft.read_index() if raft.sole_voter else None
        self.is_current = index is not None and applied >= index and not self._proposing.stopped
        reads = self._reads
        if not reads.count:
            return
        if index is not None:
            reads.confirm(index)
        else:
            for answered, confirmed in raft.take_reads():
                reads.confirm(confirmed, answered)
            context = reads.ask(now) if raft.leader else None
            if context is not None:
                raft.request_read(context)
        outputs.readable.extend(reads.readable(applied))
