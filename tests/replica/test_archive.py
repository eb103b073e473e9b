"""Tests of `trioetcd.replica.archive`: what others lack is read back whole, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.ports import BackendError
from trioetcd.raft import Group, encode_group
from trioetcd.replica.archive import StoredGroups
from trioetcd.replica.rows import chain_key, group_key
from trioetcd.storage.memory import MemoryBackend
from trioetcd.values import Index, Term

BEFORE = 5
"""The log begins behind this index."""


def stored(lengths: list[int]) -> tuple[MemoryBackend, list[Group]]:
    """Store groups of so many entries each, and rows on both sides of them."""
    backend = MemoryBackend()
    groups: list[Group] = []
    rows: dict[bytes, bytes | None] = {chain_key(1): b"", b"f": b"behind the log"}
    first = BEFORE + 1
    for length in lengths:
        groups.append(Group(Index(first), Term(3), [b"x" * 10] * length))
        rows[group_key(first)] = groups[-1].encoded
        first += length
    backend.prepare(rows).write()
    return backend, groups


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.data())
def test_groups_come_in_order_from_the_one_that_is_asked_for(
    lengths: list[int], data: st.DataObject
) -> None:
    """Neighbours, the first of which holds the index; as many bytes as asked for, or all."""
    backend, groups = stored(lengths)
    index = data.draw(st.integers(BEFORE + 1, groups[-1].last))
    size = data.draw(st.integers(0, 400))
    found = StoredGroups(backend, Index(BEFORE + 1)).groups(Index(index), size)
    at = next(at for at, group in enumerate(groups) if group.last >= index)
    assert groups[at : at + len(found)] == found
    sizes = [len(group.encoded) for group in found]
    assert sum(sizes) >= size or found[-1] == groups[-1]
    assert sum(sizes[:-1]) < max(size, 1), "no more than was asked for"


def test_what_is_gone_is_not_made_up() -> None:
    """Below the first kept index nothing is looked at, though rows may lie there yet."""
    backend, groups = stored([2, 2, 2])
    archive = StoredGroups(backend, groups[1].first)
    with pytest.raises(BackendError, match=f"holds index {groups[0].last}"):
        archive.groups(groups[0].last, 1)
    archive.first = groups[0].first
    assert groups == archive.groups(groups[0].last, 1000)


def test_damage_is_told_with_its_place() -> None:
    """A group that was changed is never given; the error names where the log is damaged."""
    backend, groups = stored([2, 2, 2])
    middle = groups[1].first
    damaged = bytearray(encode_group(*groups[1]))
    damaged[-1] ^= 1
    backend.prepare({group_key(middle): bytes(damaged)}).write()
    archive = StoredGroups(backend, groups[0].first)
    assert groups[:1] == archive.groups(groups[0].first, 1)
    with pytest.raises(BackendError, match=f"the log is damaged at index {middle}"):
        archive.groups(groups[0].first, 1000)
