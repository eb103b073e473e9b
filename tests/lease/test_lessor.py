"""Leases: granted alike everywhere, expiring on the primary only."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.lease import LEASE_TTL_MAX, Lessor
from trioetcd.testing.space import DictSpace


def make(space: DictSpace | None = None) -> Lessor:
    """Make a lessor with a least time to live of 2 seconds, and checkpoints every 10."""
    return Lessor(space or DictSpace(), epoch=b"\x80", ttl_min=2, checkpoint_seconds=10.0)


def listed(lessor: Lessor, rows: int = 100) -> list[int]:
    """List all leases, so many a step."""
    listing = lessor.list_leases()
    while not listing.step(rows, 1 << 20):
        pass
    return listing.take()


def promote(lessor: Lessor, now: float, extend: float = 0.0) -> None:
    """Promote and set every lease's time at once."""
    lessor.promote(now, extend)
    while lessor.settle(now, 1):
        pass


@pytest.mark.parametrize(
    ("lease", "ttl", "row"),
    [
        (0, 10, errors.LEASE_NOT_FOUND),
        (2, LEASE_TTL_MAX + 1, errors.LEASE_TTL_TOO_LARGE),
        (1, 10, errors.LEASE_EXIST),
        (1, LEASE_TTL_MAX + 1, errors.LEASE_TTL_TOO_LARGE),
    ],
)
def test_grant_refused(lease: int, ttl: int, row: ErrorRow) -> None:
    """A grant is refused for number 0, a time too long, a number in use, in this order."""
    lessor = make()
    lessor.grant(1, 10, 0.0)
    with pytest.raises(EtcdError) as refused:
        lessor.grant(lease, ttl, 0.0)
    assert row == refused.value.row


def test_least_time() -> None:
    """A shorter time is raised to the least, a negative one too; the longest is granted."""
    lessor = make()
    assert [
        lessor.grant(lease, ttl, 0.0) for lease, ttl in ((1, 1), (2, -5), (-3, LEASE_TTL_MAX))
    ] == [2, 2, LEASE_TTL_MAX]


def test_only_primary_renews() -> None:
    """Elsewhere than on the leader nothing is renewed and nothing expires."""
    lessor = make()
    lessor.grant(1, 10, 0.0)
    with pytest.raises(EtcdError) as refused:
        lessor.renew(1, 5.0)
    assert refused.value.row == errors.NOT_PRIMARY_LESSOR
    assert not lessor.expired(1e9, 10)
    assert lessor.time_to_live(1, 500.0) == (10, 10.0)
    assert lessor.time_to_live(2, 0.0) is None


def test_expiry() -> None:
    """A lease expires when its time is over and it was not renewed, first come first served."""
    lessor = make()
    promote(lessor, 0.0)
    for lease, ttl in ((1, 10), (2, 5), (3, 20)):
        lessor.grant(lease, ttl, 0.0)
    assert listed(lessor) == [2, 1, 3]
    assert lessor.renew(2, 4.0) == 5
    assert listed(lessor) == [2, 1, 3]
    assert not lessor.expired(8.9, 10)
    assert lessor.time_to_live(2, 8.5) == (5, 0.5)
    assert lessor.expired(9.0, 10) == [2]
    with pytest.raises(EtcdError) as refused:
        lessor.renew(2, 9.0)
    assert refused.value.row == errors.LEASE_NOT_FOUND
    assert lessor.expired(30.0, 1) == [1]
    assert sorted(lessor.expired(30.0, 5)) == [2, 3]


def test_named_again() -> None:
    """An expired lease whose revoke was lost is named again after a while, once."""
    lessor = make()
    promote(lessor, 0.0)
    lessor.grant(1, 5, 0.0)
    assert lessor.expired(5.0, 10) == [1]
    assert not lessor.expired(7.9, 10)
    assert lessor.next_expiry == 8.0
    assert lessor.expired(8.0, 10) == [1]
    lessor.forget(1, 8.0)
    assert not lessor.expired(100.0, 10)
    lessor.grant(1, 5, 100.0)
    assert lessor.expired(105.0, 10) == [1]


def test_promotion_gives_full_time() -> None:
    """A new primary gives every lease its full time and the extension; demotion takes it all."""
    lessor = make()
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 10, 0.0)
    lessor.checkpoint(2, 4)
    promote(lessor, 100.0, extend=1.0)
    assert not lessor.expired(104.9, 10)
    assert lessor.expired(105.0, 10) == [2]
    assert sorted(lessor.expired(111.0, 10)) == [1, 2]
    lessor.demote()
    assert not lessor.primary
    assert lessor.next_expiry is None
    assert not lessor.expired(1e9, 10)
    promote(lessor, 200.0)
    assert not lessor.expired(203.0, 10)


def test_rows() -> None:
    """Leases, checkpoints and keys are found again in the rows of the same epoch only."""
    space = DictSpace()
    lessor = make(space)
    lessor.grant(7, 10, 0.0)
    lessor.grant(8, 10, 0.0)
    lessor.checkpoint(8, 3)
    lessor.checkpoint(9, 3)
    for key in (b"b", b"a\0", b"a", b"\xff\xff"):
        lessor.attach(space, 7, key)
    lessor.attach(space, 8, b"other")
    lessor.detach(space, 7, b"a")
    again = make(space)
    assert listed(again) == [7, 8]
    assert 7 in again
    assert len(again) == 2
    assert again.keys_from(7, b"", 10) == [b"a\0", b"b", b"\xff\xff"]
    assert again.keys_from(7, b"a\0\0", 1) == [b"b"]
    promote(again, 0.0)
    assert again.expired(3.0, 10) == [8]
    again.load(epoch=b"\x81")
    assert len(again) == 0


