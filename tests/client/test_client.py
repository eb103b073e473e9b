"""The client against a member and against the real etcd: what it promises holds on both."""

from __future__ import annotations

import itertools
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from trioetcd.client import (
    Client,
    Delete,
    DisconnectedError,
    EtcdError,
    EventKind,
    Get,
    OutcomeUnknownError,
    Put,
    Txn,
    WatchCompactedError,
    WatchEvent,
    create_revision,
    lease,
    mod_revision,
    open_client,
    value,
    version,
)
from trioetcd.errors import COMPACTED, EMPTY_KEY, FUTURE_REVISION, LEASE_EXIST, LEASE_NOT_FOUND
from trioetcd.testing.cluster import ServerProcess

_numbers = itertools.count()

pytestmark = [pytest.mark.interop]


@pytest.fixture
def prefix() -> str:
    """Give a prefix of keys that no other test uses."""
    return f"client-{next(_numbers)}/"


def connect(server: ServerProcess) -> AbstractAsyncContextManager[Client]:
    """Open a client of `server`."""
    return open_client(
        server.endpoint,
        cacert=server.cacert,
        cert=server.cert,
        key=server.key,
    )


async def test_put_then_get(server: ServerProcess, prefix: str) -> None:
    """What was put is what is got, with the revision the put answered."""
    async with connect(server) as client:
        assert await client.get(f"{prefix}k") is None
        put = await client.put(f"{prefix}k", "v1")
        assert put.previous is None
        found = await client.get(f"{prefix}k")
        assert found is not None
        assert (found.value, found.version) == (b"v1", 1)
        assert found.create_revision == found.mod_revision == put.header.revision
        second = await client.put(f"{prefix}k", b"\xff\0", prev_kv=True)
        assert second.previous == found
        assert second.header.revision == put.header.revision + 1
        old = await client.get(f"{prefix}k", revision=put.header.revision)
        assert old == found


async def test_range(server: ServerProcess, prefix: str) -> None:
    """A prefix, a limit, an order and a count give what they say."""
    async with connect(server) as client:
        for name in ("a", "b", "c"):
            await client.put(prefix + name, name)
        every = await client.range(prefix, prefix=True)
        assert [kv.value for kv in every.kvs] == [b"a", b"b", b"c"]
        first = await client.range(prefix, prefix=True, limit=2)
        assert (len(first.kvs), first.more, first.count) == (2, True, 3)
        last = await client.range(prefix, prefix=True, sort="mod", descending=True, limit=1)
        assert [kv.value for kv in last.kvs] == [b"c"]
        between = await client.range(f"{prefix}a", f"{prefix}c", keys_only=True)
        assert [(kv.key[-1:], kv.value) for kv in between.kvs] == [(b"a", b""), (b"b", b"")]
        counted = await client.range(prefix, prefix=True, count_only=True, serializable=True)
        assert (counted.kvs, counted.count) == ((), 3)


async def test_delete(server: ServerProcess, prefix: str) -> None:
    """Deleting says how many keys went and, asked to, which."""
    async with connect(server) as client:
        await client.put(f"{prefix}a", "1")
        await client.put(f"{prefix}b", "2")
        gone = await client.delete(prefix, prefix=True, prev_kv=True)
        assert gone.deleted == 2
        assert [kv.value for kv in gone.previous] == [b"1", b"2"]
        assert (await client.delete(f"{prefix}a")).deleted == 0


async def test_txn(server: ServerProcess, prefix: str) -> None:
    """A transaction takes the branch its conditions say and answers each step in order."""
    key = f"{prefix}k"
    async with connect(server) as client:
        made = await client.txn(
            when=[version(key, "=", 0), create_revision(key, "=", 0)],
            then=[Put(key, "1"), Get(key)],
            otherwise=[Get(key)],
        )
        assert made.succeeded
        revision = made.header.revision
        changed = await client.txn(
            when=[
                value(key, "=", "1"),
                mod_revision(key, "<", revision + 1),
                lease(key, "=", 0),
                version(key, "!=", 2),
            ],
            then=[Txn(then=[Delete(key, prev_kv=True)], otherwise=[]), Put(f"{key}2", "2")],
        )
        assert changed.succeeded
        failed = await client.txn(when=[version(key, ">", 0)], otherwise=[Get(f"{key}2")])
        assert not failed.succeeded
        assert await client.get(key) is None


