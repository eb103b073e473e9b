"""Tests of `trioetcd.frontend.grpc` over real TLS sockets, with h2 as the foreign client."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing

from tests.frontend.foreign import Client, Front, Reply, framed, front
from tests.runtime.member import fill, put_message
from trioetcd.errors import Code
from trioetcd.runtime.server import ServerLimits
from trioetcd.schema import messages
from trioetcd.wire import Limits

KV = "/etcdserverpb.KV/"
WATCH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
WIDE = 2**31 - 1


def range_message(key: bytes = b"\0", end: bytes = b"\0") -> bytes:
    return messages.RangeRequest(key=key, range_end=end).SerializeToString()


def watch_message(key: bytes = b"\0", end: bytes = b"\0") -> bytes:
    request = messages.WatchRequest()
    request.create_request.key = key
    request.create_request.range_end = end
    return request.SerializeToString()


async def put(client: Client, key: bytes, value: bytes = b"v") -> Reply:
    return await client.call(KV + "Put", put_message(key, value))


async def watch(client: Client) -> Reply:
    """Open a watch on everything and wait until it is made."""
    stream = await client.open(WATCH, framed(watch_message()), end=False)
    await client.wait(lambda: stream.messages)
    return stream


def has_messages(stream: Reply, count: int) -> bool:
    return len(stream.messages) == count


def events(stream: Reply) -> list[bytes]:
    return [
        event.kv.key
        for message in stream.messages
        for event in messages.WatchResponse.FromString(message).events
    ]


async def test_a_put_and_a_range() -> None:
    """What is put is found, in answers of status 0 with the right content type."""
    async with front() as found:
        client = await found.client()
        answer = await put(client, b"k", b"value")
        read = await client.call(KV + "Range", range_message(b"k", b""))
        response = messages.RangeResponse.FromString(read.messages[0])

        assert ((0, ""), (0, "")) == (answer.status, read.status)
        assert {"200"} == {answer.head[":status"], read.head[":status"]}
        assert read.head["content-type"].startswith("application/grpc")
        assert [(b"k", b"value")] == [(kv.key, kv.value) for kv in response.kvs]
        assert response.header.revision == 2
        await client.close()


async def test_calls_of_one_turn_are_all_answered() -> None:
    """Hundreds of calls in one write come back, each with its own answer."""
    async with front() as found:
        client = await found.client()
        replies = [
            await client.open(KV + "Put", framed(put_message(b"k%d" % number)))
            for number in range(300)
        ]
        await client.wait(lambda: all(reply.ended for reply in replies))
        revisions = [
            messages.PutResponse.FromString(reply.messages[0]).header.revision for reply in replies
        ]

        assert list(range(2, 302)) == revisions
        calls = found.server.metrics.calls[KV + "Put"]
        assert (300, 300) == (calls.started, calls.handled[Code.OK])
        await client.close()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/no.Such/Thing", "unknown service no.Such"),
        ("/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"),
        ("/", 'malformed method name: "/"'),
        ("/Put", 'malformed method name: "/Put"'),
        ("/etcdserverpb.Maintenance/Snapshot", "not served by this version"),
    ],
)
async def test_unknown_methods_are_told_apart(path: str, sentence: str) -> None:
    """A path nobody knows, and a method without a handler, answer UNIMPLEMENTED, each its own."""
    async with front() as found:
        client = await found.client()
        answer = await client.call(path, b"")
        code, text = answer.status

        assert code == Code.UNIMPLEMENTED
        assert sentence in text
        assert (await put(client, b"k")).status[0] == 0
        await client.close()


@pytest.mark.parametrize("path", [KV + "Put", KV + "Range", KV + "Txn", KV + "Compact"])
async def test_malformed_messages_are_one_calls_trouble(path: str) -> None:
    """A message that is no protobuf of the method answers INTERNAL; the connection goes on."""
    async with front() as found:
        client = await found.client()
        answer = await client.call(path, b"\xff\xff\xff")

        assert answer.status[0] == Code.INTERNAL
        assert (await put(client, b"k")).status[0] == 0
        await client.close()


@pytest.mark.parametrize("path", [KV + "Range", KV + "RangeStream", "/grpc.health.v1.Health/Watch"])
async def test_a_call_without_its_request_is_told(path: str) -> None:
    """Who ends a call before its one request is told so, whatever kind of call it is."""
    async with front() as found:
        client = await found.client()
        answer = await client.open(path, b"")
        await client.wait(lambda: answer.ended)

        assert answer.status[0] == Code.INTERNAL
        await client.close()


@pytest.mark.parametrize("path", [WATCH, KEEP_ALIVE, KV + "RangeStream"])
async def test_malformed_messages_are_one_streams_trouble(path: str) -> None:
    """On a stream too: it ends with INTERNAL, others and the connection go on."""
    async with front() as found:
        client = await found.client()
        other = await watch(client)
        stream = await client.open(path, framed(b"\xff\xff\xff"), end=False)
        await client.wait(lambda: stream.ended)
        await put(client, b"k")
        await client.wait(lambda: events(other))

        assert stream.status[0] == Code.INTERNAL
        assert not other.ended
        await client.close()


async def test_a_deadline_passes_while_the_disk_is_slow() -> None:
    """A call with grpc-timeout is told in time that it waited in vain; its command goes on."""
    async with front() as found:
        client = await found.client()
        await put(client, b"first")
        found.disk.hold()
        reply = await client.open(
            KV + "Put", framed(put_message(b"k")), headers={"grpc-timeout": "50m"}
        )
        await client.wait(lambda: reply.ended)
        found.disk.release()

        assert reply.status[0] == Code.DEADLINE_EXCEEDED
        second = await put(client, b"second")
        revision = messages.PutResponse.FromString(second.messages[0]).header.revision
        assert revision == 4  # the put whose caller went away is revision 3
        await client.close()


async def test_a_streams_deadline_ends_it() -> None:
    """A stream with grpc-timeout ends with DEADLINE_EXCEEDED."""
    async with front() as found:
        client = await found.client()
        stream = await client.open(WATCH, end=False, headers={"grpc-timeout": "20m"})
        await client.wait(lambda: stream.ended)

        assert stream.status[0] == Code.DEADLINE_EXCEEDED
        await client.close()


async def test_cancelled_calls_leave_nothing() -> None:
    """A call and a stream that the client resets are forgotten; the put happens all the same."""
    async with front() as found:
        client = await found.client()
        stream = await watch(client)
        assert (1, 1) == (len(found.server.hub.sessions), found.server.hub.watchers)
        found.disk.hold()
        reply = await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        await client.cancel(reply)
        await client.cancel(stream)
        while len(found.server.hub.sessions):
            await trio.testing.wait_all_tasks_blocked()
        found.disk.release()
        read = await client.call(KV + "Range", range_message())
        while not messages.RangeResponse.FromString(read.messages[0]).kvs:
            read = await client.call(KV + "Range", range_message())

        (connection,) = found.frontend._connections
        assert (0, 0) == (len(connection._calls), len(connection._streams))
        assert found.server.hub.watchers == 0
        counted = found.server.metrics.calls
        assert counted[KV + "Put"].handled[Code.CANCELLED] == 1
        assert counted[WATCH].handled[Code.CANCELLED] == 1
        await client.close()


async def test_a_client_that_goes_leaves_nothing() -> None:
    """Calls and streams of a connection that ends are over, and counted as such."""
    async with front() as found:
        client = await found.client()
        await watch(client)
        found.disk.hold()
        await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        (connection,) = found.frontend._connections
        assert len(connection._calls) == 2
        await client.close()
        while found.frontend._connections:
            await trio.testing.wait_all_tasks_blocked()

        assert {} == connection._calls
        assert (0, 0) == (len(found.server.hub.sessions), found.server.hub.watchers)
        counted = found.server.metrics.calls
        assert [1, 1] == [counted[path].handled[Code.CANCELLED] for path in (KV + "Put", WATCH)]
        found.disk.release()


async def test_a_reset_connection_is_nobodys_error() -> None:
    """A connection reset before, amid and after its first call is no failure of the member's."""
    async with front(secure=False) as found:
        for sent in (b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HT"):
            stream = await trio.open_tcp_stream(*found.name)
            if sent:
                await stream.send_all(sent)
            await trio.testing.wait_all_tasks_blocked()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        client = await found.client()
        assert (await put(client, b"k")).status[0] == 0
        await client.close()
    async with front() as found:
        secure = await found.connect()
        assert isinstance(secure, trio.SSLStream)
        plain = secure.transport_stream
        assert isinstance(plain, trio.SocketStream)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.socket.close()
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_broken_rules_close_the_connection_with_goaway() -> None:
    """Garbage instead of frames is answered with GOAWAY and a close, and counted."""
    async with front() as found:
        client = await found.client()
        assert (await put(client, b"k")).status[0] == 0
        await client.stream.send_all(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")  # a PING of 1 byte
        with pytest.raises(AssertionError, match="closed"):
            await client.wait(lambda: False)

        assert len(client.goaways) == 1
        assert found.server.metrics.trioetcd_protocol_errors_total.value == 1
        await client.close()


async def test_requests_that_are_too_large_are_refused() -> None:
    """Over --max-request-bytes is an etcd error, over the gRPC limit one of gRPC's."""
    limits = ServerLimits(request_bytes_max=1000)
    async with front(server_limits=limits, limits=Limits(message_bytes_max=5000)) as found:
        client = await found.client()
        assert (await put(client, b"k", b"x" * 900)).status[0] == 0
        large = await put(client, b"k", b"x" * 1000)
        huge = await put(client, b"k", b"x" * 6000)

        assert (Code.INVALID_ARGUMENT, "etcdserver: request is too large") == large.status
        assert huge.status[0] == Code.RESOURCE_EXHAUSTED
        await client.close()


async def test_a_large_range_arrives_whole() -> None:
    """An answer of many windows comes in pieces, and other calls are answered in between."""
    async with front() as found:
        await fill(found.server, 2000, value=b"x" * 2000)
        client = await found.client()
        client.gives_credit = False
        large = await client.open(KV + "Range", framed(range_message()))
        await client.wait(lambda: len(large.body) >= 65_535)
        other = await found.client()
        assert (await put(other, b"other")).status[0] == 0
        client.gives_credit = True
        client.h2.increment_flow_control_window(8_000_000)
        client.h2.increment_flow_control_window(8_000_000, large.stream)
        await client.flush()
        await client.wait(lambda: large.ended)
        response = messages.RangeResponse.FromString(large.messages[0])

        assert (0, 2000, 2000) == (large.status[0], len(response.kvs), response.count)
        await client.close()
        await other.close()


class LargestStep(trio.abc.Instrument):
    """Notes how much is written in one step of any task."""

    def __init__(self, written: Callable[[], int]) -> None:
        self.largest = 0
        self._written = written
        self._before = written()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        written = self._written()
        self.largest = max(self.largest, written - self._before)
        self._before = written


async def test_a_large_answer_is_written_in_parts() -> None:
    """A client that reads as fast as it is written to takes no more of a turn than others."""
    async with front() as found:
        await fill(found.server, 2000, value=b"x" * 2000)
        client = await found.client(window=WIDE)
        while not found.frontend._connections:
            await trio.testing.wait_all_tasks_blocked()
        (connection,) = found.frontend._connections
        step = LargestStep(lambda: connection._stream.sent_bytes + connection._stream.parked_bytes)
        trio.lowlevel.add_instrument(step)
        large = await client.call(KV + "Range", range_message())
        trio.lowlevel.remove_instrument(step)

        assert len(large.body) > 4_000_000
        # What all long work may do in a turn; a quick machine writes 16 parts in it.
        assert step.largest < Limits().take_bytes_max * 20
        await client.close()


# Clients that do not read


@pytest.mark.parametrize("size", [100_000, 300_000, 700_000, 1_400_000])
async def test_a_closed_window_delays_a_stream_and_loses_nothing(size: int) -> None:
    """Events behind a window, however large, come when it opens, and the stream goes on."""
    async with front() as found:
        client = await found.client()
        client.gives_credit = False
        stream = await watch(client)
        used = len(stream.body)
        writer = await found.client()
        await put(writer, b"large", b"x" * size)
        await client.wait(lambda: len(stream.body) == 65_535)
        await put(writer, b"second")
        await trio.testing.wait_all_tasks_blocked()
        client.gives_credit = True
        client.h2.increment_flow_control_window(10_000_000)
        client.h2.increment_flow_control_window(10_000_000, stream.stream)
        await client.flush()
        await client.wait(lambda: len(events(stream)) == 2)

        assert [b"large", b"second"] == events(stream)
        assert used < 65_535
        await put(writer, b"third")
        await client.wait(lambda: len(events(stream)) == 3)
        await client.close()
        await writer.close()


async def test_who_does_not_read_holds_up_nobody_and_costs_little() -> None:
    """A client with a window of gigabytes that reads nothing: bounded memory, others served."""
    async with front(send_buffer=8192) as found:
        deaf = await found.client(window=WIDE, reads=False)
        await deaf.open(WATCH, framed(watch_message()), end=False)
        writer = await found.client()
        while not found.server.hub.watchers:
            await trio.testing.wait_all_tasks_blocked()
        for number in range(20):
            assert (await put(writer, b"k%d" % number, b"x" * 500_000)).status[0] == 0
        connection = next(one for one in found.frontend._connections if one._streams)
        held = connection._stream.parked_bytes + connection._codec.pending
        held += sum(map(len, connection._codec.out))

        assert held < 4_000_000
        stream = deaf.replies[1]
        found.nursery.start_soon(deaf.read)
        await deaf.wait(lambda: len(stream.body) > 20 * 500_000)
        assert [b"k%d" % number for number in range(20)] == events(stream)
        await deaf.close()
        await writer.close()


async def test_who_asks_without_reading_is_not_read() -> None:
    """Answers that nobody reads stop the reading of more calls; all are answered in the end."""
    async with front(send_buffer=8192) as found:
        await fill(found.server, 1, value=b"x" * 100_000)
        deaf = await found.client(window=WIDE, reads=False)
        for _ in range(60):
            await deaf.open(KV + "Range", framed(range_message()))
        while not found.frontend._connections:
            await trio.testing.wait_all_tasks_blocked()
        (connection,) = found.frontend._connections
        while not connection._stream.parked_bytes:
            await trio.testing.wait_all_tasks_blocked()
        other = await found.client()
        assert (await put(other, b"other")).status[0] == 0
        await trio.testing.wait_all_tasks_blocked()
        found.nursery.start_soon(deaf.read)
        await deaf.wait(lambda: all(reply.ended for reply in deaf.replies.values()))

        assert {(0, "")} == {reply.status for reply in deaf.replies.values()}
        await deaf.close()
        await other.close()


# Streams


async def test_a_stream_goes_both_ways_until_the_client_ends_it() -> None:
    """Keep-alives are answered one by one, and a half-close ends the stream with status 0."""
    async with front() as found:
        client = await found.client()
        granted = await client.call(
            "/etcdserverpb.Lease/LeaseGrant",
            messages.LeaseGrantRequest(TTL=60, ID=7).SerializeToString(),
        )
        assert granted.status[0] == 0
        stream = await client.open(KEEP_ALIVE, end=False)
        for count, lease in enumerate((7, 8, 7), 1):
            message = messages.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            await client.send(stream, message)
            await client.wait(partial(has_messages, stream, count))
        await client.end(stream)
        await client.wait(lambda: stream.ended)
        answers = [messages.LeaseKeepAliveResponse.FromString(one) for one in stream.messages]

        assert [(7, 60), (8, 0), (7, 60)] == [(one.ID, one.TTL) for one in answers]
        assert stream.status == (0, "")
        await client.close()


async def test_many_streams_of_one_connection() -> None:
    """Each of many watch streams sees every event, and ending one ends no other."""
    async with front() as found:
        client = await found.client()
        streams = [await watch(client) for _ in range(20)]
        await client.cancel(streams[0])
        await put(client, b"k")
        await client.wait(lambda: all(events(stream) for stream in streams[1:]))

        assert [b"k"] * 19 == [key for stream in streams[1:] for key in events(stream)]
        await client.close()


@pytest.mark.parametrize("first", [b"\xff\xff\xff", b""], ids=["malformed", "good"])
async def test_a_burst_on_one_stream_holds_up_nobody(first: bytes) -> None:
    """Thousands of messages at once are taken in turn, or dropped with a stream that failed."""
    async with front() as found:
        client = await found.client()
        stream = await client.open(
            KEEP_ALIVE, framed(first) + framed(b"\x08\x07") * 3000, end=False
        )
        await client.wait(lambda: stream.ended if first else len(stream.body) >= 3001 * 5)
        assert (await put(client, b"k")).status[0] == 0
        await client.close()


async def test_a_stream_that_waits_for_its_window_does_not_stop_the_reading() -> None:
    """Requests that cannot be taken now do not keep the window's update from being read."""
    async with front() as found:
        client = await found.client()
        client.gives_credit = False
        stream = await watch(client)
        writer = await found.client()
        for number in range(4):
            await put(writer, b"k%d" % number, b"x" * 900_000)
        await client.wait(lambda: len(stream.body) == 65_535)
        for _ in range(600):
            client.h2.send_data(stream.stream, framed(watch_message(b"other", b"")))
        await client.flush()
        await trio.testing.wait_all_tasks_blocked(0.01)
        client.gives_credit = True
        client.h2.increment_flow_control_window(10_000_000)
        client.h2.increment_flow_control_window(10_000_000, stream.stream)
        await client.flush()
        await client.wait(lambda: len(stream.messages) == 4 + 601)
        await client.close()
        await writer.close()


async def test_more_streams_than_allowed_are_refused() -> None:
    """Beyond SETTINGS_MAX_CONCURRENT_STREAMS a stream is refused and the others go on."""
    async with front(limits=Limits(streams_max=3)) as found:
        client = await found.client()
        streams = [await watch(client) for _ in range(3)]
        client.h2.remote_settings.max_concurrent_streams = 100
        client.h2.remote_settings.acknowledge()
        refused = await client.open(WATCH, end=False)
        await client.wait(lambda: refused.ended)

        assert refused.reset == 7  # REFUSED_STREAM
        await client.cancel(streams[0])
        assert (await put(client, b"k")).status[0] == 0
        await client.wait(lambda: events(streams[1]))
        await client.close()


# The end


async def drain(found: Front) -> None:
    found.server.stop_serving()
    await found.frontend.drain()


async def begin_drain(found: Front, client: Client, path: str, message: bytes) -> Reply:
    """Let a call be on its way at the moment when the client is told of the end."""
    found.server.stop_serving()
    (connection,) = found.frontend._connections
    connection.drain()
    late = await client.open(path, framed(message), end=path != WATCH)
    found.nursery.start_soon(found.frontend.drain)
    return late


async def test_draining_lets_calls_finish_and_ends_streams(
    mock_clock: trio.testing.MockClock,  # a drain is as long as this machine is busy otherwise
) -> None:
    """GOAWAY goes out, calls under way are answered, streams end with "server stopped"."""
    async with front() as found:
        client = await found.client()
        stream = await watch(client)
        found.disk.hold()
        under_way = await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        late = await begin_drain(found, client, KV + "Put", put_message(b"late"))
        await client.wait(lambda: client.goaways and stream.ended)
        assert not under_way.ended
        found.disk.release()
        await client.wait(lambda: under_way.ended and late.ended)

        assert (Code.UNAVAILABLE, "etcdserver: server stopped") == stream.status
        assert (0, "") == under_way.status
        assert (Code.UNAVAILABLE, "etcdserver: server stopped") == late.status
        with pytest.raises(AssertionError, match="closed"):
            await client.wait(lambda: False)
        await client.close()


async def test_an_answer_behind_its_window_survives_a_drain(
    mock_clock: trio.testing.MockClock,
) -> None:
    """An answer that the client has not read yet is not cut off by the end."""
    async with front() as found:
        await fill(found.server, 300, value=b"x" * 1000)
        client = await found.client()
        client.gives_credit = False
        large = await client.open(KV + "Range", framed(range_message()))
        await client.wait(lambda: len(large.body) == 65_535)
        found.nursery.start_soon(drain, found)
        await client.wait(lambda: client.goaways)
        client.gives_credit = True
        client.h2.increment_flow_control_window(1_000_000)
        client.h2.increment_flow_control_window(1_000_000, large.stream)
        await client.flush()
        await client.wait(lambda: large.ended)

        assert (0, "") == large.status
        await client.close()


async def test_a_stream_opened_amid_the_drain_ends_too(
    mock_clock: trio.testing.MockClock,  # a drain is as long as this machine is busy otherwise
) -> None:
    """A watch that was on its way when GOAWAY went out does not hold up the end."""
    async with front() as found:
        client = await found.client()
        found.disk.hold()
        under_way = await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        stream = await begin_drain(found, client, WATCH, watch_message())
        await client.wait(lambda: stream.ended)
        assert (Code.UNAVAILABLE, "etcdserver: server stopped") == stream.status
        found.disk.release()
        await client.wait(lambda: under_way.ended)
        await client.close()


async def test_draining_takes_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    """A call that does not finish holds up the end for a second, no longer."""
    autojump_clock.autojump_threshold = float("inf")  # handshakes are on a thread
    async with front() as found:
        client = await found.client()
        found.disk.hold()
        await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        started = trio.current_time()
        autojump_clock.autojump_threshold = 0.01
        await drain(found)

        assert trio.current_time() - started == pytest.approx(1.0)
        found.disk.release()
        await client.close()


async def test_draining_does_not_wait_for_who_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A client that leaves amid the drain, its call unanswered, is not waited for."""
    autojump_clock.autojump_threshold = float("inf")
    async with front() as found:
        client = await found.client()
        found.disk.hold()
        await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        done = trio.Event()

        async def draining() -> None:
            await drain(found)
            done.set()

        found.nursery.start_soon(draining)
        await client.wait(lambda: client.goaways)
        await client.close()
        await done.wait()  # no time passes on this clock
        found.disk.release()


async def test_a_drained_connection_says_which_calls_counted_before_it_closes(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The last GOAWAY goes out: without it a client takes later calls for lost, and fails them."""
    async with front() as found:
        client = await found.client()
        await client.call(KV + "Put", put_message(b"k"))
        found.nursery.start_soon(found.frontend.drain)
        await client.wait_closed()

        assert client.goaways == [2**31 - 1, 1]
        await client.close()


async def test_who_is_to_come_again_is_served_until_it_has_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Retired, a connection answers what is on its way, lets a waiting lock wait, then closes."""
    autojump_clock.autojump_threshold = float("inf")
    async with front() as found:
        client = await found.client()
        stream = await watch(client)
        found.disk.hold()
        under_way = await client.open(KV + "Put", framed(put_message(b"k")))
        await found.disk.wait_held()
        for connection in found.frontend._connections:
            connection.retire()
            connection.retire()
        late = await client.open(KV + "Put", framed(put_message(b"late")))
        await client.wait(lambda: stream.ended)
        found.disk.release()
        await client.wait(lambda: under_way.ended and late.ended)

        assert (Code.UNAVAILABLE, "etcdserver: server stopped") == stream.status
        assert (0, "") == under_way.status == late.status
        assert client.goaways[0] == 2**31 - 1
        autojump_clock.autojump_threshold = 0.01
        await client.wait_closed()
        await client.close()


async def test_who_was_expelled_is_not_heard() -> None:
    """Its streams are cancelled, and what it says then is not even read."""
    async with front() as found:
        client = await found.client()
        stream = await watch(client)
        (connection,) = found.frontend._connections
        connection.expel()
        late = await client.open(KV + "Put", framed(put_message(b"late")))
        await client.wait(lambda: stream.ended)
        other = await found.client()
        await other.call(KV + "Put", put_message(b"k"))

        assert (Code.CANCELLED, "etcdserver: watch canceled") == stream.status
        assert not late.ended
        assert found.server.store.revision == 2
        await client.close()
