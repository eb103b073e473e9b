"""What one put costs inside the replica: propose, group, batch, persisted, apply, resolve.

Usage: ``python benchmarks/replica.py [--leveldb DIR] [--keys N] [--batch N] [--rounds N]``

Without a directory the rows live in a dict whose writes are not timed. Times are CPU time of the
thread, so that other load on the machine counts less. The budget is 15 microseconds a put in
batches of 100, about half of it the state machine's.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from time import perf_counter, thread_time

from trioetcd.ports import Backend
from trioetcd.replica import Persisted, Proposal, Proposed
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leveldb", type=Path)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    backend: Backend = MemoryBackend()
    if options.leveldb is not None:
        backend = open_leveldb(options.leveldb, create=True)
    member = Synchronous(backend).start()
    replica = member.replica
    value = b"v" * 256
    number = 0

    def proposals() -> list[Proposal]:
        nonlocal number
        batch: list[Proposal] = []
        for _ in range(options.batch):
            number += 1
            key = b"key%013d" % (number * 7919 % options.keys)
            request = messages.PutRequest(key=key, value=value)
            batch.append((object(), CommandKind.PUT, request.SerializeToString()))
        return batch

    gc.freeze()
    step_seconds = write_seconds = worst = 0.0
    answered = 0
    persisted: list[Persisted] = []
    for _ in range(options.rounds):
        batch = proposals()
        now = perf_counter()
        started = thread_time()
        outputs = replica.step([*persisted, Proposed(batch)], now)
        took = thread_time() - started
        step_seconds += took
        worst = max(worst, took)
        answered += len(outputs.resolved)
        persist = outputs.persist
        assert persist is not None
        started = thread_time()
        prepared = backend.prepare(persist.rows)
        if options.leveldb is not None:
            step_seconds += thread_time() - started
        started = perf_counter()
        prepared.write()
        write_seconds += perf_counter() - started
        persisted = [Persisted(persist.number)]
    print(
        f"{answered} puts in batches of {options.batch}: "
        f"{1e6 * step_seconds / answered:.1f} us a put in step"
        f"{' and prepare' if options.leveldb is not None else ''}, "
        f"worst step {1e3 * worst:.2f} ms; writing took {1e3 * write_seconds / options.rounds:.2f} "
        "ms a batch"
    )
    backend.close()


if __name__ == "__main__":
    main()
