"""A simulated network: every fault does what its name says, and healing ends it."""

from __future__ import annotations

from random import Random

import pytest

from trioetcd.testing.network import LinkFaults, Network, Shape, partition


def make(**faults: float) -> Network:
    return Network(LinkFaults(delay_micros=500, **faults), Random(1))


def test_links_are_in_order() -> None:
    """Without reordering, packets of one direction arrive in the order they were sent in."""
    network = make()
    arrivals = [network.send(0, 1, now)[0] for now in range(0, 20_000, 10)]

    assert sorted(arrivals) == arrivals
    assert all(arrival > now for arrival, now in zip(arrivals, range(0, 20_000, 10), strict=True))


def test_reordering_lets_packets_overtake() -> None:
    """With reordering some packet overtakes another."""
    network = make(reorder=0.3)
    arrivals = [network.send(0, 1, now)[0] for now in range(0, 20_000, 10)]

    assert sorted(arrivals) != arrivals


def test_loss_and_duplication() -> None:
    """Packets are lost and doubled about as often as was asked for."""
    network = make(loss=0.2, duplicate=0.1)
    counts = [len(network.send(0, 1, 0)) for _ in range(5000)]

    assert 900 <= counts.count(0) <= 1100
    assert 330 <= counts.count(2) <= 470
    assert network.lost == counts.count(0)
    assert network.duplicated == counts.count(2)


def test_a_clogged_link_delivers_late_and_loses_nothing() -> None:
    """What is sent on a clogged link arrives when it is free again."""
    network = make()
    network.clog(0, 1, 1_000_000)

    assert network.send(0, 1, 10)[0] >= 1_000_000
    assert network.send(1, 0, 10)[0] < 1_000_000


def test_a_reset_loses_what_is_under_way_both_ways() -> None:
    """After a reset nothing sent before arrives, and what is sent later does."""
    network = make()
    before = network.epoch(0, 1), network.epoch(1, 0)
    network.reset(1, 0)

    assert not network.passes(0, 1, before[0])
    assert not network.passes(1, 0, before[1])
    assert network.passes(0, 1, network.epoch(0, 1))


def test_cuts_add_up_and_mend_one_by_one() -> None:
    """A link cut twice is whole when both cuts are mended, and mending twice is mending once."""
    network = make()
    first, second = network.cut([(0, 1)]), network.cut([(0, 1), (1, 0)])
    first()
    first()

    assert network.is_cut(0, 1)
    assert network.send(0, 1, 0) == []
    second()
    assert not network.is_cut(0, 1)
    assert len(network.send(0, 1, 0)) == 1


def test_healing_ends_everything() -> None:
    """A healed network loses, doubles and delays nothing."""
    network = make(loss=1.0, duplicate=1.0)
    network.clog(0, 1, 10_000_000)
    network.cut([(0, 1)])
    network.heal()

    arrivals = [network.send(0, 1, 0) for _ in range(100)]
    assert {1} == {len(each) for each in arrivals}
    assert max(each[0] for each in arrivals) < 100_000


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("shape", list(Shape))
def test_every_partition_cuts_links_between_members(shape: Shape, size: int) -> None:
    """A partition cuts links there are, none twice; in a ring and over a bridge majorities stay."""
    for seed in range(20):
        links = partition(shape, list(range(size)), Random(seed))
        assert len(set(links)) == len(links)
        assert all(one != other and {one, other} <= set(range(size)) for one, other in links)
        heard = {
            node: 1 + sum((other, node) not in links for other in range(size) if other != node)
            for node in range(size)
        }
        if shape == Shape.RING and size > 2:
            assert all(count > size // 2 for count in heard.values())
        if shape == Shape.BRIDGE and size > 2:
            assert max(heard.values()) == size
            assert links
        if shape == Shape.ONE_WAY:
            assert {one for one, _ in links} == {links[0][0]}
