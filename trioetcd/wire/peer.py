"""One connection between members, both sides of it: bytes in, events out, no I/O.

The dialler says hello and is welcomed or refused. Then it alone speaks, messages or one
snapshot, as it said in its hello; the listener answers only a snapshot. Who is about to join
asks for the members, is told them, and that is all; likewise who asks what the listener's data
hashes to, with one question after the welcome. So every pair of members has two connections, one
each way, and no message waits for the other side's.

Events are pulled: ``receive`` takes bytes, ``next_event`` gives what is whole, and nothing beyond
a hello, the head of a snapshot or a question before the owner has answered it. The bytes that come
in pieces and the same bytes at once give the same events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from trioetcd.ports import Row
from trioetcd.questions import Hashed
from trioetcd.wire import peer_frames as frames
from trioetcd.wire.cbor import decode
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer_frames import (
    Accepted,
    Answer,
    Failed,
    FrameKind,
    FrameReader,
    HashAsked,
    Hello,
    Installed,
    Members,
    OtherVersion,
    Purpose,
    Refusal,
    Refused,
    SnapshotHead,
    Welcome,
    frame,
)
from trioetcd.wire.peer_messages import (
    Numbered,
    PeerMessage,
    decode_messages,
    encode_messages,
    item_count,
    message_bytes,
)

__all__ = [
    "Accepted",
    "Answer",
    "Failed",
    "HashAsked",
    "Hashed",
    "Hello",
    "Installed",
    "Members",
    "Messages",
    "Numbered",
    "OtherVersion",
    "PeerDialler",
    "PeerListener",
    "PeerMessage",
    "Purpose",
    "Refusal",
    "Refused",
    "SnapshotEnd",
    "SnapshotHead",
    "SnapshotRows",
    "Welcome",
    "cut_rows",
]

_GREETING, _ASKED, _WELCOMED, _OFFERED, _TAKING, _ENDED, _QUESTIONED, _OVER = range(8)


class Messages(NamedTuple):
    """Messages, in the order in which they were sent; at least one."""

    messages: list[Numbered]


class SnapshotRows(NamedTuple):
    """A piece of a snapshot."""

    rows: list[Row]


class SnapshotEnd(NamedTuple):
    """All pieces have come.

    Attributes:
        whole: whether head and rows are what was sent, by their digest.
    """

    whole: bool


Event = Hello | OtherVersion | Messages | SnapshotHead | SnapshotRows | SnapshotEnd | HashAsked
"""What a listener hears."""


class PeerListener:
    """The side that was dialled.

    Attributes:
        hello: who speaks; None before that is known.

    Args:
        limits: bounds on what may come.
    """

    def __init__(self, *, limits: PeerLimits | None = None) -> None:
        self.hello: Hello | None = None
        self._limits = limits or PeerLimits()
        self._reader = FrameReader()
        self._out: list[bytes] = []
        self._state = _GREETING
        self._frame_bytes_max = self._limits.hello_bytes_max
        self._digest = sha256()

    def receive(self, data: bytes) -> None:
        """Take bytes; `next_event` says what they mean.

        Raises:
            RemoteProtocolError: too much was sent without waiting for an answer.
        """
        if self._state in {_ENDED, _OVER}:
            return
        self._reader.feed(data)
        waits = self._state in {_ASKED, _OFFERED, _QUESTIONED}
        if waits and len(self._reader) > self._limits.hello_bytes_max:
            self._state = _OVER
            raise RemoteProtocolError("too much was sent before the answer")

    def next_event(self) -> Event | None:
        """Give the next event; None until more bytes or an answer have come.

        Raises:
            RemoteProtocolError: the dialler broke the protocol; close the connection.
        """
        if not self._reader.buffer or self._state not in {_GREETING, _WELCOMED, _TAKING}:
            return None
        try:
            return self._next()
        except RemoteProtocolError:
            self._state = _OVER
            raise

    def _next(self) -> Event | None:
        data = self._reader.next(self._frame_bytes_max)
        if data is None:
            return None
        if self._state == _GREETING:
            self._state = _ASKED
            greeting = frames.decode_hello(data)
            if isinstance(greeting, Hello):
                self.hello = greeting
            return greeting
        if self._state == _TAKING:
            return self._piece(data)
        hello = self.hello
        assert hello is not None, "it was welcomed"
        if hello.purpose is not Purpose.MESSAGES:
            return self._request(data, hello.purpose)
        return Messages(
            decode_messages(
                data, sender=hello.sender, to=hello.receiver, items_max=self._limits.items_max
            )
        )

    def _request(self, data: bytes, purpose: Purpose) -> SnapshotHead | HashAsked:
        """Read the first frame after the welcome where it is to be answered."""
        if purpose.asks_hash:
            asked = frames.decode_asked(data)
            self._state = _QUESTIONED
            return asked
        head = frames.decode_head(data, self._limits)
        self._digest.update(data)
        self._state = _OFFERED
        return head

    def _piece(self, data: bytes) -> SnapshotRows | SnapshotEnd:
        items = decode(data, items_max=self._limits.row_items_max)
        if frames.kind_of(items) is FrameKind.SNAPSHOT_END:
            self._state = _ENDED
            return SnapshotEnd(frames.decode_digest(items) == self._digest.digest())
        if frames.kind_of(items) is not FrameKind.ROWS:
            raise RemoteProtocolError("only rows may come here")
        self._digest.update(data)
        return SnapshotRows(frames.decode_rows(items))

    def welcome(self, boot: int, version: str) -> None:
        """Agree with the hello."""
        assert self._state == _ASKED and self.hello is not None  # noqa: PT018 # one thought
        assert self.hello.purpose is not Purpose.MEMBERS
        if not self.hello.purpose.asks_hash:
            self._frame_bytes_max = self._limits.frame_bytes_max
        self._say(Welcome(boot, version), _WELCOMED)

    def tell_members(self, members: Members) -> None:
        """Answer who asked for the members: write what `take` gives, then close."""
        assert self._state == _ASKED
        self._say(members, _OVER)

    def tell_hash(self, hashed: Hashed) -> None:
        """Answer who asked for a hash: write what `take` gives, then close."""
        assert self._state == _QUESTIONED
        self._say(hashed, _OVER)

    def refuse(self, code: str, reason: str) -> None:
        """Refuse the hello, the snapshot or the question: write what `take` gives, then close."""
        assert self._state in {_ASKED, _OFFERED, _QUESTIONED}
        self._say(Refused(code, reason), _OVER)

    def accept(self) -> None:
        """Let the rows of the snapshot come."""
        assert self._state == _OFFERED
        self._say(Accepted(), _TAKING)

    def installed(self) -> None:
        """Say that the snapshot is this member's state now: write what `take` gives, then close."""
        assert self._state == _ENDED
        self._say(Installed(), _OVER)

    def failed(self, reason: str) -> None:
        """Say that the snapshot could not be taken over: write, then close."""
        self._say(Failed(reason), _OVER)

    def _say(self, answer: Answer, state: int) -> None:
        self._out.append(frame(frames.encode_answer(answer, self._limits)))
        self._state = state

    def take(self) -> bytes:
        """Give what is to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        return data


class PeerDialler:
    """The side that dialled.

    Attributes:
        welcome: who answered; None before that.
        dropped: messages too long for any frame, which were not sent.

    Args:
        hello: the first frame.
        limits: bounds on what may come, and of what is sent.
    """

    def __init__(self, hello: Hello, *, limits: PeerLimits | None = None) -> None:
        self.welcome: Welcome | None = None
        self.dropped = 0
        self._limits = limits or PeerLimits()
        self._purpose = hello.purpose
        self._reader = FrameReader()
        self._out = [frame(frames.encode_hello(hello))]
        self._state = _GREETING
        self._digest = sha256()

    def receive(self, data: bytes) -> None:
        """Take bytes; `next_event` says what they mean."""
        if self._state != _OVER:
            self._reader.feed(data)

    def next_event(self) -> Answer | None:
        """Give the next answer; None until more bytes have come.

        Raises:
            RemoteProtocolError: the listener broke the protocol; close the connection.
        """
        if self._state == _OVER:
            return None
        limits = self._limits
        asks = self._purpose is Purpose.MEMBERS
        try:
            data = self._reader.next(limits.meta_bytes_max if asks else limits.hello_bytes_max)
            if data is None:
                return None
            answer = frames.decode_answer(data, limits)
            self._heard(answer)
        except RemoteProtocolError:
            self._state = _OVER
            raise
        return answer

    def _heard(self, answer: Answer) -> None:
        state = self._state
        match answer:
            case Members() if state == _GREETING and self._purpose is Purpose.MEMBERS:
                self._state = _OVER
            case Welcome() if state == _GREETING and self._purpose is not Purpose.MEMBERS:
                self.welcome = answer
                self._state = _WELCOMED
            case Refused() if state in {_GREETING, _OFFERED, _QUESTIONED}:
                self._state = _OVER
            case Hashed() if state == _QUESTIONED:
                self._state = _OVER
            case Accepted() if state == _OFFERED:
                self._state = _TAKING
            case Installed() if state == _ENDED:
                self._state = _OVER
            case Failed() if state in {_TAKING, _ENDED}:
                self._state = _OVER
            case _:
                raise RemoteProtocolError(f"{type(answer).__name__} has no place here")

    # -- messages -----------------------------------------------------------------------------

    def send(self, messages: Sequence[Numbered]) -> None:
        """Queue messages, gathered into as few frames as their target length allows."""
        assert self._state == _WELCOMED and self._purpose is Purpose.MESSAGES  # noqa: PT018 # one thought
        limits = self._limits
        for gathered in _gather(messages, limits) if len(messages) > 1 else [messages]:
            payload = encode_messages(gathered)
            # Only a message that is alone in its frame can be too long for any. An item takes a
            # byte at least, so short ones need not be counted.
            surely = min(limits.items_max, limits.frame_bytes_max)
            if len(payload) > surely and not _fits(payload, gathered, limits):
                self.dropped += len(gathered)
            else:
                self._out.append(frame(payload))

    # -- a question ---------------------------------------------------------------------------

    def ask_hash(self, asked: HashAsked) -> None:
        """Queue the one question there is on such a connection."""
        assert self._state == _WELCOMED and self._purpose.asks_hash  # noqa: PT018 # one thought
        self._out.append(frame(frames.encode_asked(asked)))
        self._state = _QUESTIONED

    # -- a snapshot ---------------------------------------------------------------------------

    def offer(self, head: SnapshotHead) -> None:
        """Queue the head of the snapshot; rows may come once it is accepted."""
        assert self._state == _WELCOMED and self._purpose is Purpose.SNAPSHOT  # noqa: PT018 # one thought
        payload = frames.encode_head(head)
        self._digest.update(payload)
        self._out.append(frame(payload))
        self._state = _OFFERED

    def send_rows(self, rows: list[Row]) -> None:
        """Queue a piece of the snapshot, as `cut_rows` makes them."""
        assert self._state == _TAKING
        payload = frames.encode_rows(rows)
        self._digest.update(payload)
        self._out.append(frame(payload))

    def end(self) -> None:
        """Queue the end of the snapshot."""
        assert self._state == _TAKING
        self._out.append(frame(frames.encode_digest(self._digest.digest())))
        self._state = _ENDED

    def take(self) -> bytes:
        """Give what is to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        return data


