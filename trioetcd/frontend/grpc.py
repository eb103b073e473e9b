"""An HTTP/2 connection: gRPC calls to handlers, answers back, all of a turn in one write.

Unary calls are values: the reader decodes every call that has arrived and runs its handler on
the spot; answers that are ready go out at the end of the reader's turn, answers that wait for
the disk at the end of the driver's. Only streams (watch, keep-alive) have tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Final

import trio

from trioetcd.api.context import StreamHandler
from trioetcd.api.router import Router
from trioetcd.errors import DEADLINE_EXCEEDED, STOPPED, WATCH_CANCELED, Code, EtcdError, unread
from trioetcd.frontend.call_stream import CallStream
from trioetcd.frontend.http import HttpDoor
from trioetcd.frontend.turns import Turns
from trioetcd.pki import NOWHERE, Origin
from trioetcd.runtime.metrics import MethodCalls, Metrics
from trioetcd.schema import messages
from trioetcd.transport.streams import ByteStream
from trioetcd.wire import GrpcServer, Head, Limits, RemoteProtocolError, grpc
from trioetcd.wire.grpc import ServerEvent

__all__ = ["GrpcConnection"]

TURN_SECONDS: Final = 0.002
"""How long a connection's reads may take before others have their turn."""

MOVING_SECONDS: Final = 2.0
"""A client that is to come again has so long to close this connection once it is idle."""

_OK: Final = Code.OK  # looking up a member of an enumeration is a call in Python 3.11


