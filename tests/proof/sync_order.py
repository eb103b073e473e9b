"""A sync of the file that holds the proposal ends before its answer is given, every time.

Sequential puts with recognisable values are sent to a member under strace, which also makes
every sync begin late: an answer that does not wait for its sync comes visibly too early. For
each put the trace must show a write of its value into a file, then a sync of that same file,
complete before the client has the answer. Half of them meet syncs that are half a millisecond
late, which a member takes for a quick disk and waits for in its loop, the others 4 ms, which it
leaves to a thread.

Usage: python -m tests.proof.sync_order [--cycles 200] [--seed N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from tests.proof.member import Member
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.tracing import Call, Tracer

WRITES = ("write", "pwrite64", "writev", "pwritev")
SYNCS = ("fsync", "fdatasync")
DELAYS_MICROSECONDS = (500, 4000)
ROUND_PUTS = 20
WARM_PUTS = 20
FILE = re.compile(r"^\d+<(?P<path>/[^>]*)>")


class Sent(NamedTuple):
    """One acknowledged put: its value's mark and when its answer was there."""

    mark: str
    sent: float
    answered: float


def prove(options: Options, outcome: Outcome) -> None:
    """Put one after the other and look each put up in the trace."""
    budget = Budget(options)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="trioetcd-sync-") as directory:
        root = Path(directory)
        member = Member(options.target, root)
        try:
            member.start()
            client = member.client()
            puts: list[Sent] = []
            calls: list[Call] = []
            delays = cycle(DELAYS_MICROSECONDS)
            while len(puts) < options.cycles and not budget.spent():
                delay = next(delays)
                for _ in range(WARM_PUTS):
                    client.put(b"warm", b"up")
                trace = Tracer(
                    member.pid,
                    root / f"trace-{len(puts)}",
                    calls=",".join(WRITES + SYNCS),
                    inject=(f"{','.join(SYNCS)}:delay_enter={delay}",),
                )
                with trace:
                    for number in range(len(puts), min(len(puts) + ROUND_PUTS, options.cycles)):
                        mark = f"sync-{options.seed}-{number:06d}-mark"
                        # Twice, because LevelDB cuts a record at the end of each of its blocks,
                        # and half a mark is not found (it would be, too late, in the next batch).
                        value = mark.encode() + bytes(chance.choice((16, 40, 200))) + mark.encode()
                        sent = time.time()
                        client.put(b"key-%d" % chance.randrange(10), value)
                        puts.append(Sent(mark, sent, time.time()))
                calls += trace.calls()
            client.close()
            judge(puts, calls, outcome, options.seed)
            outcome.figures["syncs by the loop's own thread"] = sum(
                call.name in SYNCS and call.thread == member.pid for call in calls
            )
            outcome.done = len(puts)
            outcome.last_seed = options.seed
        finally:
            member.kill()


def judge(puts: list[Sent], calls: list[Call], outcome: Outcome, seed: int) -> None:
    """Find write, sync and answer of every put and compare their times."""
    writes = [(c, m["path"]) for c in calls if c.name in WRITES and (m := FILE.match(c.arguments))]
    syncs = [
        (c, m["path"])
        for c in calls
        if c.name in SYNCS and c.result == 0 and (m := FILE.match(c.arguments))
    ]
    outcome.figures["syncs"] = len(syncs)
    for put in puts:
        places = [(c, path) for c, path in writes if put.mark in c.arguments]
        if not places:
            outcome.violated(seed, f"{put.mark}: no write into a file holds it")
            continue
        durable = min(
            (
                sync.ended
                for write, path in places
                for sync, synced in syncs
                if synced == path and sync.began >= write.began
            ),
            default=None,
        )
        if durable is None:
            outcome.violated(seed, f"{put.mark}: the file it was written into was never synced")
        elif durable > put.answered:
            early = (durable - put.answered) * 1000
            outcome.violated(seed, f"{put.mark}: answered {early:.1f} ms before its sync ended")
        else:
            outcome.peak(
                "least ms from sync to answer, negated", durable * 1e3 - put.answered * 1e3
            )


def main() -> int:
    """Run the proof from the command line."""
    return run("sync_order", prove, cycles=200, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
