"""gRPC on the client's side, with h2 as the server; and our two sides against each other."""

from __future__ import annotations

import base64

import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import chunk_sizes
from tests.wire.conversation import (
    WATCH,
    acknowledge,
    chunked,
    data,
    h2_server,
    headers,
    of_kind,
    raw,
    resets,
)
from trioetcd.wire import frames
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.grpc import (
    CALL,
    DRAINED,
    GONE,
    HALF_CLOSED,
    MESSAGE,
    OPENED,
    RESPONSE,
    TRAILERS,
    GrpcServer,
    ServerEvent,
    frame,
)
from trioetcd.wire.grpc_client import ClientEvent, GrpcClient
from trioetcd.wire.grpc_message import HEAD_BLOCK, OK_BLOCK
from trioetcd.wire.header_block import encode_fields
from trioetcd.wire.limits import Limits

SETTINGS = frames.settings_frame({})


class Talk:
    """Our client and an h2 server, passing bytes in pieces of one size."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.client = GrpcClient()
        self.server = h2_server()
        self.heads: dict[int, list[tuple[str, str]]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.turn()

    def turn(self) -> list[ClientEvent]:
        """Pass bytes both ways until both are silent; give the client's events."""
        found: list[ClientEvent] = []
        while True:
            sent = self.client.take()
            for piece in chunked(sent, self.size):
                for event in self.server.receive_data(piece):
                    self.note(event)
            back = self.server.data_to_send()
            for piece in chunked(back, self.size):
                found += self.client.receive(piece)
            if not sent and not back:
                return found

    def note(self, event: h2.events.Event) -> None:
        acknowledge(self.server, event)
        match event:
            case h2.events.RequestReceived():
                self.heads[event.stream_id] = [
                    (str(name), str(value)) for name, value in event.headers
                ]
            case h2.events.DataReceived():
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.reset[event.stream_id] = event.error_code

    def answer(self, stream: int, body: bytes, *trailers: tuple[str, str]) -> list[ClientEvent]:
        """Answer as a server does; the body as far as the windows go."""
        self.server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        found: list[ClientEvent] = []
        while body:
            room = min(self.server.local_flow_control_window(stream), 16_384)
            self.server.send_data(stream, body[:room])
            body = body[room:]
            found += self.turn()
        self.server.send_headers(stream, list(trailers), end_stream=True)
        return found + self.turn()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), chunk_sizes())
def test_unary_calls_round_trip(messages: list[bytes], size: int) -> None:
    """Calls arrive at an h2 server whole; its answers arrive as response, message, trailers."""
    talk = Talk(size)
    streams = {}
    for message in messages:
        stream = talk.client.call(
            "/a.B/C", [("token", "t"), ("x-bin", b"\x00\xff")], authority="h:1", timeout=1.5
        )
        talk.client.send(stream, message, end=True)
        streams[stream] = message
    talk.turn()
    for stream, message in streams.items():
        assert dict(talk.heads[stream]) == {
            ":method": "POST",
            ":scheme": "https",
            ":path": "/a.B/C",
            ":authority": "h:1",
            "te": "trailers",
            "content-type": "application/grpc",
            "token": "t",
            "x-bin": base64.b64encode(b"\x00\xff").decode().rstrip("="),
            "grpc-timeout": "1500000u",
        }
        assert talk.bodies[stream] == frame(message)
        found = talk.answer(stream, frame(message[::-1]), ("grpc-status", "0"), ("x", "y"))
        assert found == [
            (RESPONSE, stream, (("content-type", b"application/grpc"),)),
            (MESSAGE, stream, message[::-1]),
            (TRAILERS, stream, 0, "", (("x", b"y"),)),
        ]
    assert talk.ended == set(streams)
    assert talk.client.open_streams == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=200), max_size=8), chunk_sizes(), st.integers(1, 300))
