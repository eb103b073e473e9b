"""The power of three members cut at once, under load: what was acknowledged is on two disks.

Each member's data lie on a file system of its own, so that no sync of one helps another.

Usage: python -m tests.proof.cluster_power [--cycles 30] [--seed N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.proof.cluster import Cluster
from tests.proof.cluster_kill import LOAD_SECONDS, SLOTS, check
from tests.proof.disks import LoopDisk, moment, private_mounts
from tests.proof.member import NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.workload import Ledger, Load

AFTERLIFE_SECONDS: Final = (0.0, 0.5)
EXIT_SECONDS: Final = 1.0
ALONE: Final = 0.2
"""Share of the cycles in which the members are left alone with their dead disks."""


def prove(options: Options, outcome: Outcome) -> None:
    """Cut the power again and again, checking the cluster's promises each time."""
    private_mounts()
    budget = Budget(options)
    with tempfile.TemporaryDirectory(prefix="trioetcd-cluster-power-") as directory:
        root = Path(directory)
        with ExitStack() as stack:
            disks = []
            for name in ("a", "b", "c"):
                (root / f"disk-{name}").mkdir()
                disks.append(stack.enter_context(LoopDisk(root / f"disk-{name}")))
            data_dirs = [disk.path / "data" for disk in disks]
            cluster = Cluster(options.target, root, data_dirs=data_dirs)
            stack.callback(cluster.close)
            ledger = Ledger.of(SLOTS)
            try:
                cluster.start()
                for seed in range(options.seed, options.seed + options.cycles):
                    if budget.spent():
                        break
                    cycle(cluster, disks, ledger, outcome, seed)
                    outcome.done += 1
                    outcome.last_seed = seed
            except NotReadyError as error:
                outcome.violated(outcome.last_seed, f"the cluster did not start unaided: {error}")
        outcome.figures["acknowledged writes"] = ledger.writes


def cycle(
    cluster: Cluster, disks: list[LoopDisk], ledger: Ledger, outcome: Outcome, seed: int
) -> None:
    """Load, cut, kill, mount again, restart, check."""
    chance = random.Random(seed)
    cluster.leader()
    load = Load(cluster.members, ledger, seed=seed)
    moment(chance, LOAD_SECONDS)
    ledger.cutting()
    for disk in disks:
        disk.cut()
    ledger.cut()
    if chance.random() < ALONE:
        # a follower without anything to write does not notice; one of the three must
        codes = [member.wait_exit(EXIT_SECONDS) for member in cluster.members]
        if all(code is None for code in codes):
            outcome.violated(seed, f"all three run {EXIT_SECONDS} s after their disks were gone")
        if 0 in codes:
            outcome.violated(seed, "a disk was gone and its member ended with exit code 0")
        outcome.count("ended by themselves", sum(code is not None for code in codes))
    else:
        moment(chance, AFTERLIFE_SECONDS)
    cluster.kill()
    load.finish()
    for disk in disks:
        disk.unmount()
        disk.mount()
    outcome.peak("slowest start, s", round(cluster.start(), 2))
    check(cluster, ledger, outcome, seed, chance)


def main() -> int:
    """Run the proof from the command line."""
    return run("cluster_power", prove, cycles=30, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
