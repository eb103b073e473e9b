"""The way to one peer: dial, say hello, send what Raft wants sent, again and again.

`PeerLink.send` never waits. While the connection takes bytes they are written at once, in the
caller's turn and in one piece; what it does not take waits in a bounded outbox. A connection that
cannot be made, or breaks, costs what was queued for it and is told once (`unreachable`): Raft
sends again what matters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import trio

from trioetcd.ports import Entropy
from trioetcd.transport.listener import Address
from trioetcd.transport.peer_dial import DialError, reason_of
from trioetcd.transport.peer_outbox import PeerOutbox
from trioetcd.transport.streams import ByteStream
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Answer, Hello, Numbered, PeerDialler, Refused, Welcome

__all__ = [
    "BACKOFF_SECONDS_MAX",
    "BACKOFF_SECONDS_MIN",
    "Dial",
    "PeerLink",
    "PeerLinkOwner",
    "PeerRefusedError",
    "ask",
    "connect",
    "greet",
]

BACKOFF_SECONDS_MIN: Final = 0.05
"""The first pause after a failure, about; half a heartbeat."""

BACKOFF_SECONDS_MAX: Final = 1.0
"""The longest pause, about: a member that comes back is found within an election timeout."""

STEADY_SECONDS: Final = 1.0
"""A connection that lasted so long was a good one: the next pause is the first one again."""

DIAL_SECONDS: Final = 2.0
"""For TCP, TLS and the hello together: five round trips of 400 ms."""

WRITE_SECONDS: Final = 5.0
"""A peer that takes no byte for so long is given up (etcd: --raft-write-timeout)."""

RENEWAL_SECONDS: Final = 1.0
"""After how long a new connection is tried again, while the old one is good enough."""

FLUSH_BYTES: Final = 1024 * 1024
"""At most about so much is handed to the socket at a time."""


Dial = Callable[[Address], Awaitable[ByteStream]]
"""Connects to a peer, TCP and TLS, or raises `DialError`."""


class PeerRefusedError(DialError):
    """The peer answered the hello, and does not want this member.

    Attributes:
        code: one of `trioetcd.wire.peer.Refusal`, or one of a later version.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class _BrokenLinkError(Exception):
    """The connection is of no use any more; the sentence says why."""


class PeerLinkOwner(Protocol):
    """Who is told how a link fares."""

    def connected(self, address: Address, welcome: Welcome) -> None:
        """The peer welcomed this member."""

    def unreachable(self) -> None:
        """A connection broke or could not be made; told once for each."""

    def troubled(self, reason: str) -> None:
        """Why there is no connection; told when that changes, not at every attempt."""

    def refused(self, code: str) -> None:
        """The peer does not want this member; told at every refusal."""

    def sent(self, count: int) -> None:
        """So many bytes left."""

    def lost(self, count: int) -> None:
        """So many messages will not leave."""

    def too_long(self) -> None:
        """Some of them never could: they are longer than a frame may be."""


