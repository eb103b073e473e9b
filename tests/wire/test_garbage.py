"""Any bytes give events or RemoteProtocolError, nothing else; whole and byte by byte."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.strategies import chunk_sizes
from tests.wire.conversation import BLOCK, GREETING, WATCH, chunked, data, headers, raw
from trioetcd.wire import frames
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.grpc import CALL, REQUEST, GrpcServer
from trioetcd.wire.grpc_client import GrpcClient
from trioetcd.wire.http1 import Http1Server, Request
from trioetcd.wire.http2 import Connection
from trioetcd.wire.limits import Limits


def some_frames() -> st.SearchStrategy[bytes]:
    """Frames that are nearly right: real types, few streams, short payloads."""
    payloads = st.one_of(
        st.binary(max_size=40),
        st.just(BLOCK),
        st.sampled_from([b"\0\0\0\0\x02hi", b"\x01\0\0\0\0", b"\0\xff\xff\xff\xff", b"\0\0\0\1"]),
    )
    any_frame = st.builds(raw, st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), payloads)
    likely = st.sampled_from(
        [
            headers(1),
            headers(3, end=True),
            data(1, b"\0\0\0\0\x02hi", end=True),
            data(1, b"\0\0\0\0"),
            frames.reset_frame(1, 8),
            frames.window_frame(0, 1),
            frames.settings_frame({4: 0}),
            frames.ping_frame(b"12345678", ack=False),
        ]
    )
    return st.lists(st.one_of(any_frame, likely, likely), max_size=12).map(b"".join)


def anything() -> st.SearchStrategy[bytes]:
    """Frames that are nearly right, or any bytes."""
    return st.one_of(some_frames(), st.binary(max_size=200))


def serve(server: GrpcServer, sent: bytes, size: int) -> tuple[bool, bytes]:
    """Feed a server and answer whatever it hands out; give whether it broke, and its writing."""
    written = []
    broke = False
    try:
        for piece in chunked(sent, size):
            for event in server.receive(piece, 1.0):
                if event[0] == CALL:
                    server.answer(event[1], b"answer")
                elif event[0] == REQUEST:
                    server.respond(event[1], 404, [], b"no")
            written.append(server.take())
    except RemoteProtocolError:
        broke = True
    written.append(server.take())
    return broke, b"".join(written)


@settings(deadline=None)
@given(sent=anything(), size=chunk_sizes(), greeted=st.booleans())
@example(sent=b"", size=1, greeted=True)
def test_server_survives_anything(*, sent: bytes, size: int, greeted: bool) -> None:
    """A server fed anything gives events or RemoteProtocolError, and then nothing more."""
    server = GrpcServer(streaming={WATCH})
    broke, _ = serve(server, (GREETING if greeted else b"") + sent, size)
    if broke:
        assert server.receive(b"more") == []
    assert server.open_streams >= 0


def observe(sent: bytes, size: int, *, client: bool) -> tuple[int, list[object], bytes]:
    """Feed a bare connection; give how it broke, its events, its writing."""
    connection = Connection(client=client, limits=Limits())
    first = frames.settings_frame({}) if client else GREETING
    for _ in range(2 if client else 0):
        connection.open_stream()
    events: list[object] = []
    try:
        for piece in chunked(first + sent, size):
            for kind, stream, value, end in connection.receive(piece, 1.0):
                number = stream.number if stream is not None else 0
                events.append((kind, number, getattr(value, "fields", value), end))
    except RemoteProtocolError as error:
        return error.code, [], connection.take()
    return -1, events, connection.take()


@settings(deadline=None)
@given(sent=some_frames(), size=chunk_sizes(), client=st.booleans())
def test_chunking_changes_nothing(*, sent: bytes, size: int, client: bool) -> None:
    """Bytes in pieces break the same rule and mean the same as the same bytes at once."""
    assert observe(sent, 0, client=client) == observe(sent, size, client=client)


@settings(deadline=None)
@given(sent=anything(), size=chunk_sizes(), greeted=st.booleans())
def test_client_survives_anything(*, sent: bytes, size: int, greeted: bool) -> None:
    """A client fed anything gives events or RemoteProtocolError."""
    client = GrpcClient()
    for _ in range(3):
        client.send(client.call("/a", [], authority="b"), b"x", end=True)
    client.take()
    first = frames.settings_frame({}) if greeted else b""
    try:
        for piece in chunked(first + sent, size):
            client.receive(piece, 1.0)
    except RemoteProtocolError:
        assert client.receive(b"more") == []
    client.take()


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    b"GET /x HTTP/1.1\r\n",
                    b"POST / HTTP/1.0\r\n",
                    b"Host: a\r\n",
                    b"Content-Length: 3\r\n",
                    b"Content-Length: 99999999\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
                    b"Connection: close\r\n",
                    b"\r\n",
                    b"abc",
                    b"3\r\nabc\r\n",
                    b"0\r\n\r\n",
                    b"\x00",
                ]
            ),
            max_size=14,
        ).map(b"".join),
    ),
    chunk_sizes(),
)
def test_http1_survives_anything(sent: bytes, size: int) -> None:
    """HTTP/1.1 fed anything gives requests or RemoteProtocolError."""
    server = Http1Server()
    hint = b""
    try:
        for piece in chunked(sent, size):
            found = server.receive(piece)
            while found and isinstance(found[0], Request):
                found = server.respond(200, [], b"ok")
            server.take()
        server.receive(b"")
    except RemoteProtocolError as error:
        hint = error.hint
    assert hint == b"" or hint.startswith(b"HTTP/1.1 ")
    assert server.closing or server.upgraded
