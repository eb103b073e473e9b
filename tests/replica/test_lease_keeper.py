"""Leases end no faster than etcd ends them, and never early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.lease import Lessor
from trioetcd.replica.lease_keeper import REVOKES_PER_ROUND, ROUND_SECONDS, LeaseKeeper
from trioetcd.schema import messages
from trioetcd.testing.space import DictSpace


def leases(requests: list[bytes]) -> list[int]:
    """Read the leases out of their requests."""
    return [messages.LeaseRevokeRequest.FromString(request).ID for request in requests]


def test_a_mass_of_leases_ends_in_rounds() -> None:
    """Half a thousand every half second, each named once."""
    lessor = Lessor(DictSpace(), epoch=b"\x80")
    lessor.promote(0.0)
    for lease in range(1, 1201):
        lessor.grant(lease, 5, 0.0)
    keeper = LeaseKeeper(lessor)
    assert keeper.due(4.9) == []
    found = leases(keeper.due(5.0))
    assert len(found) == REVOKES_PER_ROUND
    assert keeper.due(5.0 + ROUND_SECONDS / 2) == []
    found += leases(keeper.due(5.0 + ROUND_SECONDS))
    found += leases(keeper.due(5.0 + 2 * ROUND_SECONDS))
    assert sorted(found) == list(range(1, 1201))


@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0, 30)), min_size=1, max_size=10))
def test_no_lease_ends_early(grants: list[tuple[int, float]]) -> None:
    """Whenever the keeper names a lease, its whole time has passed since its grant or renewal."""
    lessor = Lessor(DictSpace(), epoch=b"\x80")
    lessor.promote(0.0)
    keeper = LeaseKeeper(lessor)
    until: dict[int, float] = {}
    for number, (ttl, at) in enumerate(sorted(grants, key=lambda grant: grant[1]), start=1):
        until[number] = at + lessor.grant(number, ttl, at)
        if number > 1 and number - 1 in lessor and until[number - 1] > at:
            until[number - 1] = at + lessor.renew(number - 1, at)
        for lease in leases(keeper.due(at)):
            assert until[lease] <= at
            lessor.forget(lease)
