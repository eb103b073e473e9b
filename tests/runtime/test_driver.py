"""Tests of `trioetcd.runtime.driver`: answers come from the disk, a broken disk is the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

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
from trioetcd.runtime.driver import (
    LONE_CALLS,
    QUICK_BYTES,
    QUICK_SECONDS,
    STOP_SECONDS,
    Driver,
)
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


class Calls:
    """Calls one after the other, each of which waits for its answer.

    Args:
        alone: what the driver is told of others.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.disk = Disk()
        self.answered: set[object] = set()
        self.replica = make_replica(self.disk)
        self.driver = Driver(
            self.replica,
            self.disk,
            SystemClock(),
            turned=self._turned,
            written=lambda _: None,
            alone=lambda: alone,
        )
        self.flushed = 0
        self._count = 0

    def _turned(self, outputs: Outputs) -> None:
        self.answered.update(ticket for ticket, _ in outputs.resolved)

    def _flush(self) -> None:
        self.flushed += 1

    def begin(self, *, calls: int = 1, value: bytes = b"v") -> bool:
        """Propose; whether the last call was answered on the spot."""
        for _ in range(calls):
            self._count += 1
            message = put_message(b"k%d" % self._count, value)
            self.driver.propose(self._count, CommandKind.PUT, message)
        self.driver.flush_later(self._flush)
        return self._count in self.answered

    async def call(self, *, calls: int = 1, value: bytes = b"v") -> bool:
        """Call and wait for the answer; whether the loop itself wrote the call's batch."""
        before = len(self.disk.here)
        self.begin(calls=calls, value=value)
        while self._count not in self.answered:
            await self.driver.wait_turn()
        return self.disk.here[before:] == [True]

    async def become_alone(self) -> None:
        """Call until the loop is about to write the next call's batch, not before its time."""
        for _ in range(LONE_CALLS):
            assert not await self.call()
        driver = self.driver
        with trio.fail_after(5):  # a real machine may be slow for a moment
            while not await self.call() or driver._lone_calls < LONE_CALLS or driver._writing:
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
    """After some calls that nothing came between, an answer is there when the turn ends."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        assert calls.begin()
        assert calls.disk.here[-1]
        assert calls.flushed == calls._count, "what waits for a turn is called in it, once"
        assert calls.disk.writes > LONE_CALLS


@pytest.mark.parametrize("company", ["another thing", "two calls at once", "a slow write"])
async def test_company_gives_the_disk_back_to_its_thread(company: str) -> None:
    """Whatever else was done, or took long, the loop waits for the next calls' batches no more."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        if company == "another thing":
            calls.driver.not_alone()
        elif company == "two calls at once":
            await calls.call(calls=2)
        else:
            calls.disk.seconds = 2 * QUICK_SECONDS
            assert calls.begin()
            calls.disk.seconds = 0.0
        await calls.become_alone()


async def test_a_large_batch_is_the_threads() -> None:
    """The loop waits for small batches only; what a large one left in its store is large, too."""
    async with calling(Calls()) as calls:
        await calls.become_alone()
        for value in (bytes(QUICK_BYTES), b"v"):
            assert not await calls.call(value=value)


async def test_where_others_are_the_loop_never_waits_for_the_disk() -> None:
    """A member that says it is not alone leaves its disk to the thread."""
    async with calling(Calls(alone=False)) as calls:
        assert True not in [await calls.call() for _ in range(2 * LONE_CALLS)]


async def test_a_disk_that_breaks_under_the_loop_is_the_end() -> None:
    """A write that fails in a caller's own turn ends the driver, and that call has no answer."""
    calls = Calls()

    async def live() -> None:
        async with calling(calls):
            await calls.become_alone()
            calls.disk.failure = BackendError("no more disk")
            with pytest.raises(BackendError):
                calls.begin()
            assert calls.disk.here[-1]
            assert not calls.begin(), "nothing goes on after it"
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await live()

    assert caught.group_contains(BackendError, match="no more disk")
    assert not calls.answered & {calls._count, calls._count - 1}


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
