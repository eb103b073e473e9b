"""Kills at random moments under load: nothing acknowledged is lost, every start is unaided.

Usage: python -m tests.proof.kill [--cycles 200] [--seed N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.proof.kv import RpcFailedError
from tests.proof.member import Member, NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.workload import Ledger, Load

LOAD_SECONDS = (0.02, 1.5)
YOUNG_KILL = 0.15
"""Share of the cycles in which the member is killed once more while it starts."""
COMPACTION = 0.2
LONE = 0.3


def prove(options: Options, outcome: Outcome) -> None:
    """Kill and restart members again and again, checking their promises after each restart.

    There are two: one with writers and readers, and one whose only caller is alone with it.
    """
    budget = Budget(options)
    with ExitStack() as stack:
        homes: list[tuple[Member, Ledger]] = []
        for _ in range(2):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="trioetcd-kill-"))
            member = Member(options.target, Path(directory))
            stack.callback(member.kill)
            homes.append((member, Ledger.of(48)))
        for seed in range(options.seed, options.seed + options.cycles):
            if budget.spent():
                break
            lone = is_lone(seed, outcome)
            member, ledger = homes[lone]
            if not member.running():
                member.start()
            cycle(member, ledger, outcome, seed, lone=lone)
            outcome.done += 1
            outcome.last_seed = seed
            if not member.running():
                break
        outcome.figures["acknowledged writes"] = sum(ledger.writes for _, ledger in homes)


def cycle(member: Member, ledger: Ledger, outcome: Outcome, seed: int, *, lone: bool) -> None:
    """Load, kill, restart, check."""
    chance = random.Random(seed)
    load = Load([member], ledger, seed=seed, lone=lone)
    time.sleep(chance.uniform(*LOAD_SECONDS))
    member.kill()
    load.finish()
    if chance.random() < YOUNG_KILL:
        member.start(wait=False)
        time.sleep(chance.uniform(0, 1.0))
        member.kill()
        outcome.count("killed while starting")
    restart(member, ledger, outcome, seed, chance)


def is_lone(seed: int, outcome: Outcome) -> bool:
    """Whether a cycle's load is one caller alone, for whom the loop itself writes (ADR 13)."""
    lone = random.Random(f"{seed} lone").random() < LONE
    outcome.count("with a lone caller", int(lone))
    return lone


def restart(
    member: Member, ledger: Ledger, outcome: Outcome, seed: int, chance: random.Random
) -> None:
    """Start the member as it is and check all promises; a member that does not start stays down."""
    try:
        outcome.peak("slowest start, s", round(member.start(), 2))
    except NotReadyError as error:
        outcome.violated(seed, f"the member did not start unaided: {error}")
        member.kill()
        return
    client = member.client()
    try:
        ledger.check(client, outcome, seed, chance)
        if chance.random() < COMPACTION and ledger.revision > ledger.compacted + 10:
            # promised from here on: history below is not needed
            ledger.compacted = chance.randint(ledger.compacted + 1, ledger.revision)
            client.compact(ledger.compacted)
    except RpcFailedError as error:
        outcome.violated(seed, f"no answer after the restart: {error}")
    finally:
        client.close()


def main() -> int:
    """Run the proof from the command line."""
    return run("kill", prove, cycles=200, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