async def test_server_error_is_its_row(server: ServerProcess) -> None:
    """An error answer is raised as the row of the table that has its text."""
    async with connect(server) as client:
        with pytest.raises(EtcdError) as caught:
            await client.put("", "v")
        assert caught.value.row == EMPTY_KEY
        with pytest.raises(EtcdError) as caught:
            await client.get("k", revision=2**62)
        assert caught.value.row == FUTURE_REVISION


async def test_big_value(server: ServerProcess, prefix: str) -> None:
    """A value of 1.2 MiB goes out and comes back, through every flow-control window."""
    big = bytes(range(256)) * 4800
    async with connect(server) as client:
        await client.put(f"{prefix}k", big)
        found = await client.get(f"{prefix}k")
        assert found is not None
        assert found.value == big


async def test_many_requests_at_once(server: ServerProcess, prefix: str) -> None:
    """A hundred tasks share one connection and each gets its own answer."""
    answers: dict[int, bytes] = {}

    async def roundtrip(client: Client, number: int) -> None:
        await client.put(f"{prefix}{number}", str(number))
        found = await client.get(f"{prefix}{number}")
        assert found is not None
        answers[number] = found.value

    async with connect(server) as client, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(roundtrip, client, number)
    assert answers == {number: str(number).encode() for number in range(100)}


async def test_watch(server: ServerProcess, prefix: str) -> None:
    """A watch sees each change after it began, in order, with what was there before."""
    async with connect(server) as client:
        async with client.watch(prefix, prefix=True, prev_kv=True) as events:
            await client.put(f"{prefix}a", "1")
            await client.put(f"{prefix}a", "2")
            await client.delete(f"{prefix}a")
            seen = [await anext(events) for _ in range(3)]
        kinds = [(event.kind, event.kv.value, event.created) for event in seen]
        assert kinds == [
            (EventKind.PUT, b"1", True),
            (EventKind.PUT, b"2", False),
            (EventKind.DELETE, b"", False),
        ]
        assert [event.previous and event.previous.value for event in seen] == [None, b"1", b"2"]
        assert [event.revision for event in seen] == sorted({event.revision for event in seen})


async def test_watch_from_the_past(server: ServerProcess, prefix: str) -> None:
    """A watch that starts at an old revision first sees what has happened since."""
    async with connect(server) as client:
        first = await client.put(f"{prefix}a", "1")
        await client.put(f"{prefix}a", "2")
        start = first.header.revision
        async with client.watch(f"{prefix}a", start_revision=start) as events:
            seen = [await anext(events), await anext(events)]
        assert [event.kv.value for event in seen] == [b"1", b"2"]
        async with client.watch(f"{prefix}a", start_revision=start, without=["put"]) as events:
            await client.delete(f"{prefix}a")
            assert (await anext(events)).kind is EventKind.DELETE


async def test_watch_of_compacted_history(server: ServerProcess, prefix: str) -> None:
    """A watch whose history is compacted raises, and says from where on there is history."""
    async with connect(server) as client:
        first = await client.put(f"{prefix}a", "1")
        last = await client.put(f"{prefix}a", "2")
        await client.compact(last.header.revision)
        with pytest.raises(EtcdError) as caught:
            await client.compact(first.header.revision)
        assert caught.value.row == COMPACTED
        with pytest.raises(WatchCompactedError) as compacted:
            async with client.watch(prefix, start_revision=first.header.revision) as events:
                await anext(events)
        assert compacted.value.compact_revision == last.header.revision


