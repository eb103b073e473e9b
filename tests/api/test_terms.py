"""Tests of `trioetcd.api.terms`: what metadata ask for, told once and for all calls with them."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.runtime.member import running
from trioetcd.api.context import MessageStream, Metadata
from trioetcd.api.terms import VERSION_BYTES_MAX, VERSIONS_MAX, Terms, TermsOffice
from trioetcd.errors import INVALID_CLIENT_API_VERSION, EtcdError
from trioetcd.pki import NOWHERE
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.server import Server
from trioetcd.values import MemberID


class Told(dict[str, bytes]):
    """Metadata of nobody knows whom."""

    origin = NOWHERE


NOTHING = Told()


def office(server: Server) -> TermsOffice:
    return TermsOffice(server.metrics, Leadership(server.replica))


def read(server: Server, told: Told) -> Terms:
    terms = office(server).read(told)
    assert terms is not None
    return terms


def counts(metrics: Metrics) -> dict[str, str]:
    """Give the lines of the metric by their labels."""
    name = "etcd_server_client_requests_total{"
    lines = [line for line in metrics.render().splitlines() if line.startswith(name)]
    return dict(line.removeprefix(name).split("} ") for line in lines)


class Stream:
    """A stream without messages (`api.context.MessageStream`)."""

    async def receive(self) -> bytes | None:
        return None

    async def send(self, messages: list[bytes], /) -> None:
        raise AssertionError(messages)


@pytest.mark.parametrize(
    "told",
    [
        Told({}),
        Told({"token": b"t", "authorization": b"Bearer t", "traceparent": b"00-1-1-01"}),
        Told({"hasleader": b"false"}),
        Told({"hasleader": b"True", "who": b"\xff"}),
    ],
)
async def test_most_calls_have_no_terms(told: Told) -> None:
    """Metadata that nobody knows, or that ask for nothing, cost later calls nothing."""
    async with running() as server:
        assert office(server).read(told) is None


async def test_a_version_is_counted_by_the_shape_of_the_call() -> None:
    """Unary calls and streams apart; what says no version is unknown."""
    async with running() as server:
        terms = read(server, Told({"client-api-version": b"3.5.1"}))
        for _ in range(3):
            assert terms.refusal() is None
        await terms.serve(_nothing, NOTHING, Stream())
        calls = server.metrics.calls
        calls["/etcdserverpb.KV/Put"].started += 5
        calls["/etcdserverpb.Watch/Watch"].started += 2

        assert counts(server.metrics) == {
            'type="unary",client_api_version="3.5.1"': "3",
            'type="stream",client_api_version="3.5.1"': "1",
            'type="unary",client_api_version="unknown"': "2",
            'type="stream",client_api_version="unknown"': "1",
        }
        assert counts(server.metrics)['type="unary",client_api_version="unknown"'] == "2"


async def _nothing(_metadata: Metadata, _stream: MessageStream) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_version_that_is_no_text_is_refused() -> None:
    """On every kind of call, and before anything else is said against it."""
    async with running() as server:
        server.replica._raft.leader = MemberID(0)
        terms = read(server, Told({"client-api-version": b"\xff3", "hasleader": b"true"}))
        refusal = terms.refusal()
        assert refusal is not None
        assert refusal.row == INVALID_CLIENT_API_VERSION
        with pytest.raises(EtcdError, match="invalid client api version"):
            await terms.serve(_nothing, NOTHING, Stream())


async def test_clients_cannot_make_series_without_end() -> None:
    """After some versions, or a long one, others count as unknown; those known are still told."""
    async with running() as server:
        for number in range(2 * VERSIONS_MAX):
            office(server).read(Told({"client-api-version": b"v%d" % number}))
        series = len(server.metrics.server_client_requests_total.series)

        assert series == 2 * VERSIONS_MAX
        assert (
            office(server).read(Told({"client-api-version": b"v" * (VERSION_BYTES_MAX + 1)}))
            is None
        )
        assert office(server).read(Told({"client-api-version": b"v0"})) is not None
        assert office(server).read(Told({"client-api-version": b"other"})) is None


async def test_a_leader_is_missed_where_there_is_none() -> None:
    """Who asks for a leader is refused while nobody leads; a stream ends when it lasts."""
    async with running() as server:
        leadership = Leadership(server.replica)
        terms = TermsOffice(server.metrics, leadership).read(Told({"hasleader": b"true"}))
        assert terms is not None
        assert terms.refusal() is None
        raft = server.replica._raft
        me, began = raft.leader, trio.Event()

        async def forever(_metadata: Metadata, _stream: MessageStream) -> None:
            began.set()
            await trio.sleep_forever()

        with pytest.RaisesGroup(pytest.RaisesExc(EtcdError, match="no leader")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(terms.serve, forever, NOTHING, Stream()))
                await began.wait()
                raft.leader = MemberID(0)
                refusal = terms.refusal()
                assert refusal is not None
                assert refusal.text == "etcdserver: no leader"
                for now in (10.0, 12.9):
                    leadership.tick(now)
                raft.leader = me  # it comes back in time
                leadership.tick(13.0)
                raft.leader = MemberID(0)
                for now in (13.1, 16.0):
                    leadership.tick(now)
                await trio.testing.wait_all_tasks_blocked()
                assert len(leadership._streams) == 1
                leadership.tick(16.1)
        assert not leadership._streams
        with pytest.raises(EtcdError, match="no leader"):
            await terms.serve(forever, NOTHING, Stream())
        raft.leader = me
