"""The parsers of everything strangers send, as functions of bytes that must never raise otherwise.

Each target raises what its parser may not: anything but "events, or its own error".
`python -m tests.proof.fuzz_target NAME [libFuzzer flags] CORPUS` fuzzes one under atheris;
`fuzz.py` does so for all, with a budget.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["trioetcd"]):
    from trioetcd.node.config import configure, load_file, parse
    from trioetcd.node.flags import ConfigError
    from trioetcd.node.validation import validate
    from trioetcd.schema import messages
    from trioetcd.schema.protojson import JsonError, from_json, to_json
    from trioetcd.values import ClusterID, MemberID
    from trioetcd.wire import CALL, GrpcServer, RemoteProtocolError
    from trioetcd.wire.header_block import HeaderBlockError, HeaderDecoder
    from trioetcd.wire.http1 import Http1Server
    from trioetcd.wire.peer import (
        HashAsked,
        Hashed,
        Hello,
        Members,
        OtherVersion,
        PeerDialler,
        PeerListener,
        Purpose,
        SnapshotHead,
    )

__all__ = ["SEEDS", "TARGETS"]

_SAID = Hello(Purpose.MESSAGES, ClusterID(1), MemberID(2), MemberID(3), 4, "", ())
HELLO: Final = PeerDialler(_SAID).take()
SNAPSHOT_HELLO: Final = PeerDialler(_SAID._replace(purpose=Purpose.SNAPSHOT)).take()
HASH_HELLO: Final = PeerDialler(_SAID._replace(purpose=Purpose.CHAIN_HASH)).take()
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM_CLOSED: Final = 5
STREAMING: Final = frozenset({"/etcdserverpb.Watch/Watch"})
LIST_BYTES: Final = 64 * 1024
SCRATCH: Final = Path(tempfile.gettempdir()) / f"trioetcd-fuzz-{sys.platform}.yaml"


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


BLOCK: Final = b"".join(
    _literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/etcdserverpb.KV/Put"),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
WATCH_BLOCK: Final = BLOCK.replace(b"\x14/etcdserverpb.KV/Put", b"\x18/etcdserverpb.Watch/Watch")
SETTINGS: Final = _frame(4, 0, 0, b"")


def _events(pieces: list[bytes]) -> tuple[list[object], int | None]:
    """Feed a fresh connection; give its events and with which code it was ended, if it was."""
    server = GrpcServer(streaming=STREAMING)
    events: list[object] = []
    try:
        for piece in pieces:
            for event in server.receive(piece, 1.0):
                events.append(event[:2])
                if event[0] == CALL:
                    server.answer(event[1], b"\x0a\x00")
            server.take()
    except RemoteProtocolError as error:
        server.take()
        return events, error.code
    return events, None


def frames(data: bytes) -> None:
    """Any bytes after the preface: the same events whole and in pieces, or a protocol error."""
    whole = PREFACE + SETTINGS + data
    events, ended = _events([whole])
    cut = data[0] % 64 + 1 if data else 1
    pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    apart, apart_ended = _events(pieces)
    # A frame for a stream that was answered meanwhile ends the connection, one for a stream that
    # waits for its answer ends the stream (RFC 9113, 5.1): that depends on the pieces.
    assert apart_ended in {ended, STREAM_CLOSED}, "whole and in pieces end differently"
    if ended is None and apart_ended is None:
        assert events == apart, "whole and in pieces give different events"


def grpc(data: bytes) -> None:
    """Any bytes as the body of a call and of a stream."""
    for block in (BLOCK, WATCH_BLOCK):
        middle = len(data) // 2
        _events(
            [
                PREFACE + SETTINGS + _frame(1, 4, 1, block),
                _frame(0, 0, 1, data[:middle]) + _frame(0, 1, 1, data[middle:]),
            ]
        )


def header_block(data: bytes) -> None:
    """Any bytes as header blocks of one connection, decoded one after the other."""
    decoder = HeaderDecoder(LIST_BYTES)
    try:
        for block in data.split(b"\xff\xff"):
            decoder.decode(block)
    except HeaderBlockError:
        return


def header_in_frame(data: bytes) -> None:
    """Any bytes as the header block of a request."""
    _events([PREFACE + SETTINGS + _frame(1, 5, 1, data[:16_000])])


def http1(data: bytes) -> None:
    """Any bytes as HTTP/1.1."""
    server = Http1Server()
    try:
        server.receive(data)
    except RemoteProtocolError:
        return


def config(data: bytes) -> None:
    """Any bytes as a configuration file: settings, or a ConfigError."""
    SCRATCH.write_bytes(data)
    try:
        validate(configure(load_file(SCRATCH)))
    except ConfigError:
        return


def arguments(data: bytes) -> None:
    """Any words as the command line."""
    words = [word.decode("utf-8", "replace") for word in data.split(b"\n")]
    if any(word.lstrip("-").startswith("config-file") for word in words):
        return  # it would be read
    try:
        validate(parse(words, {}))
    except ConfigError:
        return


def json_body(data: bytes) -> None:
    """Any bytes as the gateway's JSON of requests; what is understood can be written again."""
    for kind in (messages.PutRequest, messages.TxnRequest, messages.WatchRequest):
        try:
            message = from_json(kind, data)
        except JsonError:
            continue
        to_json(message)


