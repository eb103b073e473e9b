"""``python -m trioetcd.testing.nodes``: whole nodes in one process and in mock time, and trouble.

Three nodes as they are run, on sockets of one process (`wires`), each with its LevelDB; clients
that write, read back and watch; and, as a seed has it, connections that break, stall or part,
disks that fail, nodes that are told to stop, cancelled or killed at any moment of their lives.
What must hold: every end comes within its time and without an exception; nothing acknowledged is
lost; watches see all, once and in order; when the trouble is over every node serves again; and at
the end no task and no file is left.

A seed decides what happens and when. The order in which Trio runs tasks is seeded too, but threads
and real time are not quite kept out (the slices of a turn), so a replay may need some tries.
"""

from __future__ import annotations

import faulthandler
import gc
import socket
import sys
import tempfile
import traceback
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, TextIO
from unittest.mock import patch

import trio
import trio.testing
from trio._core import _run

from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.settings import Config
from trioetcd.pki import Profile
from trioetcd.testing.node_clients import NodeClients
from trioetcd.testing.node_life import NodeLife
from trioetcd.testing.scenario import stream
from trioetcd.testing.violation import Violation, require
from trioetcd.testing.wires import Wires
from trioetcd.transport.listener import Address

__all__ = ["FAULTS", "Plan", "Report", "draw", "main", "run"]

NAMES: Final = ("a", "b", "c")
CLIENT: Final = "client"
HEAL_SECONDS: Final = 20.0
"""From the end of the trouble until every node serves: connections found dead, an election."""

LATE_SECONDS: Final = 8.0
"""How long a put that was not answered may still be under way: a member gives up after 7 s."""

HANG_SECONDS: Final = 300.0
"""A run of so many real seconds does not end any more: the process ends with a traceback."""

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
"""Where a sync costs nothing: how long it takes is the plan's."""