def test_streams_both_ways(messages: list[bytes], size: int, cut: int) -> None:
    """A stream's messages arrive one by one in both directions, however frames cut them."""
    talk = Talk(size)
    stream = talk.client.call(WATCH, [], authority="h")
    for message in messages:
        talk.client.send(stream, message, end=False)
    talk.client.half_close(stream)
    talk.client.half_close(stream)
    talk.client.send(stream, b"too late", end=True)
    talk.turn()
    assert bytes(talk.bodies.get(stream, b"")) == b"".join(map(frame, messages))
    talk.server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    for piece in chunked(b"".join(map(frame, messages)), cut):
        talk.server.send_data(stream, piece)
    found = talk.turn()
    assert found[1:] == [(MESSAGE, stream, message) for message in messages]
    talk.server.send_headers(stream, [("grpc-status", "0")], end_stream=True)
    assert talk.turn() == [(TRAILERS, stream, 0, "", ())]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=4), chunk_sizes())
def test_our_two_sides_understand_each_other(sizes: list[int], size: int) -> None:
    """Client and server of this package pass messages of any size, whole, both ways."""
    client = GrpcClient(scheme="http")
    server = GrpcServer(streaming={WATCH})
    step = 0 if size == 1 else size * 50
    streams = {}
    for number, length in enumerate(sizes):
        stream = client.call("/a/B" if number % 2 else WATCH, [], authority="h")
        client.send(stream, b"x" * length, end=True)
        streams[stream] = length
    got: dict[int, int] = {}
    while client.open_streams:
        events: list[ServerEvent] = []
        for piece in chunked(client.take(), step):
            events += server.receive(piece, 1.0)
        for event in events:
            if event[0] == CALL:
                server.answer(event[1], event[3])
            elif event[0] == MESSAGE:
                server.send_messages(event[1], frame(event[2]))
            elif event[0] == HALF_CLOSED:
                server.finish(event[1])
            else:
                assert event[0] in {OPENED, DRAINED}
        for piece in chunked(server.take(), step):
            for answer in client.receive(piece, 1.0):
                if answer[0] == MESSAGE:
                    got[answer[1]] = len(answer[2])
                elif answer[0] == TRAILERS:
                    assert answer[2] == 0
    assert got == streams
    assert server.open_streams == 0


def asked(limits: Limits | None = None) -> GrpcClient:
    """Give a client with one whole call on stream 1."""
    client = GrpcClient(limits=limits) if limits else GrpcClient()
    stream = client.call("/a/B", [], authority="h")
    client.send(stream, b"", end=True)
    client.take()
    assert client.receive(SETTINGS) == []
    client.take()
    return client


def answer_block(*fields: tuple[str, str], status: str = "200") -> bytes:
    """Give the header block of a response."""
    pairs = [(":status", status), ("content-type", "application/grpc"), *fields]
    return encode_fields([(name.encode(), value.encode("latin-1")) for name, value in pairs])


FAILURES: list[tuple[str, bytes, int, str]] = [
    (
        "trailers only",
        headers(1, block=answer_block(("grpc-status", "5"), ("grpc-message", "%C3%B6%")), end=True),
        5,
        "ö%",
    ),
    ("no status", headers(1, block=answer_block(), end=True), 2, "HTTP status 200"),
    (
        "a status of no number",
        headers(1, block=answer_block(("grpc-status", "x")), end=True),
        2,
        "",
    ),
    ("a proxy's 503", headers(1, block=answer_block(status="503")), 14, "HTTP status 503"),
    ("a proxy's 401", headers(1, block=answer_block(status="401"), end=True), 16, "401"),
    ("an HTML page", headers(1, block=encode_fields([(b":status", b"200")])), 2, "HTTP status 200"),
    ("refused", frames.reset_frame(1, frames.REFUSED_STREAM), 14, "reset"),
    ("cancelled", frames.reset_frame(1, frames.CANCEL), 1, "reset"),
    ("calm", frames.reset_frame(1, frames.ENHANCE_YOUR_CALM), 8, "reset"),
    ("reset", frames.reset_frame(1, frames.PROTOCOL_ERROR), 13, "reset"),
    (
        "no trailers",
        headers(1, block=HEAD_BLOCK) + data(1, frame(b""), end=True),
        13,
        "without trailers",
    ),
    (
        "cut inside a message",
        headers(1, block=HEAD_BLOCK)
        + data(1, b"\0\0\0\0\x09a")
        + headers(1, block=OK_BLOCK, end=True),
        13,
        "inside a message",
    ),
    ("compressed", headers(1, block=HEAD_BLOCK) + data(1, b"\x01\0\0\0\0"), 13, "compressed"),
    ("trailers first", headers(1, block=OK_BLOCK, end=True), 13, "reset"),
    ("a malformed head", headers(1, block=HEAD_BLOCK + b"\x00\x01A\x01b"), 13, "reset"),
]


