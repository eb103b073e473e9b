"""How long two members are without a leader when the third has gone, in simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import pytest

from tests.raft.member import NEW, Chance, append, group, make
from trioetcd.raft import ConfState, Message, Raft, RaftConfig, Role
from trioetcd.values import MemberID

GONE, *LEFT = THREE = (MemberID(1), MemberID(2), MemberID(3))
TICK = 0.1
TICKS = 10
SEEDS = 2000
LAST = group(1, 1, b"x")


class Succession:
    """The two that are left, from the last they hear of the leader until one of them leads.

    Their clocks tick at different moments, one may have heard less than the other, messages from
    one to the other arrive in order, each after a while of its own, and so it is with the disks.

    Args:
        seed: decides all of this.
        delay: how many seconds a message takes at most.
        sync: how many seconds a batch takes at most.
    """

    def __init__(self, seed: int, delay: float, sync: float = 0.01) -> None:
        chance = Random(seed)
        self._delay = partial(chance.uniform, 0, delay)
        self._sync = partial(chance.uniform, 0, sync)
        self._syncing: set[MemberID] = set()
        self._now = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._arrival = dict.fromkeys(LEFT, 0.0)
        self._members = {
            member: Raft(
                config=RaftConfig(member, election_ticks=TICKS),
                log=make().log,
                hard_state=NEW,
                conf_state=ConfState(THREE),
                entropy=Chance(chance),
            )
            for member in LEFT
        }
        behind = chance.choice([None, None, *LEFT])
        for member in LEFT:
            self._at(chance.uniform(0, TICK), partial(self._tick, member))
            last = append(1, 0, 0, *([] if member == behind else [LAST]))
            self._deliver(last._replace(to=member, sender=GONE))

    def seconds(self) -> float:
        """Let it happen; give how long there was no leader."""
        while all(raft.role != Role.LEADER for raft in self._members.values()):
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        return self._now

    def _at(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (seconds, next(self._numbers), happen))

    def _tick(self, member: MemberID) -> None:
        self._members[member].tick()
        self._at(self._now + TICK, partial(self._tick, member))
        self._send(member)

    def _deliver(self, message: Message) -> None:
        arrival = max(self._arrival[message.to], self._now + self._delay())
        self._arrival[message.to] = arrival
        self._at(arrival, partial(self._step, message))

    def _step(self, message: Message) -> None:
        self._members[message.to].step(message)
        self._send(message.to)

    def _send(self, member: MemberID) -> None:
        raft = self._members[member]
        if member not in self._syncing and (ready := raft.ready()).must_persist:
            raft.persist(ready)
            self._syncing.add(member)
            self._at(self._now + self._sync(), partial(self._synced, member))
        for message in raft.take_messages():
            if message.to != GONE:
                self._deliver(message)

    def _synced(self, member: MemberID) -> None:
        self._syncing.remove(member)
        self._members[member].persisted()
        self._send(member)


@pytest.mark.parametrize(("delay", "limit"), [(0.012, 1.6), (0.05, 1.7)])
def test_two_that_are_left_soon_have_a_leader(delay: float, limit: float) -> None:
    """Votes are not split, however the clocks tick: one and a half timeouts and the way suffice.

    An election is four messages long, hence the more. The longer delay is the longest for which
    this heartbeat interval is meant.
    """
    late = {
        seed: seconds
        for seed in range(SEEDS)
        if (seconds := Succession(seed, delay).seconds()) > limit
    }
    assert late == {}
