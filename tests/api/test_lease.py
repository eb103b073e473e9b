"""Tests of `trioetcd.api.lease`: numbers and times as etcd gives them, long answers in steps."""

from __future__ import annotations

from collections import deque

import pytest
import trio

from tests.api.metadata import NoMetadata
from tests.api.test_router import call
from tests.runtime.member import Caller, Disk, make_server, running
from trioetcd.api.lease import LeaseAPI
from trioetcd.errors import EtcdError
from trioetcd.lease import LEASE_TTL_MAX
from trioetcd.replica import ReplicaConfig
from trioetcd.runtime.cursors import ACTIVE_MAX, STEP_ROWS
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.observation import observe
from trioetcd.runtime.renewing import UNDER_WAY_MAX
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind

LEASE = "/etcdserverpb.Lease/Lease"


async def grant(server: Server, ttl: int, lease: int = 0) -> messages.LeaseGrantResponse:
    request = messages.LeaseGrantRequest(TTL=ttl, ID=lease)
    return messages.LeaseGrantResponse.FromString(await call(server, LEASE + "Grant", request))


async def time_to_live(
    server: Server, lease: int, *, keys: bool = False
) -> messages.LeaseTimeToLiveResponse:
    request = messages.LeaseTimeToLiveRequest(ID=lease, keys=keys)
    answer = await call(server, LEASE + "TimeToLive", request)
    return messages.LeaseTimeToLiveResponse.FromString(answer)


async def leases(server: Server) -> list[int]:
    answer = await call(server, LEASE + "Leases", messages.LeaseLeasesRequest())
    return [each.ID for each in messages.LeaseLeasesResponse.FromString(answer).leases]


async def attach(server: Server, lease: int, *keys: bytes) -> None:
    """Put keys on a lease, all at once."""
    caller = Caller()
    for number, key in enumerate(keys):
        request = messages.PutRequest(key=key, lease=lease).SerializeToString()
        server.propose(caller, number, CommandKind.PUT, request, None)
    server.driver.wake()
    for number in range(len(keys)):
        assert isinstance(await caller.wait(number), bytes)


async def test_numbers_and_times_as_etcd_grants_them() -> None:
    """Any number but 0 may be asked for, once; short and negative times are raised to the least."""
    async with running() as server:
        drawn = await grant(server, 100)
        assert (0 < drawn.ID < 2**63, drawn.TTL) == (True, 100)
        assert [(await grant(server, ttl, ttl + 7)).TTL for ttl in (0, -1, 1, 3)] == [2, 2, 2, 3]
        assert (await grant(server, LEASE_TTL_MAX, -(2**63))).ID == -(2**63)
        with pytest.raises(EtcdError, match="too large lease TTL"):
            await grant(server, LEASE_TTL_MAX + 1)
        with pytest.raises(EtcdError, match="lease already exists"):
            await grant(server, 100, drawn.ID)
        with pytest.raises(EtcdError, match="requested lease not found"):
            await call(server, LEASE + "Revoke", messages.LeaseRevokeRequest())
        assert (await time_to_live(server, -(2**63))).grantedTTL == LEASE_TTL_MAX


@pytest.mark.parametrize(("election", "least"), [(0.5, 1), (1.0, 2), (2.0, 3), (2.2, 4)])
async def test_no_time_is_shorter_than_an_election_and_a_half(election: float, least: int) -> None:
    """In whole seconds: else a change of leaders could end a lease that is kept alive."""
    config = ReplicaConfig(name="m", election_seconds=election)
    async with running(config=config) as server:
        assert (await grant(server, 1)).TTL == least


async def test_leases_come_in_the_order_in_which_they_expire() -> None:
    """As etcd's leader lists them."""
    async with running() as server:
        for lease, ttl in ((1, 300), (2, 100), (3, 200)):
            await grant(server, ttl, lease)
        assert await leases(server) == [2, 3, 1]


