"""How a batch is put together: effects, entries, hard state and the chain's next link, atomically.

``commit >= applied`` holds in every batch, and ``applied`` always stands beside the effects it
speaks of: this is where both are written, and nothing else writes either.
"""

from __future__ import annotations

from trioetcd.raft import HardState, Log, Ready
from trioetcd.replica.housekeeping import Housekeeping
from trioetcd.replica.outputs import Persist
from trioetcd.replica.overlay import Overlay
from trioetcd.replica.rows import (
    META_ROW,
    Recovered,
    chain_key,
    encode_link,
    group_key,
    link_crc,
    pack_meta,
)
from trioetcd.replica.state_cut import SnapshotMeta
from trioetcd.values import Index

__all__ = ["Batches"]


class Batches:
    """Cuts one batch after another.

    Attributes:
        number: the latest batch.
        housekeeping: what rides along to be deleted.

    Args:
        recovered: what was found at the start.
        housekeeping: see there.
    """

    def __init__(self, recovered: Recovered, housekeeping: Housekeeping) -> None:
        self.number = recovered.batch
        self.housekeeping = housekeeping
        self._crc = recovered.chain_crc
        self._epoch = recovered.epoch[0]
        self._cluster_id = recovered.cluster_id
        self._member_id = recovered.member_id
        self._applied_term = recovered.applied_term
        self._first_term = recovered.first_term

    def cut(
        self,
        space: Overlay,
        ready: Ready,
        log: Log,
        *,
        revision: int,
        compact_revision: int,
    ) -> Persist:
        """Turn what was gathered, and what Raft wants persisted, into the next batch."""
        keeping = self.housekeeping
        rows = space.rotate()
        last = log.stable
        if ready.truncated is not None:
            keeping.drop_groups(rows, ready.truncated)
        for group in ready.groups:
            encoded = group.encoded
            rows[group_key(group.first)] = encoded
            keeping.group_written(group.first, len(encoded))
            last = group.last
        self.number += 1
        applied = log.applied
        first = keeping.retire_groups(rows, applied)
        if first != log.first:
            log.compact(first)
            self._first_term = log.term(first - 1)
        # Terms never go back: what is applied in the log's last term stays in it.
        if self._applied_term != log.last_term:
            self._applied_term = log.term(applied)
        term, vote, commit = ready.hard_state
        assert commit >= applied
        # The commit index may be known to lie beyond what this batch makes durable here.
        hard_state = HardState(term, vote, min(commit, last))
        return self._seal(rows, hard_state, applied, last, revision, compact_revision)

    def cut_switch(
        self, space: Overlay, hard_state: HardState, meta: SnapshotMeta, epoch: bytes
    ) -> Persist:
        """Make the batch that puts a snapshot, whose rows are here, in place of state and log."""
        keeping = self.housekeeping
        rows = space.rotate()
        last = meta.last_index
        keeping.restart(rows, Index(last + 1))
        self.number += 1
        self._epoch = epoch[0]
        self._applied_term = self._first_term = meta.last_term
        hard_state = hard_state._replace(commit=last)
        return self._seal(rows, hard_state, last, last, meta.revision, meta.compact_revision)

    def _seal(
        self,
        rows: dict[bytes, bytes | None],
        hard_state: HardState,
        applied: Index,
        last: Index,
        revision: int,
        compact_revision: int,
    ) -> Persist:
        """Add the meta row and the chain's next link."""
        keeping = self.housekeeping
        number = self.number
        chain_first = keeping.retire_links(rows)
        size = sum(map(len, rows)) + sum(map(len, filter(None, rows.values())))
        position = keeping.batch_cut(number, size)
        term, vote, commit = hard_state
        # In the order of `Meta`.
        meta = pack_meta(
            number,
            chain_first,
            term,
            vote,
            commit,
            applied,
            self._applied_term,
            revision,
            compact_revision,
            position,
            self._epoch,
            keeping.first,
            self._first_term,
            last,
            self._cluster_id,
            self._member_id,
        )
        link = encode_link(self._crc, meta, number, last, position)
        self._crc = link_crc(link)
        rows[META_ROW] = meta
        rows[chain_key(number)] = link
        return Persist(number, rows, size)
