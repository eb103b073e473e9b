"""gRPC on the server's side, with h2 as the client."""

from __future__ import annotations

import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import chunk_sizes
from tests.wire.conversation import (
    BLOCK,
    GREETING,
    HEADERS,
    PUT,
    WATCH,
    acknowledge,
    block,
    chunked,
    data,
    goaway_code,
    greeted,
    h2_client,
    headers,
    of_kind,
    raw,
    resets,
    take_all,
)
from trioetcd.wire import frames
from trioetcd.wire.grpc import (
    CALL,
    CANCELLED,
    DRAINED,
    HALF_CLOSED,
    MESSAGE,
    OPENED,
    REQUEST,
    GrpcServer,
    ServerEvent,
    frame,
)
from trioetcd.wire.grpc_message import decode_text
from trioetcd.wire.head import Head
from trioetcd.wire.header_block import HeaderDecoder, encode_fields
from trioetcd.wire.limits import Limits


class Talk:
    """An h2 client and our server, passing bytes in pieces of one size."""

    def __init__(self, *, size: int = 0, limits: Limits | None = None) -> None:
        self.size = size
        self.client = h2_client()
        self.server = GrpcServer(streaming={WATCH}, limits=limits)
        self.heads: dict[int, list[dict[str, str]]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.turn()

    def turn(self) -> list[ServerEvent]:
        """Pass bytes both ways until both are silent; give the server's events."""
        found: list[ServerEvent] = []
        while True:
            sent = self.client.data_to_send()
            for piece in chunked(sent, self.size):
                found += self.server.receive(piece)
            back = self.server.take()
            for piece in chunked(back, self.size):
                for event in self.client.receive_data(piece):
                    self.note(event)
            if not sent and not back:
                return found

    def note(self, event: h2.events.Event) -> None:
        acknowledge(self.client, event)
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self.heads.setdefault(event.stream_id, []).append(
                    {str(name): str(value) for name, value in event.headers}
                )
            case h2.events.DataReceived():
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.reset[event.stream_id] = event.error_code

    def call(self, path: str, body: bytes, *extra: tuple[str, str]) -> int:
        """Send a whole call; the body as far as the windows go, in order."""
        stream = self.client.get_next_available_stream_id()
        fields = [(name, path if name == ":path" else value) for name, value in HEADERS]
        self.client.send_headers(stream, [*fields, *extra])
        while body:
            room = min(self.client.local_flow_control_window(stream), 16_384)
            self.client.send_data(stream, body[:room])
            body = body[room:]
            self.pending = self.turn()
        self.client.end_stream(stream)
        return stream


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.integers(0, 99)), max_size=12),
    chunk_sizes(),
)
def test_unary_calls_round_trip(calls: list[tuple[bytes, bool, int]], size: int) -> None:
    """Calls of an h2 client arrive whole, once, in order; the answers arrive at the client."""
    talk = Talk(size=size)
    streams = {}
    for message, padded, number in calls:
        stream = talk.client.get_next_available_stream_id()
        talk.client.send_headers(stream, [*HEADERS, ("x-number", str(number))])
        talk.client.send_data(
            stream, frame(message), end_stream=True, pad_length=7 if padded else None
        )
        streams[stream] = message
    found = talk.turn()
    assert [(CALL, stream, message) for stream, message in streams.items()] == [
        (kind, stream, message) for kind, stream, head, message in found
    ]
    for _, stream, head, message in found:
        assert head.path == PUT
        talk.server.answer(stream, message + b"!")
    talk.turn()
    for stream, message in streams.items():
        assert talk.bodies[stream] == frame(message + b"!")
        first, last = talk.heads[stream]
        assert first == {":status": "200", "content-type": "application/grpc"}
        assert last["grpc-status"] == "0"
    assert talk.ended == set(streams)
    assert talk.server.open_streams == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=200), max_size=8), chunk_sizes(), st.integers(1, 400))
def test_streams_arrive_message_by_message(messages: list[bytes], size: int, cut: int) -> None:
    """However DATA frames cut the messages of a stream, they come out as they went in."""
    talk = Talk(size=size)
    stream = talk.client.get_next_available_stream_id()
    fields = [(name, WATCH if name == ":path" else value) for name, value in HEADERS]
    talk.client.send_headers(stream, fields)
    for piece in chunked(b"".join(map(frame, messages)), cut):
        talk.client.send_data(stream, piece)
    found = talk.turn()
    assert found[0][:2] == (OPENED, stream)
    assert [(MESSAGE, stream, message) for message in messages] == found[1:]
    for message in messages:
        talk.server.send_messages(stream, frame(message) + frame(b""))
    talk.client.end_stream(stream)
    assert talk.turn() == [(HALF_CLOSED, stream)]
    talk.server.finish(stream)
    talk.turn()
    expected = b"".join(frame(message) + frame(b"") for message in messages)
    assert bytes(talk.bodies.get(stream, b"")) == expected
    assert talk.ended == {stream}
    assert talk.server.open_streams == 0