async def test_what_is_over_is_gone_for_who_asks(autojump_clock: trio.testing.MockClock) -> None:
    """A lease that waits to be revoked has neither time nor keys, as one that never was."""
    autojump_clock.autojump_threshold = 0.005
    async with running() as server:
        await grant(server, 10, 7)
        await attach(server, 7, b"a")
        server.alarms.activate(messages.CORRUPT, server.replica.member_id)  # so nobody revokes it
        alive = await time_to_live(server, 7, keys=True)
        assert (alive.grantedTTL, list(alive.keys)) == (10, [b"a"])
        await trio.sleep(20)
        for lease in (7, 8):
            expected = messages.LeaseTimeToLiveResponse(ID=lease, TTL=-1)
            gone = await time_to_live(server, lease, keys=True)
            gone.ClearField("header")
            assert expected == gone
        assert await kept_alive(server, 7, 8) == [(7, 0), (8, 0)]


async def test_keys_of_a_large_lease_come_in_steps() -> None:
    """Others are answered meanwhile; what is told is the state of the moment it began in."""
    async with running() as server:
        await grant(server, 100, 7)
        names = [b"k%05d" % number for number in range(3 * STEP_ROWS)]
        await attach(server, 7, *names)
        api = LeaseAPI(server)
        caller = Caller()
        request = messages.LeaseTimeToLiveRequest(ID=7, keys=True).SerializeToString()
        assert api.time_to_live(caller, 1, NoMetadata(), request) is None
        assert len(server.cursors) == 1
        await attach(server, 7, b"later")
        answer = await caller.wait(1)
        assert isinstance(answer, list)
        assert max(map(len, answer)) < 256 * 1024
        response = messages.LeaseTimeToLiveResponse.FromString(b"".join(answer))
        assert list(response.keys) == names
        assert len((await time_to_live(server, 7, keys=True)).keys) == len(names) + 1


async def test_many_leases_are_listed_in_steps() -> None:
    """All that there were when it began, also those revoked meanwhile."""
    async with running() as server:
        number = 2 * STEP_ROWS
        for lease in range(1, number + 1):
            server.lessor.grant(lease, 100 + lease, server.now())
        api = LeaseAPI(server)
        caller = Caller()
        assert api.leases(caller, 1, NoMetadata(), b"") is None
        server.lessor.forget(5, server.now())
        answer = await caller.wait(1)
        assert isinstance(answer, list)
        response = messages.LeaseLeasesResponse.FromString(b"".join(answer))
        assert sorted(each.ID for each in response.leases) == list(range(1, number + 1))
        assert response.header.member_id == server.replica.member_id


async def test_a_long_answer_waits_for_other_long_reads() -> None:
    """No more are under way at a time than there should be; it is told what is then."""
    async with running() as server:
        for lease in range(1, STEP_ROWS + 1):
            server.lessor.grant(lease, 100, server.now())
        api = LeaseAPI(server)
        caller = Caller()
        for number in range(ACTIVE_MAX + 2):
            assert api.leases(caller, number, NoMetadata(), b"") is None
        assert len(server.cursors._active) == ACTIVE_MAX
        caller.gone.add(ACTIVE_MAX)
        server.lessor.forget(5, server.now())
        found = await caller.wait_message(ACTIVE_MAX + 1)
        assert len(messages.LeaseLeasesResponse.FromString(found).leases) == STEP_ROWS - 1
        assert ACTIVE_MAX not in caller.answers


async def test_what_happens_to_leases_is_counted() -> None:
    """In etcd's series."""
    async with running() as server:
        metrics = Metrics()
        observe(server, metrics)
        await grant(server, 10, 7)
        await grant(server, 10, 8)
        await kept_alive(server, 7)
        await call(server, LEASE + "Revoke", messages.LeaseRevokeRequest(ID=7))
        lines = metrics.render().splitlines()
        assert {
            "etcd_debugging_lease_granted_total 2",
            "etcd_debugging_lease_renewed_total 1",
            "etcd_debugging_lease_revoked_total 1",
            "etcd_debugging_server_lease_expired_total 0",
            'etcd_debugging_lease_ttl_total_bucket{le="8"} 0',
            'etcd_debugging_lease_ttl_total_bucket{le="16"} 2',
        } <= set(lines)


# -- keep-alives -----------------------------------------------------------------------------