class PeerLink:
    """Sends messages to one peer.

    Attributes:
        active: whether there is a connection on which the peer welcomed this member.

    Args:
        dial: connects to an address: TCP and TLS.
        hello: the first frame of every connection.
        addresses: where the peer may be reached, tried in turn.
        entropy: for the jitter of the pauses.
        owner: told of everything.
        limits: bounds of the protocol.
        dial_seconds: for each attempt to connect.
        write_seconds: how long the peer may take no byte.
        outbox: where messages wait.
    """

    def __init__(
        self,
        dial: Dial,
        hello: Hello,
        addresses: Sequence[Address],
        *,
        entropy: Entropy,
        owner: PeerLinkOwner,
        limits: PeerLimits,
        dial_seconds: float = DIAL_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        outbox: PeerOutbox | None = None,
    ) -> None:
        self.active = False
        self._dial = dial
        self._hello = hello
        self._addresses = tuple(addresses)
        self._entropy = entropy
        self._owner = owner
        self._limits = limits
        self._dial_seconds = dial_seconds
        self._write_seconds = write_seconds
        self._outbox = PeerOutbox() if outbox is None else outbox
        self._dialler = PeerDialler(hello, limits=limits)
        self._stream: ByteStream | None = None
        self._more = trio.Event()
        self._attempt = trio.CancelScope()
        self._pausing = trio.CancelScope()
        self._renewal = trio.Event()
        self._next: ByteStream | None = None
        self._moved = False
        self._turn = 0
        self._failures = 0
        self._since: float | None = None
        self._reason = ""
        self._lost = 0
        self._long = 0

    def send(self, messages: Sequence[Numbered]) -> None:
        """Send messages, now if the connection takes them, or as soon as it does."""
        stream = self._stream
        outbox = self._outbox
        idle = stream is not None and not stream.parked_bytes
        alone = idle and len(messages) == 1 and not outbox.waiting
        if not alone:  # one alone, as nearly always, waits for nothing
            outbox.put(messages)
        if stream is not None and idle:
            try:
                self._write(stream, messages if alone else outbox.take(FLUSH_BYTES))
            except trio.BrokenResourceError:
                return  # the reader meets the same end, says why, and what was lost
            if stream.parked_bytes or outbox.waiting:
                self._more.set()
        if not alone or self._dialler.dropped:
            self._tell_lost()

    def reconnect(self, addresses: Sequence[Address] | None = None) -> None:
        """Dial anew at once: the peer's `addresses` have changed."""
        if addresses is not None:
            self._addresses = tuple(addresses)
            self._turn = 0
        self._failures = 0
        self._drop_next()
        self._attempt.cancel()

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def renew(self) -> None:
        """Move to a connection made with the credentials of now, without losing a message.

        TCP and TLS are done beside the connection in use; then this one is written to its end and
        closed by both sides, and only then the new one says hello.
        """
        self._renewal.set()

    def hasten(self) -> None:
        """End the pause between two attempts, if there is one: the peer has shown that it lives."""
        self._pausing.cancel()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the peer may be reached."""
        return self._addresses

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        try:
            await self._keep()
        finally:
            self._drop_next()

    async def _keep(self) -> None:
        while True:
            self._attempt = trio.CancelScope()
            with self._attempt:
                await self._try()
                if self._next is not None:
                    continue
                with trio.CancelScope() as self._pausing:
                    await trio.sleep(self._pause())

    async def _try(self) -> None:
        """Make one connection and use it to its end."""
        self._since = None
        self._moved = False
        reason = "the connection was dropped to make a new one"
        try:
            reason = await self._use_one()
        finally:
            self._stream = None
            self.active = False
            if not self._moved:
                self._outbox.clear()
                self._tell_lost()
                self._owner.unreachable()
            since = self._since
            steady = since is not None and trio.current_time() - since >= STEADY_SECONDS
            self._failures = 1 if steady else self._failures + 1
        if not self._moved and reason != self._reason:
            self._reason = reason
            self._owner.troubled(reason)

    async def _use_one(self) -> str:
        """Connect to the address whose turn it is; give the reason why that ended."""
        if not self._addresses:
            return "it has told no address"
        address = self._addresses[self._turn % len(self._addresses)]
        stream, self._next = self._next, None
        try:
            with trio.move_on_after(self._dial_seconds) as deadline:
                if stream is None:
                    stream = await self._dial(address)
                self._dialler = PeerDialler(self._hello, limits=self._limits)
                welcome = await greet(stream, self._dialler, address)
            if deadline.cancelled_caught or stream is None:
                self._turn += 1
                return f"{address}: no answer within {self._dial_seconds:g} s"
            self._reason = ""
            self._owner.connected(address, welcome)
            return f"{address}: {await self._serve(stream)}"
        except DialError as error:
            self._turn += 1
            if isinstance(error, PeerRefusedError):
                self._owner.refused(error.code)
            return str(error)
        finally:
            if stream is not None:
                stream.close()

    def _pause(self) -> float:
        """Give the seconds to wait: they double with each failure, give or take a third."""
        pause = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(self._failures - 1, 10))
        return pause * (2 / 3 + self._entropy.bits(16) / 2**16 * 2 / 3)

    def _tell_lost(self) -> None:
        if self._dialler.dropped:
            self._long += self._dialler.dropped
            self._dialler.dropped = 0
            self._owner.too_long()
        lost = self._outbox.dropped + self._long
        if lost != self._lost:
            self._owner.lost(lost - self._lost)
            self._lost = lost

    # -- a live connection --------------------------------------------------------------------

    async def _serve(self, stream: ByteStream) -> str:
        """Write what is sent until the connection ends; give the reason."""
        self._stream = stream
        self._since = trio.current_time()
        self.active = True
        self._more = trio.Event()
        self._more.set()
        self._renewal = trio.Event()
        # Also when the peer's certificate may not be used any more: it may have a new one. If it
        # has not, the connection is cut off soon.
        stream.on_retire = stream.on_expel = self.renew
        reason = ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, stream)
                nursery.start_soon(self._renew)
                await self._listen(stream)
        except* (_BrokenLinkError, RemoteProtocolError, trio.BrokenResourceError) as group:
            failure: BaseException = group
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            reason = str(failure)
        return reason

    async def _listen(self, stream: ByteStream) -> None:
        """Wait for the end: a listener that has welcomed us says nothing more."""
        while True:
            data = await stream.receive_some()
            if not data:
                self._moved = self._next is not None
                raise _BrokenLinkError("the peer closed the connection")
            self._dialler.receive(data)
            self._dialler.next_event()

    async def _pump(self, stream: ByteStream) -> None:
        """Write on when the connection takes bytes again."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            # What waits while the connection is renewed goes out on the next one.
            while stream.parked_bytes or (self._stream is stream and self._outbox.waiting):
                with trio.move_on_after(self._write_seconds) as silence:
                    await stream.wait_send_all_might_not_block()
                if silence.cancelled_caught:
                    raise _BrokenLinkError(f"the peer took nothing for {self._write_seconds:g} s")
                self._flush(stream)
            self._tell_lost()
            if self._stream is not stream:
                stream.end()
                return

    async def _renew(self) -> None:
        """Replace the connection when asked to; if that fails, try again later."""
        while True:
            await self._renewal.wait()
            address = self._addresses[self._turn % len(self._addresses)]
            fresh: ByteStream | None = None
            with trio.move_on_after(self._dial_seconds), suppress(DialError):
                fresh = await self._dial(address)
            if fresh is not None:
                break
            await trio.sleep(RENEWAL_SECONDS)
        self._next = fresh
        self._stream = None
        self._more.set()
        # The pump writes the rest and says that this is all; the peer closes, and `_listen` meets
        # that.
        await trio.sleep(self._write_seconds)
        raise _BrokenLinkError("the peer did not close the connection")

    def _flush(self, stream: ByteStream) -> None:
        """Write what is parked, or what waits, in one piece."""
        self._write(stream, () if stream.parked_bytes else self._outbox.take(FLUSH_BYTES))

    def _write(self, stream: ByteStream, messages: Sequence[Numbered]) -> None:
        before = stream.sent_bytes
        if messages:
            self._dialler.send(messages)
        try:
            stream.send_nowait(self._dialler.take())
        finally:
            self._owner.sent(stream.sent_bytes - before)