def test_same_block_gives_the_same_head() -> None:
    """A header block seen before costs nothing: its Head is the same object."""
    server = greeted()
    events = server.receive(
        headers(1) + data(1, frame(b"a"), end=True) + headers(3) + data(3, frame(b"b"), end=True)
    )
    assert events[0][2] is events[1][2]


def test_fresh_timeout_shares_the_rest() -> None:
    """Only grpc-timeout differs between the heads of calls that differ in it."""
    server = greeted()
    sent = b"".join(
        headers(stream, block=block(("grpc-timeout", f"{stream}S")))
        + data(stream, frame(b""), end=True)
        for stream in (1, 3)
    )
    first, second = (event[2] for event in server.receive(sent))
    assert (first.timeout, second.timeout) == (1.0, 3.0)
    assert first.metadata is second.metadata


def answered(server: GrpcServer) -> dict[str, str]:
    """Give the fields of the last header block the server wrote."""
    found = of_kind(take_all(server), frames.HEADERS)
    return {
        name.decode(): value.decode("latin-1")
        for name, value in HeaderDecoder(1 << 20).decode(found[-1][3])
    }


REFUSALS: list[tuple[str, bytes, str, str]] = [
    ("no message", headers(1, end=True), "13", "not none"),
    ("no message, empty DATA", headers(1) + data(1, b"", end=True), "13", "not none"),
    ("two messages", headers(1) + data(1, frame(b"a") * 2, end=True), "13", "not more"),
    ("a cut message", headers(1) + data(1, b"\0\0\0\0\x09a", end=True), "13", "inside a message"),
    ("a cut prefix", headers(1) + data(1, b"\0\0", end=True), "13", "inside a message"),
    (
        "too large by its prefix alone",
        headers(1) + data(1, b"\0\xff\xff\xff\xff"),
        "8",
        "grpc: received message larger than max (4294967295 vs. 2097152)",
    ),
    (
        "compressed",
        headers(1, block=block(("grpc-encoding", "gzip"))) + data(1, b"\x01\0\0\0\0", end=True),
        "12",
        'grpc: Decompressor is not installed for grpc-encoding "gzip"',
    ),
    ("compressed by nothing", headers(1) + data(1, b"\x01\0\0\0\0", end=True), "13", "compressed"),
    ("a flag of 2", headers(1) + data(1, b"\x02\0\0\0\0", end=True), "13", "payload format 2"),
    (
        "a timeout of no form",
        headers(1, block=block(("grpc-timeout", "soon"))),
        "13",
        "malformed grpc-timeout",
    ),
]


@pytest.mark.parametrize(("name", "sent", "code", "text"), REFUSALS, ids=lambda v: str(v)[:20])
def test_refusals(name: str, sent: bytes, code: str, text: str) -> None:
    """Calls whose bytes are no call are answered by the codec, trailers-only, and make no event."""
    server = greeted()
    assert server.receive(sent) == []
    fields = answered(server)
    assert (fields["grpc-status"], fields[":status"]) == (code, "200")
    assert text in decode_text(fields["grpc-message"].encode("latin-1"))
    assert server.open_streams == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (headers(1, block=block(kind="application/grpc+json")), "415"),
        (headers(1, block=block(kind="application/grpc-web")), "415"),
        (headers(1, block=BLOCK.replace(b"\x83", b"\x82", 1)), "405"),
    ],
)
def test_wrong_kinds_of_calls(sent: bytes, status: str) -> None:
    """Another encoding or method is refused with the HTTP status for it."""
    server = greeted()
    assert server.receive(sent) == []
    assert answered(server)[":status"] == status


def test_refused_stream_is_reset_without_error() -> None:
    """An answer before the client's end asks it to stop; what is under way is ignored."""
    server = greeted()
    server.receive(headers(1) + data(1, b"\0\xff\xff\xff\xff"))
    assert resets(take_all(server)) == [(1, frames.NO_ERROR)]
    assert server.receive(data(1, b"x" * 100) + data(1, b"x", end=True)) == []
    assert goaway_code(take_all(server)) is None


