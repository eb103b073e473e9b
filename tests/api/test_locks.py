"""Tests of `trioetcd.api.lock` and `trioetcd.api.queue`: order, cancels, lost leases, no herd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from tests.api.locks import KV, LOCK, Callers, Waiting
from tests.api.metadata import NoMetadata
from tests.runtime.member import Disk, running
from trioetcd import errors
from trioetcd.api.context import Metadata
from trioetcd.api.own_client import OwnClient
from trioetcd.api.queue import Queue
from trioetcd.errors import Code, EtcdError
from trioetcd.mvcc import RangeCursor, RangeQuery
from trioetcd.runtime.departures import Departures
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.values import INT64_MAX


@asynccontextmanager
async def callers(disk: Disk | None = None) -> AsyncIterator[Callers]:
    with trio.fail_after(20):
        async with running(disk) as server, trio.open_nursery() as nursery:
            yield Callers(server, nursery)
            nursery.cancel_scope.cancel()


async def test_locks_come_in_the_order_of_their_keys() -> None:
    """Each caller gets the lock when the one before gives it up, and is told its own key."""
    async with callers() as found:
        leases = list(range(0x10, 0x15))
        await found.grant(*leases)
        waiting: list[Waiting] = []
        for count, lease in enumerate(leases, 1):
            waiting.append(found.lock(b"name", lease))
            await found.wait_queued(b"name", count)
        assert await found.keys(b"name") == [b"name/%x" % lease for lease in leases]
        for number, lease in enumerate(leases):
            await waiting[number].ended.wait()
            assert [each.ended.is_set() for each in waiting[number + 1 :]] == [False] * (
                len(leases) - number - 1
            )
            assert waiting[number].lock.key == b"name/%x" % lease
            await found.unlock(waiting[number].lock.key)
            await trio.testing.wait_all_tasks_blocked()
        assert await found.keys(b"name") == []


async def test_the_key_of_a_lock_is_its_fence() -> None:
    """The create revision of the answered key grows from one owner to the next."""
    async with callers() as found:
        await found.grant(1, 2)
        fences = []
        for lease in (1, 2, 1):
            lock = found.lock(b"l", lease)
            await lock.ended.wait()
            fences.append(found.server.store.create_revision(lock.lock.key))
            assert lock.lock.header.revision == fences[-1]
            await found.unlock(lock.lock.key)

        assert fences == sorted(set(fences))


async def test_the_same_lease_has_the_same_lock() -> None:
    """Who locks again with its lease is answered at once, and keeps its fence."""
    async with callers() as found:
        await found.grant(7)
        keys = []
        for _ in range(2):
            lock = found.lock(b"l", 7)
            await lock.ended.wait()
            keys.append(lock.lock.key)
        assert keys == [b"l/7", b"l/7"]
        assert found.server.store.revision == 2


async def test_a_lock_without_a_lease_gets_one_of_a_minute() -> None:
    """The key's name ends with a lease that the member made."""
    async with callers() as found:
        lock = found.lock(b"l", 0)
        await lock.ended.wait()
        (lease,) = found.server.lessor
        assert lock.lock.key == b"l/%x" % lease
        status = found.server.lessor.time_to_live(lease, found.server.now())
        assert status is not None
        assert status[0] == 60


@pytest.mark.parametrize("lease", [5, -5, INT64_MAX])
async def test_a_lock_needs_a_lease_that_exists(lease: int) -> None:
    """An unknown lease is refused with etcd's text, and with no code of its own (etcd)."""
    async with callers() as found:
        lock = found.lock(b"l", lease)
        await lock.ended.wait()
        assert lock.error is not None
        assert (Code.UNKNOWN, errors.LEASE_NOT_FOUND.text) == (lock.error.code, lock.error.text)


async def test_a_cancelled_call_leaves_the_queue() -> None:
    """Its key is deleted, and whoever waited behind it waits for the one before."""
    async with callers() as found:
        await found.grant(1, 2, 3)
        locks = []
        for lease in (1, 2, 3):
            locks.append(found.lock(b"l", lease))
            await found.wait_queued(b"l", lease)
        locks[1].scope.cancel()
        await found.wait_queued(b"l", 2)
        assert await found.keys(b"l") == [b"l/1", b"l/3"]
        assert not locks[2].ended.is_set()
        await found.unlock(b"l/1")
        await locks[2].ended.wait()
        assert locks[2].lock.key == b"l/3"


