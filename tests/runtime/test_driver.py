"""Tests of `trioetcd.runtime.driver`: answers come from the disk, a broken disk is the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

import pytest
import trio
import trio.testing

from tests.runtime.member import (
    Caller,
    Disk,
    make_replica,
    make_server,
    put,
    put_message,
    running,
)
from trioetcd.errors import EtcdError
from trioetcd.ports import BackendError, PreparedBatch
from trioetcd.raft import Heartbeat
from trioetcd.replica import Envelope, Outputs, Received, Replica, ReplicaConfig, Tick
from trioetcd.runtime.clock import SystemClock
from trioetcd.runtime.driver import LONE_CALLS, QUICK_SECONDS, STOP_SECONDS, Driver
from trioetcd.statemachine import CommandKind
from trioetcd.values import Index, MemberID, Term


def said_by_a_peer(replica: Replica) -> Received:
    """Make an input that brings nothing about, but is no old news either."""
    beat = Heartbeat(replica.member_id, MemberID(5), Term(0), Index(0), 0)
    return Received([Envelope(beat.sender, beat.to, 1, 1, beat)])


async def own_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Give a nursery that can be cancelled while somebody outside looks on."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


async def test_answers_come_after_the_disk() -> None:
    """While the batch is being written nobody is answered; when it is written everybody is."""
    disk = Disk()
    async with running(disk) as server:
        caller = Caller()
        disk.hold()
        for call in range(3):
            put(server, caller, call, b"k%d" % call)
        await disk.wait_held()
        await trio.testing.wait_all_tasks_blocked()
        assert {} == caller.answers
        disk.release()
        await caller.wait(2)

        assert {0, 1, 2} == caller.answers.keys()
        assert [frozenset({0, 1, 2})] == caller.flushes


async def test_turns_go_on_while_a_batch_is_written() -> None:
    """What arrives during a write is taken in at once and is all in the next batch."""
    disk = Disk()
    async with running(disk) as server:
        caller = Caller()
        await trio.testing.wait_all_tasks_blocked()
        disk.hold()
        put(server, caller, 0, b"first")
        await disk.wait_held()
        for call in range(1, 50):
            put(server, caller, call, b"k%d" % call)
            await server.driver.wait_turn()
        before = disk.writes
        disk.release()
        await caller.wait(49)

        # the held batch, the next one with all the rest, and at most a flush of the start's own
        assert disk.writes - before <= 3
        assert len(caller.flushes) <= 2


async def test_a_broken_disk_is_the_end_and_nothing_is_promised() -> None:
    """The first failed write ends `run` with its BackendError, and no call is answered with OK."""
    disk = Disk()
    caller = Caller()
    failure = BackendError("no more disk")
    servers = []

    async def live() -> None:
        async with running(disk) as server:
            servers.append(server)
            await trio.testing.wait_all_tasks_blocked()
            disk.hold()
            put(server, caller, 1, b"k")
            await disk.wait_held()
            put(server, caller, 2, b"k")
            disk.failure = failure
            disk.release()
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await live()

    assert caught.group_contains(BackendError, match="no more disk")
    assert [] == [one for one in caller.answers.values() if not isinstance(one, EtcdError)]
    assert servers[0].store.current(b"k") is None


async def test_a_turn_that_fails_is_the_members_trouble() -> None:
    """Whoever's task a turn runs in and whatever that does with its failure, the driver ends."""
    disk = Disk()
    replica = make_replica(disk)
    answers: list[Outputs] = []

    def turned(outputs: Outputs) -> None:
        answers.append(outputs)
        if trouble:
            raise trio.BrokenResourceError("not the peer's")

    trouble = False
    driver = Driver(replica, disk, SystemClock(), turned=turned, written=lambda _: None)

    async def live() -> None:
        nonlocal trouble
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            while not replica.ready:
                await driver.wait_turn()
            trouble = True
            with contextlib.suppress(trio.BrokenResourceError):
                driver.hear(said_by_a_peer(replica))
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await live()

    assert caught.group_contains(trio.BrokenResourceError, match="not the peer's")


async def test_the_end_flushes_and_tells_who_waits() -> None:
    """A cancelled driver tells who waits that the server stopped, and writes what is applied."""
    disk = Disk()
    caller = Caller()
    async with trio.open_nursery() as outer:
        nursery = await outer.start(own_nursery)
        server = make_server(disk)
        await nursery.start(server.run)
        put(server, caller, 1, b"k")
        await caller.wait(1)
        disk.hold()
        put(server, caller, 2, b"late")
        await disk.wait_held()
        nursery.cancel_scope.cancel()
        assert await caller.wait_error(2) == "etcdserver: server stopped"
        disk.release()

    again = make_replica(disk)
    assert again.store.current(b"k") is not None
    assert again.applied_index >= 2  # effects were flushed: nothing of `k` is left to replay


