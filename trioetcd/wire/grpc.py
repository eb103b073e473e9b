"""gRPC calls for a server: bytes in, calls out; answers in, bytes out.

The gRPC-over-HTTP/2 protocol on `http2.Connection`. A unary call is one event and one answer,
made straight from constants when the windows allow; streams come message by message; requests
that are no gRPC come whole. What a call means is none of this module's business.

Events are tuples: (CALL, stream, Head, message), (OPENED, stream, Head), (MESSAGE, stream, bytes),
(HALF_CLOSED, stream), (REQUEST, stream, Head, body), (CANCELLED, stream), (DRAINED, stream).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from struct import Struct
from typing import Any, Final

from trioetcd.wire import frames
from trioetcd.wire.grpc_message import (
    CALL,
    CANCELLED,
    DRAINED,
    GONE,
    HALF_CLOSED,
    HEAD_BLOCK,
    INTERNAL,
    MESSAGE,
    OK_BLOCK,
    OPENED,
    PREFIX,
    REQUEST,
    RESPONSE,
    TRAILERS,
    MessageError,
    compressed,
    cut_messages,
    failure_block,
    frame,
    too_large,
)
from trioetcd.wire.head import Head
from trioetcd.wire.header_block import Field, encode_fields
from trioetcd.wire.http2 import BODY, HEAD, RESET, Connection
from trioetcd.wire.limits import Limits
from trioetcd.wire.outbox import Stream

__all__ = [
    "CALL",
    "CANCELLED",
    "DRAINED",
    "GONE",
    "HALF_CLOSED",
    "MESSAGE",
    "OPENED",
    "REQUEST",
    "RESPONSE",
    "TRAILERS",
    "GrpcServer",
    "Head",
    "ServerEvent",
    "frame",
]

ServerEvent = tuple[Any, ...]
"""An event; its first member says how many follow. Any: the shapes differ, see the module."""

_UNARY, _STREAMING, _PLAIN, _DONE = range(1, 5)  # what a stream carries

_HEAD_WORD: Final = len(HEAD_BLOCK) << 8 | frames.HEADERS
_TAIL_FLAGS: Final = frames.FLAG_END_HEADERS | frames.FLAG_END_STREAM
_TAIL_WORD: Final = len(OK_BLOCK) << 8 | frames.HEADERS
_ANSWER: Final = Struct(f">IBI{len(HEAD_BLOCK)}sIBIBI").pack
_OK_TAIL: Final = Struct(f">IBI{len(OK_BLOCK)}s").pack
_FAST_BYTES_MAX: Final = 16_384 - PREFIX.size


class GrpcServer:
    """One connection's calls.

    Attributes:
        out: frames to be written; `take` gives them.
        ready: streams that `take` would make frames of.

    Args:
        streaming: paths whose calls are announced at once and come message by message.
        limits: bounds on what the client may do.
        note: makes the `Head.note` of each header list that is new.
    """

    def __init__(
        self,
        *,
        streaming: Container[str],
        limits: Limits | None = None,
        note: Callable[[Head], object] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._streaming = streaming
        self._connection = Connection(client=False, limits=self.limits, note=note)
        self._streams = self._connection.streams
        self.out = self._connection.out
        self.ready = self._connection.ready
        self.take = self._connection.take
        self._buffered = 0
        self._events: list[ServerEvent] = []

    # -- receiving ----------------------------------------------------------------------------

    def receive(self, data: bytes, now: float = 0.0) -> list[ServerEvent]:
        """Take bytes from the client, give what they mean.

        Raises:
            RemoteProtocolError: GOAWAY is queued; write what `take` gives, then close.
        """
        events: list[ServerEvent] = []
        self._events = events
        message_bytes_max = self.limits.message_bytes_max
        for kind, stream, value, end in self._connection.receive(data, now):
            if kind == BODY:
                if end and stream.mode == _UNARY and stream.buffer is None:
                    length = len(value) - 5
                    if (
                        0 <= length <= message_bytes_max
                        and value[0] == 0
                        and int.from_bytes(value[1:5], "big") == length
                    ):
                        events.append((CALL, stream.number, stream.head, value[5:]))
                        continue
                self._on_body(stream, value, end=end)
            elif kind == HEAD:
                self._on_head(stream, value, end=end)
            elif kind == RESET:
                self._on_reset(stream)
        if self._connection.drained:
            events.extend((DRAINED, number) for number in self.pop_drained())
        return events

    def _on_head(self, stream: Stream, head: Head, *, end: bool) -> None:
        if stream.mode:  # trailers
            self._on_body(stream, b"", end=True)
            return
        if not head.grpc_like:
            stream.mode = _PLAIN
            if end:
                self._finish_request(stream)
            return
        number = stream.number
        if not head.grpc or head.method != "POST":
            self._refuse(stream, head)
        elif not head.timeout_valid:
            self._reject(stream, MessageError(INTERNAL, "malformed grpc-timeout"))
        elif head.path in self._streaming:
            stream.mode = _STREAMING
            self._events.append((OPENED, number, head))
            if end:
                self._events.append((HALF_CLOSED, number))
        else:
            stream.mode = _UNARY
            if end:
                self._finish_call(stream)

    def _refuse(self, stream: Stream, head: Head) -> None:
        """Answer a call that is none by its method or content type."""
        stream.mode = _DONE
        if head.grpc:
            status, text = b"405", f"gRPC is spoken by POST, not by {head.method}"
        else:
            status, text = b"415", "gRPC messages are application/grpc or application/grpc+proto"
        block = failure_block(INTERNAL, text, alone=True, status=status)
        self._connection.send_head(stream, block, end=True)

    def _reject(self, stream: Stream, error: MessageError) -> None:
        """Answer a call whose bytes are no messages; the layer above forgets what it knows."""
        announced = stream.mode == _STREAMING
        self._drop_buffer(stream)
        number = stream.number
        self.fail(number, error.code, error.text)
        stream.mode = _DONE
        if announced:
            self._events.append((CANCELLED, number))

    def _on_body(self, stream: Stream, payload: bytes, *, end: bool) -> None:
        mode = stream.mode
        if mode == _DONE:
            return
        if payload:
            if stream.buffer is None:
                stream.buffer = bytearray()
            stream.buffer += payload
            self._buffered += len(payload)
        try:
            if mode == _PLAIN:
                self._more_request(stream, end=end)
            elif mode == _STREAMING:
                self._more_stream(stream, end=end)
            else:
                self._more_call(stream, end=end)
            if self._buffered > self.limits.buffered_bytes_max and stream.buffer:
                raise too_large(self._buffered, self.limits.buffered_bytes_max)
        except MessageError as error:
            self._reject(stream, error)

    def _more_stream(self, stream: Stream, *, end: bool) -> None:
        number = stream.number
        buffer = stream.buffer
        if buffer:
            before = len(buffer)
            for message in self._cut(stream, buffer):
                self._events.append((MESSAGE, number, message))
            self._buffered -= before - len(buffer)
            if not buffer:
                stream.buffer = None
            elif end:
                raise MessageError(INTERNAL, "the stream ended inside a message")
        if end:
            self._events.append((HALF_CLOSED, number))

    def _cut(self, stream: Stream, buffer: bytearray) -> list[bytes]:
        head = stream.head
        return cut_messages(
            buffer,
            message_bytes_max=self.limits.message_bytes_max,
            encoding=head.encoding if head else "",
        )

    def _more_call(self, stream: Stream, *, end: bool) -> None:
        """Check the prefix of a unary call's message as soon as it is there."""
        buffer = stream.buffer
        if buffer is not None and len(buffer) >= PREFIX.size:
            flag, length = PREFIX.unpack_from(buffer, 0)
            if flag:
                raise compressed(flag, stream.head.encoding if stream.head else "")
            if length > self.limits.message_bytes_max:
                raise too_large(length, self.limits.message_bytes_max)
            if len(buffer) > length + PREFIX.size:
                raise MessageError(INTERNAL, "a unary call has one message, not more")
        if end:
            self._finish_call(stream)

    def _finish_call(self, stream: Stream) -> None:
        buffer = stream.buffer
        if not buffer:
            self._reject(stream, MessageError(INTERNAL, "a unary call has one message, not none"))
            return
        size = len(buffer) - PREFIX.size
        if size < 0 or PREFIX.unpack_from(buffer, 0)[1] != size:
            self._reject(stream, MessageError(INTERNAL, "the stream ended inside a message"))
            return
        message = bytes(memoryview(buffer)[PREFIX.size :])
        self._drop_buffer(stream)
        self._events.append((CALL, stream.number, stream.head, message))

    def _more_request(self, stream: Stream, *, end: bool) -> None:
        buffer = stream.buffer
        if buffer is not None and len(buffer) > self.limits.body_bytes_max:
            self._drop_buffer(stream)
            self.respond(stream.number, 413, [], b"")
            stream.mode = _DONE
        elif end:
            self._finish_request(stream)

    def _finish_request(self, stream: Stream) -> None:
        body = bytes(stream.buffer or b"")
        self._drop_buffer(stream)
        self._events.append((REQUEST, stream.number, stream.head, body))

    def _drop_buffer(self, stream: Stream) -> None:
        if stream.buffer is not None:
            self._buffered -= len(stream.buffer)
            stream.buffer = None

    def _on_reset(self, stream: Stream) -> None:
        unannounced = stream.receiving and stream.mode in {_UNARY, _PLAIN}
        self._drop_buffer(stream)
        if stream.mode not in {0, _DONE} and not unannounced:
            self._events.append((CANCELLED, stream.number))
        stream.mode = _DONE

    # -- answering ----------------------------------------------------------------------------

    def answer(self, number: int, message: bytes) -> None:
        """Answer a unary call with its one message and status 0; nothing if the call is gone."""
        stream = self._streams.get(number)
        if stream is None:
            return
        connection = self._connection
        length = len(message)
        size = length + 5
        if (
            length <= _FAST_BYTES_MAX
            and size <= stream.send_window
            and size <= connection.send_window
            and not stream.receiving
            and not stream.started
            and not connection.table_reset
        ):
            connection.send_window -= size
            connection.finished_calls += 1
            connection.paid += 1
            connection.sent = True
            del self._streams[number]
            self.out += (
                _ANSWER(
                    _HEAD_WORD,
                    frames.FLAG_END_HEADERS,
                    number,
                    HEAD_BLOCK,
                    size << 8,
                    0,
                    number,
                    0,
                    length,
                ),
                message,
                _OK_TAIL(_TAIL_WORD, _TAIL_FLAGS, number, OK_BLOCK),
            )
            return
        self._send(stream, [PREFIX.pack(0, length), message])
        self.finish(number)

    def answer_pieces(self, number: int, pieces: list[bytes]) -> None:
        """Answer a unary call with one message given in pieces; a large one is never joined."""
        size = sum(map(len, pieces))
        if size <= _FAST_BYTES_MAX:
            self.answer(number, b"".join(pieces))
            return
        stream = self._streams.get(number)
        if stream is not None:
            self._send(stream, [PREFIX.pack(0, size), *pieces])
            self.finish(number)

    def _send(self, stream: Stream, pieces: list[bytes]) -> None:
        connection = self._connection
        if not stream.started:
            connection.send_head(stream, HEAD_BLOCK, end=False)
        connection.send_data(stream, pieces, end=False)

    def send_messages(self, number: int, framed: bytes) -> None:
        """Send messages that have their prefixes already, on a stream; nothing if it is gone."""
        stream = self._streams.get(number)
        if stream is None or not stream.sending:
            return
        connection = self._connection
        size = len(framed)
        if (
            stream.started
            and not stream.queued
            and 0 < size <= 16_384
            and size <= stream.send_window
            and size <= connection.send_window
        ):
            stream.send_window -= size
            connection.send_window -= size
            connection.paid += 1
            connection.sent = True
            self.out += (frames.FRAME_HEADER.pack(size << 8, 0, number), framed)
            return
        self._send(stream, [framed])

    def finish(self, number: int) -> None:
        """End a call with status 0."""
        stream = self._streams.get(number)
        if stream is None or not stream.sending:
            return
        connection = self._connection
        if not stream.started:
            connection.send_head(stream, HEAD_BLOCK, end=False)
        self._complete(stream)
        connection.send_head(stream, OK_BLOCK, end=True)

    def fail(self, number: int, code: int, text: str) -> None:
        """End a call with an error: trailers alone, or after what was sent."""
        stream = self._streams.get(number)
        if stream is None or not stream.sending:
            return
        self._complete(stream)
        block = failure_block(code, text, alone=not stream.started)
        self._connection.send_head(stream, block, end=True)

    def _complete(self, stream: Stream) -> None:
        """The call is answered; what the client may still send of it is not looked at."""
        if not stream.receiving:
            self._connection.finished_calls += 1
        self._drop_buffer(stream)
        stream.mode = _DONE

    def respond(
        self, number: int, status: int, headers: Sequence[tuple[str, str]], body: bytes
    ) -> None:
        """Answer a plain request; content-length is added, a HEAD gets no body."""
        stream = self._streams.get(number)
        if stream is None or not stream.sending:
            return
        fields: list[Field] = [(b":status", str(status).encode("ascii"))]
        fields += [(name.lower().encode("ascii"), text.encode("latin-1")) for name, text in headers]
        if not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", str(len(body)).encode("ascii")))
        if stream.head is not None and stream.head.method == "HEAD":
            body = b""
        self._complete(stream)
        connection = self._connection
        connection.send_head(stream, encode_fields(fields), end=not body)
        if body:
            connection.send_data(stream, [body], end=True)

    def hold(self, number: int) -> None:
        """Let the client send no more than its window on a stream, until `release`."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.held = True

    def release(self, number: int) -> None:
        """Let the client send on: what it sent has been looked at."""
        stream = self._streams.get(number)
        if stream is not None and stream.held:
            self._connection.release(stream)

    def cancel(self, number: int) -> None:
        """Give a stream up (RST_STREAM, CANCEL) with everything queued for it."""
        stream = self._streams.get(number)
        if stream is not None:
            self._complete(stream)
            self._connection.reset(stream, frames.CANCEL)

    # -- the connection -----------------------------------------------------------------------

    def backlog(self, number: int) -> int:
        """Give the bytes of a stream that wait for the client to read."""
        stream = self._streams.get(number)
        return stream.queued if stream is not None else 0

    @property
    def pending(self) -> int:
        """The bytes of all streams that wait for the client to read."""
        return self._connection.queued

    def pop_drained(self) -> list[int]:
        """Give the streams that fell below the low mark since; `receive` reports them as well."""
        drained, self._connection.drained = self._connection.drained, []
        return drained

    def goaway(self) -> None:
        """Take no new calls; those that are open are finished (see `finished`)."""
        self._connection.goaway()

    @property
    def finished(self) -> bool:
        """Whether `goaway` was asked for and no call is left: close after the last write."""
        return self._connection.closing and not self._streams

    @property
    def announcing(self) -> bool:
        """Whether the client does not know yet which of its calls are the last that count."""
        return self._connection.announcing

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def ping(self) -> None:
        """Ask whether the client lives; any bytes it sends are the answer."""
        self._connection.ping()

    def lives(self, now: float) -> bool:
        """Ask a client that has been silent for too long; False if it does not answer."""
        return self._connection.lives(now)