async def test_a_call_that_is_cancelled_before_its_key_is_there_has_it_deleted() -> None:
    """The key that comes into being afterwards does not stay: nobody would wait there."""
    disk = Disk()
    async with callers(disk) as found:
        await found.grant(1)
        disk.hold()
        lock = found.lock(b"l", 1)
        await disk.wait_held()
        lock.scope.cancel()
        await lock.ended.wait()
        disk.release()
        while found.server.store.revision < 3:
            await trio.lowlevel.checkpoint()
        assert await found.keys(b"l") == []


class Leaderless(OwnClient):
    """Has lost its leader whenever something is to be undone."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.tried = 0

    def send_txn(
        self,
        metadata: Metadata,
        request: messages.TxnRequest,
        failed: Callable[[EtcdError], object],
    ) -> None:
        self.tried += 1
        failed(EtcdError(errors.NO_LEADER))


@pytest.mark.parametrize(("lease", "tries"), [(1, 1), (0, 11)])
async def test_who_came_again_elsewhere_does_not_lose_its_place(lease: int, tries: int) -> None:
    """A key that could not be deleted is tried again, but not one of the caller's own lease."""
    async with callers() as found:
        await found.grant(1)
        client = Leaderless(found.server)
        queue = Queue(found.server, client, Leadership(found.server.replica))
        with trio.CancelScope() as scope:
            async with queue.place(NoMetadata(), b"l", lease, b""):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert client.tried == 1
        for second in range(10):
            queue.tick(float(second))
        assert client.tried == tries


async def test_a_call_for_a_lock_that_is_held_already_does_not_give_it_up() -> None:
    """Who holds a lock, asks for it again and goes away holds it still."""
    disk = Disk()
    async with callers(disk) as found:
        await found.grant(1)
        await found.lock(b"l", 1).ended.wait()
        disk.hold()
        lock = found.lock(b"l", 1)
        await disk.wait_held()
        lock.scope.cancel()
        await lock.ended.wait()
        disk.release()
        for lease in (2, 3):  # when the second is done, so is what the answer brought about
            await found.grant(lease)
        assert await found.keys(b"l") == [b"l/1"]


async def test_who_loses_its_lease_while_it_waits_is_told_at_once() -> None:
    """A waiter whose key is gone ends with etcd's error; the queue goes on without it."""
    async with callers() as found:
        await found.grant(1, 2, 3)
        locks = []
        for lease in (1, 2, 3):
            locks.append(found.lock(b"l", lease))
            await found.wait_queued(b"l", lease)
        await found.revoke(2)
        await locks[1].ended.wait()
        assert locks[1].error is not None
        assert (Code.UNKNOWN, "mutex: session is expired") == (
            locks[1].error.code,
            locks[1].error.text,
        )
        assert not locks[2].ended.is_set()
        await found.revoke(1)
        await locks[2].ended.wait()
        assert locks[2].lock.key == b"l/3"


async def test_a_place_that_was_lost_and_taken_anew_is_another_place() -> None:
    """A key of the same name but created later does not serve the call that waited before."""
    async with callers() as found:
        await found.grant(1, 2, 3)
        locks = []
        for lease in (1, 2, 3):
            locks.append(found.lock(b"l", lease))
            await found.wait_queued(b"l", lease)
        # In one revision, so that nobody can look between: the key stands, behind the third.
        txn = messages.TxnRequest()
        txn.success.add().request_delete_range.key = b"l/2"
        await found.call(KV + "Txn", txn)
        again = found.lock(b"l", 2)
        await locks[1].ended.wait()
        assert locks[1].error is not None
        assert locks[1].error.text == "mutex: session is expired"
        await found.unlock(b"l/1")
        await locks[2].ended.wait()
        assert not again.ended.is_set()
        await found.unlock(b"l/3")
        await again.ended.wait()
        assert again.lock.key == b"l/2"


