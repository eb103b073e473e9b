"""What is thrown away: applied groups beyond the catch-up, links beyond two memtables."""

from __future__ import annotations

from trioetcd.replica import Recovered, recover
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.housekeeping import GROUPS_PER_BATCH, LINKS_PER_BATCH, Housekeeping
from trioetcd.replica.rows import CHAIN_BYTES_KEPT, chain_key, group_key
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import new_rows
from trioetcd.values import Index


def recovered() -> Recovered:
    """Recover a new member."""
    backend = MemoryBackend()
    backend.prepare(new_rows()).write()
    found = recover(backend)
    assert found is not None
    return found


def keeper(*, log_bytes_max: int = 1 << 30) -> Housekeeping:
    """Make the housekeeping of a new member that keeps 5 of every 10 entries."""
    config = ReplicaConfig(
        name="default",
        snapshot_count=10,
        catch_up_entries=5,
        log_bytes_max=log_bytes_max,
    )
    return Housekeeping(recovered(), config)


def test_the_log_is_cut_every_snapshot_count_and_keeps_the_catch_up() -> None:
    """Nothing goes before snapshot count and catch-up are there; then all but the catch-up."""
    keeping = keeper()
    for first in range(2, 40):
        keeping.group_written(Index(first), 10)
    rows: dict[bytes, bytes | None] = {}
    assert keeping.retire_groups(rows, Index(15)) == 2
    assert keeping.retire_groups(rows, Index(16)) == 12
    assert list(rows) == [group_key(index) for index in range(2, 12)]
    assert keeping.log_bytes == 28 * 10
    assert keeping.retire_groups(rows, Index(25)) == 12


def test_a_group_goes_whole_and_only_when_applied() -> None:
    """A group that reaches above the target, or above applied, stays."""
    keeping = keeper()
    for first in (2, 10, 14):
        keeping.group_written(Index(first), 10)
    rows: dict[bytes, bytes | None] = {}
    assert keeping.retire_groups(rows, Index(17)) == 10
    assert list(rows) == [group_key(2)]


def test_a_log_of_large_entries_is_cut_by_its_size() -> None:
    """Beyond the byte bound applied groups go whatever their number, unapplied ones never."""
    keeping = keeper(log_bytes_max=100)
    for first in range(2, 8):
        keeping.group_written(Index(first), 60)
    rows: dict[bytes, bytes | None] = {}
    assert keeping.retire_groups(rows, Index(3)) == 4
    assert keeping.retire_groups(rows, Index(7)) == 7
    assert keeping.log_bytes == 60


def test_a_batch_deletes_a_bounded_number_of_groups() -> None:
    """A long backlog goes in portions."""
    keeping = keeper()
    for first in range(2, 1000):
        keeping.group_written(Index(first), 10)
    rows: dict[bytes, bytes | None] = {}
    keeping.retire_groups(rows, Index(999))
    assert len(rows) == GROUPS_PER_BATCH
    keeping.retire_groups(rows, Index(999))
    assert len(rows) == 2 * GROUPS_PER_BATCH


def test_the_chain_reaches_back_two_memtables() -> None:
    """Links are kept for at least the bytes two memtables hold, and not for ever."""
    keeping = keeper()
    size = 100_000
    positions = {1: 0}
    rows: dict[bytes, bytes | None] = {}
    for number in range(2, 2000):
        rows.clear()
        first = keeping.retire_links(rows)
        assert len(rows) <= LINKS_PER_BATCH
        assert all(key < chain_key(first) for key in rows)
        positions[number] = keeping.batch_cut(number, size)
        kept = positions[number] - positions[first]
        assert first == 1 or kept > CHAIN_BYTES_KEPT
        assert kept <= CHAIN_BYTES_KEPT + CHAIN_BYTES_KEPT // 8
