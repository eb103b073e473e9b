"""Leases: granted alike everywhere, expiring on the primary only."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.lease import LEASE_TTL_MAX, Lessor
from trioetcd.testing.space import DictSpace


def make(space: DictSpace | None = None) -> Lessor:
    """Make a lessor with a least time to live of 2 seconds."""
    return Lessor(space or DictSpace(), epoch=b"\x80", ttl_min=2)


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
    lessor.promote(0.0)
    for lease, ttl in ((1, 10), (2, 5), (3, 20)):
        lessor.grant(lease, ttl, 0.0)
    assert lessor.leases() == [2, 1, 3]
    assert lessor.renew(2, 4.0) == 5
    assert lessor.leases() == [2, 1, 3]
    assert not lessor.expired(8.9, 10)
    assert lessor.time_to_live(2, 8.5) == (5, 0.5)
    assert lessor.expired(9.0, 10) == [2]
    with pytest.raises(EtcdError) as refused:
        lessor.renew(2, 9.0)
    assert refused.value.row == errors.LEASE_NOT_FOUND
    assert lessor.expired(30.0, 1) == [1]
    assert lessor.expired(30.0, 5) == [2, 3]


def test_named_again() -> None:
    """An expired lease whose revoke was lost is named again after a while, once."""
    lessor = make()
    lessor.promote(0.0)
    lessor.grant(1, 5, 0.0)
    assert lessor.expired(5.0, 10) == [1]
    assert not lessor.expired(7.9, 10)
    assert lessor.next_expiry == 8.0
    assert lessor.expired(8.0, 10) == [1]
    lessor.forget(1)
    assert not lessor.expired(100.0, 10)
    lessor.grant(1, 5, 100.0)
    assert lessor.expired(105.0, 10) == [1]


def test_promotion_gives_full_time() -> None:
    """A new primary gives every lease its full time and the extension; demotion takes it all."""
    lessor = make()
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 10, 0.0)
    lessor.checkpoint(2, 4)
    lessor.promote(100.0, extend=1.0)
    assert not lessor.expired(104.9, 10)
    assert lessor.expired(105.0, 10) == [2]
    assert lessor.expired(111.0, 10) == [2, 1]
    lessor.demote()
    assert not lessor.primary
    assert lessor.next_expiry is None
    assert not lessor.expired(1e9, 10)
    lessor.promote(200.0)
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
    assert again.leases() == [7, 8]
    assert 7 in again
    assert len(again) == 2
    assert again.keys(7) == [b"a\0", b"b", b"\xff\xff"]
    assert again.keys_from(7, b"a\0\0", 1) == [b"b"]
    again.promote(0.0)
    assert again.expired(3.0, 10) == [8]
    again.load(epoch=b"\x81")
    assert len(again) == 0