async def test_leases(server: ServerProcess, prefix: str) -> None:
    """A lease is granted, refreshed, listed and revoked, and takes its keys along."""
    async with connect(server) as client:
        granted = await client.lease_grant(60)
        assert granted.ttl == 60
        with pytest.raises(EtcdError) as caught:
            await client.lease_grant(60, lease_id=granted.lease_id)
        assert caught.value.row == LEASE_EXIST
        await client.put(f"{prefix}a", "1", lease=granted)
        assert granted.lease_id in await client.leases()
        assert await client.lease_refresh(granted) == 60
        status = await client.lease_time_to_live(granted, keys=True)
        assert status.granted == 60
        assert 55 < status.remaining <= 60
        assert status.keys == (f"{prefix}a".encode(),)
        await client.lease_revoke(granted)
        assert await client.get(f"{prefix}a") is None
        with pytest.raises(EtcdError) as caught:
            await client.lease_refresh(granted)
        assert caught.value.row == LEASE_NOT_FOUND
        assert (await client.lease_time_to_live(granted)).remaining == -1


async def test_lease_kept_alive(server: ServerProcess, prefix: str) -> None:
    """A lease outlives its time in the block that keeps it alive, and ends with the block."""
    async with connect(server) as client:
        async with client.lease_kept_alive(2) as granted:
            await client.put(f"{prefix}a", "1", lease=granted)
            first = await client.lease_time_to_live(granted)
            with trio.move_on_after(granted.ttl + 1):
                async with client.watch(f"{prefix}a") as events:
                    await anext(events)
                    pytest.fail("the key of a lease that is kept alive was deleted")
            assert (await client.lease_time_to_live(granted)).granted == first.granted
        assert await client.get(f"{prefix}a") is None


async def test_lost_lease_cancels_its_block(server: ServerProcess) -> None:
    """When a lease is revoked by somebody else, the block that relies on it is cancelled."""
    async with connect(server) as client:
        with pytest.raises(EtcdError) as caught:  # noqa: PT012 - the block is the subject
            async with client.lease_kept_alive(2) as granted:
                await client.lease_revoke(granted)
                await trio.sleep_forever()
        assert caught.value.row == LEASE_NOT_FOUND


async def test_cluster_and_status(server: ServerProcess) -> None:
    """The member list holds the one member, and its status names it as the leader."""
    async with connect(server) as client:
        (member,) = await client.member_list()
        assert (member.name, member.client_urls) == ("default", (server.endpoint,))
        status = await client.status()
        assert status.leader == member.member_id == status.header.member_id
        assert status.raft_index >= status.raft_applied_index > 0
        assert not status.learner


async def test_no_certificate_no_answer(server: ServerProcess) -> None:
    """A client without a certificate gets nothing."""
    async with open_client(server.endpoint, cacert=server.cacert) as client:
        with pytest.raises(DisconnectedError):
            await client.get("k")
        with pytest.raises((DisconnectedError, OutcomeUnknownError)):
            await client.put("k", "v")


async def test_unreachable_endpoint_is_passed_over(server: ServerProcess, prefix: str) -> None:
    """An endpoint where nobody listens costs nothing but the attempt."""
    async with open_client(
        ["https://127.0.0.1:1", server.endpoint],
        cacert=server.cacert,
        cert=server.cert,
        key=server.key,
    ) as client:
        await client.put(f"{prefix}a", "1")
    async with open_client(
        "https://127.0.0.1:1",
        cacert=server.cacert,
        cert=server.cert,
        key=server.key,
    ) as client:
        with pytest.raises(DisconnectedError):
            await client.put("a", "1")


