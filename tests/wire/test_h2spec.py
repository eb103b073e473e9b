"""Conformance as a table: bytes a client may send, and the reaction the RFC asks for.

Each row names the section of RFC 9113 (or 7541) it was written from. The reaction is one of: a
connection error with these codes, a stream error with these codes, or none (the server goes on:
it answers the PING that follows every row).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from tests.wire.conversation import (
    BLOCK,
    END_HEADERS,
    END_STREAM,
    GREETING,
    PADDED,
    PRIORITY,
    block,
    data,
    goaway_code,
    headers,
    of_kind,
    raw,
    resets,
)
from trioetcd.wire import frames as f
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.grpc import GrpcServer
from trioetcd.wire.header_block import encode_fields

CONNECTION, STREAM, FINE = "connection", "stream", "fine"

PING: Final = raw(f.PING, 0, 0, b"h2spec..")
CALL_1: Final = headers(1) + data(1, b"\0\0\0\0\0", end=True)


def window(stream: int, increment: int) -> bytes:
    """Give WINDOW_UPDATE."""
    return raw(f.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def setting(name: int, value: int) -> bytes:
    """Give SETTINGS with one entry."""
    return raw(f.SETTINGS, 0, 0, name.to_bytes(2, "big") + value.to_bytes(4, "big"))


def request(*fields: tuple[str, str]) -> bytes:
    """Give a whole request without body."""
    pairs = [(name.encode(), value.encode()) for name, value in fields]
    return headers(1, block=encode_fields(pairs), end=True)


def plain(*fields: tuple[str, str]) -> bytes:
    """Give the block of a plain request with extra fields."""
    return encode_fields([(name.encode(), value.encode()) for name, value in (*GET, *fields)])


GET: Final = ((":method", "GET"), (":scheme", "https"), (":path", "/health"))
OPEN_1: Final = headers(1)
RESET_1: Final = raw(f.RST_STREAM, 0, 1, b"\0\0\0\x08")


class Row(NamedTuple):
    """One case."""

    name: str
    sent: bytes
    reaction: str
    codes: tuple[int, ...] = ()


P, FC, SC, FS = f.PROTOCOL_ERROR, f.FLOW_CONTROL_ERROR, f.STREAM_CLOSED, f.FRAME_SIZE_ERROR

ROWS: Final = [
    Row("4.1 an unknown frame type is ignored", raw(0xFF, 0xFF, 0, b"x" * 8), FINE),
    Row("4.1 unknown flags are ignored", raw(f.PING, 0x16, 0, b"x" * 8), FINE),
    Row("4.1 the reserved bit is ignored", raw(f.PING, 0, 1 << 31, b"x" * 8), FINE),
    Row("4.2 a frame of the largest size", OPEN_1 + data(1, b"\0\0\0\x50\0" + b"x" * 16379), FINE),
    Row("4.2 a longer DATA frame", OPEN_1 + data(1, b"x" * 16385), CONNECTION, (FS,)),
    Row("4.2 a longer HEADERS frame", headers(1, block=b"\x88" * 16385), CONNECTION, (FS,)),
    Row(
        "4.3 a block that is no HPACK",
        headers(1, block=b"\xff\xff\xff\xff\xff\xff"),
        CONNECTION,
        (f.COMPRESSION_ERROR,),
    ),
    Row(
        "4.3 PRIORITY inside a header block",
        raw(f.HEADERS, 0, 1, BLOCK) + raw(f.PRIORITY, 0, 1, b"\0\0\0\0\0"),
        CONNECTION,
        (P,),
    ),
    Row(
        "4.3 another stream's HEADERS inside a header block",
        raw(f.HEADERS, 0, 1, BLOCK) + headers(3),
        CONNECTION,
        (P,),
    ),
    Row("5.1 idle: DATA", data(1, b"x"), CONNECTION, (P,)),
    Row("5.1 idle: RST_STREAM", RESET_1, CONNECTION, (P,)),
    Row("5.1 idle: WINDOW_UPDATE", window(1, 1), CONNECTION, (P,)),
    Row("5.1 idle: CONTINUATION", raw(f.CONTINUATION, END_HEADERS, 1, BLOCK), CONNECTION, (P,)),
    Row("5.1 idle: PRIORITY is fine", raw(f.PRIORITY, 0, 1, b"\0\0\0\0\0"), FINE),
    Row("5.1 half-closed (remote): DATA", CALL_1 + data(1, b"x"), STREAM, (SC,)),
    Row("5.1 half-closed (remote): HEADERS", CALL_1 + headers(1), STREAM, (SC,)),
    Row(
        "5.1 half-closed (remote): CONTINUATION",
        CALL_1 + raw(f.CONTINUATION, END_HEADERS, 1, BLOCK),
        CONNECTION,
        (P, SC),
    ),
    Row("5.1 half-closed (remote): WINDOW_UPDATE is fine", CALL_1 + window(1, 1), FINE),
    Row("5.1 closed by RST_STREAM: DATA", OPEN_1 + RESET_1 + data(1, b"x"), CONNECTION, (SC,)),
    Row("5.1 closed by RST_STREAM: HEADERS", OPEN_1 + RESET_1 + headers(1), CONNECTION, (SC,)),
    Row("5.1 closed: WINDOW_UPDATE is fine", OPEN_1 + RESET_1 + window(1, 1), FINE),
    Row("5.1 closed: RST_STREAM is fine", OPEN_1 + RESET_1 + RESET_1, FINE),
    Row("5.1 closed: PRIORITY is fine", CALL_1 + raw(f.PRIORITY, 0, 1, b"\0\0\0\0\1"), FINE),
    Row("5.1.1 an even stream", headers(2), CONNECTION, (P,)),
    Row("5.1.1 a stream number that goes back", headers(5) + headers(3), CONNECTION, (P,)),
    Row("5.1.1 skipped streams are closed", headers(5) + data(3, b"x"), CONNECTION, (P,)),
    Row(
        "5.3.1 HEADERS that depend on themselves",
        raw(f.HEADERS, END_HEADERS | PRIORITY, 1, b"\0\0\0\1\0" + BLOCK),
        CONNECTION,
        (P,),
    ),
    Row(
        "5.3.1 PRIORITY that depends on itself",
        raw(f.PRIORITY, 0, 1, b"\0\0\0\1\0"),
        CONNECTION,
        (P,),
    ),
    Row(
        "5.4.1 an error inside a valid sequence",
        CALL_1 + raw(f.PING, 0, 0, b"short"),
        CONNECTION,
        (FS,),
    ),
    Row(
        "5.5 unknown frames inside a header block",
        raw(f.HEADERS, 0, 1, BLOCK) + raw(0x16, 0, 1, b"x"),
        CONNECTION,
        (P,),
    ),
    Row("6.1 DATA on stream 0", data(0, b"x"), CONNECTION, (P,)),
    Row(
        "6.1 padding longer than the frame",
        OPEN_1 + raw(f.DATA, PADDED, 1, b"\x09abc"),
        CONNECTION,
        (P,),
    ),
    Row("6.1 padding without its length", OPEN_1 + raw(f.DATA, PADDED, 1), CONNECTION, (P,)),
    Row("6.1 a padded DATA frame", OPEN_1 + raw(f.DATA, PADDED, 1, b"\x03\0\0\0\0\0xyz"), FINE),
    Row("6.2 HEADERS on stream 0", headers(0), CONNECTION, (P,)),
    Row("6.2 HEADERS without its end on stream 0", raw(f.HEADERS, 0, 0, BLOCK), CONNECTION, (P,)),
    Row(
        "6.2 padding longer than the frame",
        raw(f.HEADERS, END_HEADERS | PADDED, 1, b"\xff" + BLOCK),
        CONNECTION,
        (P,),
    ),
    Row(
        "6.2 padded, with priority",
        raw(f.HEADERS, END_HEADERS | PADDED | PRIORITY, 1, b"\x02\0\0\0\0\1" + BLOCK + b"\0\0"),
        FINE,
    ),
    Row(
        "6.2 priority without its octets",
        raw(f.HEADERS, END_HEADERS | PRIORITY, 1, b"\0"),
        CONNECTION,
        (FS,),
    ),
    Row("6.3 PRIORITY on stream 0", raw(f.PRIORITY, 0, 0, b"\0\0\0\0\0"), CONNECTION, (P,)),
    Row("6.3 PRIORITY of four octets", raw(f.PRIORITY, 0, 1, b"\0\0\0\0"), CONNECTION, (FS,)),
    Row("6.4 RST_STREAM on stream 0", raw(f.RST_STREAM, 0, 0, b"\0\0\0\0"), CONNECTION, (P,)),
    Row(
        "6.4 RST_STREAM of three octets",
        OPEN_1 + raw(f.RST_STREAM, 0, 1, b"\0\0\0"),
        CONNECTION,
        (FS,),
    ),
    Row("6.5 an acknowledgement with payload", raw(f.SETTINGS, 1, 0, b"\0" * 6), CONNECTION, (FS,)),
    Row("6.5 SETTINGS on a stream", raw(f.SETTINGS, 0, 1), CONNECTION, (P,)),
    Row("6.5 SETTINGS of five octets", raw(f.SETTINGS, 0, 0, b"\0" * 5), CONNECTION, (FS,)),
    Row("6.5.2 ENABLE_PUSH of 2", setting(2, 2), CONNECTION, (P,)),
    Row("6.5.2 INITIAL_WINDOW_SIZE of 2^31", setting(4, 1 << 31), CONNECTION, (FC,)),
    Row("6.5.2 MAX_FRAME_SIZE of 16383", setting(5, 16383), CONNECTION, (P,)),
    Row("6.5.2 MAX_FRAME_SIZE of 2^24", setting(5, 1 << 24), CONNECTION, (P,)),
    Row("6.5.2 an unknown setting is ignored", setting(0xFF, 1), FINE),
    Row("6.5.3 several values, the last one counts", setting(4, 100) + setting(4, 1), FINE),
    Row(
        "6.6 PUSH_PROMISE from a client",
        raw(f.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"),
        CONNECTION,
        (P,),
    ),
    Row("6.7 PING on a stream", raw(f.PING, 0, 1, b"x" * 8), CONNECTION, (P,)),
    Row("6.7 PING of six octets", raw(f.PING, 0, 0, b"x" * 6), CONNECTION, (FS,)),
    Row("6.7 an acknowledged PING is not answered", raw(f.PING, 1, 0, b"x" * 8), FINE),
    Row("6.8 GOAWAY on a stream", raw(f.GOAWAY, 0, 1, b"\0" * 8), CONNECTION, (P,)),
    Row("6.8 GOAWAY of four octets", raw(f.GOAWAY, 0, 0, b"\0" * 4), CONNECTION, (FS,)),
    Row("6.8 GOAWAY is fine", raw(f.GOAWAY, 0, 0, b"\0" * 8), FINE),
    Row("6.9 WINDOW_UPDATE by nothing, connection", window(0, 0), CONNECTION, (P,)),
    Row("6.9 WINDOW_UPDATE by nothing, stream", OPEN_1 + window(1, 0), STREAM, (P,)),
    Row(
        "6.9 WINDOW_UPDATE of three octets",
        raw(f.WINDOW_UPDATE, 0, 0, b"\0\0\1"),
        CONNECTION,
        (FS,),
    ),
    Row("6.9.1 a connection window above 2^31 - 1", window(0, 2**31 - 1), CONNECTION, (FC,)),
    Row("6.9.1 a stream window above 2^31 - 1", OPEN_1 + window(1, 2**31 - 1), STREAM, (FC,)),
    Row(
        "6.9.2 a window made too large by SETTINGS",
        OPEN_1 + window(1, 2**31 - 70_000) + setting(4, 2**31 - 1),
        CONNECTION,
        (FC,),
    ),
    Row(
        "6.10 a block in three frames",
        raw(f.HEADERS, 0, 1, BLOCK[:5])
        + raw(f.CONTINUATION, 0, 1, BLOCK[5:9])
        + raw(f.CONTINUATION, END_HEADERS, 1, BLOCK[9:]),
        FINE,
    ),
    Row(
        "6.10 CONTINUATION after a whole block",
        OPEN_1 + raw(f.CONTINUATION, END_HEADERS, 1, BLOCK),
        CONNECTION,
        (P,),
    ),
    Row(
        "6.10 CONTINUATION of another stream",
        raw(f.HEADERS, 0, 1, BLOCK) + raw(f.CONTINUATION, END_HEADERS, 3, BLOCK),
        CONNECTION,
        (P,),
    ),
    Row("6.10 DATA inside a block", raw(f.HEADERS, 0, 1, BLOCK) + data(1, b"x"), CONNECTION, (P,)),
    Row("8.1 trailers end the stream", OPEN_1 + headers(1, block=plain()[:0]), STREAM, (P,)),
    Row(
        "8.1 trailers with END_STREAM are fine",
        OPEN_1 + data(1, b"\0\0\0\0\0") + headers(1, block=encode_fields([(b"x", b"y")]), end=True),
        FINE,
    ),
    Row("8.1 pseudo-headers in trailers", OPEN_1 + headers(1, end=True), STREAM, (P,)),
    Row(
        "8.1.1 content-length above the body",
        headers(1, block=plain(("content-length", "9"))) + data(1, b"x", end=True),
        STREAM,
        (P,),
    ),
    Row(
        "8.1.1 content-length below the body",
        headers(1, block=plain(("content-length", "1"))) + data(1, b"xy"),
        STREAM,
        (P,),
    ),
    Row(
        "8.1.1 content-length below the sum of frames",
        headers(1, block=plain(("content-length", "2"))) + data(1, b"x") + data(1, b"xy"),
        STREAM,
        (P,),
    ),
    Row(
        "8.1.1 content-length without a body",
        headers(1, block=plain(("content-length", "1")), end=True),
        STREAM,
        (P,),
    ),
    Row(
        "8.1.1 content-length as the body is",
        headers(1, block=plain(("content-length", "2"))) + data(1, b"xy", end=True),
        FINE,
    ),
    Row("8.2.1 a name in upper case", request(*GET, ("X-Upper", "1")), STREAM, (P,)),
    Row("8.2.2 a connection-specific header", request(*GET, ("connection", "x")), STREAM, (P,)),
    Row("8.2.2 te with more than trailers", request(*GET, ("te", "gzip")), STREAM, (P,)),
    Row("8.3 an unknown pseudo-header", request(*GET, (":test", "x")), STREAM, (P,)),
    Row("8.3 a response's pseudo-header", request(*GET, (":status", "200")), STREAM, (P,)),
    Row(
        "8.3 a pseudo-header after a header",
        request(GET[0], GET[1], ("x", "y"), GET[2]),
        STREAM,
        (P,),
    ),
    Row("8.3.1 an empty :path", request(GET[0], GET[1], (":path", "")), STREAM, (P,)),
    Row("8.3.1 no :method", request(*GET[1:]), STREAM, (P,)),
    Row("8.3.1 no :scheme", request(GET[0], GET[2]), STREAM, (P,)),
    Row("8.3.1 no :path", request(*GET[:2]), STREAM, (P,)),
    Row("8.3.1 :method twice", request(GET[0], *GET), STREAM, (P,)),
    Row("8.3.1 :scheme twice", request(GET[1], *GET), STREAM, (P,)),
    Row("8.3.1 :path twice", request(GET[2], *GET), STREAM, (P,)),
    Row("8.4 a push of a client", raw(f.PUSH_PROMISE, 0, 1, b""), CONNECTION, (P,)),
    Row(
        "7541 2.3.3 an index beyond the tables",
        headers(1, block=block() + b"\xc6"),
        CONNECTION,
        (f.COMPRESSION_ERROR,),
    ),
    Row(
        "7541 4.2 a table size update at the end",
        headers(1, block=block() + b"\x20"),
        CONNECTION,
        (f.COMPRESSION_ERROR,),
    ),
    Row(
        "7541 5.2 Huffman padding of more than seven bits",
        headers(1, block=block() + b"\x00\x82\x1f\xff\x81\x1f"),
        CONNECTION,
        (f.COMPRESSION_ERROR,),
    ),
    Row(
        "7541 6.1 index 0", headers(1, block=block() + b"\x80"), CONNECTION, (f.COMPRESSION_ERROR,)
    ),
    Row(
        "7541 6.3 a table size above the setting",
        headers(1, block=b"\x3f\xe2\x1f" + block()),
        CONNECTION,
        (f.COMPRESSION_ERROR,),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_reaction(row: Row) -> None:
    """The server's reaction is the one the section asks for, and the connection lives or dies."""
    server = GrpcServer(streaming=frozenset())
    server.receive(GREETING)
    server.take()
    if row.reaction == CONNECTION:
        with pytest.raises(RemoteProtocolError) as caught:
            server.receive(row.sent + PING, 1.0)
        assert caught.value.code in row.codes
        assert goaway_code(server.take()) == caught.value.code
        assert server.receive(PING) == []
        return
    server.receive(row.sent + PING, 1.0)
    written = server.take()
    assert of_kind(written, f.PING)[-1][3] == b"h2spec.."
    assert goaway_code(written) is None
    if row.reaction == STREAM:
        assert resets(written)[0][1] in row.codes
    else:
        assert resets(written) == []


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        f.PREFACE + PING,
        f.PREFACE + f.SETTINGS_ACK,
        f.PREFACE + CALL_1,
    ],
)
def test_preface(first: bytes) -> None:
    """3.4: a connection that begins with anything but the preface and SETTINGS is refused."""
    server = GrpcServer(streaming=frozenset())
    with pytest.raises(RemoteProtocolError):
        server.receive(first)
    written = server.take()
    assert goaway_code(written) == P


