"""Power cuts at random moments under load: what was acknowledged is on the disk.

The data directory lies on ext4 in a loop file. A cut stops the file system without flushing its
journal; the member goes on for a moment, so that an answer it gives for what can no longer be
durable is caught; then it is killed, the file system mounted again and everything checked.

Usage: python -m tests.proof.power [--cycles 100] [--seed N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.proof.disks import LoopDisk, moment, private_mounts
from tests.proof.kill import is_lone, restart
from tests.proof.member import Member
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.workload import Ledger, Load

LOAD_SECONDS = (0.02, 1.5)
AFTERLIFE_SECONDS = (0.0, 0.5)
EXIT_SECONDS = 1.0
NEWCOMER_EVERY = 6
"""In every so-manieth cycle a new member makes its data directory when the power goes."""
NEWCOMER_SECONDS = (0.0, 2.0)


def prove(options: Options, outcome: Outcome) -> None:
    """Cut the power of members again and again, checking their promises each time.

    There are two: one with writers and readers, and one whose only caller is alone with it.
    """
    private_mounts()
    budget = Budget(options)
    with ExitStack() as stack:
        homes: list[tuple[Member, LoopDisk, Ledger]] = []
        for _ in range(2):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="trioetcd-power-"))
            disk = stack.enter_context(LoopDisk(Path(directory)))
            member = Member(options.target, Path(directory), data_dir=disk.path / "data")
            stack.callback(member.kill)
            homes.append((member, disk, Ledger.of(48)))
        for seed in range(options.seed, options.seed + options.cycles):
            if budget.spent():
                break
            lone = is_lone(seed, outcome)
            member, disk, ledger = homes[lone]
            if not member.running():
                member.start()
            cycle(member, disk, ledger, outcome, seed, lone=lone)
            outcome.done += 1
            outcome.last_seed = seed
            if not member.running():
                break
        outcome.figures["acknowledged writes"] = sum(ledger.writes for *_, ledger in homes)


def cycle(
    member: Member, disk: LoopDisk, ledger: Ledger, outcome: Outcome, seed: int, *, lone: bool
) -> None:
    """Load, cut, kill, mount again, restart, check."""
    chance = random.Random(seed)
    load = Load([member], ledger, seed=seed, lone=lone)
    moment(chance, LOAD_SECONDS)
    newcomer = None
    if seed % NEWCOMER_EVERY == 0:
        newcomer = Member(member.target, disk.path.parent, data_dir=disk.path / f"new-{seed}")
        newcomer.start(wait=False)
        moment(chance, NEWCOMER_SECONDS)
    ledger.cutting()
    disk.cut()
    ledger.cut()
    if chance.random() < 0.25:
        # left alone, a member whose disk is gone must end by itself
        code = member.wait_exit(EXIT_SECONDS)
        if code is None:
            outcome.violated(seed, f"still runs {EXIT_SECONDS} s after its disk was gone")
        elif code == 0:
            outcome.violated(seed, "its disk was gone and it ended with exit code 0")
        outcome.count("ended by themselves", int(bool(code)))
    else:
        moment(chance, AFTERLIFE_SECONDS)
    member.kill()
    load.finish()
    if newcomer is not None:
        newcomer.kill()
    disk.unmount()
    disk.mount()
    if newcomer is not None:
        restart(newcomer, Ledger.of(1), outcome, seed, chance)
        newcomer.kill()
        shutil.rmtree(newcomer.data_dir)
        outcome.count("new members cut while they first start")
    restart(member, ledger, outcome, seed, chance)


def main() -> int:
    """Run the proof from the command line."""
    return run("power", prove, cycles=100, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