@pytest.mark.parametrize("taken_again", [False, True])
async def test_a_place_that_is_lost_at_the_last_moment_is_not_given(
    monkeypatch: pytest.MonkeyPatch, *, taken_again: bool
) -> None:
    """The cluster is asked once more before the answer: what is gone by then is no lock."""
    async with callers() as found:
        await found.grant(1, 2)
        await found.lock(b"l", 1).ended.wait()
        second = found.lock(b"l", 2)
        await found.wait_queued(b"l", 2)
        plain = OwnClient.range

        async def late(
            self: OwnClient, metadata: Metadata, request: messages.RangeRequest
        ) -> messages.RangeResponse:
            if request.key == b"l/2":  # nobody is before it any more
                await found.unlock(b"l/2")
                if taken_again:
                    put = messages.PutRequest(key=b"l/2", lease=2)
                    await found.call(KV + "Put", put)
            return await plain(self, metadata, request)

        monkeypatch.setattr(OwnClient, "range", late)
        await found.unlock(b"l/1")
        await second.ended.wait()
        assert second.error is not None
        assert second.error.text == "mutex: session is expired"


async def test_compaction_passes_those_who_wait_by() -> None:
    """A waiter is none the worse for the compaction of everything that happened since it came."""
    async with callers() as found:
        await found.grant(1, 2)
        first = found.lock(b"l", 1)
        await first.ended.wait()
        second = found.lock(b"l", 2)
        await found.wait_queued(b"l", 2)
        for number in range(10):
            put = messages.PutRequest(key=b"other", value=b"%d" % number)
            await found.call(KV + "Put", put)
        compaction = messages.CompactionRequest(revision=found.server.store.revision, physical=True)
        await found.call(KV + "Compact", compaction)
        assert not second.ended.is_set()
        await found.unlock(b"l/1")
        await second.ended.wait()
        assert second.lock.key == b"l/2"


async def test_keys_of_other_clients_stand_in_the_same_queue() -> None:
    """A key that a client put under the name by its own hand is waited for like any other."""
    async with callers() as found:
        await found.grant(1)
        await found.call(KV + "Put", messages.PutRequest(key=b"l/by-hand"))
        lock = found.lock(b"l", 1)
        await found.wait_queued(b"l", 2)
        await found.call(KV + "Put", messages.PutRequest(key=b"l/by-hand", value=b"changed"))
        await trio.testing.wait_all_tasks_blocked()
        assert not lock.ended.is_set()
        delete = messages.DeleteRangeRequest(key=b"l/b", range_end=b"l/c")
        await found.call(KV + "DeleteRange", delete)
        await lock.ended.wait()
        assert lock.lock.key == b"l/1"


@pytest.mark.slow
async def test_no_herd_wakes_when_a_lock_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of hundreds that wait one looks again when the owner goes: the next."""
    async with callers() as found:
        leases = range(1, 201)
        await found.grant(*leases)
        locks = []
        for lease in leases:
            locks.append(found.lock(b"l", lease))
            await found.wait_queued(b"l", lease)
        ranges = []
        plain = found.server.store.range

        def counted(query: RangeQuery) -> RangeCursor:
            ranges.append(query)
            return plain(query)

        monkeypatch.setattr(found.server.store, "range", counted)
        await found.unlock(b"l/1")
        await locks[1].ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(ranges) == 1
        assert sum(lock.ended.is_set() for lock in locks) == 2


async def test_those_who_wait_leave_nothing_behind() -> None:
    """When all have gone the watch hub knows of no session and no interval."""
    async with callers() as found:
        await found.grant(1, 2)
        await found.lock(b"l", 1).ended.wait()
        assert not found.server.hub.sessions
        lock = found.lock(b"l", 2)
        await found.wait_queued(b"l", 2)
        assert (1, 1) == (len(found.server.hub.sessions), found.server.hub.watchers)
        lock.scope.cancel()
        await lock.ended.wait()
        assert not found.server.hub.sessions
        assert len(found.server.hub._interests) == 0


async def test_a_member_that_stops_refuses_and_lets_go() -> None:
    """No lock is given by a member that stops, and a call that waits there can be ended."""
    async with callers() as found:
        await found.grant(1, 2)
        await found.lock(b"l", 1).ended.wait()
        lock = found.lock(b"l", 2)
        await found.wait_queued(b"l", 2)
        found.server.stop_serving()
        lock.scope.cancel()
        await lock.ended.wait()
        other = found.lock(b"l", 3)
        await other.ended.wait()
        assert other.error is not None
        assert other.error.text == errors.STOPPED.text
        # Whoever comes again, to another member, with the same lease has its place still.
        assert found.server.store.create_revision(b"l/2")


async def test_another_state_makes_those_who_wait_look_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A snapshot in which the awaited key is gone ends the wait, though nothing was deleted."""
    async with running() as server, trio.open_nursery() as nursery:
        departures = Departures(server.hub)
        created = {b"k": 5}
        monkeypatch.setattr(server.store, "create_revision", lambda key: created.get(key, 0))
        ended = trio.Event()

        async def wait() -> None:
            await departures.wait((b"k", 5))
            ended.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        server.hub.reload()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        created.clear()
        server.hub.reload()
        await ended.wait()
        nursery.cancel_scope.cancel()


