"""Who does what harm when: each kind of fault has a stream and a rhythm of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from trioetcd.testing.deposing import Deposing
from trioetcd.testing.network import LinkFaults, Network, Shape, partition
from trioetcd.testing.scenario import Scenario, stream
from trioetcd.testing.schedule import Schedule, Trace
from trioetcd.testing.sim_member import SimMember
from trioetcd.values import MemberID

__all__ = ["DRIFT", "Cluster", "Faults"]

_MICROS: Final = 1_000_000


class Cluster(Protocol):
    """What can be harmed."""

    schedule: Schedule
    trace: Trace
    network: Network
    members: list[SimMember]

    def break_link(self, one: int, other: int, /) -> None:
        """Break the connections between two members."""

    def change_members(self, random: Random, /) -> bool:
        """Begin a change of the membership; False if there is none to be made now."""

    def press(self, place: int, /, *, write: bool) -> None:
        """Ask a member for something, whatever comes of it."""


class Faults:
    """All harm that comes to one cluster, in eras: each begins anew, and ends healed.

    Attributes:
        counts: how often each fault has struck.

    Args:
        simulator: the cluster.
        scenario: which faults there are.
    """

    def __init__(self, simulator: Cluster, scenario: Scenario) -> None:
        self.counts: dict[str, int] = {}
        self._simulator = simulator
        self._scenario = scenario
        self._deposing = Deposing(simulator, scenario.election_millis * 1000)
        self._healed = True
        self._era = 0

    def begin(self) -> None:
        """Let it begin."""
        self._healed = False
        scenario = self._scenario
        simulator = self._simulator
        chance = {name: stream(scenario.seed, f"strength/{name}") for name in scenario.faults}

        def strength(name: str, *values: float) -> float:
            return chance[name].choice(values) if scenario.has(name) else 0.0

        simulator.network.faults = LinkFaults(
            delay_micros=scenario.delay_micros
            * int(1 + strength("delay", 4, 20, 100 if scenario.delay_micros < 1000 else 20)),
            loss=strength("loss", 0.01, 0.05, 0.2),
            duplicate=strength("duplicate", 0.01, 0.1),
            reorder=strength("reorder", 0.02, 0.3),
        )
        for member in simulator.members:
            self.equip(member.place)
        for name, act in self._acts().items():
            if scenario.has(name):
                self._repeat(name, act)

    def equip(self, place: int) -> None:
        """Give a member the lasting faults: of its disk, of its clock, of its pace."""
        if self._healed:
            return
        scenario = self._scenario
        member = self._simulator.members[place]
        random = stream(scenario.seed, f"equip/{place}")
        slow, failing, rate, crowd = (random.random() for _ in range(4))
        member.slow = (0.002, 0.01, 0.05)[int(slow * 3)] if scenario.has("slow_disk") else 0.0
        member.failing = (0.0005, 0.003)[int(failing * 2)] if scenario.has("disk_error") else 0.0
        member.rate = 1 + (rate - 0.5) * 2 * DRIFT if scenario.has("drift") else 1.0
        member.crowd_micros = int(crowd * 5000) if scenario.has("crowd") else 0

    def heal(self) -> None:
        """Let it end: what was broken is whole, and who was down comes back."""
        self._healed = True
        self._era += 1
        simulator = self._simulator
        simulator.network.heal()
        for member in simulator.members:
            member.slow = member.failing = 0.0
            member.paused_until = 0

    def _over(self) -> Callable[[], bool]:
        """Give what says whether the present era has ended."""
        era = self._era
        return lambda: self._era != era

    # -- rhythm ------------------------------------------------------------------------------

    def _repeat(self, name: str, act: Callable[[Random], bool]) -> None:
        random = stream(self._scenario.seed, f"act/{self._era}/{name}")
        over = self._over()
        often = self._scenario.often * RARITY.get(name, 1.0)

        def strike() -> None:
            if over():
                return
            if act(random):
                self.counts[name] = self.counts.get(name, 0) + 1
            again()

        def again() -> None:
            self._simulator.schedule.after(
                int(random.expovariate(1 / often) * _MICROS) + 1000, strike
            )

        again()

    def _acts(self) -> dict[str, Callable[[Random], bool]]:
        return {
            "crash": self._crash,
            "restart": self._restart,
            "blackout": self._blackout,
            "pause": self._pause,
            "clog": self._clog,
            "partition": self._partition,
            "reset": self._reset,
            "transfer": self._transfer,
            "depose": lambda random: self._deposing.strike(random, self._over()),
            "members": self._simulator.change_members,
        }

    def _victim(self, random: Random) -> int:
        """Choose a member; the leader more often than its share."""
        members = self._simulator.members
        leaders = [member.place for member in members if member.leads]
        if leaders and random.random() < 0.4:
            return random.choice(leaders)
        return random.randrange(len(members))

    # -- members -----------------------------------------------------------------------------

    def _crash(self, random: Random) -> bool:
        member = self._simulator.members[self._victim(random)]
        seconds = random.choice((0.01, 0.3, 1.0, 5.0)) * random.random() * 2
        if member.replica is None:
            return False
        member.crash(seconds=seconds)
        return True

    def _restart(self, random: Random) -> bool:
        member = self._simulator.members[self._victim(random)]
        if not member.is_up:
            return False
        member.stop(seconds=random.random() * 2)
        return True

    def _blackout(self, random: Random) -> bool:
        for member in self._simulator.members:
            if member.replica is not None:
                member.crash(seconds=random.random() * 2, why="blackout")
        return True

    def _pause(self, random: Random) -> bool:
        member = self._simulator.members[self._victim(random)]
        if member.replica is None:
            return False
        seconds = random.choice((0.1, 1.0, 3.0, 10.0)) * random.random()
        member.pause(int(seconds * _MICROS), deaf=random.random() < 0.4)
        return True

    def _transfer(self, random: Random) -> bool:
        simulator = self._simulator
        leaders = [member for member in simulator.members if member.leads]
        if not leaders or len(simulator.members) < 2:
            return False
        target = random.choice([MemberID(0), *(member.id for member in simulator.members)])
        random.choice(leaders).transfer(target)
        return True

    # -- network -----------------------------------------------------------------------------

    def _pair(self, random: Random) -> tuple[int, int]:
        one, other = random.sample(range(len(self._simulator.members)), 2)
        return one, other

    def _clog(self, random: Random) -> bool:
        until = self._simulator.schedule.now + int(random.random() * 4 * _MICROS)
        one, other = self._pair(random)
        self._simulator.network.clog(one, other, until)
        if random.random() < 0.5:
            self._simulator.network.clog(other, one, until)
        return True

    def _partition(self, random: Random) -> bool:
        simulator = self._simulator
        shape = random.choice(list(Shape))
        places = list(range(len(simulator.members)))
        links = partition(shape, places, random)
        seconds = random.choice((0.5, 2.0, 8.0)) * (0.5 + random.random())
        rounds = 4 if shape == Shape.FLAPPING else 1
        simulator.trace.event("partition", shape.value, links)

        over = self._over()

        def cut(left: int) -> None:
            if over():
                return
            mend = simulator.network.cut(links)
            silent = random.random() < 0.5
            if not silent:
                for one, other in links:
                    simulator.break_link(one, other)

            def mended() -> None:
                if over():
                    return
                mend()
                simulator.trace.event("mended", shape.value)
                if left > 1:
                    simulator.schedule.after(int(seconds / rounds * _MICROS), lambda: cut(left - 1))

            simulator.schedule.after(int(seconds / rounds * _MICROS), mended)

        cut(rounds)
        return True

    def _reset(self, random: Random) -> bool:
        one, other = self._pair(random)
        self._simulator.break_link(one, other)
        return True


DRIFT: Final = 0.1
"""How far clocks run ahead or behind: far more than real ones."""

RARITY: Final = {"blackout": 4.0, "partition": 1.5, "reset": 0.5, "clog": 0.7, "depose": 0.6}
"""How much rarer a fault is than the others."""