class Stream:
    """A client's end of a stream of keep-alives: all it asks comes at once."""

    def __init__(self, *asked: int) -> None:
        self.asked = deque(asked)
        self.received = 0
        self.sent: list[list[bytes]] = []

    async def receive(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        if not self.asked:
            return None
        self.received += 1
        return messages.LeaseKeepAliveRequest(ID=self.asked.popleft()).SerializeToString()

    async def send(self, messages_: list[bytes], /) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(messages_)

    @property
    def answers(self) -> list[messages.LeaseKeepAliveResponse]:
        parse = messages.LeaseKeepAliveResponse.FromString
        return [parse(each) for sent in self.sent for each in sent]


async def kept_alive(server: Server, *asked: int) -> list[tuple[int, int]]:
    """Keep leases alive through one stream; gives lease and seconds of each answer."""
    stream = Stream(*asked)
    await LeaseAPI(server).keep_alive(NoMetadata(), stream)
    return [(each.ID, each.TTL) for each in stream.answers]


async def test_keep_alives_are_answered_in_order() -> None:
    """Each with its lease and header; an unknown lease has 0 seconds, and the stream goes on."""
    async with running() as server:
        for lease, ttl in ((1, 10), (2, 20), (-3, 30)):
            await grant(server, ttl, lease)
        stream = Stream(2, 99, 1, -3, 1)
        await LeaseAPI(server).keep_alive(NoMetadata(), stream)
        answers = stream.answers
        assert [(each.ID, each.TTL) for each in answers] == [
            (2, 20),
            (99, 0),
            (1, 10),
            (-3, 30),
            (1, 10),
        ]
        assert {each.header.member_id for each in answers} == {server.replica.member_id}


async def test_keep_alives_that_come_together_go_together() -> None:
    """So many are asked for at a time and no more, and those answered together leave together."""
    server = make_server(Disk())
    stream = Stream(*[1] * (UNDER_WAY_MAX + 10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LeaseAPI(server).keep_alive, NoMetadata(), stream)
        for _ in range(3 * UNDER_WAY_MAX):
            await trio.lowlevel.checkpoint()
        assert stream.received == UNDER_WAY_MAX
        running = trio.CancelScope()

        async def run() -> None:
            with running:
                await server.run()

        nursery.start_soon(run)
        while len(stream.answers) < UNDER_WAY_MAX + 10:
            await trio.lowlevel.checkpoint()
        running.cancel()
    assert len(stream.sent[0]) == UNDER_WAY_MAX


async def test_a_client_that_reads_nothing_is_not_asked_for_more() -> None:
    """What waits for a stream's client is bounded."""
    async with running() as server:
        await grant(server, 10, 1)
        reads = trio.Event()
        full = trio.Event()

        class Stuck(Stream):
            async def send(self, _messages: list[bytes], /) -> None:
                full.set()
                await reads.wait()

        stream = Stuck(*[1] * 3 * UNDER_WAY_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LeaseAPI(server).keep_alive, NoMetadata(), stream)
            await full.wait()
            for _ in range(5 * UNDER_WAY_MAX):
                await trio.lowlevel.checkpoint()
            assert stream.received <= 2 * UNDER_WAY_MAX
            reads.set()
        assert stream.received == 3 * UNDER_WAY_MAX


async def test_a_stream_ends_with_what_went_wrong() -> None:
    """The error comes out as it is, though two tasks serve the stream."""
    async with running() as server:
        server.stop_serving()
        with pytest.raises(EtcdError, match="server stopped"):
            await kept_alive(server, 1)


async def test_a_keep_alive_tells_no_revision_of_after_its_lease(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What is answered with success was so at the revision it names (etcd)."""
    autojump_clock.autojump_threshold = 0.005
    async with running() as server:
        await grant(server, 10, 1)
        await attach(server, 1, b"a")
        before = server.store.revision

        class Slow(Stream):
            async def send(self, messages_: list[bytes], /) -> None:
                await call(server, LEASE + "Revoke", messages.LeaseRevokeRequest(ID=1))
                await super().send(messages_)

        stream = Slow(1)
        await LeaseAPI(server).keep_alive(NoMetadata(), stream)
        (answer,) = stream.answers
        assert (answer.TTL, answer.header.revision) == (10, before)
        assert server.store.revision == before + 1