def test_our_first_frame_is_settings() -> None:
    """3.4: SETTINGS leave first, and the client's are acknowledged."""
    server = GrpcServer(streaming=frozenset())
    server.receive(GREETING)
    found = of_kind(server.take(), f.SETTINGS)
    assert [frame[1] for frame in found] == [0, f.FLAG_ACK]


def test_window_of_one_octet() -> None:
    """6.9.1: with a window of one octet one octet of DATA is sent; a negative one sends none."""
    server = GrpcServer(streaming=frozenset())
    server.receive(GREETING + setting(4, 1) + headers(1) + data(1, b"\0\0\0\0\0", end=True))
    server.answer(1, b"answer")
    assert [len(frame[3]) for frame in of_kind(server.take(), f.DATA)] == [1]
    server.receive(setting(4, 0))
    assert of_kind(server.take(), f.DATA) == []
    server.receive(window(1, 1))
    assert of_kind(server.take(), f.DATA) == []
    server.receive(window(1, 2))
    assert [len(frame[3]) for frame in of_kind(server.take(), f.DATA)] == [2]
    server.receive(setting(4, 1000))
    written = server.take()
    assert [len(frame[3]) for frame in of_kind(written, f.DATA)] == [8]
    assert of_kind(written, f.HEADERS)[-1][1] & END_STREAM
