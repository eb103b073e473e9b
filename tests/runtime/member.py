"""A member in process over memory: a disk that can be held or broken, callers that remember."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import trio

from trioetcd import cluster
from trioetcd.cluster import Member
from trioetcd.errors import EtcdError
from trioetcd.ports import Backend, BackendError, PreparedBatch, Row, Snapshot
from trioetcd.replica import Replica, ReplicaConfig, bootstrap, recover
from trioetcd.runtime.clock import SystemClock, SystemEntropy
from trioetcd.runtime.logins import LoginSettings
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend

PEER_URL = "https://127.0.0.1:2380"


class Gate:
    """Where a thread is held up, in the middle of a call that blocks."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._token: trio.lowlevel.TrioToken | None = None
        self._reached = trio.Event()

    def close(self) -> None:
        """Let no thread through until `open`."""
        self._token = trio.lowlevel.current_trio_token()
        self._reached = trio.Event()
        self._open.clear()

    def open(self) -> None:
        """Let all through."""
        self._open.set()

    async def wait_reached(self) -> None:
        """Wait until a thread is held up."""
        await self._reached.wait()

    def go_through(self) -> None:
        """Go through, in a thread, when it is open."""
        if not self._open.is_set():
            assert self._token is not None
            self._token.run_sync_soon(self._reached.set)
            self._open.wait()


class Disk:
    """A `Backend` in memory whose writes can be held up, counted, or broken.

    Attributes:
        gate: in front of writes.
        merging: in front of compactions of ranges.
        writes: batches written.
        failure: what the next write ends with.
        extra: bytes that `size` adds.
        seconds: how long a write takes at least.
        here: of each batch whether the loop's own thread wrote it.
    """

    def __init__(self) -> None:
        self.rows = MemoryBackend()
        self.writes = 0
        self.failure: BackendError | None = None
        self.extra = 0
        self.seconds = 0.0
        self.here: list[bool] = []
        self.closed = False
        self.compacted: list[tuple[bytes, bytes]] = []
        self.gate = Gate()
        self.merging = Gate()
        self.hold = self.gate.close
        self.release = self.gate.open
        self.wait_held = self.gate.wait_reached

    def wait_open(self) -> None:
        """Hold up the writer, if that is asked for, and fail if that is asked for."""
        self.here.append(threading.current_thread() is threading.main_thread())
        began = perf_counter()
        while perf_counter() < began + self.seconds:
            pass  # a disk at work, in real time
        self.gate.go_through()
        if self.failure is not None:
            raise self.failure

    # ports.Backend

    def get(self, key: bytes, /) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return self.rows.scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return self.rows.scan_back(start, stop)

    def snapshot(self) -> Snapshot:
        return self.rows.snapshot()

    def prepare(self, rows: Mapping[bytes, bytes | None], /) -> PreparedBatch:
        assert not self.closed, "nothing may be written after the close"
        return _Batch(self, self.rows.prepare(rows))

    def compact_range(self, start: bytes, stop: bytes, /) -> None:
        self.compacted.append((start, stop))
        self.merging.go_through()

    def size(self) -> int:
        return self.rows.size() + self.extra

    def close(self) -> None:
        self.closed = True
        self.rows.close()


@dataclass
class _Batch:
    disk: Disk
    batch: PreparedBatch

    def write(self) -> None:
        self.disk.wait_open()
        self.batch.write()
        self.disk.writes += 1


Answer = bytes | list[bytes] | EtcdError


@dataclass
class Caller:
    """A connection's end that remembers what it was told (`ports.Sink`)."""

    answers: dict[int, Answer] = field(default_factory=dict)
    flushes: list[frozenset[int]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    changed: trio.Event = field(default_factory=trio.Event)

    def answer(self, call: int, response: bytes, /) -> None:
        self._take(call, response)

    def answer_pieces(self, call: int, pieces: list[bytes], /) -> None:
        self._take(call, pieces)

    def fail(self, call: int, error: Exception, /) -> None:
        assert isinstance(error, EtcdError)
        self._take(call, error)

    def _take(self, call: int, answer: Answer) -> None:
        assert call not in self.answers, "a call is answered once"
        self.answers[call] = answer

    def is_full(self) -> bool:
        return False

    def is_open(self, call: int, /) -> bool:
        return call not in self.gone

    def flush(self) -> None:
        self.flushes.append(frozenset(self.answers))
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, call: int) -> Answer:
        while call not in self.answers:
            await self.changed.wait()
        return self.answers[call]

    async def wait_message(self, call: int) -> bytes:
        """Wait for an answer that is no error; its pieces are joined."""
        answer = await self.wait(call)
        assert not isinstance(answer, EtcdError), answer
        return answer if isinstance(answer, bytes) else b"".join(answer)

    async def wait_error(self, call: int) -> str:
        answer = await self.wait(call)
        assert isinstance(answer, EtcdError), answer
        return answer.text


def make_replica(disk: Backend, *, config: ReplicaConfig | None = None) -> Replica:
    """Make the only member of a cluster on a disk, which may be empty."""
    if not isinstance(disk, Disk) or disk.get(b"M") is None:
        member = Member(
            id=cluster.member_id((PEER_URL,), "t"),
            name="",
            peer_urls=(PEER_URL,),
            client_urls=(),
            is_learner=False,
        )
        cluster_id = cluster.cluster_id([member.id])
        rows = bootstrap(cluster_id=cluster_id, member_id=member.id, members=[member])
        disk.prepare(rows).write()
    recovered = recover(disk)
    assert recovered is not None
    return Replica(
        backend=disk,
        recovered=recovered,
        config=config or ReplicaConfig(name="m", client_urls=("https://127.0.0.1:2379",)),
        boot=1,
        entropy=SystemEntropy(),
        now=trio.current_time(),
    )


def make_server(
    disk: Disk,
    *,
    limits: ServerLimits | None = None,
    config: ReplicaConfig | None = None,
    logins: LoginSettings | None = None,
) -> Server:
    return Server(
        replica=make_replica(disk, config=config),
        backend=disk,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        limits=limits or ServerLimits(),
        metrics=Metrics(),
        logins=logins,
    )


@asynccontextmanager
async def running(
    disk: Disk | None = None,
    *,
    limits: ServerLimits | None = None,
    config: ReplicaConfig | None = None,
    logins: LoginSettings | None = None,
) -> AsyncIterator[Server]:
    """Run a member until the block is left."""
    disk = disk or Disk()
    server = make_server(disk, limits=limits, config=config, logins=logins)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        try:
            yield server
        finally:
            disk.release()
            disk.merging.open()
        nursery.cancel_scope.cancel()


def put_message(key: bytes, value: bytes = b"v") -> bytes:
    return messages.PutRequest(key=key, value=value).SerializeToString()


def put(server: Server, caller: Caller, call: int, key: bytes, value: bytes = b"v") -> None:
    """Propose a put as the KV handler does."""
    server.propose(caller, call, CommandKind.PUT, put_message(key, value), None)
    server.driver.wake()


async def fill(server: Server, count: int, *, value: bytes = b"v", prefix: bytes = b"k") -> None:
    """Put so many keys and wait for the last one."""
    caller = Caller()
    for number in range(count):
        put(server, caller, number, b"%s%06d" % (prefix, number), value)
    for number in range(count):
        answer = await caller.wait(number)
        assert isinstance(answer, bytes), answer