FAULTS: Final = ("cut", "hold", "part", "stop", "cancel", "kill", "disk", "stall", "move")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        seed: what all chance is derived from.
        seconds: of trouble, in mock time.
        faults: which of `FAULTS` there are.
        pause_seconds: between two faults, about.
        writers: clients that write.
        wire_seconds: how long bytes are under way, about.
        sync_seconds: how long a batch takes, about.
        snapshot_count: entries after which the log is cut; few make members need snapshots.
    """

    seed: int
    seconds: float
    faults: tuple[str, ...]
    pause_seconds: float
    writers: int
    wire_seconds: float
    sync_seconds: float
    snapshot_count: int


@dataclass(slots=True)
class Report:
    """What came of a run.

    Attributes:
        plan: what was run.
        struck: how often each fault struck.
        lives: how many lives the nodes had together.
        snapshots: how many snapshots members sent each other.
        acknowledged: puts that were.
        unknown: puts whose outcome nobody was told.
        compared: how often all members' data was compared, by chain and by content.
        mock_seconds: how long it lasted for the nodes.
    """

    plan: Plan
    struck: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    snapshots: int = 0
    acknowledged: int = 0
    unknown: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    mock_seconds: float = 0.0


def draw(seed: int, *, seconds: float = 15.0, without: Sequence[str] = ()) -> Plan:
    """Draw the plan of a seed: a part of the faults, and sizes."""
    random = stream(seed, "plan")
    chosen = [fault for fault in FAULTS if random.random() < 0.6] or list(FAULTS)
    return Plan(
        seed=seed,
        seconds=seconds,
        faults=tuple(fault for fault in chosen if fault not in without),
        pause_seconds=random.choice((0.3, 1.0, 3.0)),
        writers=random.choice((1, 2, 4)),
        wire_seconds=random.choice((0.0005, 0.002, 0.02)),
        sync_seconds=random.choice((0.0005, 0.005, 0.05)),
        snapshot_count=random.choice((15, 50, 10_000)),
    )


def configure(directory: Path, plan: Plan, *more: str) -> list[Config]:
    """Make the certificates and settings of the nodes; `more` are flags that all are given.

    They compare their data far more often than members do that nobody tells to.
    """
    now = datetime.now(UTC)
    peer_ca, client_ca = (
        pki.create_authority(purpose, now=now, profile=Profile()) for purpose in ("peer", "client")
    )
    peers = {name: f"https://127.0.0.1:{3000 + at}" for at, name in enumerate(NAMES)}
    made = []
    for at, name in enumerate(NAMES):
        files = directory / name
        pki_files.create_member(
            files,
            name=name,
            hosts=("127.0.0.1",),
            peer_ca=peer_ca,
            client_ca=client_ca,
            now=now,
            profile=Profile(),
        )
        client = f"https://127.0.0.1:{2000 + at}"
        flags = {
            "name": name,
            "data-dir": files / "data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peers[name],
            "initial-advertise-peer-urls": peers[name],
            "initial-cluster": ",".join(f"{each}={url}" for each, url in peers.items()),
            "cert-file": files / "server.crt",
            "key-file": files / "server.key",
            "trusted-ca-file": files / "client-ca.crt",
            "peer-cert-file": files / "peer.crt",
            "peer-key-file": files / "peer.key",
            "peer-trusted-ca-file": files / "peer-ca.crt",
            "snapshot-count": plan.snapshot_count,
            "snapshot-catchup-entries": 1,
            "compact-hash-check-time": "300ms",
            "corrupt-check-time": "1s",
        }
        made.append(parse([f"--{flag}={value}" for flag, value in flags.items()] + [*more], {}))
    return made


class _Run:
    """One run, in mock time."""

    def __init__(self, plan: Plan, directory: Path, report: Report) -> None:
        self.lives: list[NodeLife] = []
        self._plan = plan
        self._directory = directory
        self._report = report
        self._random = stream(plan.seed, "trouble")
        self._healed = trio.Event()
        self._closing = False
        self._wires: Wires
        self._clients: NodeClients
        self._aside: trio.Nursery
        self._strike: dict[str, Callable[[], Awaitable[None]]] = {
            "cut": self._cut,
            "hold": self._hold,
            "part": self._part,
            "stop": partial(self._strike_node, NodeLife.stop),
            "cancel": partial(self._strike_node, NodeLife.cancel),
            "kill": partial(self._strike_node, NodeLife.kill),
            "disk": partial(self._strike_node, NodeLife.break_disk),
            "stall": partial(self._strike_node, NodeLife.stall_disk),
            "move": self._move,
        }

    async def main(self) -> None:
        """Trouble, healing, checks, the end."""
        plan = self._plan
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as outermost:
            self._aside = outermost
            chance = stream(plan.seed, "wires")
            self._wires = Wires(self._directory, outermost, chance, seconds=plan.wire_seconds)
            self._begin()
            async with trio.open_nursery() as alive, trio.open_nursery() as working:
                for node in self.lives:
                    alive.start_soon(self._keep, node)
                working.start_soon(self._clients.watch)
                async with trio.open_nursery() as writing:
                    for number in range(plan.writers):
                        writing.start_soon(self._clients.write, number)
                    await self._trouble()
                    await self._settle()
                    writing.cancel_scope.cancel()
                await trio.sleep(LATE_SECONDS)
                await self._compare(await self._settle())
                working.cancel_scope.cancel()
                self._closing = True
                for node in self.lives:
                    alive.start_soon(node.stop)
            outermost.cancel_scope.cancel()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        require(left == 0, "{} tasks are left", left)
        ledger = self._clients.ledger
        self._report.acknowledged = len(ledger.acknowledged)
        self._report.unknown = ledger.unknown
        told = Counter(message for node in self.lives for _, _, message, _ in node.diary.lines)
        self._report.snapshots = told["sent snapshot"]
        self._report.compared.update(
            str(fields["check"])
            for node in self.lives
            for _, _, message, fields in node.diary.lines
            if message == "compared the members' data" and fields["compared"] == len(NAMES)
        )
        self._report.mock_seconds = trio.current_time()

    def _begin(self) -> None:
        plan = self._plan
        configs = configure(self._directory, plan)
        for config in configs:
            urls = (*config.listen_client_urls, *config.listen_peer_urls)
            self._wires.own(config.name, *(url.port for url in urls))
            chance = stream(plan.seed, config.name)
            self.lives.append(NodeLife(config, self._wires, chance, sync_seconds=plan.sync_seconds))
        files = self._directory / NAMES[0]

        async def dial(host: str, port: int) -> socket.socket:
            return await self._wires.connect(CLIENT, Address(host, port))

        self._clients = NodeClients(
            [str(config.listen_client_urls[0]) for config in configs],
            (files / "client-ca.crt", files / "clients/root.crt", files / "clients/root.key"),
            dial,
            stream(plan.seed, CLIENT),
        )

    async def _keep(self, node: NodeLife) -> None:
        """Let a node live again and again."""
        rest = self._random.uniform(0, 0.5)
        while not self._closing:
            with trio.move_on_after(rest):
                await self._healed.wait()
            self._report.lives += 1
            await node.live()
            rest = self._random.uniform(0, 3)

    # -- trouble ------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        plan = self._plan
        end = trio.current_time() + plan.seconds
        while trio.current_time() < end:
            await trio.sleep(plan.pause_seconds * self._random.expovariate(1))
            if plan.faults:
                fault = self._random.choice(plan.faults)
                self._report.struck[fault] += 1
                self._aside.start_soon(self._strike[fault])
        self._wires.heal()
        self._healed.set()

    async def _cut(self) -> None:
        if wires := self._wires.of():
            self._random.choice(wires).cut()

    async def _hold(self) -> None:
        if wires := self._wires.of():
            wire = self._random.choice(wires)
            wire.hold(self._random.randrange(2))
            await self._wait_a_while()
            wire.release()

    async def _part(self) -> None:
        self._wires.part(*self._random.sample((*NAMES, CLIENT), 2))
        await self._wait_a_while()
        self._wires.heal()

    async def _strike_node(self, how: Callable[[NodeLife], Awaitable[None]]) -> None:
        if living := [node for node in self.lives if node.running]:
            await how(self._random.choice(living))

    async def _move(self) -> None:
        await self._clients.move_leader()

    async def _wait_a_while(self) -> None:
        with trio.move_on_after(self._random.expovariate(0.5)):
            await self._healed.wait()

    # -- afterwards ---------------------------------------------------------------------------

    async def _settle(self) -> list[dict[bytes, int]]:
        """Wait until every node serves; give what each has."""
        found: list[dict[bytes, int]] = []
        for at, name in enumerate(NAMES):
            with trio.move_on_after(HEAL_SECONDS):
                found.append(await self._clients.settle(at))
            require(len(found) == at + 1, "{} does not serve when all is well again", name)
        return found

    async def _compare(self, found: list[dict[bytes, int]]) -> None:
        """Hold the ledger against what each node has, and against what was watched."""
        ledger = self._clients.ledger
        alarms = await self._clients.alarms(0)
        require(not alarms, "alarms were raised where nothing was damaged: {}", alarms)
        for name, keys in zip(NAMES, found, strict=True):
            ledger.check(keys, name)
            require(keys == found[0], "{} and {} differ", name, NAMES[0])
        for wire in self._wires.of(CLIENT):
            wire.cut()  # a client that waits on a dead connection need not wait for a minute
        with trio.move_on_after(HEAL_SECONDS):
            await ledger.wait_watched(len(found[0]))
        require(ledger.watched == found[0], "a watch saw other than what there is")
        for node in self.lives:
            for at, level, message, fields in node.diary.lines:
                require(
                    level not in {"error", "fatal"},
                    "{} logged at {}: {} {}",
                    *(node.name, at, message, fields),
                )


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Let Trio run tasks in an order that depends on the seed, and leave the process as it was."""
    thresholds = gc.get_threshold()
    random = _run._r  # noqa: SLF001 - Trio has no public way, and this is the one its testers use
    state = random.getstate()
    random.seed(seed)
    try:
        with patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
            yield
    finally:
        random.setstate(state)
        gc.set_threshold(*thresholds)
        gc.unfreeze()  # what nodes froze when they were ready
        gc.collect()


