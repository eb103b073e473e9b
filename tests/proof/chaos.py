"""Three members over TLS behind a proxy, quarrelling clients, watchers, and faults: level 3.

Each run has a fresh cluster, a traffic mix and two faults, all drawn from its seed. Afterwards a
last write must succeed through every member, every watcher must arrive at it, all members' hashes
must be equal, and everything that was seen must keep etcd's promises (`judge.py`).

Usage: python -m tests.proof.chaos [--cycles 100] [--seed N] [--only FAULT] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import trio

from tests.proof.cluster import Cluster
from tests.proof.disturbances import DISTURBANCES, Stage
from tests.proof.history import History
from tests.proof.judge import judge
from tests.proof.member import NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.proxy import Proxy
from tests.proof.spectators import Spectators
from tests.proof.traffic import KEYS, MIXES, UNANSWERED, Agent
from trioetcd.client import Client, open_client
from trioetcd.client.connection import Endpoint, client_tls

BUILD: Final = Path(__file__).resolve().parents[2] / "build" / "chaos"
PINNED: Final = 6
"""Clients that keep to one member; two per member, so that a stale one would be seen."""
FREE: Final = 2
ROAMERS: Final = 3
CALM_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = (0.2, 1.0)
LAST_SECONDS: Final = 15.0
"""So soon after the last fault every member must take writes and have told all watchers."""
COMPACT_SECONDS: Final = 0.3
TOLD: Final = 3
"""So many sentences of one run are printed, the rest is kept in a file; the run counts once."""
SENTENCE: Final = 800
ACKNOWLEDGED_MIN: Final = 20
SNAPSHOTS: Final = (50, 100, 1000)
TIMES: Final = ((100, 1000), (100, 1000), (100, 520), (30, 300))
"""Heartbeat and election timeout, milliseconds."""


def prove(options: Options, outcome: Outcome) -> None:
    """Do run after run."""
    budget = Budget(options)
    for seed in range(options.seed, options.seed + options.cycles):
        if budget.spent():
            break
        with tempfile.TemporaryDirectory(prefix="trioetcd-chaos-") as directory:
            Run(options, Path(directory), seed, outcome).do()
        outcome.done += 1
        outcome.last_seed = seed


class Run:
    """One run.

    Args:
        options: of the proof.
        root: an empty directory.
        seed: of this run.
        outcome: where violations and figures go.
    """

    def __init__(self, options: Options, root: Path, seed: int, outcome: Outcome) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._outcome = outcome
        chance = self._chance
        self._mix = chance.choice(list(MIXES))
        self._faults = [options.only or chance.choice(list(DISTURBANCES)) for _ in range(2)]
        self._compacts = chance.random() < 0.5
        heartbeat, election = chance.choice(TIMES)
        flags = [
            f"--snapshot-count={chance.choice(SNAPSHOTS)}",
            f"--heartbeat-interval={heartbeat}",
            f"--election-timeout={election}",
        ]
        if options.target == "trioetcd":
            # etcd has it since 3.6
            flags.append(f"--snapshot-catchup-entries={chance.choice([10, 100, 5000])}")
        self._what = f"{self._mix}; {', '.join(self._faults)}; {' '.join(flags)}"
        self._cluster = Cluster(options.target, root, flags=flags)
        self._history = History()

    def do(self) -> None:
        """Run, judge, and keep what is needed to look into a violation."""
        found: list[str] = []
        try:
            difference = trio.run(self._play)
            found += [difference] if difference else []
        except* NotReadyError as errors:
            found += [f"a member did not get on: {error}" for error in errors.exceptions]
        except* trio.TooSlowError:
            found.append(f"not all well {LAST_SECONDS} s after the last fault")
        finally:
            found += self._look_at_processes()
            self._cluster.close()
        found += judge(self._history)
        self._count()
        told = [sentence[:SENTENCE] for sentence in found[:TOLD]]
        if len(found) > TOLD:
            told.append(f"and {len(found) - TOLD} more, see {BUILD.name}/{self._seed}")
        if told:
            self._outcome.violated(self._seed, f"{self._what}: " + "; ".join(told))
        print(
            f"   {self._seed}: {self._what}: {len(self._history.operations)} requests", flush=True
        )
        if found:
            self._keep(found)

    async def _play(self) -> str:
        cluster = self._cluster
        seed = self._seed
        members = cluster.members
        proxy = Proxy(
            [member.peer_port for member in members],
            cluster.owner_of,
            random.Random(f"{seed} proxy"),
        )
        tls = client_tls(cacert=members[0].ca, cert=members[0].cert, key=members[0].key)
        endpoints = [Endpoint.parse(member.endpoint) for member in members]
        spectators = Spectators(endpoints, tls, self._history, seed)
        stop = trio.Event()
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            await nursery.start(proxy.run)
            cluster.advertise(proxy.ports)
            await trio.to_thread.run_sync(cluster.start)
            await trio.to_thread.run_sync(cluster.leader)
            for place in cluster.places:
                await trio.to_thread.run_sync(cluster.number, place)
                nursery.start_soon(spectators.collect, place)
            for number in range(ROAMERS):
                nursery.start_soon(spectators.roam, number, KEYS)
            clients = [
                await stack.enter_async_context(self._client(place % 3, everywhere=place >= PINNED))
                for place in range(PINNED + FREE)
            ]
            async with trio.open_nursery() as agents:
                twins = trio.CapacityLimiter(3)
                for number, client in enumerate(clients):
                    agents.start_soon(self._agent(number, client, twins).run, stop)
                if self._compacts:
                    agents.start_soon(self._compact, clients[-1], spectators, stop)
                await trio.sleep(CALM_SECONDS)
                self._require_traffic()
                stage = Stage(cluster, proxy, self._chance)
                for fault in self._faults:
                    await DISTURBANCES[fault](stage)
                    await trio.sleep(self._chance.uniform(*PAUSE_SECONDS))
                await stage.restore()
                await trio.sleep(CALM_SECONDS)
                stop.set()
            with trio.fail_after(LAST_SECONDS):
                await spectators.reach(await self._last_writes(clients))
            difference = await trio.to_thread.run_sync(cluster.equal_hashes)
            nursery.cancel_scope.cancel()
        return difference

    def _client(self, place: int, *, everywhere: bool) -> AbstractAsyncContextManager[Client]:
        members = self._cluster.members
        chosen = members if everywhere else [members[place]]
        return open_client(
            [member.endpoint for member in chosen],
            cacert=members[0].ca,
            cert=members[0].cert,
            key=members[0].key,
        )

    def _agent(self, number: int, client: Client, twins: trio.CapacityLimiter) -> Agent:
        return Agent(
            f"client{number}",
            client,
            self._history,
            MIXES[self._mix],
            random.Random(f"{self._seed} client {number}"),
            twins,
        )

    async def _compact(self, client: Client, spectators: Spectators, stop: trio.Event) -> None:
        """Forget history now and then, but none that a collector still needs."""
        chance = random.Random(f"{self._seed} compactor")
        while not stop.is_set():
            await trio.sleep(COMPACT_SECONDS)
            seen = spectators.position
            if seen <= self._history.compacted + 1:
                continue
            revision = chance.randint(self._history.compacted + 1, seen)
            self._history.compacted = revision
            with suppress(*UNANSWERED), trio.move_on_after(COMPACT_SECONDS):
                await client.compact(revision)

    async def _last_writes(self, clients: list[Client]) -> int:
        """Write through every member until it takes it; give the last revision."""
        last = 0
        for place in self._cluster.places:
            agent = self._agent(100 + place, clients[place], trio.CapacityLimiter(1))
            last = max(last, await agent.put_at_last())
        return last

    def _require_traffic(self) -> None:
        answered = sum(each.returned is not None for each in self._history.operations)
        if answered < ACKNOWLEDGED_MIN:
            self._outcome.note(f"seed {self._seed}: only {answered} answers before the first fault")

    def _look_at_processes(self) -> list[str]:
        found = []
        for member in self._cluster.members:
            if not member.running():
                found.append(f"member {member.name} is gone: {member.log()[-500:]}")
            if "Traceback" in member.log_path.read_text(errors="replace"):
                found.append(f"member {member.name} has a traceback in its log")
        return found

    def _count(self) -> None:
        history, outcome = self._history, self._outcome
        outcome.count("requests", len(history.operations))
        outcome.count("answers", sum(each.returned is not None for each in history.operations))
        unknown = [each for each in history.operations if each.returned is None]
        outcome.count("writes in doubt", sum(each.kind.writes for each in unknown))
        outcome.count("watches", len(history.streams))
        outcome.count(
            "events seen", sum(len(r.events) for each in history.streams for r in each.responses)
        )
        for name in self._faults:
            outcome.count(f"fault {name}")

    def _keep(self, found: list[str]) -> None:
        """Keep logs, and everything that was seen, of a run with a violation."""
        kept = BUILD / str(self._seed)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for member in self._cluster.members:
            shutil.copy(member.log_path, kept / f"{member.name}.log")
        history = self._history
        lines = [self._what, *found, "", *map(str, history.operations), ""]
        for stream in history.streams:
            lines += [f"{stream.who} from {stream.start}", *map(str, stream.responses), ""]
        (kept / "history.txt").write_text("\n".join(lines))


def main() -> int:
    """Run the proof from the command line."""
    return run("chaos", prove, cycles=100, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
