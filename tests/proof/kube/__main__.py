"""kube-apiserver's contract, played: apiservers, a cluster's traffic, leaders that are killed.

Each run has a fresh cluster of one or three members, two or three apiservers with their watch
caches, leases and compactors, and the traffic of nodes, pods and users, scaled down; the leader is
killed now and then. At the end every watch cache must hold what the store has, byte for byte, and
everything that was seen on the way must have been right (`judge.py`).

Usage: python -m tests.proof.kube [--seconds 180] [--members 3] [--kills 2] [--rate 0.1] [--seed N]
    [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from tests.proof.cluster import Cluster
from tests.proof.history import Event
from tests.proof.kube.cache import Cache
from tests.proof.kube.channel import UnansweredError
from tests.proof.kube.judge import judge
from tests.proof.kube.record import Record
from tests.proof.kube.server import ApiServer
from tests.proof.kube.storage import Listing
from tests.proof.kube.traffic import Scale, Traffic
from tests.proof.kube.watching import Watch, WatchStream
from tests.proof.member import NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from trioetcd.client import OutcomeUnknownError, WatchCompactedError
from trioetcd.client.connection import Endpoint, client_tls
from trioetcd.errors import EtcdError

BUILD: Final = Path(__file__).resolve().parents[3] / "build" / "kube"
RUN_SECONDS: Final = 180.0
"""So long a run lasts at most; after it another one begins, if there is time."""
COMPACTIONS: Final = 18
"""So often each compactor asks in one long run."""
COMPACT_SECONDS_MIN: Final = 2.0
"""No oftener, so that what happened while a member was away is seen at another one."""
RATE: Final = 0.1
DOWN_SECONDS: Final = (0.2, 3.0)
OUTAGE_SECONDS: Final = 4.0
"""Longer than three election timeouts, after which those who ask for a leader are sent away."""
LAST_SECONDS: Final = 30.0
"""So soon after the traffic's end every cache must have all of it."""
WRITES_MIN: Final = 2.0
"""So many writes per second must have been answered, or the run says little."""
PAGE: Final = 100
TOLD: Final = 3
SENTENCE: Final = 800
NUMBERS: Final = {
    "members": (0.0, "1 or 3 (default: by the seed)"),
    "kills": (2.0, "how often the leader is killed in a run (default: 2)"),
    "outages": (0.0, "how often another one is killed with it, for longer (default: 0)"),
    "rate": (RATE, f"what part of 1000 nodes and 10 000 pods there is (default: {RATE})"),
}


def prove(options: Options, outcome: Outcome) -> None:
    """Do run after run."""
    budget = Budget(options)
    seconds = min(options.seconds, RUN_SECONDS)
    for seed in range(options.seed, options.seed + options.cycles):
        if budget.spent():
            break
        with tempfile.TemporaryDirectory(prefix="trioetcd-kube-") as directory:
            Run(options, Path(directory), seed, seconds, outcome).do()
        outcome.done += 1
        outcome.last_seed = seed