def peer(data: bytes) -> None:
    """Any bytes after a hello, and instead of one: the same events whole and in pieces."""
    for first in (b"", HELLO, SNAPSHOT_HELLO, HASH_HELLO):
        whole = first + data
        cut = data[0] % 64 + 1 if data else 1
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
        assert _peer_events([whole]) == _peer_events(pieces), "whole and in pieces differ"


def _peer_events(pieces: list[bytes]) -> tuple[list[object], bool]:
    """Feed a listener that agrees with everything; give its events and whether it was ended."""
    listener = PeerListener()
    events: list[object] = []
    try:
        for piece in pieces:
            listener.receive(piece)
            while (event := listener.next_event()) is not None:
                events.append(event)
                if isinstance(event, OtherVersion):
                    listener.refuse("version", "another")
                elif isinstance(event, Hello) and event.purpose is Purpose.MEMBERS:
                    listener.tell_members(Members(ClusterID(1), []))
                elif isinstance(event, Hello):
                    listener.welcome(1, "")
                elif isinstance(event, SnapshotHead):
                    listener.accept()
                elif isinstance(event, HashAsked):
                    listener.tell_hash(Hashed(1, event.revision, 0))
    except RemoteProtocolError:
        return events, True
    return events, False


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "frames": frames,
    "grpc": grpc,
    "header-block": header_block,
    "header-in-frame": header_in_frame,
    "http1": http1,
    "config": config,
    "arguments": arguments,
    "json": json_body,
    "peer": peer,
}

SEEDS: Final[dict[str, list[bytes]]] = {
    "frames": [
        _frame(1, 5, 1, BLOCK),
        _frame(1, 4, 1, BLOCK) + _frame(0, 1, 1, b"\x00\x00\x00\x00\x03\x0a\x01a"),
        _frame(1, 0, 1, BLOCK[:20]) + _frame(9, 4, 1, BLOCK[20:]),
        _frame(6, 0, 0, bytes(8)) + _frame(8, 0, 0, b"\x00\x00\x00\x01"),
        _frame(1, 4, 1, WATCH_BLOCK) + _frame(3, 0, 1, bytes(4)) + _frame(7, 0, 0, bytes(8)),
        _frame(4, 0, 0, b"\x00\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"),
    ],
    "grpc": [b"\x00\x00\x00\x00\x03\x0a\x01a", b"\x01\x00\x00\x00\x01a", b"\x00\xff\xff\xff\xff"],
    "header-block": [BLOCK, b"\x82\x87\x84", b"\x3f\xe1\x1f" + BLOCK, b"\x41\x8a" + bytes(10)],
    "header-in-frame": [BLOCK, WATCH_BLOCK, b"\x83\x87\x84\x41\x01a"],
    "http1": [
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    "config": [
        b"name: default\ndata-dir: a.etcd\n",
        b'{"listen-client-urls": "https://127.0.0.1:1", "heartbeat-interval": 100}',
        b"client-transport-security:\n  cert-file: a\n  client-cert-auth: true\n",
    ],
    "arguments": [
        b"--name=a\n--data-dir\nb",
        b"--heartbeat-interval=100\n--quota-backend-bytes=1",
    ],
    "json": [
        b'{"key": "YQ==", "value": "Yg==", "lease": "1"}',
        b'{"compare":[{"key":"YQ==","target":"VALUE"}],"success":[{"requestPut":{"key":"YQ=="}}]}',
        b'{"create_request": {"key": "YQ==", "filters": ["NOPUT"]}}',
    ],
    "peer": [
        b"\x00\x00\x00\x08\x82\x04\x85\x01\x07\x03\x00\x00",
        b"\x00\x00\x00\x0b\x83\x04\x86\x01\x0e\x03\x07\x18\x4d\xf5",
        b"\x00\x00\x00\x0a\x82\x04\x86\x02\x0f\x03\x07\xf5\x18\x3c",
        b"\x00\x00\x00\x0c\x82\x04\x84\x01\x0b\x03\x82\x41a\x41b",
        b"\x00\x00\x00\x06\x85\x05\x03\x02\x01\x40\x00\x00\x00\x06\x83\x07\x41k\x41v",
        b"\x00\x00\x00\x03\x82\x0c\x05",
    ],
}


def main() -> None:
    """Fuzz one target under atheris."""
    name = sys.argv[1]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
