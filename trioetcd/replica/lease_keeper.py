"""Expiry and checkpoints of leases: only the leader's clock counts, and only the log says so.

The keeper says how many of the leases that are over may be ended now, and which leases' time is to
be written down. However many leases end at once, clients' commands go between them: two rounds of
ends are under way, and the next one waits until the first of them has been applied. Nor can clients
crowd out the ends, which are the leader's own and refused by no bound (etcd: PriorityRequest).

A lease is never ended early:

* The end is an entry that the leader appends to its own log, in its own term, in the very step
  in which it found the lease over; it is never forwarded, so the entry's term *is* the term of
  the decision, and nothing is left to compare when it is applied.
* A new leader starts all leases anew (`Lessor.promote`) when it applies the first entry of its
  own term, and renews none before. Whatever an earlier leader decided lies below that entry.
* A checkpoint says what a lease had left. Of a lease that is about to be revoked none is proposed,
  so that who is granted the same number next is not taken for it; and before a lease is renewed
  that has one, applied or on its way, it is taken back through the log (`lease_desk`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from trioetcd.lease import Lessor
from trioetcd.raft import Raft, Role
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, CommandKind, kind_of, request_of
from trioetcd.values import Index

__all__ = ["CHECKPOINTS_PER_ROUND", "REVOKES_PER_ROUND", "ROUND_SECONDS", "Append", "LeaseKeeper"]

Append = Callable[[int, Sequence[bytes]], bool]
"""Appends commands of one kind to the leader's own log; says whether it could."""

REVOKES_PER_ROUND: Final = 256
"""To find and append so many takes about 1 ms, to apply them 10 to 20 ms in slices."""

SETTLED_PER_STEP: Final = 1024
"""Leases whose time a new leader sets in one step; about 2 ms."""

ROUND_SECONDS: Final = 0.5
"""How often checkpoints are written; etcd looks at its leases as often."""

CHECKPOINTS_PER_ROUND: Final = 500
"""1000 a second, as in etcd, all of a round in one entry."""


class LeaseKeeper:
    """Ends leases on the leader, and writes down what they have left.

    Attributes:
        busy: whether `go_on` is to be called in every step.

    Args:
        raft: who leads, and its log.
        lessor: who knows the leases, and names one again whose end has come to nothing.
        alarms: while a member's state is corrupt no lease is ended, as no revoke is carried out.
        append: takes the entries.
    """

    def __init__(self, raft: Raft, lessor: Lessor, alarms: Alarms, append: Append) -> None:
        self.busy = False
        self._raft = raft
        self._lessor = lessor
        self._alarms = alarms
        self._append = append
        self._next = 0.0
        self._rounds = (Index(0), Index(0))

    def lead(self, now: float, extend: float) -> None:
        """Begin: every lease gets its time, and `extend` more."""
        self._lessor.promote(now, extend)
        self._rounds = (Index(0), Index(0))
        self.busy = True

    def retire(self) -> None:
        """Lead no more."""
        self._lessor.demote()
        self.busy = False

    def tick(self, now: float) -> None:
        """See whether a lease is over, and write down what others have left."""
        if not self._leads():
            return
        self.busy = self.busy or self._is_due(now)
        first = self._lessor.next_checkpoint
        if first is not None and first <= now and now >= self._next:
            self._next = now + ROUND_SECONDS
            self._write_checkpoints(now)

    def _leads(self) -> bool:
        """Whether the clock counts: a message of this step may have deposed this member."""
        raft = self._raft
        leads = raft.role == Role.LEADER and raft.log.applied >= raft.term_start
        return leads and self._lessor.primary and not raft.transferee

    def go_on(self, now: float) -> bool:
        """End some of the leases that are over; True if there is more to do at once."""
        lessor, log = self._lessor, self._raft.log
        if lessor.settle(now, SETTLED_PER_STEP):
            return True
        if self._alarms.corrupt or not self._leads():
            self.busy = False  # the next tick asks again
            return False
        earlier, latest = self._rounds
        if log.applied < earlier:
            return False
        leases = lessor.expired(now, REVOKES_PER_ROUND)
        if leases and log.applied < log.last:
            # Behind a revoke that is not applied the same number may have been granted anew.
            ending = self._ending()
            leases = [lease for lease in leases if lease not in ending]
        if not leases:
            self.busy = self._is_due(now)
            return self.busy
        requests = [messages.LeaseRevokeRequest(ID=lease).SerializeToString() for lease in leases]
        self._append(CommandKind.LEASE_REVOKE, requests)
        self._rounds = (latest, log.last)
        return log.applied >= latest

    def _is_due(self, now: float) -> bool:
        first = self._lessor.next_expiry
        return first is not None and first <= now

    def _write_checkpoints(self, now: float) -> None:
        left = self._lessor.to_write(now, CHECKPOINTS_PER_ROUND, self._ending())
        if left:
            request = messages.LeaseCheckpointRequest()
            for lease, seconds in left:
                request.checkpoints.add(ID=lease, remaining_TTL=seconds)
            self._append(CommandKind.LEASE_CHECKPOINT, [request.SerializeToString()])

    def _ending(self) -> set[int]:
        """Give the leases whose revoke stands in the log and is not applied yet."""
        ending = set()
        for data in self._raft.log.tail():
            if kind_of(data) == CommandKind.LEASE_REVOKE:
                # Whoever applies it says what is wrong.
                with suppress(messages.DecodeError, ValueError):
                    ending.add(messages.LeaseRevokeRequest.FromString(request_of(data)).ID)
        return ending