@pytest.mark.parametrize(("name", "sent", "code", "text"), FAILURES, ids=lambda v: str(v)[:20])
def test_failures(name: str, sent: bytes, code: int, text: str) -> None:
    """Whatever happens to a call, it ends by exactly one TRAILERS with a status."""
    client = asked()
    ends = [event for event in client.receive(sent) if event[0] == TRAILERS]
    assert [event[:3] for event in ends] == [(TRAILERS, 1, code)]
    assert text in ends[0][3]
    assert client.open_streams == 0
    client.receive(frames.window_frame(0, 1))


def test_empty_frames_mean_nothing() -> None:
    """DATA without bytes and without an end is no message."""
    client = asked()
    found = client.receive(headers(1, block=HEAD_BLOCK) + data(1, b""))
    assert [event[0] for event in found] == [RESPONSE]


def test_messages_above_the_bound() -> None:
    """A client may bound its answers; one frame or many, RESOURCE_EXHAUSTED."""
    for body in (data(1, frame(b"x" * 11)), data(1, b"\0\0\0\0\x0b")):
        client = asked(Limits(message_bytes_max=10))
        found = client.receive(headers(1, block=HEAD_BLOCK) + body)
        assert [event[:3] for event in found][-1] == (TRAILERS, 1, 8)
        assert resets(client.take()) == [(1, frames.CANCEL)]


def test_interim_responses_are_passed_over() -> None:
    """A 1xx head announces nothing; one that ends the stream is malformed."""
    client = asked()
    interim = encode_fields([(b":status", b"103")])
    assert client.receive(headers(1, block=interim)) == []
    found = client.receive(headers(1, block=HEAD_BLOCK) + headers(1, block=OK_BLOCK, end=True))
    assert [event[0] for event in found] == [RESPONSE, TRAILERS]
    client = asked()
    found = client.receive(headers(1, block=interim, end=True))
    assert [event[:3] for event in found] == [(TRAILERS, 1, 13)]


def test_cancel_is_silent() -> None:
    """A cancelled call is reset, and nothing of it is heard again."""
    client = asked()
    client.cancel(1)
    client.cancel(1)
    assert resets(client.take()) == [(1, frames.CANCEL)]
    late = (
        headers(1, block=HEAD_BLOCK) + data(1, frame(b"x")) + headers(1, block=OK_BLOCK, end=True)
    )
    assert client.receive(late + frames.window_frame(1, 5)) == []


def test_goaway_ends_the_calls_the_server_never_took() -> None:
    """Calls above the last stream end as UNAVAILABLE, which is safe to try again elsewhere."""
    client = asked()
    second = client.call("/a/B", [], authority="h")
    found = client.receive(frames.goaway_frame(1, 0))
    assert [event[:3] for event in found] == [(GONE, 1, 0), (TRAILERS, second, 14)]
    assert client.available == 0
    found = client.receive(headers(1, block=HEAD_BLOCK) + headers(1, block=OK_BLOCK, end=True))
    assert [event[0] for event in found] == [RESPONSE, TRAILERS]


