"""Leaders killed under load: nothing acknowledged is lost, another one leads soon.

Half of them vanish as a machine does: for a moment before the end nothing that they send arrives,
while clients still reach them. The others only end, and what they have sent is delivered. Every
fourth leader is asked to stop before (SIGTERM), which must cost the cluster less.

Usage: python -m tests.proof.cluster_kill [--cycles 50] [--seed N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.proof.cluster import Cluster
from tests.proof.disks import moment
from tests.proof.kv import RpcFailedError
from tests.proof.member import NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.proxy import Proxy, ProxyThread
from tests.proof.recovery import Recovery, summarize
from tests.proof.workload import Ledger, Load

ELECTION_SECONDS: Final = 1.0
"""The members' election timeout, which is the default."""
LEADER_SECONDS: Final = 2 * ELECTION_SECONDS
WRITE_SECONDS: Final = 3.0
STOP_LEADER_SECONDS: Final = 0.5
WAIT_SECONDS: Final = 20.0
"""After so long without a leader or a write it is no matter of luck any more."""
LOAD_SECONDS: Final = (0.2, 1.2)
AFTER_SECONDS: Final = (0.1, 0.6)
STOP_EVERY: Final = 4
VANISH: Final = 0.5
VANISH_SECONDS: Final = (0.0, 0.2)
YOUNG_KILL: Final = 0.15
SLOTS: Final = 192


@dataclass(slots=True)
class Times:
    """Seconds measured, one entry per kill or stop."""

    leader: list[float] = field(default_factory=list)
    write: list[float] = field(default_factory=list)
    stop_leader: list[float] = field(default_factory=list)
    stop_write: list[float] = field(default_factory=list)


def prove(options: Options, outcome: Outcome) -> None:
    """Kill leader after leader, checking the cluster's promises each time."""
    budget = Budget(options)
    times = Times()
    with (
        tempfile.TemporaryDirectory(prefix="trioetcd-cluster-kill-") as directory,
        ExitStack() as stack,
    ):
        cluster = Cluster(options.target, Path(directory))
        ports = [member.peer_port for member in cluster.members]
        proxy = Proxy(ports, cluster.owner_of, random.Random(options.seed))
        cluster.advertise(proxy.ports)
        ledger = Ledger.of(SLOTS)
        try:
            between = stack.enter_context(ProxyThread(proxy))
            cluster.start()
            for seed in range(options.seed, options.seed + options.cycles):
                if budget.spent():
                    break
                cycle(cluster, between, ledger, outcome, times, seed)
                outcome.done += 1
                outcome.last_seed = seed
        except NotReadyError as error:
            outcome.violated(outcome.last_seed, f"the cluster did not get on unaided: {error}")
        finally:
            cluster.close()
    outcome.figures["acknowledged writes"] = ledger.writes
    judge(times, outcome)


def cycle(
    cluster: Cluster,
    between: ProxyThread,
    ledger: Ledger,
    outcome: Outcome,
    times: Times,
    seed: int,
) -> None:
    """Load, take the leader away, measure, bring it back, check."""
    chance = random.Random(seed)
    if chance.randrange(STOP_EVERY) == 0:
        leader = cluster.leader()
        led, written = Recovery(cluster, leader).measure(cluster.members[leader].stop, WAIT_SECONDS)
        times.stop_leader.append(led)
        times.stop_write.append(written)
        cluster.start([leader])
    leader = cluster.leader()
    recovery = Recovery(cluster, leader)
    load = Load(cluster.members, ledger, seed=seed, persistent=True)
    moment(chance, LOAD_SECONDS)
    vanishing = chance.random() < VANISH
    outcome.count("vanished", int(vanishing))

    def end() -> None:
        if vanishing:
            between.tell(partial(between.proxy.isolate, leader))
            moment(chance, VANISH_SECONDS)
        cluster.members[leader].kill()
        between.tell(partial(between.proxy.reset, leader))
        between.tell(between.proxy.heal)

    led, written = recovery.measure(end, WAIT_SECONDS)
    times.leader.append(led)
    times.write.append(written)
    for name, seconds in (("leader", led), ("write", written)):
        if seconds >= WAIT_SECONDS:
            outcome.violated(seed, f"no {name} within {WAIT_SECONDS} s of the leader's end")
    moment(chance, AFTER_SECONDS)
    load.finish()
    if chance.random() < YOUNG_KILL:
        cluster.members[leader].start(wait=False)
        moment(chance, (0.0, 1.0))
        cluster.members[leader].kill()
        outcome.count("killed while starting")
    cluster.start([leader])
    check(cluster, ledger, outcome, seed, chance)


def check(
    cluster: Cluster, ledger: Ledger, outcome: Outcome, seed: int, chance: random.Random
) -> None:
    """Hold some member to the cluster's promises, and all members to one another."""
    try:
        cluster.leader()
        ledger.check(cluster.client(chance.choice(cluster.places)), outcome, seed, chance)
        difference = cluster.equal_hashes()
    except RpcFailedError as error:
        outcome.violated(seed, f"no answer afterwards: {error}")
    else:
        if difference:
            outcome.violated(seed, difference)


def judge(times: Times, outcome: Outcome) -> None:
    """Add the times to the figures and say which are too long."""
    for name, values, most in (
        ("new leader after a kill", times.leader, LEADER_SECONDS),
        ("write after a kill", times.write, WRITE_SECONDS),
        ("new leader after a stop", times.stop_leader, STOP_LEADER_SECONDS),
        ("write after a stop", times.stop_write, None),
    ):
        summarize(outcome, name, values)
        if most is not None:
            outcome.figures[f"{name}, over {most} s"] = sum(value > most for value in values)
    outcome.figures["stops"] = len(times.stop_leader)


def main() -> int:
    """Run the proof from the command line."""
    return run("cluster_kill", prove, cycles=50, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
