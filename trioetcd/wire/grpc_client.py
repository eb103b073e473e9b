"""gRPC calls for a client: calls out, answers in; the other role of `grpc` on the same codec.

Events are tuples: (RESPONSE, stream, metadata), (MESSAGE, stream, bytes), (TRAILERS, stream, code,
text, metadata) which ends every call whatever happened to it, (GONE, last stream, code) for a
GOAWAY: no new calls on this connection; (DRAINED, stream) as with the server.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, Final

from trioetcd.wire import frames
from trioetcd.wire.grpc_message import (
    DRAINED,
    GONE,
    INTERNAL,
    MESSAGE,
    PREFIX,
    RESPONSE,
    TRAILERS,
    MessageError,
    cut_messages,
    decode_text,
)
from trioetcd.wire.head import Head, Metadata
from trioetcd.wire.header_block import encode_fields
from trioetcd.wire.http2 import BODY, FAREWELL, HEAD, Connection
from trioetcd.wire.limits import CLIENT_LIMITS, Limits
from trioetcd.wire.outbox import Stream

__all__ = ["ClientEvent", "GrpcClient"]

ClientEvent = tuple[Any, ...]
"""An event; its first member says how many follow. Any: the shapes differ, see the module."""

_UNKNOWN: Final = 2
_UNAVAILABLE: Final = 14
_RESET_CODES: Final = {
    frames.REFUSED_STREAM: _UNAVAILABLE,
    frames.CANCEL: 1,
    frames.ENHANCE_YOUR_CALM: 8,
    frames.INADEQUATE_SECURITY: 7,
}
_STATUS_CODES: Final = {
    400: INTERNAL,
    401: 16,
    403: 7,
    404: 12,
    429: _UNAVAILABLE,
    502: _UNAVAILABLE,
    503: _UNAVAILABLE,
    504: _UNAVAILABLE,
}
_PROTOCOL_NAMES: Final = frozenset(
    {"content-type", "grpc-status", "grpc-message", "content-length"}
)
_BLOCKS_MAX: Final = 256
_ANSWERED: Final = 1  # Stream.mode: the call's TRAILERS are out
_TIMEOUT_VALUE_MAX: Final = 99_999_999

_Key = tuple[str, str, tuple[tuple[str, bytes | str], ...]]


class GrpcClient:
    """One connection to a server, as many calls on it as the server lets us have.

    Args:
        limits: bounds on what the server may send.
        scheme: ``https``, or ``http`` where the address was given so.
    """

    def __init__(self, *, limits: Limits = CLIENT_LIMITS, scheme: str = "https") -> None:
        self.limits = limits
        self._scheme = scheme.encode("ascii")
        self._connection = Connection(client=True, limits=limits)
        self._streams = self._connection.streams
        self._blocks: dict[_Key, bytes] = {}
        self._events: list[ClientEvent] = []

    # -- calling ------------------------------------------------------------------------------

    def call(
        self,
        path: str,
        metadata: Sequence[tuple[str, bytes | str]],
        *,
        authority: str,
        timeout: float | None = None,
    ) -> int:
        """Begin a call; give its stream. The server learns the timeout, nobody waits here."""
        assert not self._connection.closing, "no calls on a connection that is going away"
        stream = self._connection.open_stream()
        key = (path, authority, tuple(metadata))
        block = self._blocks.get(key)
        if block is None:
            if len(self._blocks) >= _BLOCKS_MAX:
                self._blocks.clear()
            block = self._blocks[key] = self._encode(key)
        if timeout is not None:
            block += encode_fields(((b"grpc-timeout", _timeout_value(timeout)),))
        self._connection.send_head(stream, block, end=False)
        return stream.number

    def _encode(self, key: _Key) -> bytes:
        path, authority, metadata = key
        fields = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", path.encode("ascii")),
            (b":authority", authority.encode("ascii")),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
        for name, value in metadata:
            raw = value.encode("utf-8") if isinstance(value, str) else value
            if name.endswith("-bin"):
                raw = _base64(raw)
            fields.append((name.lower().encode("ascii"), raw))
        return encode_fields(fields)

    def send(self, number: int, message: bytes, *, end: bool) -> None:
        """Send one message, the last one with `end`; nothing if the call is over."""
        stream = self._streams.get(number)
        if stream is None or not stream.sending:
            return
        connection = self._connection
        length = len(message)
        size = length + PREFIX.size
        if (
            size <= 16_384
            and not stream.queued
            and size <= stream.send_window
            and size <= connection.send_window
        ):
            stream.send_window -= size
            connection.send_window -= size
            connection.out += (
                frames.FRAME_HEADER.pack(size << 8, frames.FLAG_END_STREAM if end else 0, number),
                PREFIX.pack(0, length),
                message,
            )
            if end:
                stream.sending = False
            return
        connection.send_data(stream, [PREFIX.pack(0, length), message], end=end)

    def half_close(self, number: int) -> None:
        """Say that no more messages come."""
        stream = self._streams.get(number)
        if stream is not None and stream.sending:
            self._connection.send_data(stream, [], end=True)

    def cancel(self, number: int) -> None:
        """Give a call up; no event of it follows."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.mode = _ANSWERED
            self._connection.reset(stream, frames.CANCEL)

    # -- receiving ----------------------------------------------------------------------------

    def receive(self, data: bytes, now: float = 0.0) -> list[ClientEvent]:
        """Take bytes from the server, give what they mean.

        Raises:
            RemoteProtocolError: every open call is lost; write what `take` gives, then close.
        """
        events: list[ClientEvent] = []
        self._events = events
        for kind, stream, value, end in self._connection.receive(data, now):
            if kind == FAREWELL:
                self._on_farewell(*value)
            elif stream.mode == _ANSWERED:
                continue
            elif kind == BODY:
                self._on_body(stream, value, end=end)
            elif kind == HEAD:
                self._on_head(stream, value, end=end)
            else:
                code = _RESET_CODES.get(value, INTERNAL)
                self._conclude(stream, code, f"the stream was reset with code {value}", ())
        if self._connection.drained:
            events.extend((DRAINED, number) for number in self.pop_drained())
        return events

    def _on_head(self, stream: Stream, head: Head, *, end: bool) -> None:
        if end:
            self._on_trailers(stream, head)
        elif head.status != 200 or not _is_grpc(head):
            code = _STATUS_CODES.get(head.status, _UNKNOWN)
            self._conclude(stream, code, f"HTTP status {head.status} instead of gRPC", ())
        else:
            self._events.append((RESPONSE, stream.number, head.metadata))

    def _on_trailers(self, stream: Stream, head: Head) -> None:
        if stream.buffer:
            self._conclude(stream, INTERNAL, "the stream ended inside a message", ())
            return
        raw = head.get("grpc-status")
        if raw is None:
            status = head.status or (stream.head.status if stream.head else 0)
            code = _STATUS_CODES.get(status, _UNKNOWN)
            self._conclude(stream, code, f"no grpc-status, HTTP status {status}", ())
            return
        code = int(raw) if raw.isdigit() and len(raw) <= 2 else _UNKNOWN
        text = decode_text(head.get("grpc-message") or b"")
        metadata = tuple(field for field in head.metadata if field[0] not in _PROTOCOL_NAMES)
        self._conclude(stream, code, text, metadata)

    def _on_body(self, stream: Stream, payload: bytes, *, end: bool) -> None:
        number = stream.number
        if payload:
            buffer = stream.buffer
            if buffer is None:
                length = len(payload) - PREFIX.size
                if length >= 0 and not payload[0] and _length(payload) == length:
                    if length > self.limits.message_bytes_max:  # pragma: no cover - tiny limits
                        self._conclude(stream, 8, "a message is too large", ())
                        return
                    self._events.append((MESSAGE, number, payload[PREFIX.size :]))
                    payload = b""
                else:
                    buffer = stream.buffer = bytearray()
            if buffer is not None:
                buffer += payload
                try:
                    messages = cut_messages(
                        buffer,
                        message_bytes_max=self.limits.message_bytes_max,
                        encoding=stream.head.encoding if stream.head else "",
                    )
                except MessageError as error:
                    self._conclude(stream, error.code, error.text, ())
                    return
                self._events.extend([(MESSAGE, number, message) for message in messages])
                if not buffer:
                    stream.buffer = None
        if end:
            self._conclude(stream, INTERNAL, "the server ended the stream without trailers", ())

    def _conclude(self, stream: Stream, code: int, text: str, metadata: Metadata) -> None:
        """End a call with its status; a stream the server still reads or writes is reset."""
        stream.mode = _ANSWERED
        stream.buffer = None
        if stream.number in self._streams:
            self._connection.reset(stream, frames.CANCEL)
        self._events.append((TRAILERS, stream.number, code, text, metadata))

    def _on_farewell(self, last: int, code: int) -> None:
        self._events.append((GONE, last, code))
        for stream in list(self._streams.values()):
            if stream.number > last:
                self._connection.forget(stream)
                text = "the server went away before it took the call"
                self._conclude(stream, _UNAVAILABLE, text, ())

    # -- the connection -----------------------------------------------------------------------

    def backlog(self, number: int) -> int:
        """Give the bytes of a stream that wait for the server to read."""
        stream = self._streams.get(number)
        return stream.queued if stream is not None else 0

    def pop_drained(self) -> list[int]:
        """Give the streams that fell below the low mark since; `receive` reports them as well."""
        drained, self._connection.drained = self._connection.drained, []
        return drained

    def take(self) -> bytes:
        """Give what is to be written now, at most a bounded piece: write it and ask again."""
        return self._connection.take()

    @property
    def open_streams(self) -> int:
        """How many calls are open."""
        return len(self._streams)

    @property
    def available(self) -> int:
        """How many calls may be begun now; the server refuses what is above."""
        if self._connection.closing:
            return 0
        return max(0, self._connection.remote_streams_max - len(self._streams))

    def goaway(self) -> None:
        """Tell the server that nothing new comes; open calls go on."""
        self._connection.goaway()

    def ping(self) -> None:
        """Ask whether the server lives; any bytes it sends are the answer."""
        self._connection.ping()


def _length(payload: bytes) -> int:
    return int.from_bytes(payload[1:5], "big")


def _is_grpc(head: Head) -> bool:
    kind = head.get("content-type")
    return kind is not None and kind.startswith(b"application/grpc")


def _timeout_value(seconds: float) -> bytes:
    """Give the finest grpc-timeout of at most eight digits; never zero, which is over already."""
    seconds = min(seconds, _TIMEOUT_VALUE_MAX * 3600.0)
    for unit, scale in ((b"n", 1e9), (b"u", 1e6), (b"m", 1e3), (b"S", 1.0), (b"M", 1 / 60)):
        value = int(seconds * scale)
        if value <= _TIMEOUT_VALUE_MAX:
            return b"%d%s" % (max(value, 1), unit)
    return b"%dH" % int(seconds / 3600)


def _base64(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=")