def test_answered_before_the_request_ended() -> None:
    """Trailers while we still send end the call; what was queued is dropped."""
    client = GrpcClient()
    stream = client.call("/a/B", [], authority="h")
    client.send(stream, b"x" * 1_000_000, end=True)
    client.take()
    assert client.backlog(stream) > 0
    end = headers(1, block=answer_block(("grpc-status", "8")), end=True)
    found = client.receive(SETTINGS + end + frames.reset_frame(1, 0))
    assert found == [(TRAILERS, 1, 8, "", ())]
    assert (client.backlog(stream), client.open_streams) == (0, 0)


def test_available_follows_the_servers_setting() -> None:
    """The server says how many calls may be open."""
    client = asked()
    client.receive(frames.settings_frame({3: 5}))
    assert client.available == 4


def test_backlog_drains() -> None:
    """A large request waits for the server's windows and says when it is low."""
    client = GrpcClient()
    stream = client.call(WATCH, [], authority="h")
    client.send(stream, b"x" * 3_000_000, end=False)
    client.send(stream, b"y", end=False)
    client.receive(SETTINGS)
    assert client.backlog(stream) == 3_000_011
    window = frames.window_frame(0, 2**30) + frames.window_frame(1, 2**30)
    client.receive(window)
    while client.take():
        pass
    assert client.pop_drained() == [stream]
    assert client.backlog(stream) == 0
    client.send(stream, b"z" * 3_000_000, end=False)
    while client.take():
        pass
    assert client.receive(window[:0] + SETTINGS) == [(DRAINED, stream)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.05, b"50000000n"),
        (5.0, b"5000000u"),
        (0.0, b"1n"),
        (500.0, b"500000m"),
        (1e6, b"1000000S"),
        (1e9, b"16666666M"),
        (1e11, b"27777777H"),
        (1e300, b"99999999H"),
    ],
)
def test_timeouts_in_eight_digits(seconds: float, expected: bytes) -> None:
    """The finest unit that fits eight digits is used, and never nothing at all."""
    client = GrpcClient()
    client.call("/a/B", [], authority="h", timeout=seconds)
    sent = client.take()[len(frames.PREFACE) :]
    assert expected in of_kind(sent, frames.HEADERS)[0][3]


def test_client_says_goodbye_and_pings() -> None:
    """GOAWAY and PING leave in the client's role too; no further calls then."""
    client = asked()
    client.ping()
    client.goaway()
    written = client.take()
    assert len(of_kind(written, frames.PING)) == len(of_kind(written, frames.GOAWAY)) == 1
    assert client.available == 0


@pytest.mark.parametrize(
    "sent",
    [
        headers(2, block=HEAD_BLOCK),
        headers(3, block=HEAD_BLOCK),
        data(3, b"x"),
        raw(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + HEAD_BLOCK),
        frames.settings_frame({2: 1}),
    ],
)
def test_servers_that_break_the_rules(sent: bytes) -> None:
    """Streams nobody opened and pushes nobody wants are connection errors."""
    client = asked()
    with pytest.raises(RemoteProtocolError):
        client.receive(sent)


def test_head_of_a_finished_call_is_an_error() -> None:
    """HEADERS for a call that is over breaks the connection (it was not reset by us)."""
    client = asked()
    client.receive(headers(1, block=HEAD_BLOCK) + headers(1, block=OK_BLOCK, end=True))
    with pytest.raises(RemoteProtocolError):
        client.receive(headers(1, block=HEAD_BLOCK))


def test_many_kinds_of_calls_keep_the_cache_bounded() -> None:
    """Remembered header blocks are bounded, whatever the metadata."""
    client = GrpcClient()
    for number in range(1000):
        client.call("/a/B", [("x", str(number))], authority="h")
    assert len(client._blocks) <= 256
