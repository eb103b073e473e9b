"""The key space against a plain dict of versions, as a stateful Hypothesis test."""

from __future__ import annotations

import struct
from hashlib import blake2b

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.mvcc.twin import (
    Member,
    Refused,
    State,
    Twin,
    deletions,
    event_of,
    full_txns,
    puts,
    ranges,
    row_of,
    run_to_end,
    txns,
)
from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import RangeQuery
from trioetcd.mvcc.layout import META
from trioetcd.schema import messages
from trioetcd.schema.fastpath import kv_field
from trioetcd.statemachine import CommandKind, Outcome, validation


def content_of(state: State) -> int:
    """Hash a state as a member does: every key with what it is, in order."""
    whole = blake2b(digest_size=8)
    for key, kv in sorted(state.items()):
        row = META.pack(kv.create, kv.mod, kv.version, kv.lease)
        row += kv_field(key, kv.create, kv.mod, kv.version, kv.value, kv.lease)
        whole.update(struct.pack(">II", len(key), len(row)) + key + row)
    return int.from_bytes(whole.digest(), "big")


class KeySpace(RuleBasedStateMachine):
    """Requests against the store and against its naive twin."""

    @initialize()
    def start(self) -> None:
        self.member = Member()
        self.other = Member()
        self.twin = Twin()
        self.published: dict[int, list[messages.Event]] = {}
        for lease in (1, 2):
            request = messages.LeaseGrantRequest(ID=lease, TTL=10)
            self.apply(CommandKind.LEASE_GRANT, request.SerializeToString())
            self.twin.leases.add(lease)

    def apply(self, kind: int, payload: bytes) -> Outcome:
        outcome = self.member.apply(kind, payload)
        again = self.other.apply(kind, payload)
        if isinstance(outcome, EtcdError):
            assert isinstance(again, EtcdError)
            assert outcome.row == again.row
        else:
            assert outcome == again
        for revision, events in self.member.applier.published:
            seen = []
            for key, message, before in events:
                event = messages.Event.FromString(message + (before or b""))
                assert event.kv.key == key
                seen.append(event)
            self.published[revision] = seen
        self.member.applier.published.clear()
        return outcome

    @rule(request=puts())
    def put(self, request: messages.PutRequest) -> None:
        """A put answers and leaves what the twin says."""
        self.twin.begin()
        outcome = self.apply(CommandKind.PUT, request.SerializeToString())
        old = None
        row = None
        try:
            old = self.twin.put(request)
        except Refused as refused:
            row = refused.row
        assert row == row_of(outcome)
        if row is not None:
            return
        self.twin.end()
        assert isinstance(outcome, tuple)
        expected = messages.PutResponse()
        if old is not None and request.prev_kv:
            expected.prev_kv.CopyFrom(old.message())
        assert (self.twin.revision, expected) == (
            outcome[0],
            messages.PutResponse.FromString(outcome[1]),
        )

    @rule(request=deletions)
    def delete(self, request: messages.DeleteRangeRequest) -> None:
        """A deletion answers and leaves what the twin says; of nothing, it takes no revision."""
        self.twin.begin()
        gone = self.twin.delete(request.key, request.range_end)
        self.twin.end()
        outcome = self.apply(CommandKind.DELETE_RANGE, request.SerializeToString())
        expected = messages.DeleteRangeResponse(deleted=len(gone))
        if request.prev_kv:
            expected.prev_kvs.extend(kv.message() for kv in gone)
        assert isinstance(outcome, tuple)
        assert (self.twin.revision, expected) == (
            outcome[0],
            messages.DeleteRangeResponse.FromString(outcome[1]),
        )

    @rule(request=st.one_of(txns, full_txns(), full_txns()))
    def txn(self, request: messages.TxnRequest) -> None:
        """A txn answers and leaves what the twin says, or fails and changes nothing."""
        self.twin.begin()
        row = None
        expected = messages.TxnResponse()
        try:
            validation.check_txn(request, None)
            expected = self.twin.txn(request)
        except EtcdError as error:
            row = error.row
        except Refused as refused:
            row = refused.row
        if row is not None:
            assert row == row_of(self.apply(CommandKind.TXN, request.SerializeToString()))
            return
        if validation.is_read_only(request):
            result = run_to_end(self.member.applier.read_txn(request))
            assert isinstance(result, tuple)
            assert (self.twin.revision, expected) == (
                result[0],
                messages.TxnResponse.FromString(result[1]),
            )
        self.twin.end()
        outcome = self.apply(CommandKind.TXN, request.SerializeToString())
        assert isinstance(outcome, tuple)
        assert (self.twin.revision, expected) == (
            outcome[0],
            messages.TxnResponse.FromString(outcome[1]),
        )

    @rule(lease=st.sampled_from([1, 2]))
    def revoke(self, lease: int) -> None:
        """A revoked lease takes its keys with it in one revision."""
        self.twin.begin()
        for key in sorted(self.twin.state):
            if self.twin.state[key].lease == lease:
                self.twin.delete(key, b"")
        self.twin.end()
        request = messages.LeaseRevokeRequest(ID=lease)
        outcome = self.apply(CommandKind.LEASE_REVOKE, request.SerializeToString())
        if lease in self.twin.leases:
            assert (self.twin.revision, b"") == outcome
            self.twin.leases.discard(lease)
        else:
            assert row_of(outcome) == errors.LEASE_NOT_FOUND

    @rule(lease=st.sampled_from([1, 2]))
    def grant(self, lease: int) -> None:
        """A lease is granted once."""
        request = messages.LeaseGrantRequest(ID=lease, TTL=10)
        outcome = self.apply(CommandKind.LEASE_GRANT, request.SerializeToString())
        assert (lease in self.twin.leases) == isinstance(outcome, EtcdError)
        self.twin.leases.add(lease)

    @rule(revision=st.none() | st.integers(-1, 60))
    def compact(self, revision: int | None) -> None:
        """Compaction moves the compact revision and nothing else that can be seen."""
        if revision is None:
            revision = (self.twin.compacted + self.twin.revision + 1) // 2
        request = messages.CompactionRequest(revision=revision)
        outcome = self.apply(CommandKind.COMPACT, request.SerializeToString())
        if revision <= self.twin.compacted:
            assert row_of(outcome) == errors.COMPACTED
        elif revision > self.twin.revision:
            assert row_of(outcome) == errors.FUTURE_REVISION
        else:
            assert (self.twin.revision, b"") == outcome
            self.twin.compacted = revision

    @rule(rows=st.integers(1, 7))
    def forget(self, rows: int) -> None:
        """A step of physical compaction cannot be seen."""
        self.member.store.compact_step(rows)

    @rule()
    def reopen(self) -> None:
        """A store opened from its rows is the store that wrote them."""
        chain = self.member.store.chain
        numbers = (self.member.store.counts.starts, self.member.store.counts.numbers)
        self.member.reopen(self.twin.revision, self.twin.compacted)
        assert chain == self.member.store.chain
        assert numbers == (self.member.store.counts.starts, self.member.store.counts.numbers)

    @rule(back=st.integers(0, 9), rows=st.integers(1, 5), size=st.sampled_from([1, 100, 100_000]))
    def hash_content(self, back: int, rows: int, size: int) -> None:
        """The hash of a revision's content is the twin's, whatever the steps, changes between."""
        revision = max(self.twin.revision - back, self.twin.compacted, 1)
        hashing = self.member.store.content_hash(revision)
        while not hashing.step(rows, size):
            self.put(messages.PutRequest(key=b"a", value=b"%d" % rows))
            self.forget(3)
        assert content_of(self.twin.states[revision]) == hashing.value

    @rule(request=ranges, rows=st.integers(1, 5), size=st.sampled_from([1, 100, 100_000]))
    def range(self, request: messages.RangeRequest, rows: int, size: int) -> None:
        """A range at any revision gives what the twin gives, whatever the steps, writes between."""
        self.compare_range(request, rows, size, between=True)

    def compare_range(
        self, request: messages.RangeRequest, rows: int, size: int, *, between: bool
    ) -> None:
        query = RangeQuery(
            KeyRange.from_wire(request.key, request.range_end),
            request.revision,
            request.limit,
            request.sort_order,
            request.sort_target,
            request.keys_only,
            request.count_only,
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
        store = self.member.store
        at = request.revision if request.revision > 0 else self.twin.revision
        if at > self.twin.revision or at < self.twin.compacted:
            row = errors.FUTURE_REVISION if at > self.twin.revision else errors.COMPACTED
            with pytest.raises(EtcdError) as refused:
                store.range(query)
            assert row == refused.value.row
            return
        cursor = store.range(query)
        expected = self.twin.range(self.twin.states[at], request)
        revision = self.twin.revision
        while not cursor.step(rows, size):
            if not between:
                continue
            put = messages.PutRequest(key=b"ab", value=b"between")
            self.put(put)
        got = messages.RangeResponse.FromString(b"".join(cursor.kvs))
        got.more, got.count = cursor.more, cursor.count
        assert (revision, expected) == (cursor.revision, got)
        assert self.member.space.pinned == 0

    @rule(start=st.integers(1, 60), rows=st.integers(1, 5))
    def history(self, start: int, rows: int) -> None:
        """Everything from any revision that is not compacted can be read back, whole."""
        self.compare_history(start, rows)

    def compare_history(self, start: int, rows: int) -> None:
        start = max(start, self.twin.compacted, 2)
        reader = self.member.store.reader(start)
        got: list[tuple[int, list[messages.Event]]] = []
        while reader.position <= self.twin.revision:
            for revision, events in reader.step(
                self.twin.revision, rows, 10_000, self.twin.compacted
            ):
                got.append(
                    (
                        revision,
                        [
                            messages.Event.FromString(event[1] + (event[2] or b""))
                            for event in events
                        ],
                    )
                )
        expected = [
            (
                revision,
                [
                    event_of(happening, revision, self.twin.compacted)
                    for happening in self.twin.happened[revision]
                ],
            )
            for revision in range(start, self.twin.revision + 1)
        ]
        if start == self.twin.compacted and expected:
            # What a compacted revision itself superseded may be gone.
            superseded = [
                event
                for event in expected[0][1]
                if event not in (got[0][1] if got and got[0][0] == start else [])
            ]
            live = self.twin.states[start]
            for event in superseded:
                assert event.type == messages.Event.PUT
                assert event.kv.key not in live
                expected[0][1].remove(event)
            if not expected[0][1]:
                expected.pop(0)
        assert expected == got

    @invariant()
    def agrees(self) -> None:
        """Revision, compact revision, counts and published events are the twin's."""
        if not hasattr(self, "twin"):
            return
        store = self.member.store
        state = self.twin.states[self.twin.revision]
        assert self.twin.revision == store.revision
        assert self.twin.compacted == store.compact_revision
        assert len(state) == store.counts.total
        rows = self.member.space.rows.items()
        kept = [len(raw) + len(row) for raw, row in rows if raw[1:2] in {b"c", b"o", b"r", b"l"}]
        floor = self.member.space.rows.get(b"\x80r", b"")
        assert sum(kept) - (2 + len(floor) if floor else 0) == store.kept_bytes
        expected = {
            revision: [event_of(happening, revision, 0) for happening in happened]
            for revision, happened in self.twin.happened.items()
        }
        assert expected == self.published

    def compare_everything(self) -> None:
        """Read every revision there is in every way."""
        now = self.twin.revision
        for at in range(max(self.twin.compacted, 1), now + 1):
            self.compare_history(at, 1 + at % 4)
            for member in (self.member, self.other):
                hashing = member.store.content_hash(at)
                while not hashing.step(1 + at % 3, 100_000):
                    pass
                assert content_of(self.twin.states[at]) == hashing.value
            for number in range(60):
                request = messages.RangeRequest(
                    key=(b"\0", b"a", b"a\0")[number % 3],
                    range_end=(b"\0", b"b", b"a\xff", b"")[number % 4],
                    revision=at,
                    limit=(0, 1, 2, 4)[number // 2 % 4],
                    sort_order=number % 3,
                    sort_target=number // 3 % 5,
                    keys_only=number % 7 == 0,
                    count_only=number % 11 == 0,
                    min_mod_revision=at // 2 if number % 5 == 0 else 0,
                    max_create_revision=at // 2 if number % 9 == 0 else 0,
                )
                self.compare_range(request, 1 + number % 3, 100_000, between=False)

    def teardown(self) -> None:
        """Two members that were given the same commands hold the same rows in the end."""
        if not hasattr(self, "twin"):
            return
        self.compare_everything()
        for member in (self.member, self.other):
            while member.store.compact_step(1000):
                pass
        assert self.other.store.chain == self.member.store.chain
        ours, theirs = self.member.space.rows, self.other.space.rows
        assert theirs == ours


KeySpace.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
TestKeySpace = KeySpace.TestCase