class Contest:
    """Callers of one lock who come, go, and lose their leases, and a judge of what they get."""

    def __init__(self, found: Callers, random: Random) -> None:
        self.found = found
        self.random = random
        self.waiting: dict[int, Waiting] = {}
        self.owners: dict[int, bytes] = {}
        self.fences: list[int] = []
        self.lease = 0x100

    async def come(self) -> None:
        self.lease += 1
        await self.found.grant(self.lease)
        self.waiting[self.lease] = self.found.lock(b"l", self.lease)
        if self.random.random() < 0.5:
            await trio.testing.wait_all_tasks_blocked()

    async def go(self) -> None:
        if self.waiting:
            self.waiting[self.random.choice(list(self.waiting))].scope.cancel()

    async def expire(self) -> None:
        if known := [*self.waiting, *self.owners]:
            lease = self.random.choice(known)
            await self.found.revoke(lease)
            self.owners.pop(lease, None)

    async def give_up(self) -> None:
        if self.owners:
            lease = self.random.choice(list(self.owners))
            await self.found.unlock(self.owners.pop(lease))

    async def judge(self) -> None:
        """Take in what was told meanwhile; check that it may have been told."""
        await self.found.settle()
        for lease, call in list(self.waiting.items()):
            if not call.ended.is_set():
                continue
            del self.waiting[lease]
            if call.answer is None:
                assert call.scope.cancelled_caught or call.error is not None
                if call.error is not None:
                    assert call.error.text in {
                        errors.SESSION_EXPIRED.text,
                        errors.LEASE_NOT_FOUND.text,
                    }
                continue
            key = call.lock.key
            fence = self.found.server.store.create_revision(key)
            if fence:  # it may be lost already
                self.fences.append(fence)
                self.owners[lease] = key
        queue = await self.found.keys(b"l")
        held = [key for key in self.owners.values() if key in queue]
        assert len(held) <= 1, f"two own the lock: {held}"
        assert not held or queue[0] == held[0], (queue, held)
        for lease, key in list(self.owners.items()):
            if key not in queue:
                del self.owners[lease]
        if not held and queue:
            first = int(queue[0].rpartition(b"/")[2], 16)
            assert first not in self.waiting, "the oldest waits for nobody"


@pytest.mark.parametrize("seed", [*range(6), None])
async def test_one_owns_the_lock_and_it_is_the_oldest(seed: int | None) -> None:
    """Whatever callers do and whatever befalls them, the oldest key's owner has it, and alone."""
    random = Random()
    drawn = random.getrandbits(32) if seed is None else seed
    print(f"seed {drawn}")
    random.seed(drawn)
    async with callers() as found:
        contest = Contest(found, random)
        steps = [contest.come, contest.come, contest.go, contest.expire, contest.give_up]
        for _ in range(60):
            await random.choice(steps)()
            await contest.judge()
        while contest.waiting or contest.owners:
            if contest.owners:
                await contest.give_up()
            else:
                await found.unlock((await found.keys(b"l"))[0])
            await contest.judge()
        assert await found.keys(b"l") == []
        assert contest.fences == sorted(set(contest.fences))


async def test_errors_before_the_wait_are_told() -> None:
    """A request that is none, a full store, a lease that cannot be had: each is told as it is."""
    async with callers() as found:
        handler = found.router.waiting[LOCK + "Lock"]
        with pytest.raises(messages.DecodeError):
            await handler(NoMetadata(), b"\xff")
        with pytest.raises(EtcdError, match="key is not provided"):
            await found.call(LOCK + "Unlock", messages.UnlockRequest())
        alarm = messages.AlarmRequest(
            action=messages.AlarmRequest.ACTIVATE,
            memberID=found.server.replica.member_id,
            alarm=messages.NOSPACE,
        )
        await found.call("/etcdserverpb.Maintenance/Alarm", alarm)
        with pytest.raises(EtcdError, match="database space exceeded"):
            await found.call(LOCK + "Lock", messages.LockRequest(name=b"l"))
