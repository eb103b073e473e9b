"""The sending half of an HTTP/2 connection: what waits, for which window, in which order.

Frames that no window holds back go straight to `out`. DATA that does not fit waits in its
stream and is cut into frames by `take`, stream after stream in turn, at most a bounded number
of bytes a time: a large answer is held as the pieces it was given in, never as one copy.
RFC 9113 sections 5.2 and 6.9.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from trioetcd.wire import frames
from trioetcd.wire.limits import Limits

if TYPE_CHECKING:
    from trioetcd.wire.head import Head

__all__ = ["Outbox", "Stream"]

_REFUSED_MAX: Final = 4096
_TURN_BYTES: Final = 64 * 1024  # of one stream before the next one has its turn
_GATHER_BYTES: Final = 64 * 1024  # small pieces are joined up to this before they are cut
_CREDIT_BYTES: Final = 128  # a DATA frame below this pays for no control frames

Piece = bytes | memoryview


class Stream:
    """One stream; class attributes are the values it starts with, which most streams keep.

    Attributes:
        number: the stream identifier.
        head: the request's head (server), the response's (client, once it has arrived).
        send_window: bytes the peer still takes on this stream.
        receive_window: bytes the peer may still send before we give some back.
        receiving: the peer has not ended its side.
        held: the peer is given no more window until what it sent has been looked at.
        sending: we have not ended ours; a tail that waits counts as ended.
        started: our HEADERS are out.
        queue, queued: pieces that wait, and their bytes.
        tail: the header block that ends our side once the queue is empty (an empty one: DATA).
        high: the queue has been above the high mark and not below the low one since.
        mode, buffer, messages: for the layer above.
        body_bytes: DATA bytes received, to be compared with content-length.
    """

    receiving: bool = True
    held: bool = False
    sending: bool = True
    started: bool = False
    queue: deque[Piece] | None = None
    queued: int = 0
    tail: bytes | None = None
    high: bool = False
    mode: int = 0
    buffer: bytearray | None = None
    messages: int = 0
    body_bytes: int = 0

    def __init__(self, number: int, head: Head | None, send_window: int, window: int) -> None:
        self.number = number
        self.head = head
        self.send_window = send_window
        self.receive_window = window


class Outbox:
    """Streams and what is to be written for them.

    Attributes:
        client: our role.
        out: frames ready to be written, in order; the layer above appends whole frames here.
        streams: every stream that is not closed.
        send_window: bytes the peer still takes on the whole connection.
        frame_bytes_max: the peer's SETTINGS_MAX_FRAME_SIZE.
        ready: streams with queued bytes that their windows take; `take` cuts them into frames.
        queued: bytes that wait for windows, over all streams.
        table_reset: a dynamic table size update the next header block must begin with.
        drained: streams whose backlog fell below the low mark, not yet reported.
        paid: DATA frames sent that pay for control frames.
        sent: headers or data went out since the peer's last ping.
        control_pending: answers to control frames in `out`.
    """

    def __init__(self, *, client: bool, limits: Limits) -> None:
        self.client = client
        self.limits = limits
        self.out: list[Piece] = []
        self.streams: dict[int, Stream] = {}
        self.send_window = 65_535
        self.frame_bytes_max = 16_384
        self.queued = 0
        self.table_reset = b""
        self.drained: list[int] = []
        self.paid = 0
        self.sent = False
        self.control_pending = 0
        self.ready: dict[int, Stream] = {}
        self._refused: dict[int, None] = {}  # streams we reset; frames for them may be under way

    def take(self) -> bytes:
        """Give what is to be written now; call again after the write until it is empty."""
        if self.ready:
            self._pump()
        out = self.out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self.control_pending = 0
        return data

    def send_head(self, stream: Stream, block: bytes, *, end: bool) -> None:
        """Send a header block; as trailers it waits behind what is queued."""
        stream.started = True
        if end:
            self._end(stream, block)
        else:
            self._head_frames(stream, block, end=False)

    def _head_frames(self, stream: Stream, block: bytes, *, end: bool) -> None:
        if self.table_reset:
            block = self.table_reset + block
            self.table_reset = b""
        self.sent = True
        self.out.append(
            frames.header_frames(
                stream.number, block, end=end, frame_bytes_max=self.frame_bytes_max
            )
        )

    def send_data(self, stream: Stream, pieces: list[bytes], *, end: bool) -> None:
        """Send DATA; what the windows do not take now waits."""
        size = sum(map(len, pieces))
        if size:
            queue = stream.queue
            if queue is None:
                queue = stream.queue = deque()
            if size <= self.limits.join_bytes_max:
                queue.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            else:
                queue.extend(piece for piece in pieces if piece)
            stream.queued += size
            self.queued += size
            self.ready[stream.number] = stream
            if stream.queued > self.limits.backlog_high_bytes:
                stream.high = True
        if end:
            self._end(stream, b"")

    def _end(self, stream: Stream, tail: bytes) -> None:
        """Close our side with the block `tail`, or with an empty DATA frame if it is empty."""
        stream.sending = False
        if stream.queued:
            stream.tail = tail
            return
        if tail:
            self._head_frames(stream, tail, end=True)
        else:
            self.out.append(frames.FRAME_HEADER.pack(0, frames.FLAG_END_STREAM, stream.number))
        self.ended(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """Send RST_STREAM; the peer's frames under way are ignored, what was queued is dropped."""
        self.forget(stream)
        self.out.append(frames.reset_frame(stream.number, code))
        refused = self._refused
        refused[stream.number] = None
        if len(refused) > _REFUSED_MAX:
            del refused[next(iter(refused))]

    def ended(self, stream: Stream) -> None:
        """Our side is written: a server that answered early asks for no more (section 8.1)."""
        if not stream.receiving:
            self.forget(stream)
        elif not self.client:
            self.reset(stream, frames.NO_ERROR)

    def forget(self, stream: Stream) -> None:
        """Drop a closed stream and whatever it had queued."""
        number = stream.number
        if self.streams.pop(number, None) is None:
            return
        self.ready.pop(number, None)
        self.queued -= stream.queued
        stream.queued = 0
        stream.queue = None
        stream.tail = None

    def window_opened(self, stream: Stream) -> None:
        """The peer takes more on this stream: it gets its turn again."""
        if stream.queued and stream.send_window > 0:
            self.ready[stream.number] = stream

    def _pump(self) -> None:
        """Cut queued bytes into frames, as far as windows and the bound of one `take` allow."""
        ready = self.ready
        room = self.limits.take_bytes_max
        while ready and room > 0 and self.send_window > 0:
            number = next(iter(ready))
            stream = ready.pop(number)
            room -= self._turn(stream, min(room, _TURN_BYTES))
            if stream.queued:
                if stream.send_window > 0:
                    ready[number] = stream  # behind the others
            elif stream.tail is not None:
                tail, stream.tail = stream.tail, None
                self._end(stream, tail)
            if stream.high and stream.queued <= self.limits.backlog_low_bytes:
                stream.high = False
                if stream.sending:
                    self.drained.append(number)

    def _turn(self, stream: Stream, room: int) -> int:
        """Send up to `room` bytes of one stream; give how many."""
        size = min(room, stream.queued, stream.send_window, self.send_window)
        if size <= 0:
            return 0
        queue = stream.queue
        assert queue is not None, "queued bytes are in the queue"
        out = self.out
        self.sent = True
        left = size
        while left:
            piece = self._next_piece(queue, min(left, self.frame_bytes_max))
            length = len(piece)
            out.append(frames.FRAME_HEADER.pack(length << 8, 0, stream.number))
            out.append(piece)
            left -= length
            if length >= _CREDIT_BYTES:
                self.paid += 1
        stream.queued -= size
        self.queued -= size
        stream.send_window -= size
        self.send_window -= size
        return size

    @staticmethod
    def _next_piece(queue: deque[Piece], size: int) -> Piece:
        """Take up to `size` bytes off the queue; small pieces are joined first."""
        piece = queue.popleft()
        if len(piece) < size and queue:
            small = [piece]
            total = len(piece)
            while queue and total + len(queue[0]) <= _GATHER_BYTES:
                small.append(queue.popleft())
                total += len(small[-1])
            piece = b"".join(small)
        if len(piece) > size:
            view = piece if isinstance(piece, memoryview) else memoryview(piece)
            queue.appendleft(view[size:])
            return view[:size]
        return piece