async def test_watch_resumes(server: ServerProcess, prefix: str) -> None:
    """A watch whose connections are cut again and again misses nothing and repeats nothing."""
    async with trio.open_nursery() as nursery:
        relay = Relay(server.port)
        port = await nursery.start(relay.run)
        async with (
            connect(server) as writer,
            open_client(
                f"https://127.0.0.1:{port}",
                cacert=server.cacert,
                cert=server.cert,
                key=server.key,
            ) as client,
            client.watch(prefix, prefix=True) as events,
        ):
            seen: list[WatchEvent] = []
            for number in range(20):
                await writer.put(f"{prefix}k", str(number))
                if number % 3 == 0:
                    relay.cut()
                if number % 4 == 0:
                    seen.append(await anext(events))
            while len(seen) < 20:
                seen.append(await anext(events))
            assert [event.kv.value for event in seen] == [str(n).encode() for n in range(20)]
        nursery.cancel_scope.cancel()


async def test_write_without_answer_is_not_repeated(server: ServerProcess, prefix: str) -> None:
    """A put whose connection is cut before the answer raises, and was done at most once."""
    async with trio.open_nursery() as nursery:
        relay = Relay(server.port)
        port = await nursery.start(relay.run)
        async with (
            connect(server) as direct,
            open_client(
                f"https://127.0.0.1:{port}",
                cacert=server.cacert,
                cert=server.cert,
                key=server.key,
            ) as client,
        ):
            await client.put(f"{prefix}k", "0")
            relay.deaf = True
            with pytest.raises(OutcomeUnknownError):
                await client.put(f"{prefix}k", "1")
            relay.deaf = False
            await client.put(f"{prefix}k", "2")
            found = await direct.get(f"{prefix}k")
            assert found is not None
            assert found.version in {2, 3}
        nursery.cancel_scope.cancel()


class Relay:
    """A TCP relay whose connections can be cut, or whose way back can be lost."""

    def __init__(self, port: int) -> None:
        self.deaf = False
        self._port = port
        self._streams: list[trio.SocketStream] = []

    async def run(self, task_status: trio.TaskStatus[int]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._serve, listeners)

    def cut(self) -> None:
        for stream in self._streams:
            stream.socket.close()
        self._streams.clear()

    async def _serve(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", self._port)
        self._streams += [near, far]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far, nursery.cancel_scope)
            nursery.start_soon(self._copy, far, near, nursery.cancel_scope)
        await trio.aclose_forcefully(near)
        await trio.aclose_forcefully(far)

    async def _copy(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        scope: trio.CancelScope,
    ) -> None:
        try:
            async for data in source:
                if self.deaf and source.socket.getpeername()[1] == self._port:
                    break
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        scope.cancel()


async def test_a_lock_is_held_for_a_block(server: ServerProcess, prefix: str) -> None:
    """Another waits until the block ends; each holder's fence is greater than the last one's."""
    fences: list[int] = []
    async with connect(server) as client, trio.open_nursery() as nursery:
        mine, other = await client.lease_grant(60), await client.lease_grant(60)

        async def hold() -> None:
            async with client.lock(prefix, lease=other) as lock:
                fences.append(lock.revision)

        async with client.lock(prefix, lease=mine) as lock:
            nursery.start_soon(hold)
            while (await client.range(f"{prefix}/", prefix=True)).count < 2:
                assert not fences
            assert (await client.txn(when=[lock.held], then=[Put(f"{prefix}k", "v")])).succeeded
            fences.append(lock.revision)
    assert fences == sorted(fences)
    async with connect(server) as client:
        assert (await client.range(f"{prefix}/", prefix=True)).count == 0
        assert not (await client.txn(when=[lock.held], then=[Put(f"{prefix}k", "w")])).succeeded
        for lease_ in (mine, other):
            await client.lease_revoke(lease_)


async def test_a_lock_needs_a_lease_that_lives(server: ServerProcess, prefix: str) -> None:
    """Without one the block is not entered."""
    async with connect(server) as client:
        with pytest.raises(EtcdError, match="requested lease not found"):
            async with client.lock(prefix, lease=12345):
                raise AssertionError(prefix)
