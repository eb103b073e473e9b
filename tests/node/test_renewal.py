"""Tests of `trioetcd.node.renewal`: what is due when, and revocation lists that stay fresh."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.pki.material import NOW
from trioetcd import pki
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_layout import Layout, find_layout
from trioetcd.node.renewal import choose, next_due, renew_list
from trioetcd.pki import PkiError, Profile, Role

DAY = timedelta(days=1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Make what a member makes for itself, a list of thirty days among it."""
    place = tmp_path / "pki"
    pki_files.ensure(place, name="m1", hosts=["localhost"], now=NOW, profile=Profile())
    found = find_layout(place)
    signer = pki_files.load_authority(found.authority("client"))
    assert signer is not None
    bad = pki.issue(signer, Role.CLIENT, "mallory", now=NOW, profile=Profile())
    entry = pki.entry_of(bad.certificate, Role.CLIENT, authority=signer.certificate)
    pki_index.revoke(
        found.authority("client"), signer, [entry], reason="unspecified", now=NOW, days=30
    )
    return found


def lists(layout: Layout) -> list[pki.ListFacts]:
    path = layout.authorities / "client-crl.pem"
    return list(pki.inspect_lists(path.read_bytes(), str(path)))


def test_a_list_is_signed_anew_when_two_thirds_are_over(layout: Layout) -> None:
    """It goes on revoking whom it revoked, and lasts thirty days from then."""
    before = lists(layout)
    assert not renew_list(layout, "client", now=NOW + 19 * DAY)
    assert before == lists(layout)
    assert renew_list(layout, "client", now=NOW + 19 * DAY, early=0.05)
    assert renew_list(layout, "client", now=NOW + 50 * DAY)
    [after] = lists(layout)

    assert after.next_update == NOW + 80 * DAY
    assert after.serials == before[0].serials
    assert not renew_list(layout, "peer", now=NOW)


def test_a_list_that_knows_more_than_the_index_is_kept(layout: Layout) -> None:
    """What somebody revoked in another way must not come to life again."""
    signer = pki_files.load_authority(layout.authority("client"))
    assert signer is not None
    other = pki.revocation_list(signer, now=NOW - 3650 * DAY * 3 / 4, serials=[4711])
    path = layout.authorities / "client-crl.pem"
    path.write_bytes(other)
    with pytest.raises(PkiError, match="a new list would lose them"):
        renew_list(layout, "client", now=NOW + 3000 * DAY)
    assert other == path.read_bytes()


def test_a_list_is_not_signed_where_the_key_is_not(layout: Layout) -> None:
    """It is left to where the CA's key is kept."""
    (layout.authorities / "client-ca.key").unlink()
    assert not renew_list(layout, "client", now=NOW + 29 * DAY)


def test_the_first_to_be_due_says_when_to_wake(layout: Layout) -> None:
    """The list of thirty days comes first; jitter comes before it."""
    [facts] = lists(layout)
    assert facts.next_update is not None
    lifetime = facts.next_update - facts.this_update
    chosen = choose(layout, ["all"], now=NOW)
    plain, early = (next_due(layout, chosen, early=share) for share in (0.0, 0.05))

    assert plain == facts.this_update + lifetime * (2 / 3)
    assert early == facts.this_update + lifetime * (2 / 3 - 0.05)


@pytest.mark.parametrize(
    ("days", "before", "due"), [(59, None, False), (61, None, True), (1, 88, False), (1, 89, True)]
)
def test_a_leaf_of_ninety_days_is_due_after_sixty(
    layout: Layout, days: int, before: int | None, *, due: bool
) -> None:
    """Or when less is left than was asked for."""
    [peer] = choose(
        layout,
        ["peer"],
        now=NOW + days * DAY,
        before=None if before is None else before * DAY,
    )
    assert due is bool(peer.reason)
