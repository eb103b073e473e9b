"""A member that missed 10 000 entries, and one that lost its disk, get the whole state in time.

100 MB are written while a follower is down; the others have forgotten the entries when it comes
back, so it is sent a snapshot. Then another follower's disk is wiped; it is removed, added again,
and started.

Usage: python -m tests.proof.catch_up [--cycles 1] [--only few] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.proof.cluster import Cluster
from tests.proof.kv import PUT, Client, Future, RpcFailedError, finish, put_request
from tests.proof.member import NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.recovery import summarize

ENTRIES: Final = 10_000
FEW: Final = 1500
"""With `--only few`, for those who have no time."""
VALUE_BYTES: Final = 10_000
WINDOW: Final = 64
GOAL_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.01
FLAGS: Final = ("--snapshot-count=100",)
OURS: Final = ("--snapshot-catchup-entries=100",)
"""Etcd has it since 3.6; before, it keeps 5000."""
SENT: Final = ("sent snapshot", "sent merged snapshot")
"""How the one who led says that it sent a snapshot; the second is etcd's."""


def prove(options: Options, outcome: Outcome) -> None:
    """Do cycle after cycle, each with a new cluster."""
    budget = Budget(options)
    times: dict[str, list[float]] = {"missed": [], "wiped": []}
    for seed in range(options.seed, options.seed + options.cycles):
        if budget.spent():
            break
        with tempfile.TemporaryDirectory(prefix="trioetcd-catch-up-") as directory:
            ours = OURS if options.target == "trioetcd" else ()
            cluster = Cluster(options.target, Path(directory), flags=[*FLAGS, *ours])
            try:
                cluster.start()
                cycle(cluster, outcome, times, seed, FEW if options.only == "few" else ENTRIES)
            except (NotReadyError, RpcFailedError) as error:
                outcome.violated(seed, f"a member did not get on: {error}")
            finally:
                cluster.close()
        outcome.last_seed = seed
    for name, values in times.items():
        summarize(outcome, f"{name}, from start to equal", values)


def cycle(
    cluster: Cluster, outcome: Outcome, times: dict[str, list[float]], seed: int, entries: int
) -> None:
    """Let one follower miss everything, and another one lose everything."""
    chance = random.Random(seed)
    leader = cluster.leader()
    behind, wiped = chance.sample([place for place in cluster.places if place != leader], 2)
    cluster.members[behind].stop()
    began = time.monotonic()
    fill(cluster.client(cluster.leader()), chance, entries)
    outcome.peak("seconds to write it", round(time.monotonic() - began, 1))
    times["missed"].append(catch_up(cluster, behind, outcome, seed))

    member = cluster.members[wiped]
    number = cluster.number(wiped)
    member.stop()
    shutil.rmtree(member.data_dir)
    asked = cluster.client(cluster.leader())
    patiently(lambda: asked.member_remove(number))
    patiently(lambda: asked.member_add(member.peer_url))
    member.initial_state = "existing"
    cluster.forget(wiped)
    times["wiped"].append(catch_up(cluster, wiped, outcome, seed))


def catch_up(cluster: Cluster, place: int, outcome: Outcome, seed: int) -> float:
    """Start a member; give the seconds until it has everything."""
    whole = cluster.client(cluster.leader()).status().revision
    before = sent_snapshots(cluster)
    began = time.monotonic()
    cluster.members[place].start(wait=False)
    while True:
        status = cluster.status(place)
        took = time.monotonic() - began
        if status is not None and status.revision >= whole:
            break
        if took > WAIT_SECONDS:
            outcome.violated(seed, f"has not all after {took:.0f} s: {status}, not {whole}")
            break
        time.sleep(POLL_SECONDS)
    if took > GOAL_SECONDS:
        outcome.count(f"over {GOAL_SECONDS} s")
    difference = cluster.equal_hashes()
    if difference:
        outcome.violated(seed, difference)
    # read late: the sender writes its line a moment after the receiver has everything
    outcome.count("snapshots sent", sent_snapshots(cluster) - before)
    outcome.done += 1
    return took


def patiently(change: Callable[[], object]) -> None:
    """Change the members, waiting while the cluster says that it is not ready for it."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            change()
        except RpcFailedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def fill(client: Client, chance: random.Random, entries: int) -> None:
    """Put everything, many at once."""
    value = chance.randbytes(VALUE_BYTES)
    waiting: list[Future] = []
    for number in range(entries):
        if len(waiting) == WINDOW:
            finish(waiting.pop(0))
        waiting.append(client.begin(PUT, put_request(b"k%05d" % number, value), timeout=30))
    for future in waiting:
        finish(future)


def sent_snapshots(cluster: Cluster) -> int:
    """Count the snapshots that members said they sent."""
    logs = [member.log_path.read_text(errors="replace") for member in cluster.members]
    return sum(log.count(f'"msg":"{words}"') for log in logs for words in SENT)


def main() -> int:
    """Run the proof from the command line."""
    return run("catch_up", prove, cycles=1, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