class GrpcConnection:
    """One client over HTTP/2.

    Args:
        stream: its bytes.
        router: the handlers.
        door: answers plain HTTP requests.
        limits: bounds on what it may send.
        metrics: where calls are counted.
        now: monotonic seconds.
        turns: the member's turns.
        soon: calls what writes the next part of a large answer, when it is its turn.
        origin: who the client is.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        router: Router,
        door: HttpDoor,
        limits: Limits,
        metrics: Metrics,
        now: Callable[[], float],
        turns: Turns,
        soon: Callable[[Callable[[], None]], None],
        origin: Origin = NOWHERE,
    ) -> None:
        self._origin = origin
        self._stream = stream
        self._router = router
        self._door = door
        self._metrics = metrics
        self._now = now
        self._turns = turns
        self._soon = soon
        self._going_on = False
        self._sent_bytes = 0
        self._owing = False
        self._rest: list[ServerEvent] = []
        self._output_bytes_max = limits.output_bytes_max
        self._codec = GrpcServer(streaming=router.announced, limits=limits, note=self._note)
        # With more than this behind its window a stream waits until it is told of as drained.
        self.backlog_bytes_max = limits.backlog_high_bytes
        self._streams: dict[int, CallStream] = {}
        self._deadlines: dict[int, float] = {}
        self._parked = trio.Event()
        self._unparked = trio.Event()
        self._settled = trio.Event()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._calls: dict[int, MethodCalls | None] = {}
        self._draining = self._moving = self._expelled = self._ended = False

    def _note(self, head: Head) -> object:
        """See a list of headers for the first time."""
        head.origin = self._origin
        return self._router.note(head)

    # As a Sink

    def answer(self, call: int, response: bytes, /) -> None:
        """Queue the answer of a unary call."""
        self._codec.answer(call, response)
        self._finished(call, _OK)

    def answer_pieces(self, call: int, pieces: list[bytes], /) -> None:
        """Queue a large answer."""
        self._codec.answer_pieces(call, pieces)
        self._finished(call, _OK)

    def fail(self, call: int, error: Exception, /) -> None:
        """Queue an error as the answer."""
        assert isinstance(error, EtcdError), error
        self._codec.fail(call, error.code, error.text)
        self._finished(call, error.code)

    def is_open(self, call: int, /) -> bool:
        """Whether the client still waits for `call`."""
        return call in self._calls

    def is_full(self) -> bool:
        """Whether the client has left more unread than it should be given."""
        return self._codec.pending > self._output_bytes_max

    def flush(self) -> None:
        """Write what is queued; a broken connection ends itself."""
        stream = self._stream
        if stream.parked_bytes:
            # What the kernel would not take goes first; the codec keeps the rest till then.
            return
        codec = self._codec
        try:
            if (codec.out or codec.ready) and (data := codec.take()):
                if not stream.send_nowait(data):
                    self._parked.set()
                elif codec.ready and not self._going_on:
                    # Who reads as fast as it is written to must not hold up the others.
                    self._going_on = True
                    self._soon(self._go_on)
            if self._streams:
                self._tell_drained()
            if not self._calls:
                self._settled.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def _go_on(self) -> None:
        self._going_on = False
        self.flush()

    def _tell_drained(self) -> None:
        """Let streams go on whose backlog was cut down by the writes of this turn."""
        for call in self._codec.pop_drained():
            stream = self._streams.get(call)
            if stream is not None:
                stream.drained.set()

    def _finished(self, call: int, code: Code) -> None:
        calls = self._calls.pop(call, None)
        if calls is not None:
            calls.handled[code] += 1
            if self._deadlines:
                self._deadlines.pop(call, None)

    # Running

    async def run(self, first: bytes = b"") -> None:
        """Serve until the client goes or the connection is drained.

        Args:
            first: bytes read already.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._write)
                    self.flush()
                    # A task of its own: what lies beneath is not gone through at every wake-up.
                    nursery.start_soon(self._read, first)
        finally:
            # Nobody waits any more: long reads for this client end, and so does a drain.
            for call in list(self._calls):
                self._finished(call, Code.CANCELLED)
            self._ended = True
            self._settled.set()

    async def _read(self, first: bytes) -> None:
        """Serve what comes until the client goes; that ends the connection."""
        stream = self._stream
        data: bytes | None = first
        if not first:
            await stream.wait_readable()
            data = stream.receive_nowait()
        with suppress(trio.BrokenResourceError):
            while data != b"":
                if data is not None and not self._turn(data):
                    break
                while self._rest:
                    await trio.lowlevel.checkpoint()
                    self._serve(self._rest, self._now())
                if self._owing and self._turns.crowded:
                    self._owing = False
                    self._turns.flush_later(self.flush)
                elif self._owing:
                    # A PING alone: the call it announces is usually right behind it (grpc-go
                    # measures the line so), and then one write does for both.
                    await trio.lowlevel.checkpoint()
                    data = stream.receive_nowait()
                    if data is not None:
                        continue
                    self._owing = False
                    self.flush()
                if stream.parked_bytes:
                    await self.wait_unparked()
                await stream.wait_readable()
                data = stream.receive_nowait()
        self._scope.cancel()

    async def _write(self) -> None:
        stream = self._stream
        try:
            while True:
                await self._parked.wait()
                await stream.wait_sent()
                self._parked = trio.Event()
                self.flush()
                self._unparked.set()
                self._unparked = trio.Event()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def _turn(self, data: bytes) -> bool:
        """Serve everything in `data`; False if the connection must close."""
        if self._expelled:
            return True  # nothing that it says counts any more
        now = self._now()
        try:
            events = self._codec.receive(data, now)
        except RemoteProtocolError:
            self._metrics.trioetcd_protocol_errors_total.value += 1
            self.flush()
            return False
        if not events and not self._owing:
            self._owing = bool(self._codec.out or self._codec.ready)
            return self._goes_on()
        self._owing = False
        self._serve(events, now)
        return self._goes_on()

    def _goes_on(self) -> bool:
        if self._moving or not self._codec.finished:
            return True
        self.flush()  # without the last GOAWAY a client does not know which calls do not count
        return False

    def _serve(self, events: list[ServerEvent], now: float) -> None:
        """Run the handlers of a turn's events, and leave the rest to the next one when it is long.

        Reads are done on the spot, so a flood of large ones must not become one long turn.
        """
        waiting = False
        unary = self._router.unary
        counted = self._calls
        methods = self._metrics.calls
        left = iter(events)
        self._rest = []
        overdue = perf_counter() + TURN_SECONDS
        for event in left:
            if event[0] != grpc.CALL:
                self._other(event)
                continue
            _, call, head, message = event
            handler = unary.get(head.path)
            counted[call] = calls = methods.get(head.path)
            if calls is not None:
                calls.started += 1
            if head.note is not None and (refusal := head.note.refusal()) is not None:
                self.fail(call, refusal)
                continue
            if handler is None:
                self._other_call(call, head, message)
                continue
            if self._codec.pending > self._output_bytes_max:
                self.fail(call, unread())
                continue
            try:
                answer = handler(self, call, head, message)
            except EtcdError as error:
                if self._router.ask_again(self, call, head, head.path, message, error):
                    waiting = True
                else:
                    self.fail(call, self._router.refusal(head.path, message, error))
            except messages.DecodeError:
                self._malformed(call)
            else:
                if answer is None:
                    waiting = True
                    if head.timeout is not None:
                        self._deadlines[call] = now + head.timeout
                elif isinstance(answer, bytes):
                    self.answer(call, answer)
                else:
                    self.answer_pieces(call, answer)
            if perf_counter() > overdue:
                self._rest = list(left)
                break
        if not waiting or len(events) > 1:
            self._turns.not_alone()
        if waiting:
            # With the turn: it knows whether the disk or what is to be written comes first.
            self._turns.flush_later(self.flush)
        else:
            self.flush()

    def _malformed(self, call: int) -> None:
        self._codec.fail(call, Code.INTERNAL, "grpc: the request message could not be decoded")
        self._finished(call, Code.INTERNAL)

    def _other_call(self, call: int, head: Head, message: bytes) -> None:
        """Serve a call that came whole but is no unary one we have."""
        handler = self._router.streams.get(head.path)
        if handler is None:
            self.fail(call, self._router.unknown(head.path))
            return
        stream = self._open(call, head, handler)
        stream.deliver(message)
        stream.half_close()

    def _other(self, event: ServerEvent) -> None:
        kind, call = event[:2]
        assert isinstance(call, int)
        stream = self._streams.get(call)
        match kind:
            case grpc.OPENED:
                head = event[2]
                assert isinstance(head, Head)
                self._calls[call] = calls = self._metrics.calls.get(head.path)
                if calls is not None:
                    calls.started += 1
                self._open(call, head, self._router.streams[head.path])
            case grpc.MESSAGE if stream is not None:
                message = event[2]
                assert isinstance(message, bytes)
                stream.deliver(message)
            case grpc.HALF_CLOSED if stream is not None:
                stream.half_close()
            case grpc.DRAINED if stream is not None:
                stream.drained.set()
            case grpc.CANCELLED:
                if stream is not None:
                    stream.scope.cancel()
                self._finished(call, Code.CANCELLED)
            case grpc.REQUEST:
                head, body = event[2], event[3]
                assert isinstance(head, Head)
                assert isinstance(body, bytes)
                status, headers, content = self._door.answer(head.method, head.path, body)
                self._codec.respond(call, status, headers, content)
            case _:
                pass

    def expire(self, now: float) -> None:
        """Answer the calls whose deadline has passed (their commands go on)."""
        if not self._deadlines:
            return
        passed = [call for call, deadline in self._deadlines.items() if deadline <= now]
        for call in passed:
            self.fail(call, EtcdError(DEADLINE_EXCEEDED))
        if passed:
            self.flush()

    def ask_silent(self, now: float) -> None:
        """Ask a client that has been silent for long whether it lives, or give it up.

        Who takes what is written, however slowly, lives: what it says is not read meanwhile.
        """
        before, self._sent_bytes = self._sent_bytes, self._stream.sent_bytes
        if self._stream.parked_bytes and self._sent_bytes > before:
            return
        if self._codec.lives(now):
            self.flush()
        else:
            self.close()

    def drain(self, *, moving: bool = False) -> None:
        """Tell the client that no new calls are taken, and end the streams.

        If it is only `moving` to a new connection, those that end by themselves may do so.
        """
        self._draining, self._moving = True, moving
        self._codec.goaway()
        for stream in self._streams.values():
            if not (self._moving and stream.finite):
                stream.stop()
        self.flush()

    def retire(self) -> None:
        """Have the client come again: watches end, and it takes them to the new connection."""
        if self._draining or self._expelled or self._nursery is None or self._ended:
            return
        self.drain(moving=True)
        self._nursery.start_soon(self._close_when_idle)

    async def _close_when_idle(self) -> None:
        await self.wait_idle()
        await trio.sleep(MOVING_SECONDS)
        await self.wait_idle()
        self.close()

    def expel(self) -> None:
        """Take nothing from the client any more, and end its streams so that it stays away.

        A cancelled watch is not opened again; whoever calls this cuts the connection off soon.
        """
        self._expelled = True
        self._rest = []
        self._codec.goaway()
        for call, stream in list(self._streams.items()):
            self._codec.fail(call, WATCH_CANCELED.code, WATCH_CANCELED.text)
            self._finished(call, WATCH_CANCELED.code)
            stream.scope.cancel()
        self.flush()

    async def wait_unparked(self) -> None:
        """Wait while the kernel does not take what is written: the client reads too slowly."""
        while self._stream.parked_bytes:
            await self._unparked.wait()

    async def wait_idle(self) -> None:
        """Wait until nobody waits for an answer and everything is written."""
        codec = self._codec
        stream = self._stream
        while not self._ended and (codec.open_streams or stream.parked_bytes or codec.announcing):
            self._settled = trio.Event()
            await self._settled.wait()

    def close(self) -> None:
        """End the connection now."""
        self._scope.cancel()

    # Streams

    def _open(self, call: int, head: Head, handler: StreamHandler) -> CallStream:
        self._streams[call] = stream = CallStream(self, call, finite=self._router.ends(head.path))
        if self._draining and not (self._moving and stream.finite):
            stream.stop()  # it was on its way when the client was told
        assert self._nursery is not None
        self._nursery.start_soon(self._serve_stream, stream, head, handler)
        return stream

    async def _serve_stream(self, stream: CallStream, head: Head, handler: StreamHandler) -> None:
        call = stream.call
        code, text = Code.OK, ""
        try:
            with stream.scope:
                try:
                    timeout = math.inf if head.timeout is None else head.timeout
                    with trio.move_on_after(timeout) as deadline:
                        await handler(head, stream)
                    if deadline.cancelled_caught:
                        code, text = DEADLINE_EXCEEDED.code, DEADLINE_EXCEEDED.text
                except EtcdError as error:
                    code, text = error.code, error.text
                except messages.DecodeError:
                    code = Code.INTERNAL
                    text = "grpc: the request message could not be decoded"
            if stream.stopped:
                code, text = STOPPED.code, STOPPED.text
        finally:
            del self._streams[call]
        if stream.scope.cancelled_caught and not stream.stopped:
            return
        if code is Code.OK:
            self._codec.finish(call)
        else:
            self._codec.fail(call, code, text)
        self._finished(call, code)
        self.flush()

    def hold(self, call: int) -> None:
        """Give the client no more window on a stream."""
        self._codec.hold(call)

    def release(self, call: int) -> None:
        """Let the client go on."""
        self._codec.release(call)
        self.flush()

    def has_room(self, call: int) -> bool:
        """Whether nothing of a stream waits to be sent, and the kernel takes what is written."""
        return not self._stream.parked_bytes and not self._codec.backlog(call)

    def send_framed(self, call: int, framed: bytes) -> int:
        """Queue messages of a stream and write them; gives the bytes behind its window."""
        self._codec.send_messages(call, framed)
        self.flush()
        return self._codec.backlog(call)
