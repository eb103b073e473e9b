"""The replica's own rows: round trips, and damage that is told apart from a lost tail."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioetcd.ports import FIRST_ROW, LAST_ROW
from trioetcd.replica import CorruptLog, Recovered, check_chain, recover
from trioetcd.replica.rows import (
    META_ROW,
    Meta,
    bootstrap_joiner,
    chain_key,
    decode_link,
    decode_meta,
    encode_link,
    encode_meta,
    force_commit,
    group_key,
)
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous, new_rows
from trioetcd.values import ClusterID, Index, MemberID, Term

u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
metas = st.tuples(*[u64] * 8, i64, u64, st.integers(0, 255), *[u64] * 5).map(
    lambda fields: Meta(*fields)
)


def written(puts: int = 4) -> dict[bytes, bytes]:
    """Give the rows of a member that has done some puts, each with a batch of its own."""
    backend = MemoryBackend()
    member = Synchronous(backend).start()
    for number in range(puts):
        member.done(CommandKind.PUT, messages.PutRequest(key=b"k", value=b"%d" % number))
    rows = dict(backend.scan(FIRST_ROW + b"\0", LAST_ROW))
    first = backend.get(FIRST_ROW)
    assert first is not None
    return {FIRST_ROW: first, **rows, LAST_ROW: b""}


def disk(rows: dict[bytes, bytes]) -> MemoryBackend:
    """Make a disk that holds rows."""
    backend = MemoryBackend()
    backend.prepare(dict(rows)).write()
    return backend


SOUND = written()


@given(metas)
def test_meta_round_trip(meta: Meta) -> None:
    """Every field of the meta row comes back."""
    assert meta == decode_meta(encode_meta(meta))


@given(u64.map(lambda n: n >> 32), st.binary(max_size=9), u64, u64, u64)
def test_link_round_trip(previous: int, meta: bytes, number: int, last: int, position: int) -> None:
    """Every field of a link comes back, and it is of no other batch."""
    encoded = encode_link(previous, meta, number, last, position)
    link = decode_link(encoded, number)
    assert (previous, number, last, position) == (
        link.previous,
        link.number,
        link.last,
        link.position,
    )
    with pytest.raises(CorruptLog):
        decode_link(encoded, number ^ 1)


def test_a_new_directory_holds_nothing_and_then_the_bootstrap() -> None:
    """None before the first batch; after it an empty store in term 1 with the members applied."""
    backend = MemoryBackend()
    assert recover(backend) is None
    backend.prepare(new_rows()).write()
    recovered = recover(backend)
    assert isinstance(recovered, Recovered)
    assert (recovered.hard_state.term, recovered.applied, recovered.first) == (1, 1, 2)
    assert (recovered.revision, recovered.batch, recovered.entries) == (1, 1, ())


def test_a_joiners_directory_begins_before_every_log() -> None:
    """Index 0, term 0, an empty store and a chain that can be checked."""
    backend = disk({})
    backend.prepare(bootstrap_joiner(cluster_id=ClusterID(7), member_id=MemberID(5))).write()
    recovered = recover(backend)
    assert recovered is not None
    assert (0, 0, 0, 1) == (
        recovered.last,
        recovered.applied,
        recovered.first_term,
        recovered.first,
    )
    assert (7, 5, 1) == (recovered.cluster_id, recovered.member_id, recovered.revision)
    assert (0, 0, 0) == tuple(recovered.hard_state)


@pytest.mark.parametrize("datas", [[], [b"one", b"", b"two"]])
def test_a_forced_batch_commits_the_whole_log(datas: list[bytes]) -> None:
    """Entries and rows are added in one batch of the chain, and nothing before it is touched."""
    backend = disk(SOUND)
    before = recover(backend)
    assert before is not None
    backend.prepare(force_commit(before, {b"\x80x": b"row"}, datas)).write()
    after = recover(backend)
    assert after is not None
    assert after.last == before.last + len(datas) == after.hard_state.commit
    assert (before.batch + 1, before.applied) == (after.batch, after.applied)
    assert before.hard_state[:2] == after.hard_state[:2]
    assert backend.get(b"\x80x") == b"row"
    added = [data for group in after.entries for data in group.datas][-len(datas) or 99 :]
    assert datas == added


def test_sound_rows_are_recovered() -> None:
    """What was written is read back: marks, ids and the entries above applied."""
    recovered = recover(disk(SOUND))
    assert recovered is not None
    meta = check_chain(disk(SOUND))
    assert (meta.batch, meta.last) == (recovered.batch, recovered.last)
    assert recovered.last == recovered.hard_state.commit + 1, "the last put was not yet known"
    assert recovered.entries[-1].last == recovered.last


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_in_our_rows_is_noticed(data: st.DataObject) -> None:
    """One flipped bit in any value of the log, the chain or the meta row refuses the start."""
    rows = dict(SOUND)
    ours = [key for key, value in rows.items() if key[:1] in {b"B", b"M", b"e"} and value]
    key = data.draw(st.sampled_from(ours))
    value = bytearray(rows[key])
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    value[bit // 8] ^= 1 << bit % 8
    rows[key] = bytes(value)
    with pytest.raises(CorruptLog):
        recover(disk(rows))


@pytest.mark.parametrize(
    "key", [key for key in SOUND if key[:1] in {b"B", b"M", b"e", FIRST_ROW}], ids=bytes.hex
)
def test_any_missing_row_of_ours_is_noticed(key: bytes) -> None:
    """Without any one of our rows the start is refused, never begun anew."""
    rows = dict(SOUND)
    del rows[key]
    with pytest.raises(CorruptLog):
        recover(disk(rows))


def test_a_missing_last_row_is_noticed() -> None:
    """The sentinel above all rows must be there."""

    class WithoutLast(MemoryBackend):
        def get(self, key: bytes, /) -> bytes | None:
            return None if key == LAST_ROW else super().get(key)

    backend = WithoutLast()
    backend.prepare(dict(SOUND)).write()
    with pytest.raises(CorruptLog, match="last row"):
        recover(backend)


def test_sentences_say_where() -> None:
    """Each kind of damage has a sentence of its own."""
    meta = decode_meta(SOUND[META_ROW])

    def sentence(**_: object) -> str:
        with pytest.raises(CorruptLog) as caught:
            recover(disk(rows))
        return str(caught.value)

    rows = dict(SOUND)
    del rows[chain_key(3)]
    assert sentence() == "batch 3 is missing: the next one found is 4"
    rows = dict(SOUND)
    rows[chain_key(meta.batch + 1)] = encode_link(1, b"", meta.batch + 1, 0, 0)
    assert f"batch {meta.batch + 1} does not follow batch {meta.batch}" in sentence()
    rows = dict(SOUND)
    rows[META_ROW] = encode_meta(meta._replace(batch=meta.batch - 1))
    assert f"the last batch is {meta.batch}" in sentence()
    rows = dict(SOUND)
    rows[META_ROW] = encode_meta(meta._replace(commit=meta.last))
    assert "not the one written in batch" in sentence()
    rows = dict(SOUND)
    rows[META_ROW] = rows[META_ROW][:4] + b"\x09" + rows[META_ROW][5:]
    assert "checksum" in sentence()
    rows = dict(SOUND)
    rows[FIRST_ROW] = b"another"
    assert "unknown format" in sentence()
    rows = {key: value for key, value in SOUND.items() if key[:1] != b"B"}
    assert "the batch chain is empty" in sentence()
    rows = dict(SOUND)
    groups = [key for key in rows if key[:1] == b"e"]
    del rows[groups[1]]
    assert "the log has a gap" in sentence()
    rows = dict(SOUND)
    del rows[groups[-1]]
    assert "the log ends at index" in sentence()
    rows = dict(SOUND)
    rows[groups[1]] = rows[groups[0]]
    assert "the log has a gap" in sentence()


@pytest.mark.parametrize("batches", range(1, 8))
def test_a_lost_tail_is_no_damage(batches: int) -> None:
    """Any prefix of the batches is a state that was there, and is recovered as such."""
    backend = MemoryBackend()
    member = Synchronous(backend)
    while member.replica.statistics().batches < batches:
        member.propose((None, CommandKind.PUT, messages.PutRequest(key=b"k").SerializeToString()))
        if member.waiting is not None and member.waiting.number <= batches:
            member.persist()
    recovered = recover(backend)
    assert recovered is not None
    assert recovered.batch <= batches


def resealed(meta: Meta) -> dict[bytes, bytes]:
    """Give sound rows but for the meta row, with checksum and link made anew."""
    rows = dict(SOUND)
    rows[META_ROW] = encode_meta(meta)
    link = decode_link(rows[chain_key(meta.batch)], meta.batch)
    rows[chain_key(meta.batch)] = encode_link(
        link.previous, rows[META_ROW], meta.batch, link.last, link.position
    )
    return rows


def test_marks_that_contradict_each_other_are_refused() -> None:
    """Even with every checksum right: applied beyond commit, or entries of a term never entered."""
    meta = decode_meta(SOUND[META_ROW])
    with pytest.raises(CorruptLog, match="contradict"):
        recover(disk(resealed(meta._replace(commit=Index(1)))))
    with pytest.raises(CorruptLog, match="of term 2"):
        recover(disk(resealed(meta._replace(term=Term(1)))))


def test_another_format_of_the_meta_row_is_refused() -> None:
    """A later version's meta row is named as such."""
    from zlib import crc32

    body = b"\x02" + SOUND[META_ROW][5:]
    with pytest.raises(CorruptLog, match="unknown format 2"):
        decode_meta(crc32(body).to_bytes(4, "big") + body)


def test_keys_lie_in_the_order_of_their_numbers() -> None:
    """Big-endian keys sort like numbers, so that a scan is in the order of log and chain."""
    assert sorted([group_key(256), group_key(2), group_key(2**63)]) == [
        group_key(2),
        group_key(256),
        group_key(2**63),
    ]
