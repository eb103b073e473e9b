"""HTTP/2 for servers and clients: bytes in, events out; frames out by `take`.

RFC 9113. Here live frames, stream states, both directions of flow control, settings and the
reaction to everything a peer may do wrong. What travels in the streams is `grpc`'s business, the
bounds are in `limits`, the sending order in `outbox`.

An event is a tuple ``(kind, stream, value, end)``: (HEAD, Stream, Head, bool) for a header block,
(BODY, Stream, bytes, bool) for DATA, (RESET, Stream, code, True) for a stream that is gone,
(FAREWELL, None, (last stream, code), False) for a GOAWAY received.

A stream error costs the peer a stream, a connection error the connection: `receive` then queues
GOAWAY and raises `RemoteProtocolError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd.wire import frames
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.frames import FLAG_END_HEADERS, FLAG_END_STREAM, FLAG_PADDED, FLAG_PRIORITY
from trioetcd.wire.head import Head, parse_head
from trioetcd.wire.header_block import Field, HeaderBlockError, HeaderDecoder
from trioetcd.wire.limits import Limits
from trioetcd.wire.link import BODY, FAREWELL, HEAD, RESET, BrokenRuleError, Event, Link
from trioetcd.wire.outbox import Stream

__all__ = ["BODY", "FAREWELL", "HEAD", "RESET", "Connection", "Event"]

_Handler = Callable[[bytes, int, int], None]

_ID_MASK: Final = 0x7FFFFFFF
_GAPS_MAX: Final = 64


class Connection(Link):
    """One side of an HTTP/2 connection.

    Attributes:
        failed: a connection error happened; nothing more is read.

    Args:
        client: which side.
        limits: what the other one may do.
        note: makes the `Head.note` of each header list that is new.
    """

    def __init__(
        self, *, client: bool, limits: Limits, note: Callable[[Head], object] | None = None
    ) -> None:
        super().__init__(client=client, limits=limits)
        self._note = note
        self.failed = False
        self._buffer = b""
        self._greeted = client  # a client's peer sends no preface
        self._settled = False  # the first SETTINGS has arrived
        self._decoder = HeaderDecoder(limits.header_list_bytes_max)
        self._heads: dict[bytes, Head] = {}
        self._known: dict[tuple[Field, ...], Head] = {}
        self._block: list[bytes] | None = None
        self._block_number = self._block_flags = self._block_bytes = 0
        self._window = limits.connection_window_bytes
        self._window_half = limits.connection_window_bytes // 2
        self._stream_window = limits.stream_window_bytes
        self._stream_window_half = limits.stream_window_bytes // 2
        self._handlers: tuple[_Handler, ...] = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_reset,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )
        settings = {0x4: limits.stream_window_bytes, 0x6: limits.header_list_bytes_max}
        if client:
            settings[0x2] = 0  # no pushes
            self.out.append(frames.PREFACE)
        else:
            settings[0x3] = limits.streams_max
        if limits.frame_bytes_max != self.frame_bytes_max:
            settings[0x5] = limits.frame_bytes_max
        self.out.append(frames.settings_frame(settings))
        if self._window > 65_535:
            self.out.append(frames.window_frame(0, self._window - 65_535))

    def receive(self, data: bytes, now: float = 0.0) -> list[Event]:
        """Take bytes from the peer, give what they mean.

        Raises:
            RemoteProtocolError: the connection is lost; events of the same bytes with it.
        """
        self._now = now
        if self.failed:
            return []
        events: list[Event] = []
        self._events = events
        try:
            self._parse(data)
        except BrokenRuleError as error:
            self.failed = self.closing = True
            last = 0 if self.client else self.last_stream
            self.out.append(frames.goaway_frame(last, error.code, str(error).encode()))
            raise RemoteProtocolError(str(error), code=error.code) from None
        return events

    def _parse(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        pos = 0
        if not self._greeted:
            pos = self._greet(data)
            if not pos:
                self._buffer = data
                return
        end = len(data)
        unpack = frames.FRAME_HEADER.unpack_from
        frame_bytes_max = self.limits.frame_bytes_max
        handlers = self._handlers
        while end - pos >= 9:
            word, flags, number = unpack(data, pos)
            length = word >> 8
            if length > frame_bytes_max:
                raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "a frame is too long")
            start = pos + 9
            pos_next = start + length
            if pos_next > end:
                break
            kind = word & 0xFF
            pos = pos_next
            if self._block is not None and kind != frames.CONTINUATION:
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "a header block is interrupted")
            if kind < 10:
                if not self._settled:
                    self._first(kind, flags)
                handlers[kind](data[start:pos], flags, number & _ID_MASK)
            else:
                self._count_noise()
        self._buffer = data[pos:]

    def _greet(self, data: bytes) -> int:
        """Read the client's preface; give where the frames begin."""
        preface = frames.PREFACE
        if not preface.startswith(data[: len(preface)]):
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "no HTTP/2 connection preface")
        if len(data) < len(preface):
            return 0
        self._greeted = True
        return len(preface)

    def _first(self, kind: int, flags: int) -> None:
        if kind != frames.SETTINGS or flags & frames.FLAG_ACK:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._settled = True

    def _on_data(self, payload: bytes, flags: int, number: int) -> None:
        length = len(payload)
        left = self._window - length
        if left < 0:
            raise BrokenRuleError(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        if left < self._window_half:
            full = self.limits.connection_window_bytes
            self.out.append(frames.window_frame(0, full - left))
            left = full
        self._window = left
        if flags & FLAG_PADDED:
            payload = self._unpad(payload)
        stream = self.streams.get(number)
        if stream is None or not stream.receiving:
            self._data_astray(stream, number)
            return
        end = flags & FLAG_END_STREAM
        if payload:
            noise = self._noise
            if noise.level > 0:
                noise.level -= self.limits.noise_credit
        elif not end:
            self._count_noise()
        left = stream.receive_window - length
        if left < 0:
            self._stream_error(stream, frames.FLOW_CONTROL_ERROR)
            return
        head = stream.head
        if head is not None and head.content_length is not None:
            stream.body_bytes += len(payload)
            if not self._length_holds(stream, head.content_length, end=end):
                return
        if end:
            self._events.append((BODY, stream, payload, True))
            self._peer_ended(stream)
            return
        if left < self._stream_window_half and not stream.held:
            self.out.append(frames.window_frame(number, self._stream_window - left))
            left = self._stream_window
        stream.receive_window = left
        self._events.append((BODY, stream, payload, False))

    def release(self, stream: Stream) -> None:
        """Give back the window of a stream that was held."""
        stream.held = False
        left = stream.receive_window
        if stream.receiving and left < self._stream_window_half:
            self.out.append(frames.window_frame(stream.number, self._stream_window - left))
            stream.receive_window = self._stream_window

    def _peer_ended(self, stream: Stream) -> None:
        stream.receiving = False
        if not stream.sending and not stream.queued:
            self.forget(stream)

    def _length_holds(self, stream: Stream, announced: int, *, end: int) -> bool:
        """Compare content-length (section 8.1.1); a client sees answers to HEAD without body."""
        if stream.body_bytes > announced or (end and stream.body_bytes != announced):
            self._stream_error(stream, frames.PROTOCOL_ERROR)
            return False
        return True

    def _data_astray(self, stream: Stream | None, number: int) -> None:
        """DATA for a stream that does not take any (section 5.1)."""
        if stream is not None:
            self._stream_error(stream, frames.STREAM_CLOSED)
        elif number in self._refused or self._ignored(number):
            self._count_noise()
        elif self._is_idle(number):
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "DATA on an idle stream")
        else:
            raise BrokenRuleError(frames.STREAM_CLOSED, "DATA on a closed stream")

    def _unpad(self, payload: bytes) -> bytes:
        if not payload or payload[0] >= len(payload):
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "padding is longer than its frame")
        return payload[1 : len(payload) - payload[0]]

    def _on_headers(self, payload: bytes, flags: int, number: int) -> None:
        if flags & FLAG_PADDED:
            payload = self._unpad(payload)
        if flags & FLAG_PRIORITY:
            if len(payload) < 5:
                raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "HEADERS without its priority")
            self._check_dependency(payload, number)
            payload = payload[5:]
        if flags & FLAG_END_HEADERS:
            self._on_block(payload, flags, number)
            return
        if number == 0:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
        self._block = [payload]
        self._block_bytes = len(payload)
        self._block_flags = flags
        self._block_number = number

    def _on_continuation(self, payload: bytes, flags: int, number: int) -> None:
        block = self._block
        if block is None or number != self._block_number:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.append(payload)
        self._block_bytes += len(payload)
        if (
            len(block) > self.limits.continuation_frames_max + 1
            or self._block_bytes > self.limits.header_list_bytes_max
        ):
            raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & FLAG_END_HEADERS:
            self._block = None
            self._on_block(b"".join(block), self._block_flags, number)

    def _on_block(self, block: bytes, flags: int, number: int) -> None:
        """A whole header block: it opens a stream, answers one, or ends one as trailers."""
        head = self._heads.get(block)
        if head is None:
            head = self._decode(block)
        end = flags & FLAG_END_STREAM
        stream = self.streams.get(number)
        if stream is None:
            if self.client:
                self._block_astray(number)
                return
            stream = self._open(number, head)
            if stream is None:
                return
            if end:
                stream.receiving = False
                if head.content_length:
                    self._stream_error(stream, frames.PROTOCOL_ERROR)
                    return
            self._events.append((HEAD, stream, head, end != 0))
            return
        if not stream.receiving:
            self._stream_error(stream, frames.STREAM_CLOSED)
            return
        self._later_block(stream, head, end=end != 0)

    def _later_block(self, stream: Stream, head: Head, *, end: bool) -> None:
        """A header block of an open stream: the response's head (client) or trailers."""
        if self.client and stream.head is None:
            wrong = head.kind != "response"
            if not wrong and head.status < 200:  # an interim response announces nothing here
                if end:
                    self._stream_error(stream, frames.PROTOCOL_ERROR)
                else:
                    self._count_noise()
                return
            stream.head = head
        else:
            wrong = head.kind != "trailers" or not end
        before = stream.head
        if wrong or (
            end
            and before is not None
            and before.content_length is not None
            and before.content_length != stream.body_bytes
        ):
            self._stream_error(stream, frames.PROTOCOL_ERROR)
            return
        self._events.append((HEAD, stream, head, end))
        if end:
            self._peer_ended(stream)

    def _block_astray(self, number: int) -> None:
        """A server's header block for a stream that is not there."""
        if self._is_idle(number):
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "HEADERS on an idle stream")
        if number not in self._refused:
            raise BrokenRuleError(frames.STREAM_CLOSED, "HEADERS on a closed stream")
        self._count_noise()

    def _open(self, number: int, head: Head) -> Stream | None:
        """Let the client open a stream; None if it is refused or ignored."""
        last = self.last_stream
        if number <= last or not number & 1:
            if number in self._refused:
                self._count_noise()
                return None
            if self._is_idle(number):
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "a stream identifier out of order")
            raise BrokenRuleError(frames.STREAM_CLOSED, "HEADERS on a closed stream")
        if self._final_stream is not None:
            self._count_noise()
            return None
        if number != last + 2 and number != 1:
            self._gaps.append((last + 1, number - 1))
            del self._gaps[:-_GAPS_MAX]
        self.last_stream = number
        if (
            len(self.streams) >= self.limits.streams_max
            or self.queued > self.limits.output_bytes_max
        ):
            self._refuse(number, frames.REFUSED_STREAM)
            return None
        if head.kind != "request":
            self._refuse(number, frames.PROTOCOL_ERROR)
            return None
        noise = self._noise
        if noise.level > 0:
            noise.level -= self.limits.noise_credit
        stream = Stream(number, head, self._initial_send_window, self._stream_window)
        self.streams[number] = stream
        return stream

    def open_stream(self) -> Stream:
        """Open our next stream (client)."""
        self.last_stream += 2
        stream = Stream(self.last_stream, None, self._initial_send_window, self._stream_window)
        self.streams[stream.number] = stream
        return stream

    def _decode(self, block: bytes) -> Head:
        """Work out a block not seen before, and remember what it means while that holds."""
        if len(block) > self.limits.header_list_bytes_max:
            raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "a header block is too large")
        decoder = self._decoder
        try:
            # The timeout changes with every call of Go's clients; the rest is remembered.
            fields = decoder.decode(block, b"grpc-timeout")
            head = self._known.get(fields)
            if head is None:
                decoder.check_size(fields)
                head = parse_head(fields)
                if self._note is not None:
                    head.note = self._note(head)
                if len(self._known) >= self.limits.heads_max:
                    self._known.clear()
                if len(block) <= self.limits.head_bytes_max:
                    self._known[fields] = head
        except HeaderBlockError as error:
            code = frames.ENHANCE_YOUR_CALM if error.oversized else frames.COMPRESSION_ERROR
            raise BrokenRuleError(code, str(error)) from None
        if decoder.apart is not None:
            head = head.with_timeout(decoder.apart)
        if decoder.changed:
            self._heads.clear()
        elif len(block) <= self.limits.head_bytes_max:
            if len(self._heads) >= self.limits.heads_max:
                self._heads.clear()
            self._heads[block] = head
        return head