async def test_a_disk_slower_than_the_end_is_left_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """When the last batch takes longer than STOP_SECONDS, its end breaks nothing."""
    autojump_clock.autojump_threshold = float("inf")  # the writer is a thread
    disk = Disk()
    caller = Caller()
    writing = threading.Timer(0.1, disk.release)  # the loop waits for the thread in between
    async with trio.open_nursery() as nursery:
        server = make_server(disk)
        await nursery.start(server.run)
        disk.hold()
        put(server, caller, 1, b"k")
        await disk.wait_held()
        started = trio.current_time()
        autojump_clock.autojump_threshold = 0.01
        writing.start()
        nursery.cancel_scope.cancel()
    disk.close()
    writing.join()
    await trio.testing.wait_all_tasks_blocked()

    assert trio.current_time() - started <= STOP_SECONDS + 1
    assert await caller.wait_error(1) == "etcdserver: server stopped"


async def test_inputs_and_reads_reach_the_replica() -> None:
    """What is put in has its turn, and reads come back readable."""
    disk = Disk()
    seen: list[Outputs] = []
    replica = make_replica(disk)
    driver = Driver(replica, disk, SystemClock(), turned=seen.append, written=lambda _: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        while not replica.ready:
            await driver.wait_turn()
        driver.read("ticket")
        driver.wake()
        driver.put_in(Tick(trio.current_time()))
        await driver.wait_turn()
        nursery.cancel_scope.cancel()

    assert ["ticket"] == [ticket for outputs in seen for ticket in outputs.readable]


async def test_what_peers_say_waits_only_where_many_call() -> None:
    """What a peer says is taken in before `hear` returns, or when many call with what they want."""
    disk = Disk()
    seen: list[Outputs] = []
    replica = make_replica(disk)
    driver = Driver(replica, disk, SystemClock(), turned=seen.append, written=lambda _: None)
    said = said_by_a_peer(replica)
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        while not replica.ready:
            await driver.wait_turn()
        before = len(seen)
        driver.hear(said)
        assert len(seen) == before + 1
        for number in range(2):
            driver.propose(None, CommandKind.PUT, put_message(b"k%d" % number))
        driver.wake()
        await driver.wait_turn()
        assert driver.crowded
        before = len(seen)
        driver.hear(said)
        assert len(seen) == before
        await driver.wait_turn()
        assert len(seen) > before
        nursery.cancel_scope.cancel()


async def test_the_disk_comes_first_for_one_and_last_for_many() -> None:
    """A lone call's batch is handed over before anything is sent; that of many after it all."""
    order: list[str] = []

    class NotingDisk(Disk):
        prepared = 0

        def prepare(self, rows: Mapping[bytes, bytes | None], /) -> PreparedBatch:
            self.prepared += 1
            order.append("batch")
            return super().prepare(rows)

    resolved: set[object] = set()
    written: list[float] = []

    def turned(outputs: Outputs) -> None:
        order.append("told")
        resolved.update(ticket for ticket, _ in outputs.resolved)

    disk = NotingDisk()
    replica = make_replica(disk)
    disk.prepared = 0
    driver = Driver(replica, disk, SystemClock(), turned=turned, written=written.append)

    async def call(*keys: bytes) -> list[str]:
        while len(written) < disk.prepared:
            await driver.wait_turn()
        order.clear()
        for key in keys:
            driver.propose(key, CommandKind.PUT, put_message(key))
        driver.flush_later(lambda: order.append("flushed"))
        during = list(order)
        while not resolved.issuperset(keys):
            await driver.wait_turn()
        return during

    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        while not replica.ready:
            await driver.wait_turn()
        assert ["batch", "told", "flushed"] == await call(b"a")
        assert ["told", "flushed", "batch"] == await call(b"b", b"c")
        nursery.cancel_scope.cancel()


class ThreadDisk(Disk):
    """A disk that notes which batches the loop's own thread wrote, and may be slow.

    Attributes:
        here: of each batch whether the loop's thread wrote it.
        seconds: how long a write takes at least.
    """

    def __init__(self) -> None:
        super().__init__()
        self.here: list[bool] = []
        self.seconds = 0.0

    def wait_open(self) -> None:
        self.here.append(threading.current_thread() is threading.main_thread())
        began = perf_counter()
        while perf_counter() < began + self.seconds:
            pass  # the thread of a disk that is at work, in real time
        super().wait_open()


class Calls:
    """Calls one after the other, each of which waits for its answer.

    Args:
        unwatched: what the driver is told of others.
    """

    def __init__(self, *, unwatched: bool = True) -> None:
        self.disk = ThreadDisk()
        self.answered: set[object] = set()
        self.replica = make_replica(self.disk)
        self.driver = Driver(
            self.replica,
            self.disk,
            SystemClock(),
            turned=self._turned,
            written=lambda _: None,
            unwatched=lambda: unwatched,
        )
        self.flushed = 0
        self._count = 0

    def _turned(self, outputs: Outputs) -> None:
        self.answered.update(ticket for ticket, _ in outputs.resolved)

    def _flush(self) -> None:
        self.flushed += 1

    def begin(self, caller: str = "a", *, calls: int = 1) -> int:
        """Propose from a connection; gives the number of the last call."""
        self.driver.heard_from(caller)
        for _ in range(calls):
            self._count += 1
            self.driver.propose(self._count, CommandKind.PUT, put_message(b"k%d" % self._count))
        self.driver.flush_later(self._flush)
        return self._count

    async def call(self, caller: str = "a", *, calls: int = 1) -> bool:
        """Call and wait for the answer; whether the loop itself wrote the call's batch."""
        before = len(self.disk.here)
        self.begin(caller, calls=calls)
        await self.settle()
        return self.disk.here[before:] == [True]

    async def settle(self) -> None:
        """Wait until the last call is answered."""
        while self._count not in self.answered:
            await self.driver.wait_turn()

    async def become_alone(self) -> None:
        """Call until the loop writes for the caller."""
        for _ in range(LONE_CALLS):
            assert not await self.call()
        await self.until_here()

    async def until_here(self) -> None:
        """Call until the loop writes; a real machine may be slow for a moment."""
        with trio.fail_after(5):
            while not await self.call():
                pass


@asynccontextmanager
async def calling(calls: Calls) -> AsyncIterator[Calls]:
    """Drive until the block is left."""
    async with trio.open_nursery() as nursery:
        await nursery.start(calls.driver.run)
        while not calls.replica.ready:
            await calls.driver.wait_turn()
        yield calls
        nursery.cancel_scope.cancel()


async def test_a_lone_callers_batch_is_written_by_the_loop() -> None:
    """After some calls that nobody else came between, an answer is there when the turn ends."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        at_once, flushed, written = False, 0, 0
        with trio.fail_after(5):
            while not at_once:
                flushed, written = calls.flushed, len(calls.disk.here)
                at_once = calls.begin() in calls.answered
                await calls.settle()

        assert calls.disk.here[written:] == [True]
        assert calls.flushed == flushed + 1
        assert calls.disk.writes > LONE_CALLS


@pytest.mark.parametrize("other", ["another connection", "two calls at once"])
async def test_company_gives_the_disk_back_to_its_thread(other: str) -> None:
    """Whoever else calls, or calls twice at once, need not wait for the loop; then it is as new."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        if other == "another connection":
            assert not await calls.call("b")
        else:
            assert not await calls.call(calls=2)
        await calls.become_alone()


async def test_the_loop_waits_once_for_a_slow_disk() -> None:
    """After one write that took long the thread has the disk until a write was quick again."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        calls.disk.seconds = 2 * QUICK_SECONDS
        await calls.call()
        assert [await calls.call() for _ in range(5)] == [False] * 5
        calls.disk.seconds = 0.0
        await calls.until_here()


async def test_where_others_are_the_loop_never_waits_for_the_disk() -> None:
    """A member of several, or one with watches, leaves its disk to the thread."""
    async with calling(Calls(unwatched=False)) as calls:
        assert True not in [await calls.call() for _ in range(2 * LONE_CALLS)]


async def test_a_disk_that_breaks_under_the_loop_is_the_end() -> None:
    """A write that fails in a caller's own turn ends the driver, and that call has no answer."""
    calls = Calls()

    async def live() -> None:
        async with calling(calls):
            await calls.become_alone()
            calls.disk.failure = BackendError("no more disk")
            with contextlib.suppress(BackendError):
                calls.begin()
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await live()

    assert caught.group_contains(BackendError, match="no more disk")
    assert calls._count not in calls.answered


async def test_an_idle_member_writes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Time passes in ticks; without calls there is no batch once all is flushed."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    disk = Disk()
    async with running(disk) as server:
        await trio.sleep(1)
        before = disk.writes
        await trio.sleep(5)

        assert before == disk.writes
        assert server.replica.statistics().overlay_rows == 0


@pytest.mark.parametrize("interval", [0.02, 0.1, 0.5])
async def test_ticks_keep_up_with_heartbeats(
    interval: float, autojump_clock: trio.testing.MockClock
) -> None:
    """A short --heartbeat-interval makes the ticks come as often, a long one leaves them alone."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    turns: list[Outputs] = []
    async with running(config=ReplicaConfig(name="m", heartbeat_seconds=interval)) as server:
        await trio.sleep(1)
        server.also_turned = turns.append
        await trio.sleep(1)
    assert 1 / min(interval, 0.1) - 1 <= len(turns) <= 1 / min(interval, 0.1) + 1
