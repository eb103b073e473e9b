"""Whole runs: equal seeds are equal, correct members pass, broken ones are caught."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from random import Random

import pytest

from trioetcd.testing.disk import SimDisk
from trioetcd.testing.scenario import FAULTS, Scenario, draw
from trioetcd.testing.simulator import Report, Simulator

FAULTY = next(seed for seed in range(100) if len(draw(seed, members=1).faults) >= 8)


def run(scenario: Scenario) -> Report:
    print(scenario.describe())
    return Simulator(scenario).run()


def test_a_sole_voter_keeps_every_promise() -> None:
    """A single member survives crashes, torn batches, slow disks and pauses."""
    for seed in range(FAULTY, FAULTY + 4):
        report = run(draw(seed, seconds=16, members=1))
        assert report.violation is None
        assert report.operations["done"] > 20


def test_equal_scenarios_give_equal_runs() -> None:
    """A run repeats event by event in one process, and another seed gives another one."""
    scenario = draw(FAULTY, seconds=10, members=1)
    first, second = run(scenario), run(scenario)

    assert first == second
    assert first.digest != run(draw(FAULTY + 1, seconds=10, members=1)).digest


@pytest.mark.parametrize("members", ["1", "3"])
def test_runs_are_equal_in_other_processes(members: str) -> None:
    """A run does not depend on the process or its hash seed."""
    command = [sys.executable, "-m", "trioetcd.testing.simulate", "--seed", str(FAULTY)]
    command += ["--seconds", "8", "--members", members]
    traces = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        traces.add(done.stdout.split(" trace ")[1].split()[0])

    assert len(traces) == 1


class Forgetful(SimDisk):
    """A disk that loses a batch it has called durable."""

    __slots__ = ("_before",)

    def sync(self) -> int:
        assert self._flight is not None
        self._before = {key: self.get(key) for key in self._flight.rows}
        return super().sync()

    def crash(self, random: Random, *, torn: bool) -> bool | None:
        kept = super().crash(random, torn=torn)
        if kept is None and self.written:
            self.apply(self._before)
        return kept


def crashing() -> Scenario:
    """Give a scenario in which a single member crashes."""
    for seed in range(1000):
        scenario = draw(seed, seconds=30, members=1)
        if scenario.has("crash") and scenario.often < 5:
            return scenario
    raise AssertionError


def test_a_disk_that_forgets_is_caught() -> None:
    """Losing what was durable is noticed at the next start."""
    simulator = Simulator(crashing())
    member = simulator.members[0]
    disk = Forgetful()
    disk.apply(dict(member.disk._state.rows))
    member.disk = disk
    report = simulator.run()

    assert report.violation is not None
    assert "the disk kept" in report.violation


def test_a_store_that_loses_a_key_is_caught() -> None:
    """A row that vanishes from one member is found by a read, or at the end."""
    simulator = Simulator(draw(FAULTY, seconds=12, members=1, without=("crash", "blackout")))
    member = simulator.members[0]

    def lose() -> None:
        replica = member.replica
        if replica is None or not simulator.oracles.truth.model.rows():
            simulator.schedule.after(1_000_000, lose)
            return
        key = simulator.oracles.truth.model.rows()[0].key
        replica.space.delete(replica.store.tables.current + key)

    simulator.schedule.at(6_000_000, lose)
    report = simulator.run()

    assert report.violation is not None


def test_each_era_ends_in_peace() -> None:
    """Faults come in as many eras as were drawn, and begin again after each peace."""
    scenario = next(
        scenario
        for scenario in (draw(seed, seconds=8) for seed in range(100))
        if scenario.eras == 4 and {"depose", "crash"} <= set(scenario.faults)
    )
    trace = StringIO()
    report = Simulator(scenario, file=trace).run()
    peace = [line for line in trace.getvalue().splitlines() if line.endswith(" heal ()")]
    struck = trace.getvalue().rpartition(" heal ()")[0]

    assert report.violation is None
    assert len(peace) == 4
    assert " depose " in struck


def test_a_deposed_leader_is_followed_by_another() -> None:
    """Where leaders are deposed terms follow each other, and no promise is broken."""
    scenario = next(draw(seed, seconds=20) for seed in range(100) if draw(seed).has("depose"))
    report = run(replace(scenario, faults=("depose",)))

    assert report.violation is None
    assert report.faults["depose"] > 0
    assert report.terms > 1


def test_a_member_that_never_comes_back_is_caught() -> None:
    """A cluster that does not serve again after all is healed has broken a promise."""
    simulator = Simulator(draw(FAULTY, seconds=8, members=1))
    member = simulator.members[0]

    def kill() -> None:
        member.crash(seconds=None)
        simulator.schedule.after(50_000, kill)

    simulator.schedule.at(5_000_000, kill)
    report = simulator.run()

    assert report.violation is not None
    assert "no write succeeded" in report.violation


def test_an_offer_ends_with_the_member_it_was_made_to() -> None:
    """A snapshot offered to a member that dies before it answers keeps no other one waiting."""
    simulator = Simulator(draw(1, members=3, without=FAULTS))
    for member in simulator.members:
        member.start()
    schedule = simulator.schedule
    schedule.run(5_000_000)
    receiver = simulator.members[1]
    receiver.crowd_micros = 1_000
    simulator.transfers.begin(0, 1)
    schedule.run(schedule.now + 2_000)
    assert 1 in simulator.transfers._arriving
    receiver.crash(seconds=None)

    assert simulator.transfers._arriving == {}
