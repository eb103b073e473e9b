"""Harm aimed at whoever leads: it is kept from the others just as long as an election takes.

Chance alone seldom hits a leader, seldom for the right time, and hardly ever twice in a row; but
that is where consensus goes wrong: a deposed leader that does not know it yet and is asked for
reads, entries that only a minority holds when the next leader begins, old messages that arrive in
a new term. All times are shares of the election timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from random import Random
from typing import Protocol, assert_never

from trioetcd.testing.network import Network
from trioetcd.testing.schedule import Schedule, Trace
from trioetcd.testing.sim_member import SimMember

__all__ = ["Cluster", "Deposing", "Manner"]


class Manner(Enum):
    """What is done to a leader."""

    CUT = "cut"
    """Nothing gets in or out."""
    PAIR = "pair"
    """It keeps one of the others."""
    LATE = "late"
    """What it is told comes all at once in the end; what it says is soon lost."""
    STRAGGLING = "straggling"
    """Likewise, but the links to it open again one after the other."""
    HELD = "held"
    """Nothing is lost, in either direction, but all of it comes late."""
    DEAF = "deaf"
    """It stands still, and what it is told meanwhile is lost."""
    CRASH = "crash"
    """It loses its power."""


class Cluster(Protocol):
    """What is harmed."""

    schedule: Schedule
    trace: Trace
    network: Network
    members: list[SimMember]

    def press(self, place: int, /, *, write: bool) -> None:
        """Ask a member for something, whatever comes of it."""


class Deposing:
    """Deposes one leader after the other.

    Args:
        cluster: whose.
        election_micros: the election timeout.
    """

    def __init__(self, cluster: Cluster, election_micros: int) -> None:
        self._cluster = cluster
        self._election = election_micros

    def strike(self, random: Random, over: Callable[[], bool]) -> bool:
        """Begin; False if nobody leads.

        Args:
            random: chance.
            over: whether there is to be no more harm.
        """
        if self._leader() is None:
            return False
        self._next(random, over, random.choice((1, 1, 2, 3, 6)), 40)
        return True

    def _leader(self) -> SimMember | None:
        """Find the leader of the latest term."""
        found = [
            (member.replica.term, member.place, member)
            for member in self._cluster.members
            if member.replica is not None and member.leads
        ]
        return max(found)[2] if found else None

    def _next(self, random: Random, over: Callable[[], bool], leaders: int, looks: int) -> None:
        """Depose so many leaders, each as soon as it is there; give up after so many looks."""
        if over() or not leaders or not looks:
            return
        schedule = self._cluster.schedule
        leader = self._leader()
        if leader is None or leader.is_paused:
            wait = self._election // 4
            schedule.after(wait, lambda: self._next(random, over, leaders, looks - 1))
            return
        micros = int(self._election * random.uniform(0.8, 3.0))
        manner = random.choice(list(Manner))
        self._cluster.trace.event("depose", leader.place, manner.value, micros)
        self._harm(leader, manner, micros, random, over)
        if manner != Manner.CRASH:
            self._press(leader.place, micros, random)
        # Often before the last one is back, so that it meets neither its successor nor its heirs.
        gap = int(micros * random.uniform(0.3, 1.5))
        schedule.after(gap, lambda: self._next(random, over, leaders - 1, 40))

    def _press(self, place: int, micros: int, random: Random) -> None:
        """Ask a leader that may be none any more for writes, soon, and for reads, all the time."""
        cluster = self._cluster
        for count, write, within in (
            (random.choice((0, 1, 4, 30)), True, micros // 4 + 1),
            (random.choice((0, 4, 12)), False, micros + micros // 4),
        ):
            for _ in range(count):
                act = partial(cluster.press, place, write=write)
                cluster.schedule.after(random.randrange(within), act)

    def _harm(
        self,
        leader: SimMember,
        manner: Manner,
        micros: int,
        random: Random,
        over: Callable[[], bool],
    ) -> None:
        cluster = self._cluster
        network = cluster.network
        place = leader.place
        others = [each for each in range(len(cluster.members)) if each != place]
        until = cluster.schedule.now + micros
        match manner:
            case Manner.CUT:
                self._cut([place], others, micros, over, both=True)
            case Manner.PAIR:
                friend = random.choice(others)
                others.remove(friend)
                self._cut([place, friend], others, micros, over, both=True)
            case Manner.LATE | Manner.STRAGGLING:
                lull = random.randrange(self._election // 2)
                silence = partial(self._cut, [place], others, micros - lull, over, both=False)
                cluster.schedule.after(lull, silence)
                for other in others:
                    early = random.random() if manner == Manner.STRAGGLING else 0.0
                    network.clog(other, place, until - int(early * micros))
            case Manner.HELD:
                for other in others:
                    network.clog(other, place, until)
                    network.clog(place, other, until)
            case Manner.DEAF:
                leader.pause(micros, deaf=True)
            case Manner.CRASH:
                leader.crash(seconds=micros / 1e6, why="deposed")
            case _:
                assert_never(manner)

    def _cut(
        self,
        some: list[int],
        others: list[int],
        micros: int,
        over: Callable[[], bool],
        *,
        both: bool,
    ) -> None:
        if over():
            return
        links = [(one, other) for one in some for other in others]
        if both:
            links += [(other, one) for one, other in links]
        mend = self._cluster.network.cut(links)
        self._cluster.schedule.after(micros, lambda: None if over() else mend())