def test_stream_that_breaks_is_cancelled_for_its_handler() -> None:
    """A bad message on an announced stream ends the call for the layer above too."""
    server = greeted()
    found = server.receive(headers(1, block=block(path=WATCH)) + data(1, b"\x01\0\0\0\0"))
    assert [event[0] for event in found] == [OPENED, CANCELLED]
    assert answered(server)["grpc-status"] == "13"
    assert server.receive(data(1, frame(b"late"))) == []


def test_stream_cut_inside_a_message() -> None:
    """END_STREAM inside a message of a stream is INTERNAL, not a half close."""
    server = greeted()
    found = server.receive(headers(1, block=block(path=WATCH)) + data(1, b"\0\0\0", end=True))
    assert [event[0] for event in found] == [OPENED, CANCELLED]


def test_cancelled_calls_drop_their_output() -> None:
    """RST_STREAM drops what was queued; it is no event once the call was answered."""
    server = greeted()
    server.receive(headers(1) + data(1, frame(b""), end=True))
    server.answer(1, b"x" * 1_000_000)
    take_all(server)
    assert server.backlog(1) == 1_000_005 - 65_535
    assert server.receive(frames.reset_frame(1, 8)) == []
    assert (server.backlog(1), server.pending, server.open_streams) == (0, 0, 0)
    server.answer(1, b"late")
    server.answer_pieces(1, [b"late" * 10_000])
    server.send_messages(1, frame(b"late"))
    server.fail(1, 5, "late")
    server.finish(1)
    server.respond(1, 200, [], b"late")
    server.cancel(1)
    assert server.take() == b""


def test_cancelled_before_it_was_whole_makes_no_event() -> None:
    """A unary call cancelled before its message came was never announced."""
    server = greeted()
    assert server.receive(headers(1) + data(1, b"\0") + frames.reset_frame(1, 8)) == []


def test_cancelled_calls_are_announced_while_unanswered() -> None:
    """RST_STREAM of an open call is one event, and what is answered later goes nowhere."""
    server = greeted()
    sent = headers(1) + data(1, frame(b""), end=True) + headers(3, block=block(path=WATCH))
    server.receive(sent)
    server.send_messages(3, frame(b"x" * 1_000_000))
    found = server.receive(frames.reset_frame(1, 8) + frames.reset_frame(3, 8))
    assert found == [(CANCELLED, 1), (CANCELLED, 3)]
    assert server.pending == 0
    assert of_kind(take_all(server), frames.DATA) == []
    server.answer(1, b"late")
    assert server.take() == b""


def test_server_may_cancel() -> None:
    """`cancel` resets the stream with CANCEL."""
    server = greeted()
    server.receive(headers(1) + data(1, frame(b""), end=True))
    server.cancel(1)
    assert resets(take_all(server)) == [(1, frames.CANCEL)]


def test_fail_before_and_after_the_head() -> None:
    """An error is trailers-only if nothing was sent, trailers otherwise; text is escaped."""
    talk = Talk()
    alone = talk.call("/a/B", frame(b""))
    stream = talk.call(WATCH, frame(b""))
    talk.turn()
    talk.server.fail(alone, 5, "größe: 100%\n")
    talk.server.send_messages(stream, frame(b"one"))
    talk.server.fail(stream, 14, "etcdserver: no leader")
    talk.turn()
    assert talk.heads[alone] == [
        {
            ":status": "200",
            "content-type": "application/grpc",
            "grpc-status": "5",
            "grpc-message": "gr%C3%B6%C3%9Fe: 100%25%0A",
        }
    ]
    assert talk.heads[stream][1] == {"grpc-status": "14", "grpc-message": "etcdserver: no leader"}
    assert talk.ended == {alone, stream}


def test_plain_requests_come_whole() -> None:
    """A request that is no gRPC comes with its body, and is answered with any status."""
    talk = Talk()
    stream = talk.client.get_next_available_stream_id()
    fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/v3/kv/put"),
        (":authority", "h"),
    ]
    talk.client.send_headers(stream, [*fields, ("content-type", "application/json")])
    talk.client.send_data(stream, b'{"key":')
    talk.client.send_data(stream, b'"YQ=="}', end_stream=True)
    ((kind, number, head, body),) = talk.turn()
    assert (kind, number, head.path, body) == (REQUEST, stream, "/v3/kv/put", b'{"key":"YQ=="}')
    talk.server.respond(stream, 404, [("Content-Type", "application/json")], b"{}")
    talk.turn()
    assert talk.heads[stream][0][":status"] == "404"
    assert talk.heads[stream][0]["content-length"] == "2"
    assert talk.bodies[stream] == b"{}"


