"""Raw frames, and h2 as the other side: the wire tests' vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events

from trioetcd.wire import frames
from trioetcd.wire.grpc import GrpcServer
from trioetcd.wire.header_block import encode_fields
from trioetcd.wire.limits import Limits

PUT = "/etcdserverpb.KV/Put"
WATCH = "/etcdserverpb.Watch/Watch"

HEADERS = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", PUT),
    (":authority", "localhost:2379"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
BLOCK = encode_fields([(name.encode(), value.encode()) for name, value in HEADERS])
GREETING = frames.PREFACE + frames.settings_frame({})

END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Give any frame, right or wrong."""
    return frames.FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def headers(stream: int, *, block: bytes = BLOCK, end: bool = False) -> bytes:
    """Give a whole request head."""
    return raw(frames.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """Give a DATA frame."""
    return raw(frames.DATA, END_STREAM if end else 0, stream, payload)


def block(*fields: tuple[str, str], path: str = PUT, kind: str = "application/grpc") -> bytes:
    """Give a request's header block with extra fields."""
    replaced = {":path": path, "content-type": kind}
    pairs = [(name, replaced.get(name, value)) for name, value in HEADERS] + list(fields)
    return encode_fields([(name.encode(), value.encode("latin-1")) for name, value in pairs])


def split(written: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Take what we wrote apart: type, flags, stream, payload."""
    pos = 0
    while pos < len(written):
        word, flags, stream = frames.FRAME_HEADER.unpack_from(written, pos)
        yield word & 0xFF, flags, stream, written[pos + 9 : pos + 9 + (word >> 8)]
        pos += 9 + (word >> 8)
    assert pos == len(written)


def of_kind(written: bytes, kind: int) -> list[tuple[int, int, int, bytes]]:
    """Give the frames of one type."""
    return [found for found in split(written) if found[0] == kind]


def resets(written: bytes) -> list[tuple[int, int]]:
    """Give the streams we reset, and the codes."""
    return [(f[2], int.from_bytes(f[3], "big")) for f in of_kind(written, frames.RST_STREAM)]


def goaway_code(written: bytes) -> int | None:
    """Give the code of the last GOAWAY we wrote, or None."""
    found = of_kind(written, frames.GOAWAY)
    return int.from_bytes(found[-1][3][4:8], "big") if found else None


def greeted(limits: Limits | None = None, streaming: Iterable[str] = (WATCH,)) -> GrpcServer:
    """Give a server that has its client's preface, and whose own first frames are taken."""
    server = GrpcServer(streaming=frozenset(streaming), limits=limits)
    assert server.receive(GREETING) == []
    server.take()
    return server


def take_all(side: Any) -> bytes:
    """Take until there is nothing more."""
    written = []
    while piece := side.take():
        written.append(piece)
    return b"".join(written)


def h2_client() -> h2.connection.H2Connection:
    """Give h2 in the client's role, its preface waiting to be sent."""
    client = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    client.initiate_connection()
    return client


def h2_server() -> h2.connection.H2Connection:
    """Give h2 in the server's role."""
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    server.initiate_connection()
    return server


def chunked(written: bytes, size: int) -> Iterator[bytes]:
    """Cut bytes into pieces of one size; 0 leaves them whole."""
    step = size or max(1, len(written))
    for start in range(0, len(written), step):
        yield written[start : start + step]


def acknowledge(side: h2.connection.H2Connection, event: h2.events.Event) -> None:
    """Give the window of received data back, as a reader does."""
    if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
        side.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
