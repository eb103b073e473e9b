"""Tests of `trioetcd.runtime.server` over memory: refusals, space, long reads, the end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.api.metadata import NoMetadata
from tests.replica.states import LEADER, follower_disk, source
from tests.runtime.member import Caller, Disk, fill, make_server, put, put_message, running
from trioetcd import errors
from trioetcd.api.router import Router
from trioetcd.cluster import Addition, Member, encode_change
from trioetcd.errors import EtcdError
from trioetcd.mvcc import WatchSession
from trioetcd.replica import Outputs, SnapshotEnded, SnapshotOffered, SnapshotPiece
from trioetcd.runtime.renewing import renew
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.schema import messages
from trioetcd.statemachine import HEAD, CommandKind
from trioetcd.values import MemberID, Term

KV = "/etcdserverpb.KV/"


async def test_each_connection_writes_once_a_turn() -> None:
    """Outcomes of one turn reach each caller in order, and each caller is flushed once."""
    disk = Disk()
    async with running(disk) as server:
        callers = [Caller() for _ in range(3)]
        disk.hold()
        put(server, callers[0], 0, b"first")
        await disk.wait_held()
        for call in range(1, 31):
            put(server, callers[call % 3], call, b"k%d" % call)
        disk.release()
        for call in range(1, 31):
            await callers[call % 3].wait(call)

        assert all(len(caller.flushes) <= 2 for caller in callers)
        assert list(callers[1].answers) == list(range(1, 31, 3))


async def test_a_member_is_listed_when_it_serves() -> None:
    """Whoever waited until a new member serves finds its name and URLs in the cluster."""
    async with running(Disk()) as server:
        (member,) = server.membership.members()

        config = server.replica.config
        assert (config.name, config.client_urls) == (member.name, member.client_urls)


async def test_too_large_commands_are_refused_exactly() -> None:
    """What fits --max-request-bytes to the byte is taken, one byte more is not."""
    caller = Caller()
    largest = put_message(b"k", b"x" * 500)
    limits = ServerLimits(request_bytes_max=len(largest) + HEAD.size)
    async with running(limits=limits) as server:
        server.propose(caller, 1, CommandKind.PUT, largest, None)
        server.driver.wake()
        assert isinstance(await caller.wait(1), bytes)
        with pytest.raises(EtcdError, match="request is too large"):
            put(server, caller, 2, b"k", b"x" * 501)


async def test_after_the_stop_nothing_is_taken() -> None:
    """A stopping member refuses proposals, and who waits for the stop is woken."""
    async with running() as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_stopped)
        await trio.testing.wait_all_tasks_blocked()
        server.stop_serving()
        with pytest.raises(EtcdError, match="server stopped"):
            put(server, Caller(), 1, b"k")


async def test_long_reads_let_others_through_and_see_one_state() -> None:
    """A range of everything is answered in steps; puts in between are answered and not seen."""
    async with running() as server:
        await fill(server, 6000)
        handlers = Router.of(server).unary
        caller = Caller()
        request = messages.RangeRequest(key=b"\0", range_end=b"\0").SerializeToString()
        assert handlers[KV + "Range"](caller, 1, NoMetadata(), request) is None
        assert len(server.cursors) == 1
        put(server, caller, 2, b"a-new-key")
        await caller.wait(2)
        response = messages.RangeResponse.FromString(await caller.wait_message(1))

        assert (6000, 6000) == (response.count, len(response.kvs))
        assert response.header.revision == 6001
        assert b"a-new-key" not in {kv.key for kv in response.kvs}


async def test_a_long_read_that_nobody_wants_ends() -> None:
    """When the caller is gone its cursor is dropped, and with it what it pins."""
    disk = Disk()
    async with running(disk) as server:
        await fill(server, 3000)
        caller = Caller()
        caller.gone.add(1)
        request = messages.RangeRequest(key=b"\0", range_end=b"\0").SerializeToString()
        Router.of(server).unary[KV + "Range"](caller, 1, NoMetadata(), request)
        assert len(server.cursors) == 1
        while len(server.cursors):
            await trio.lowlevel.checkpoint()

        assert {} == caller.answers


async def test_leases_are_drawn_and_renewed() -> None:
    """Drawn ids are positive and free; renewing an unknown lease gives 0."""
    async with running() as server:
        caller = Caller()
        request = messages.LeaseGrantRequest(TTL=30, ID=5).SerializeToString()
        server.propose(caller, 1, CommandKind.LEASE_GRANT, request, None)
        server.driver.wake()
        await caller.wait(1)

        assert (30, 0) == (await renew(server, 5), await renew(server, 6))
        assert all(0 < server.draw_lease_id() < 2**63 for _ in range(50))


async def test_errors_of_the_applier_reach_the_caller() -> None:
    """What fails at apply is the answer of the call, as an etcd error."""
    async with running() as server:
        caller = Caller()
        request = messages.LeaseRevokeRequest(ID=77).SerializeToString()
        server.propose(caller, 1, CommandKind.LEASE_REVOKE, request, None)
        server.driver.wake()

        assert await caller.wait_error(1) == errors.LEASE_NOT_FOUND.text


def watch_session(server: Server) -> WatchSession:
    """Open a client's watch stream."""
    return WatchSession(
        server.hub,
        server.header,
        wake=lambda: None,
        permit=lambda _: None,
        fragment_bytes=1 << 20,
        progress_seconds=600.0,
    )


