"""A leader's state in place of one's own: received beside it, switched to in one batch.

Rows that come in are written under the next epoch, in batches like any others, while the state of
the present epoch goes on serving. When all of them are here, one batch makes the next epoch the
present one: marks, bounds of the log, and the end of all entries so far. Whatever happens before
that batch is durable, the old state stands; what belongs to no present epoch is swept away in
small steps, after the switch as after a transfer that broke, and at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from trioetcd.ports import EPOCH_FIRST, Row, Space
from trioetcd.raft import Raft
from trioetcd.replica.state_cut import SnapshotMeta, after_epoch
from trioetcd.values import MemberID, Term

__all__ = ["Installing"]

_EPOCH_LAST: Final = b"\xfe"

_SWEEP_ROWS: Final = 256
"""Rows deleted in one step: half a millisecond."""


class Installing:
    """At most one snapshot on its way in, and what earlier ones left behind.

    Attributes:
        epoch: the present one.
        meta: what is being received; None if nothing is.
        complete: whether all of it is here.

    Args:
        space: where rows are written.
        raft: asked whether a snapshot is wanted.
        epoch: the present one.
    """

    def __init__(self, space: Space, raft: Raft, epoch: bytes) -> None:
        self.epoch = epoch
        self.meta: SnapshotMeta | None = None
        self.complete = False
        self._space = space
        self._raft = raft
        self._sender = MemberID(0)
        self._term = Term(0)
        self._remains: list[tuple[bytes, bytes]] = []
        self.look_for_remains()

    @property
    def next_epoch(self) -> bytes:
        """The epoch that is being written; the numbers go round."""
        return EPOCH_FIRST if self.epoch == _EPOCH_LAST else after_epoch(self.epoch)

    def offer(self, sender: MemberID, term: Term, meta: SnapshotMeta) -> bool:
        """Say whether a snapshot may come; only one at a time, and on clean ground."""
        if self.meta is not None or self._remains:
            return False
        if not self._raft.offered_snapshot(sender, term, meta.last_index, meta.last_term):
            return False
        self.meta, self._sender, self._term = meta, sender, term
        return True

    def take(self, rows: Sequence[Row]) -> None:
        """Take rows, keys without an epoch."""
        if self.meta is None or self.complete:
            return
        epoch = self.next_epoch
        put = self._space.put
        for key, value in rows:
            put(epoch + key, value)

    def end(self, *, ok: bool) -> None:
        """Take in that all has come, or that the transfer broke."""
        if self.meta is None or self.complete:
            return
        if ok:
            self.complete = True
        else:
            self.abandon()

    def abandon(self) -> None:
        """Give up what has come so far."""
        self.meta = None
        self.complete = False
        self.look_for_remains()

    def still_wanted(self) -> bool:
        """Ask again, right before the switch: the log may have come as far by itself meanwhile."""
        meta = self.meta
        assert meta is not None
        return self._raft.offered_snapshot(
            self._sender, self._term, meta.last_index, meta.last_term
        )

    def switched(self) -> SnapshotMeta:
        """Note that the switch is durable; gives what the state is now."""
        meta = self.meta
        assert meta is not None
        self.epoch = self.next_epoch
        self.abandon()
        return meta

    # -- what is left behind -----------------------------------------------------------------

    def look_for_remains(self) -> None:
        """Find out whether there are rows of another epoch than the present one."""
        stretches = [
            (EPOCH_FIRST, self.epoch),
            (after_epoch(self.epoch), after_epoch(_EPOCH_LAST)),
        ]
        self._remains = [
            stretch
            for stretch in stretches
            if stretch[0] < stretch[1] and next(self._space.scan(*stretch), None) is not None
        ]

    @property
    def untidy(self) -> bool:
        """Whether rows wait to be swept away."""
        return bool(self._remains) and self.meta is None

    def sweep(self, freed: list[tuple[bytes, bytes]]) -> None:
        """Delete some of them; a stretch that is empty then is worth giving back."""
        start, stop = self._remains[0]
        rows = list(islice(self._space.scan(start, stop), _SWEEP_ROWS))
        for key, _ in rows:
            self._space.delete(key)
        if len(rows) < _SWEEP_ROWS:
            del self._remains[0]
            # From the first byte of the epoch on, wherever this sweep has begun.
            freed.append((start[:1], stop))
        else:
            self._remains[0] = (rows[-1][0] + b"\0", stop)