def _open_files(directory: Path) -> list[str]:
    """Give the open files that lie in a directory, or did; others' come and go in this process."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # what lists them is gone by now
            found.append(str(descriptor.readlink()))
    return [target for target in found if target.startswith(f"{directory}/")]


def run(plan: Plan, *, log: TextIO | None = None) -> Report:
    """Run a plan.

    Args:
        plan: what to run.
        log: where the nodes' logs go at the end, by mock time.

    Raises:
        ExceptionGroup: a promise was broken, or a node failed.
        Violation: a file was left open.
    """
    report = Report(plan)
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name, _repeatable(plan.seed):
        simulation = _Run(plan, Path(name), report)
        try:
            trio.run(
                simulation.main,
                clock=trio.testing.MockClock(autojump_threshold=0),
                strict_exception_groups=True,
            )
        finally:
            if log is not None:
                _tell(simulation.lives, log)
        left = _open_files(Path(name))
        require(not left, "files are left open: {}", left)
    return report


def _tell(lives: Sequence[NodeLife], log: TextIO) -> None:
    lines = [
        f"{at:10.4f} {node.name} {level} {message} {fields}\n"
        for node in lives
        for at, level, message, fields in node.diary.lines
    ]
    log.writelines(sorted(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; give the exit code."""
    parser = ArgumentParser(prog="python -m trioetcd.testing.nodes", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--seconds", type=float, default=15.0, help="of trouble, in mock time")
    parser.add_argument("--without", nargs="*", default=[], choices=FAULTS, metavar="FAULT")
    parser.add_argument("--log", type=Path, help="write what the nodes log to this file")
    options = parser.parse_args(arguments)
    write = sys.stdout.write
    for seed in range(options.seed, options.seed + options.runs):
        plan = draw(seed, seconds=options.seconds, without=options.without)
        began = perf_counter()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            with ExitStack() as stack:
                log = stack.enter_context(options.log.open("w")) if options.log else None
                report = run(plan, log=log)
        except (ExceptionGroup, Violation) as failure:
            traceback.print_exception(failure)
            write(f"VIOLATION: {plan}\n")
            return 1
        struck = " ".join(f"{fault}:{count}" for fault, count in sorted(report.struck.items()))
        write(
            f"seed {seed} ok lives {report.lives} snapshots {report.snapshots}"
            f" acknowledged {report.acknowledged} unknown {report.unknown}"
            f" compared {report.compared.total()} struck {struck or '-'}"
            f" mock {report.mock_seconds:.1f}s took {perf_counter() - began:.1f}s\n"
        )
        sys.stdout.flush()
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