async def test_who_else_is_there() -> None:
    """A member is alone but for connections, watch streams, leases and other members."""
    async with running() as server:
        connections = server.metrics.trioetcd_connections
        connections.value += 1
        assert server.is_alone()
        connections.value += 1
        assert not server.is_alone()
        connections.value -= 1
        session = watch_session(server)
        assert not server.is_alone()
        session.close()
        assert server.is_alone()
        caller = Caller()
        request = messages.LeaseGrantRequest(ID=7, TTL=60).SerializeToString()
        server.propose(caller, 1, CommandKind.LEASE_GRANT, request, None)
        server.driver.wake()
        await caller.wait(1)
        assert not server.is_alone()
        request = messages.LeaseRevokeRequest(ID=7).SerializeToString()
        server.propose(caller, 2, CommandKind.LEASE_REVOKE, request, None)
        server.driver.wake()
        await caller.wait(2)
        assert server.is_alone()
        other = Member(MemberID(5), "", ("https://127.0.0.1:1",), (), is_learner=True)
        server.membership.apply(*encode_change(Addition(other, 1)))
        assert not server.is_alone()


async def test_a_watch_misses_nothing_of_a_snapshot() -> None:
    """A watch that was up to date is given the events that its member learns by a snapshot."""
    disk = Disk()
    disk.rows = follower_disk()
    meta, pieces = source()
    server = make_server(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)  # it is never ready: nobody leads
        session = watch_session(server)
        create = messages.WatchCreateRequest(key=b"k007")
        session.handle(messages.WatchRequest(create_request=create))
        session.take(1 << 20)
        turns: list[Outputs] = []
        turned = trio.Event()

        def note(outputs: Outputs) -> None:
            turns.append(outputs)
            if outputs.accepting is not None or outputs.reloaded:
                turned.set()

        server.also_turned = note
        server.driver.put_in(SnapshotOffered(LEADER, Term(5), meta))
        with trio.fail_after(20):
            await turned.wait()
            assert any(each.accepting for each in turns)
            turned = trio.Event()
            for piece in pieces:
                server.driver.put_in(SnapshotPiece(piece))
            server.driver.put_in(SnapshotEnded(ok=True))
            await turned.wait()
        responses = [messages.WatchResponse.FromString(each) for each in session.take(1 << 20)]
        values = [event.kv.value for each in responses for event in each.events]
        assert [b"v7", b"v107", b"v207"] == values
        nursery.cancel_scope.cancel()


async def test_who_leads_nobody_hands_nothing_over() -> None:
    """The only member stops at once: nobody is asked, and no time passes."""
    async with running() as server:
        turns: list[Outputs] = []
        server.also_turned = turns.append
        leader = await server.hand_over()
        assert [] == turns
        assert leader == server.replica.member_id