def test_head_request_gets_no_body() -> None:
    """HEAD learns the length and gets nothing of it."""
    talk = Talk()
    fields = [(":method", "HEAD"), (":scheme", "https"), (":path", "/health"), (":authority", "h")]
    talk.client.send_headers(1, fields, end_stream=True)
    talk.turn()
    talk.server.respond(1, 200, [], b"four")
    talk.turn()
    assert talk.heads[1][0]["content-length"] == "4"
    assert 1 not in talk.bodies
    assert talk.ended == {1}


def test_large_body_is_refused() -> None:
    """A plain request's body above the bound is answered with 413."""
    server = greeted(Limits(body_bytes_max=10))
    request = block(kind="application/json")
    assert server.receive(headers(1, block=request) + data(1, b"x" * 11)) == []
    assert answered(server)[":status"] == "413"


def test_unfinished_messages_are_bounded_together() -> None:
    """Many streams each holding an unfinished message cannot hold more than the bound."""
    server = greeted(Limits(buffered_bytes_max=1000))
    start = b"\0\0\0\x07\xd0" + b"x" * 400
    sent = b"".join(headers(stream) + data(stream, start) for stream in (1, 3, 5))
    assert server.receive(sent) == []
    assert answered(server)["grpc-status"] == "8"
    assert server.open_streams == 2
    server.receive(frames.reset_frame(1, 8) + frames.reset_frame(3, 8))
    assert server._buffered == 0


def test_largest_message_passes_the_next_octet_does_not() -> None:
    """The bound on messages is exact, on the short way and on the long one."""
    for size, fits in ((100, True), (101, False)):
        for cut in (0, 20):
            server = greeted(Limits(message_bytes_max=100))
            sent = b"".join(data(1, piece) for piece in chunked(frame(b"x" * size), cut))
            found = server.receive(headers(1) + sent + data(1, b"", end=True))
            assert [event[0] for event in found] == ([CALL] if fits else [])
            server = greeted(Limits(message_bytes_max=100))
            found = server.receive(headers(1) + data(1, frame(b"x" * size), end=True))
            assert [event[0] for event in found] == ([CALL] if fits else [])


def test_largest_request_of_etcd_arrives() -> None:
    """1.5 MiB and its envelope arrive through windows of 1 MiB given back as it comes."""
    talk = Talk()
    message = b"v" * (1536 * 1024 + 100)
    stream = talk.call(PUT, frame(message))
    found = talk.turn()
    assert [(event[0], event[1], event[3]) for event in found] == [(CALL, stream, message)]


def test_trailers_of_a_client_end_its_call() -> None:
    """HEADERS with END_STREAM after DATA is an end like any other."""
    talk = Talk()
    talk.client.send_headers(1, HEADERS)
    talk.client.send_data(1, frame(b"m"))
    talk.client.send_headers(1, [("x-last", "1")], end_stream=True)
    assert [(event[0], event[3]) for event in talk.turn()] == [(CALL, b"m")]


def test_continuation_of_a_large_head() -> None:
    """A head that h2 cuts into CONTINUATION frames arrives as one."""
    talk = Talk()
    fields = [(f"x-{number}", "v" * 1000) for number in range(40)]
    talk.client.send_headers(1, [*HEADERS, *fields])
    talk.client.send_data(1, frame(b""), end_stream=True)
    ((_, _, head, _),) = talk.turn()
    assert head.get("x-39") == b"v" * 1000


def test_drained_is_said_once() -> None:
    """A stream whose backlog was high says so when it is low again, once."""
    server = greeted(Limits(backlog_high_bytes=50_000, backlog_low_bytes=10_000))
    server.receive(headers(1, block=block(path=WATCH)))
    server.send_messages(1, frame(b"x" * 200_000))
    take_all(server)
    assert server.backlog(1) == 200_005 - 65_535
    assert server.receive(frames.window_frame(1, 200_000)) == []
    assert server.take() == b""
    server.receive(frames.window_frame(0, 200_000))
    take_all(server)
    assert server.receive(frames.ping_frame(b"12345678", ack=False)) == [(DRAINED, 1)]
    assert server.pop_drained() == []
    assert server.backlog(1) == 0


def test_streaming_fast_way_keeps_the_order() -> None:
    """A message that fits goes behind those that wait, never past them."""
    server = greeted()
    server.receive(headers(1, block=block(path=WATCH)))
    server.send_messages(1, frame(b"a" * 70_000))
    server.send_messages(1, frame(b"b"))
    server.finish(1)
    first = take_all(server)
    server.receive(frames.window_frame(0, 100_000) + frames.window_frame(1, 100_000))
    body = b"".join(found[3] for found in of_kind(first + take_all(server), frames.DATA))
    assert body == frame(b"a" * 70_000) + frame(b"b")
    assert server.open_streams == 0  # reset: the client was still sending