class Collector:
    """Who sees everything at one member, but for what is compacted while that is away.

    Args:
        stream: leads to the member.

    Attributes:
        revision: up to which.
    """

    def __init__(self, stream: WatchStream) -> None:
        self.revision = 0
        self._stream = stream
        self._moved = trio.Event()

    async def run(self) -> None:
        """Collect until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stream.run)
            start = 1
            while True:
                watch = Watch("collector", b"\0", b"\0", start, self, collector=True)
                self._stream.watch(watch)
                await watch.ended.wait()
                start = self.revision + 1
                if isinstance(watch.error, WatchCompactedError):
                    start = watch.error.compact_revision

    def changed(self, events: Sequence[Event]) -> None:
        """Note how far it is."""
        self.progressed(events[-1].revision)

    def progressed(self, revision: int) -> None:
        """Note how far it is."""
        self.revision = max(self.revision, revision)
        self._moved.set()
        self._moved = trio.Event()

    async def reach(self, revision: int) -> None:
        """Wait until it is there."""
        while self.revision < revision:
            await self._moved.wait()


class Run:
    """One run.

    Args:
        options: of the proof.
        root: an empty directory.
        seed: of this run.
        seconds: how long the traffic lasts.
        outcome: where violations and figures go.
    """

    def __init__(
        self, options: Options, root: Path, seed: int, seconds: float, outcome: Outcome
    ) -> None:
        self._seed = seed
        self._outcome = outcome
        self._chance = chance = random.Random(f"{seed} run")
        size = int(options.numbers["members"]) or chance.choice((1, 3))
        self._kills = int(options.numbers["kills"])
        self._outages = int(options.numbers["outages"])
        compact_seconds = max(COMPACT_SECONDS_MIN, seconds / COMPACTIONS)
        self._scale = Scale(seconds, options.numbers["rate"], compact_seconds)
        self._servers = chance.choice((2, 3))
        self._everywhere = chance.random() < 0.5
        interval = "watch-progress-notify-interval"
        if options.target != "trioetcd":
            interval = f"experimental-{interval}"
        flags = [f"--{interval}=1s", f"--snapshot-count={chance.choice((200, 1000, 10_000))}"]
        self._cluster = Cluster(options.target, root, flags=flags, size=size)
        bound = "all members" if self._everywhere else "one member each"
        self._what = (
            f"{size} members, {self._kills} kills, {self._outages} of them with another's, "
            f"{self._servers} apiservers bound to {bound}, "
            f"{self._scale.nodes} nodes, {self._scale.pods} pods; {' '.join(flags)}"
        )
        self._record = Record()

    def do(self) -> None:
        """Run, judge, and keep what is needed to look into a violation."""
        found: list[str] = []
        print(f"   {self._seed}: {self._what}", flush=True)
        try:
            found += trio.run(self._play)
        except* NotReadyError as errors:
            found += [f"a member did not get on: {error}" for error in errors.exceptions]
        finally:
            found += self._look_at_processes()
            self._cluster.close()
        found += judge(self._record)
        self._count()
        if found:
            told = [sentence[:SENTENCE] for sentence in found[:TOLD]]
            if len(found) > TOLD:
                told.append(f"and {len(found) - TOLD} more, see {BUILD.name}/{self._seed}")
            self._outcome.violated(self._seed, f"{self._what}: " + "; ".join(told))
            self._keep(found)

    async def _play(self) -> list[str]:
        cluster = self._cluster
        await trio.to_thread.run_sync(cluster.start)
        await trio.to_thread.run_sync(cluster.leader)
        tls = client_tls(cacert=cluster.ca, cert=cluster.cert, key=cluster.key)
        endpoints = [Endpoint.parse(member.endpoint) for member in cluster.members]
        found: list[str] = []
        async with trio.open_nursery() as nursery:
            collectors = [
                Collector(WatchStream("collector", [endpoint], tls, self._record, leader=False))
                for endpoint in endpoints
            ]
            for collector in collectors:
                nursery.start_soon(collector.run)
            servers = [
                ApiServer(
                    f"apiserver{number}",
                    endpoints if self._everywhere else [endpoints[number % len(endpoints)]],
                    tls,
                    self._record,
                    random.Random(f"{self._seed} apiserver {number}"),
                    self._scale.compact_seconds,
                )
                for number in range(self._servers)
            ]
            async with trio.open_nursery() as killing, trio.open_nursery() as compacting:
                for server in servers:
                    nursery.start_soon(server.run)
                    compacting.start_soon(server.compactor.run)
                killing.start_soon(self._kill)
                await Traffic(servers, self._record, self._scale, self._seed).run()
                compacting.cancel_scope.cancel()
            found += await self._arrive(servers, collectors)
            difference = await trio.to_thread.run_sync(cluster.equal_hashes)
            found += [difference] if difference else []
            nursery.cancel_scope.cancel()
        return found

    async def _kill(self) -> None:
        """Kill whoever leads, at times with another one, and start them again."""
        cluster = self._cluster
        seconds = self._scale.seconds
        began = trio.current_time()
        for number in range(self._kills):
            share = (number + self._chance.uniform(0.4, 1)) / (self._kills + 0.5)
            await trio.sleep_until(began + seconds * share)
            killed = [await trio.to_thread.run_sync(cluster.leader)]
            down = self._chance.uniform(*DOWN_SECONDS)
            if number < self._outages:
                killed.append((killed[0] + 1) % len(cluster.places))
                down += OUTAGE_SECONDS
            await trio.to_thread.run_sync(cluster.kill, killed)
            await trio.sleep(down)
            await trio.to_thread.run_sync(cluster.start, killed)
            self._record.counts["kills"] += 1

    async def _arrive(self, servers: Sequence[ApiServer], collectors: list[Collector]) -> list[str]:
        """Wait until everybody has seen a last write, and compare caches with the store."""
        last = 0
        caches = [cache for server in servers for cache in server.caches.values()]
        with trio.move_on_after(LAST_SECONDS):
            for server in servers:
                last = await _write_at_last(server)
            async with trio.open_nursery() as nursery:
                for cache in caches:
                    nursery.start_soon(cache.reach, last)
                for collector in collectors:
                    nursery.start_soon(collector.reach, last)
            found = []
            for server in servers:
                for cache in server.caches.values():
                    found += await _compare(server, cache)
            return found
        late = [f"{cache.who} at {cache.revision}" for cache in caches if cache.revision < last]
        late += [f"collector of a member at {each.revision}" for each in collectors]
        return [f"not at {last} {LAST_SECONDS} s after the end: {late}"]

    def _look_at_processes(self) -> list[str]:
        found = []
        for member in self._cluster.members:
            if not member.running():
                found.append(f"member {member.name} is gone: {member.log()[-500:]}")
            if "Traceback" in member.log_path.read_text(errors="replace"):
                found.append(f"member {member.name} has a traceback in its log")
        return found

    def _count(self) -> None:
        record, outcome = self._record, self._outcome
        for label, seconds in sorted(record.latencies.items()):
            outcome.count(f"{label}, answered", len(seconds))
            told = _percentiles(outcome, label, [each * 1000 for each in seconds])
            print(f"      {len(seconds):6} {label}: {told}")
        for label, times in sorted(record.failures.items()):
            outcome.count(f"{label}, not answered", times)
        answered = {
            each.revision: each.returned for each in record.writes if each.done and each.returned
        }
        delays = [
            max(0, arrived - answered[revision]) / 1e6
            for revision, arrived in record.arrivals
            if revision in answered
        ]
        told = _percentiles(outcome, "watch delay behind the write's answer", delays)
        print(f"      {len(delays):6} events of live watches: {told} behind the write's answer")
        outcome.count("watches", len(record.streams))
        outcome.count(
            "watch events", sum(len(r.events) for each in record.streams for r in each.responses)
        )
        outcome.count("compactions", sum(each.returned is not None for each in record.compactions))
        outcome.count("writes in doubt", sum(each.returned is None for each in record.writes))
        for name, times in sorted(record.counts.items()):
            outcome.count(name, times)
        done = sum(each.done for each in record.writes)
        if done < WRITES_MIN * self._scale.seconds:
            outcome.note(f"seed {self._seed}: only {done} writes were done")

    def _keep(self, found: list[str]) -> None:
        """Keep logs, and everything that was seen, of a run with a violation."""
        kept = BUILD / str(self._seed)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for member in self._cluster.members:
            shutil.copy(member.log_path, kept / f"{member.name}.log")
        record = self._record
        lines = [self._what, *found]
        for each in (record.claims, record.compactions, record.refusals, record.writes):
            lines += ["", *(str(one)[:SENTENCE] for one in each)]
        for stream in record.streams:
            lines += ["", f"{stream.who} of {stream.key!r} from {stream.start}"]
            for response in stream.responses:
                told = ", ".join(f"{e.key.decode()}@{e.revision}" for e in response.events)
                lines.append(f"  {response.revision}: {told or 'progress'}")
        (kept / "history.txt").write_text("\n".join(lines))


async def _write_at_last(server: ApiServer) -> int:
    """Write through an apiserver until it is done; give a revision that is as great at least."""
    key = f"/registry/minions/last-of-{server.name}".encode()
    number = 0
    while True:
        number += 1
        value = f"last {number} of {server.name}".encode()
        with suppress(OutcomeUnknownError, UnansweredError):
            await server.storage.update(key, partial(bytes, value), missing=True)
            return await server.storage.revision(b"/registry/minions/")
        await trio.sleep(0.1)


async def _compare(server: ApiServer, cache: Cache) -> list[str]:
    """Compare a cache with lists of the store at its revision, in pages and as a stream."""
    snapshot = cache.snapshot(0)
    server.storage.record.snapshots.append(snapshot)
    listings: list[tuple[str, Listing]] = []
    while not listings:
        try:
            pages = await server.storage.pages(cache.prefix, limit=PAGE, revision=snapshot.revision)
            stream = await server.storage.stream(cache.prefix, revision=snapshot.revision)
        except UnansweredError:
            continue
        except EtcdError as error:
            return [f"{snapshot.who} at {snapshot.revision} cannot be compared: {error}"]
        listings.append(("pages", pages))
        if stream is not None:
            listings.append(("a stream", stream))
    return [
        f"{snapshot.who} at {snapshot.revision} holds {len(snapshot.rows)}, but the store, in "
        f"{name}, {len(listing.rows)}: {sorted(set(snapshot.rows) ^ set(listing.rows))[:3]}"
        for name, listing in listings
        if tuple(listing.rows) != snapshot.rows
    ]


def _percentiles(outcome: Outcome, name: str, values: list[float]) -> str:
    """Put p50 and p99 of some milliseconds into the figures; of several runs, the worst."""
    told = []
    ordered = sorted(values)
    for percent in (50, 99) if ordered else ():
        value = round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)
        outcome.peak(f"{name}, p{percent} ms", value)
        told.append(f"p{percent} {value} ms")
    return ", ".join(told)


def main() -> int:
    """Run the proof from the command line."""
    return run(
        "kube",
        prove,
        cycles=1,
        seconds=RUN_SECONDS,
        numbers=NUMBERS,
        description=(__doc__ or "").splitlines()[0],
    )


if __name__ == "__main__":
    sys.exit(main())
