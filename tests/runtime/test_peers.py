"""Tests of `trioetcd.runtime.peers`: a link to each other member, and what it tells."""

from __future__ import annotations

from functools import partial

import pytest

from tests.runtime.peering import cluster_of, heartbeat, member_of, peering
from trioetcd.cluster import Removal, Update
from trioetcd.runtime.peers import addresses_of
from trioetcd.transport.listener import Address
from trioetcd.values import MemberID
from trioetcd.wire.peer import Numbered


async def test_every_member_reaches_every_other() -> None:
    """Three members, each sends to both others; all arrives with the sender and its boot."""
    async with cluster_of([1, 2, 3]) as members:
        for one in members:
            for other in members:
                if other is not one:
                    await one.wait(partial(one.peers.is_active, other.local.id))
        for at in range(20):
            for one in members:
                own = one.local.id
                one.peers.send([heartbeat(own, to, at) for to in (1, 2, 3) if to != own])
        for one in members:
            await one.wait_received(40)
            for sender in {1, 2, 3} - {one.local.id}:
                from_it = [(boot, each) for member, boot, each in one.received if member == sender]
                expected = [
                    (1000 + sender, Numbered(at, heartbeat(sender, one.local.id, at).message))
                    for at in range(20)
                ]
                assert expected == from_it


async def test_metrics_tell_of_each_peer() -> None:
    """Bytes, live connections and lost ones stand under the peer's number."""
    async with cluster_of([1, 2]) as (one, two):
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.peers.send([heartbeat(1, 2, 1)])
        await two.wait(lambda: bool(two.received))
        text = one.metrics.render()

        assert 'etcd_network_known_peers{Local="1",Remote="2"} 1\n' in text
        assert 'etcd_network_active_peers{Local="1",Remote="2"} 1\n' in text
        assert one.metrics.network_peer_sent_bytes_total.labels("2").value > 10
        assert two.metrics.network_peer_received_bytes_total.labels("1").value > 10


async def test_how_long_each_peer_has_been_connected_is_known() -> None:
    """Members count as connected from their welcome on; one that is not there does not count."""
    async with cluster_of([1, 2]) as (one, _):
        assert {} == one.peers.connected_seconds()
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        seconds = one.peers.connected_seconds()
        assert [MemberID(2)] == list(seconds)
        assert 0 <= seconds[MemberID(2)] < 60
        one.do(Removal(MemberID(2)))
        one.peers.refresh()
        assert {} == one.peers.connected_seconds()


async def test_links_follow_the_membership() -> None:
    """A new URL is dialled, a removed member's link and its series are gone."""
    async with cluster_of([1, 2]) as (one, two), peering(2) as moved:
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.do(Update(MemberID(2), (f"https://{moved.address}",)))
        one.peers.refresh()
        await moved.wait(lambda: bool(moved.door._current))
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.peers.send([heartbeat(1, 2, 1)])
        await moved.wait(lambda: bool(moved.received))
        assert [] == two.received
        one.do(Removal(MemberID(2)))

        assert () == one.peers.addresses(MemberID(2))
        assert 'Remote="2"' not in one.metrics.network_active_peers.render()
        one.peers.send([heartbeat(1, 2, 2)])


async def test_a_removed_member_is_told() -> None:
    """Who was removed while it was away learns it from the first peer it dials."""
    async with cluster_of([1, 2]) as (one, two):
        one.do(Removal(MemberID(2)))
        two.peers._peers[MemberID(1)].link.reconnect()
        await two.wait(lambda: two.expelled > 0)
        lines = one.logged()

    refusals = [line for line in lines if line["msg"] == "refused a peer"]
    assert [("2", "member 2 has been removed from cluster c1")] == [
        (line["peer-id"], line["error"]) for line in refusals
    ]


async def test_a_member_removed_while_connected_is_told() -> None:
    """Its connections end, whatever it says or does not say on them, and the next dial tells it."""
    async with cluster_of([1, 2]) as (one, two):
        await two.wait(lambda: two.peers.is_active(MemberID(1)))
        await one.wait(lambda: bool(one.door._current))
        one.do(Removal(MemberID(2)))
        one.door.dismiss_removed()
        await two.wait(lambda: two.expelled > 0)


async def test_a_member_that_lags_answers_whom_it_does_not_know() -> None:
    """Messages of a member that is not in the table (yet) arrive, and answers find their way."""
    async with peering(1) as one, peering(2) as two:
        two.know(one, two)
        await two.wait(lambda: two.peers.is_active(MemberID(1)))
        two.peers.send([heartbeat(2, 1, 1)])
        await one.wait(lambda: bool(one.received))
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.peers.send([heartbeat(1, 2, 1)])
        await two.wait(lambda: bool(two.received))
        two.do(Removal(MemberID(1)))
        await one.wait(lambda: one.peers.addresses(MemberID(2)) == ())


async def test_a_stranger_that_is_added_stays() -> None:
    """Once the table holds it, a member's link no longer depends on its connection to us."""
    async with peering(1) as one, peering(2) as two:
        two.know(one, two)
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.know(two)
        two.do(Removal(MemberID(1)))
        await one.wait(lambda: not one.door._current)

        assert (two.address,) == one.peers.addresses(MemberID(2))


async def test_a_peer_that_goes_is_unreachable_and_comes_back() -> None:
    """Raft is told when a peer's end is gone; the log tells it once, and again when it is back."""
    async with peering(1) as one:
        async with peering(2) as two:
            one.know(one, two)
            await one.wait(lambda: one.peers.is_active(MemberID(2)))
        assert [MemberID(2)] == one.reached
        await one.wait(lambda: MemberID(2) in one.unreachable)
        one.peers.send([heartbeat(1, 2, 1)])
        lines = one.logged()

        assert not one.peers.is_active(MemberID(2))
        said = [line["msg"] for line in lines if line["msg"].startswith("peer became")]
        assert said[:2] == ["peer became active", "peer became inactive"]
        lost = one.metrics.network_disconnected_peers_total.labels("1", "2")
        assert lost.value == 1


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["https://a:1", "http://b:2"], [Address("a", 1), Address("b", 2)]),
        (["https://[::1]:3"], [Address("::1", 3)]),
        (["unix://x", "nonsense", "https://a", "https://a:0", ""], []),
    ],
)
def test_only_what_can_be_dialled_is_an_address(urls: list[str], expected: list[Address]) -> None:
    """TLS is spoken whatever the scheme says; other URLs are left out."""
    assert tuple(expected) == addresses_of(urls)


async def test_a_member_in_the_table_is_never_dialled_twice() -> None:
    """Refreshing without a change, or with one elsewhere, keeps the connections."""
    async with cluster_of([1, 2]) as (one, two):
        await one.wait(lambda: one.peers.is_active(MemberID(2)))
        one.peers.refresh()
        one.do(Update(MemberID(1), ("https://127.0.0.9:1",)))

        assert one.peers.is_active(MemberID(2))
        assert [] == one.unreachable
        assert member_of(two).id == MemberID(2)
