"""Tests of `trioetcd.runtime.hashing`: hashes told, walked for, waited for, and asked of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.runtime.member import fill, running
from tests.runtime.peering import Peering, cluster_of
from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.questions import Hashed
from trioetcd.runtime.hashing import LAG_SECONDS, Hashes, ask_hash
from trioetcd.runtime.server import Server
from trioetcd.transport.peer_dial import DialError
from trioetcd.transport.peer_link import PeerRefusedError
from trioetcd.values import MemberID
from trioetcd.wire.peer import Purpose, Refusal

CHAIN, CONTENT = Purpose.CHAIN_HASH, Purpose.CONTENT_HASH
ONE = MemberID(1)
HASHED = Hashed(2**63 + 5, 7, 3)


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Mock time that waits for the writer's thread, unless it stands still for half a second."""
    return trio.testing.MockClock(autojump_threshold=0.01)


@asynccontextmanager
async def hashing(keys: int) -> AsyncIterator[tuple[Server, Hashes, list[float]]]:
    """Run a member that holds so many keys."""
    took: list[float] = []
    async with running() as server:
        await fill(server, keys)
        yield (
            server,
            Hashes(
                server.store, server.cursors, wait_turn=server.driver.wait_turn, took=took.append
            ),
            took,
        )


# -- telling ----------------------------------------------------------------------------------


async def test_a_hash_of_a_revision_to_come_is_waited_for() -> None:
    """A member that lags behind the question answers as soon as it has come so far."""
    async with hashing(3) as (server, hashes, _):
        told: list[Hashed] = []
        soon = server.store.revision + 1

        async def ask(purpose: Purpose) -> None:
            told.append(await hashes.tell(purpose, soon))

        async with trio.open_nursery() as nursery:
            for purpose in (CHAIN, CONTENT):
                nursery.start_soon(ask, purpose)
            await trio.testing.wait_all_tasks_blocked()
            assert not told
            await fill(server, 1)

        assert {soon} == {hashed.revision for hashed in told}
        assert server.store.hash_kv(0)[0] in {hashed.hash for hashed in told}


async def test_what_cannot_be_told_is_refused(clock: trio.testing.MockClock) -> None:
    """A compacted revision at once, one that does not come after a while."""
    del clock
    async with hashing(9) as (server, hashes, _):
        server.store.compact(5)
        for purpose in (CHAIN, CONTENT):
            with pytest.raises(EtcdError) as caught:
                await hashes.tell(purpose, 4)
            assert caught.value.row == errors.COMPACTED
            began = trio.current_time()
            with pytest.raises(EtcdError) as caught:
                await hashes.tell(purpose, 99)
            assert caught.value.row == errors.FUTURE_REVISION
            assert LAG_SECONDS <= trio.current_time() - began < LAG_SECONDS + 1
            assert (await hashes.tell(purpose, 5)).compact_revision == 5


async def test_the_content_is_walked_in_steps_with_rests(
    clock: trio.testing.MockClock,
) -> None:
    """A walk of several steps rests between two, one walk waits for the other, nothing is left."""
    del clock
    async with hashing(1500) as (server, hashes, took):
        revision = server.store.revision
        told: list[Hashed] = []

        async def ask() -> None:
            told.append(await hashes.tell(CONTENT, revision))

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await fill(server, 2)  # others have their turns

        assert told[0].hash == told[1].hash
        assert len(took) == 2
        assert all(0.019 < seconds < 1 for seconds in took), "two rests each, in mock time"
        assert not len(server.cursors)


async def test_a_walk_that_nobody_wants_any_more_ends(
    clock: trio.testing.MockClock,
) -> None:
    """Cancelled at any step, it lets the next walk begin and takes no more turns."""
    del clock
    async with hashing(1500) as (server, hashes, took):
        for seconds in (0.0, 0.005, 0.015):
            with trio.move_on_after(seconds) as given_up:
                await hashes.tell(CONTENT, server.store.revision)
            assert given_up.cancelled_caught
        assert not took
        await hashes.tell(CONTENT, server.store.revision)
        assert len(took) == 1


# -- asking -----------------------------------------------------------------------------------


async def test_a_member_is_asked_and_tells() -> None:
    """The question reaches the other member as it was put, and the answer comes back."""
    asked: list[tuple[Purpose, int]] = []

    async def tell(purpose: Purpose, revision: int) -> Hashed:
        asked.append((purpose, revision))
        return HASHED

    async with cluster_of([1, 2]) as (one, two):
        one.hashing = tell
        for purpose in (CHAIN, CONTENT):
            assert HASHED == await ask_hash(two.peers, ONE, purpose, 2**62)

    assert [(CHAIN, 2**62), (CONTENT, 2**62)] == asked


@pytest.mark.parametrize(
    ("row", "code"),
    [(errors.COMPACTED, Refusal.COMPACTED), (errors.FUTURE_REVISION, Refusal.FUTURE)],
)
async def test_a_member_that_cannot_tell_says_why(row: errors.ErrorRow, code: str) -> None:
    """The two reasons arrive as codes; the connection is no trouble for anybody's log."""

    async def refuse(_purpose: Purpose, _revision: int) -> Hashed:
        raise EtcdError(row)

    async with cluster_of([1, 2]) as (one, two):
        one.hashing = refuse
        with pytest.raises(PeerRefusedError, match="mvcc") as refusal:
            await ask_hash(two.peers, ONE, CHAIN, 5)
        assert code == refusal.value.code
        assert not [line for line in one.logged() if line["level"] == "warn"]


async def test_whoever_is_not_there_cannot_be_asked() -> None:
    """A member that nobody knows, and one that listens no more, give a reason each."""
    async with cluster_of([1, 2]) as (_, two):
        with pytest.raises(DialError, match="no address"):
            await ask_hash(two.peers, MemberID(9), CHAIN, 5)
    with pytest.raises(DialError, match="refused"):
        await ask_hash(two.peers, ONE, CHAIN, 5)


async def test_who_asks_and_leaves_is_not_worked_for() -> None:
    """When the connection ends, so does the walk for it; another question is answered after."""
    began, ended = trio.Event(), trio.Event()

    async def walk(_purpose: Purpose, _revision: int) -> Hashed:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async def tell(_purpose: Purpose, _revision: int) -> Hashed:
        await trio.lowlevel.checkpoint()
        return HASHED

    async with cluster_of([1, 2]) as (one, two):
        one.hashing = walk
        with trio.fail_after(10):
            await leave(one, two, began)
            await ended.wait()
        one.hashing = tell
        assert HASHED == await ask_hash(two.peers, ONE, CONTENT, 5)


async def leave(one: Peering, two: Peering, began: trio.Event) -> None:
    """Ask, and go away when the other one works on it."""
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            await ask_hash(two.peers, one.local.id, CONTENT, 5)

        nursery.start_soon(ask)
        await began.wait()
        nursery.cancel_scope.cancel()