async def connect(dial: Dial, dialler: PeerDialler, address: Address) -> ByteStream:
    """Dial a peer, say hello and be welcomed; the caller closes the stream.

    Raises:
        DialError: what `ask` raises, or it took longer than `DIAL_SECONDS`.
    """
    stream: ByteStream | None = None
    try:
        with trio.fail_after(DIAL_SECONDS):
            stream = await dial(address)
            await greet(stream, dialler, address)
    except trio.TooSlowError:
        if stream is not None:
            stream.close()
        raise DialError(f"{address}: no answer within {DIAL_SECONDS:g} s") from None
    except BaseException:
        if stream is not None:
            stream.close()
        raise
    return stream


async def greet(stream: ByteStream, dialler: PeerDialler, address: Address) -> Welcome:
    """Say hello and wait for the welcome; raises what `ask` does."""
    answer = await ask(stream, dialler, address)
    assert isinstance(answer, Welcome), "nothing else has a place there"
    return answer


async def ask(stream: ByteStream, dialler: PeerDialler, address: Address) -> Answer:
    """Say hello, whatever it is for, and wait for the answer, which is no refusal.

    Raises:
        PeerRefusedError: the listener does not agree with the hello.
        DialError: the connection broke, or what listens there is no peer.
    """
    try:
        await stream.send_all(dialler.take())
        answer: Answer | None = None
        while answer is None:
            data = await stream.receive_some()
            if not data:
                raise DialError(f"{address}: the connection was closed instead of an answer")
            dialler.receive(data)
            answer = dialler.next_event()
    except trio.BrokenResourceError as error:
        # With TLS 1.3 a listener's verdict on our certificate arrives only now.
        cause = error.__cause__
        reason = reason_of(cause) if isinstance(cause, OSError) else str(error)
        raise DialError(f"{address}: {reason}") from None
    except RemoteProtocolError as error:
        raise DialError(f"{address}: {error}") from None
    if isinstance(answer, Refused):
        raise PeerRefusedError(answer.code, f"{address}: refused: {answer.reason}")
    return answer