def _fits(payload: bytes, messages: Sequence[Numbered], limits: PeerLimits) -> bool:
    """Say whether a frame of these messages may be sent."""
    items = 1 + sum(item_count(each.message) for each in messages)
    return len(payload) <= limits.frame_bytes_max and items <= limits.items_max


def _gather(messages: Sequence[Numbered], limits: PeerLimits) -> Iterator[list[Numbered]]:
    """Split messages, in order, into what goes into one frame each."""
    gathered: list[Numbered] = []
    size, items = 0, 1
    for message in messages:
        length = message_bytes(message.message)
        count = item_count(message.message)
        full = size + length > limits.frame_bytes_target or items + count > limits.items_max
        if gathered and full:
            yield gathered
            gathered, size, items = [], 0, 1
        gathered.append(message)
        size += length
        items += count
    if gathered:
        yield gathered


def cut_rows(rows: Iterator[Row], limits: PeerLimits) -> Iterator[list[Row]]:
    """Cut the rows of a snapshot into pieces for `PeerDialler.send_rows`."""
    piece: list[Row] = []
    size = 0
    for row in rows:
        length = len(row[0]) + len(row[1]) + limits.row_bytes
        if piece and size + length > limits.rows_bytes_max:
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += length
    if piece:
        yield piece