def test_ping_asks() -> None:
    """`ping` writes a PING that is no acknowledgement."""
    server = greeted()
    server.ping()
    assert [found[1] for found in of_kind(server.take(), frames.PING)] == [0]


def test_goaway_lets_open_calls_finish() -> None:
    """Graceful: announced first, named after a round trip; open calls end, newer ones are lost."""
    talk = Talk()
    stream = talk.call(PUT, frame(b"a"))
    talk.turn()
    talk.server.goaway()
    talk.server.goaway()
    under_way = headers(3) + data(3, frame(b"b"), end=True)
    first = talk.server.take()
    farewells = of_kind(first, frames.GOAWAY)
    assert [found[3][:4] for found in farewells] == [b"\x7f\xff\xff\xff"]
    ping = of_kind(first, frames.PING)[0][3]
    assert [event[0] for event in talk.server.receive(under_way)] == [CALL]
    talk.server.receive(raw(frames.PING, 1, 0, ping))
    last = of_kind(talk.server.take(), frames.GOAWAY)[0]
    assert last[3] == (3).to_bytes(4, "big") + bytes(4)
    ignored = headers(5) + data(5, frame(b"c"), end=True) + frames.window_frame(5, 1)
    assert talk.server.receive(ignored + frames.reset_frame(5, 8)) == []
    assert not talk.server.finished
    talk.server.answer(stream, b"x")
    talk.server.answer(3, b"y")
    assert talk.server.finished
    assert isinstance(talk.client, h2.connection.H2Connection)


def test_stream_without_messages() -> None:
    """A stream that ends with its head is announced and half closed."""
    server = greeted()
    found = server.receive(headers(1, block=block(path=WATCH), end=True))
    assert [event[0] for event in found] == [OPENED, HALF_CLOSED]
    server.finish(1)
    assert answered(server)["grpc-status"] == "0"


def test_responses_may_say_their_own_length() -> None:
    """A content-length given by the caller is not said twice."""
    server = greeted()
    server.receive(headers(1, block=block(kind="text/plain"), end=True))
    server.respond(1, 200, [("Content-Length", "2")], b"ok")
    assert answered(server)["content-length"] == "2"


def test_many_different_heads_are_bounded() -> None:
    """Header blocks are remembered up to a number, and up to a size."""
    server = greeted(Limits(heads_max=10))
    for number in range(40):
        stream = 2 * number + 1
        one = block(("x", str(number)), ("grpc-timeout", "1S"))
        server.receive(headers(stream, block=one) + data(stream, frame(b""), end=True))
        server.answer(stream, b"")
        server.take()
    large = headers(81, block=block(("x", "y" * 5000))) + data(81, frame(b""), end=True)
    assert [event[0] for event in server.receive(large)] == [CALL]
    connection = server._connection
    assert len(connection._heads) <= 10
    assert len(connection._known) <= 10


def test_streams_that_were_reset_are_ignored_for_a_while() -> None:
    """Frames under way to a stream we reset do no harm; what is remembered is bounded."""
    server = greeted(Limits(resets_burst=10_000, frame_bytes_max=20_000))
    bad = BLOCK + b"\x00\x01A\x01b"
    for stream in range(1, 10_001, 2):
        server.receive(headers(stream, block=bad))
    assert server.receive(data(9999, b"x") + headers(9999)) == []
    assert goaway_code(server.take()) is None
    assert len(server._connection._refused) <= 4096


def test_a_note_is_made_once_for_each_list_of_headers() -> None:
    """What is made of the metadata is on every head with them; a fresh timeout changes nothing."""
    asked: list[bytes | None] = []

    def note(head: Head) -> object:
        asked.append(head.get("mark"))
        return head.get("mark")

    server = GrpcServer(streaming=(), note=note)
    server.receive(GREETING)
    notes = []
    calls = [(b"a", b"1S"), (b"a", b"2S"), (None, b"1S"), (b"b", b"1S"), (None, b"3S"), (b"a", b"")]
    for number, (mark, timeout) in enumerate(calls):
        fields = [(b"mark", mark)] if mark else []
        fields += [(b"grpc-timeout", timeout)] if timeout else []
        head = BLOCK + encode_fields(fields)
        stream = 2 * number + 1
        events = server.receive(headers(stream, block=head) + data(stream, frame(b""), end=True))
        notes += [event[2].note for event in events if event[0] == CALL]

    assert [b"a", None, b"b"] == asked
    assert [mark for mark, _ in calls] == notes