def test_what_has_happened_is_counted() -> None:
    """Grants, revokes, renewals, and of the revokes those of leases that were over."""
    lessor = make()
    granted: list[int] = []
    lessor.note_granted = granted.append
    promote(lessor, 0.0)
    for lease, ttl in ((1, 1), (2, 9), (3, 9)):
        lessor.grant(lease, ttl, 0.0)
    lessor.renew(3, 1.0)
    lessor.forget(2, 2.0)
    lessor.forget(1, 2.0)
    assert granted == [2, 9, 9]
    assert (3, 1, 2, 1) == (
        lessor.granted_total,
        lessor.renewed_total,
        lessor.revoked_total,
        lessor.expired_total,
    )


def test_times_are_set_in_steps() -> None:
    """Before its time is set a lease can be asked for, renewed, written down and revoked."""
    lessor = make()
    for lease in range(1, 7):
        lessor.grant(lease, 8, 0.0)
    lessor.checkpoint(2, 4)
    lessor.promote(100.0, extend=1.0)
    assert lessor.next_expiry is None
    assert [lessor.time_to_live(lease, 101.0) for lease in (1, 2)] == [(8, 8.0), (8, 4.0)]
    assert listed(lessor, 1) == [2, 1, 3, 4, 5, 6]
    lessor.renew(3, 103.0)
    lessor.checkpoint(2, 0)
    assert lessor.time_to_live(2, 101.0) == (8, 4.0)
    lessor.forget(4, 103.0)
    lessor.grant(7, 8, 103.0)
    assert lessor.settle(103.0, 4)
    assert not lessor.settle(103.0, 4)
    times: dict[float, list[int]] = {105.0: [2], 108.9: [], 109.0: [1, 5, 6], 111.0: [3, 7]}
    named = []
    for now in times:
        named.append(sorted(lessor.expired(now, 10)))
        for lease in named[-1]:
            lessor.forget(lease, now)
    assert named == list(times.values())


# -- checkpoints -----------------------------------------------------------------------------


def test_long_leases_are_written_down() -> None:
    """Of leases longer than the interval, what they have left, as often as that, while it is."""
    lessor = make()
    promote(lessor, 0.0)
    for lease, ttl in ((1, 10), (2, 11), (3, 35)):
        lessor.grant(lease, ttl, 0.0)
    assert lessor.next_checkpoint == 10.0
    assert lessor.to_write(9.9, 10) == []
    assert sorted(lessor.to_write(10.5, 10)) == [(2, 1), (3, 25)]
    lessor.checkpoint(2, 1)
    lessor.checkpoint(3, 25)
    assert lessor.to_write(20.5, 10) == [(3, 15)]
    lessor.checkpoint(3, 15)
    assert lessor.to_write(30.5, 10) == [(3, 5)]
    lessor.checkpoint(3, 5)
    assert lessor.next_checkpoint is None


def test_a_renewed_lease_is_not_written_down() -> None:
    """A lease that is kept alive costs the log nothing; one that is no more, as before."""
    lessor = make()
    promote(lessor, 0.0)
    lessor.grant(1, 40, 0.0)
    for second in range(4, 40, 4):
        lessor.renew(1, float(second))
        assert lessor.to_write(float(second), 10) == []
    assert lessor.to_write(59.0, 10) == [(1, 17)]
    lessor.checkpoint(1, 17)
    assert lessor.to_write(69.0, 10) == [(1, 7)]
    lessor.checkpoint(1, 7)
    assert lessor.next_checkpoint is None
    lessor.checkpoint(1, 0)
    lessor.renew(1, 70.0)
    assert lessor.to_write(80.0, 10) == [(1, 30)]


def test_a_checkpoint_on_its_way_counts() -> None:
    """From when it is given out a renewal must take it back, not only from when it is applied."""
    lessor = make()
    promote(lessor, 0.0)
    lessor.grant(1, 40, 0.0)
    assert not lessor.is_checkpointed(1)
    assert lessor.to_write(10.0, 10) == [(1, 30)]
    assert lessor.is_checkpointed(1)
    with pytest.raises(AssertionError, match="the next primary"):
        lessor.renew(1, 11.0)
    lessor.checkpoint(1, 0)  # this one was before it
    assert lessor.is_checkpointed(1)
    lessor.checkpoint(1, 30)
    assert lessor.is_checkpointed(1)
    lessor.checkpoint(1, 0)
    assert lessor.renew(1, 11.0) == 40
    promote(lessor, 20.0)
    assert lessor.time_to_live(1, 20.0) == (40, 40.0)


def test_what_is_ending_is_not_written_down() -> None:
    """Nor is a lease of which a checkpoint is still on its way."""
    lessor = make()
    promote(lessor, 0.0)
    lessor.grant(1, 40, 0.0)
    assert lessor.to_write(10.0, 10, {1}) == []
    assert not lessor.is_checkpointed(1)
    assert lessor.to_write(20.0, 10) == [(1, 20)]
    assert lessor.to_write(30.0, 10) == []
    lessor.checkpoint(1, 20)
    assert lessor.next_checkpoint is None


def test_promotion_goes_by_checkpoints() -> None:
    """A lease has what was left of it; before it is renewed the checkpoint must be taken back."""
    lessor = make()
    lessor.grant(1, 40, 0.0)
    lessor.checkpoint(1, 20)
    promote(lessor, 100.0, extend=1.0)
    assert lessor.time_to_live(1, 100.0) == (40, 21.0)
    assert lessor.is_checkpointed(1)
    assert lessor.to_write(110.0, 10) == [(1, 11)]
    lessor.demote()
    assert lessor.is_checkpointed(1)
    promote(lessor, 200.0, extend=1.0)
    assert lessor.time_to_live(1, 200.0) == (40, 21.0)
