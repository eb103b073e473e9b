"""The connection-level half of HTTP/2: settings, pings, windows, resets, farewells, budgets.

RFC 9113 sections 5.1, 5.4, 6.3 to 6.9. Everything that is not a stream's head or body, and the
reaction to each broken rule: a stream error costs the peer a stream, a connection error the
connection. Heads and bodies are `http2`'s.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from trioetcd.wire import frames
from trioetcd.wire.abuse import NoiseBudget, PingPolicy, ResetBudget, Silence
from trioetcd.wire.limits import Limits
from trioetcd.wire.outbox import Outbox, Stream

__all__ = ["BODY", "FAREWELL", "HEAD", "RESET", "BrokenRuleError", "Event", "Link"]

HEAD, BODY, RESET, FAREWELL = range(4)

Event = tuple[int, Any, Any, bool]
"""Kind, stream, value, end. Any: the kind says what they are (see `http2`)."""

_UINT: Final = Struct(">I").unpack
_SETTING: Final = Struct(">HI").iter_unpack
_ID_MASK: Final = 0x7FFFFFFF
_FRAME_MAX: Final = 2**24 - 1
_PING_DRAIN: Final = b"draining"


class BrokenRuleError(Exception):
    """A connection error: the connection is lost; `http2` catches it and says goodbye."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Link(Outbox):
    """One side of an HTTP/2 connection, without heads and bodies.

    Attributes:
        remote_streams_max: how many streams the peer lets us open.
        last_stream: the highest stream the peer opened (server) or we opened (client).
        closing: GOAWAY is on its way or was received: no new streams.
        announcing: the last GOAWAY, which names the last stream, waits for a round trip.
        finished_calls: calls answered since the last reset; each pays for one reset.
    """

    def __init__(self, *, client: bool, limits: Limits) -> None:
        super().__init__(client=client, limits=limits)
        self.remote_streams_max = 2**31
        self.last_stream = -1 if client else 0
        self.closing = False
        self.announcing = False
        self.finished_calls = 0
        self._now = 0.0
        self._events: list[Event] = []
        self._initial_send_window = 65_535
        self._gaps: list[tuple[int, int]] = []  # streams the peer skipped: never opened
        self._pings_asked = 0  # ours, not yet acknowledged: such an answer is no noise
        self._final_stream: int | None = None  # after the last GOAWAY: newer streams are ignored
        self._resets = ResetBudget(limits)
        self._noise = NoiseBudget(limits)
        self._pings = PingPolicy(limits)
        self._silence = Silence(limits)

    # -- ends of streams ----------------------------------------------------------------------

    def _stream_error(self, stream: Stream, code: int) -> None:
        """The peer broke a stream's rules: it loses the stream, and that counts as its reset."""
        self.reset(stream, code)
        self._count_reset()
        self._events.append((RESET, stream, code, True))

    def _refuse(self, number: int, code: int) -> None:
        """Reset a stream that never came to be."""
        self.reset(Stream(number, None, 0, 0), code)
        self._count_reset()

    def _on_reset(self, payload: bytes, _flags: int, number: int) -> None:
        if len(payload) != 4:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "RST_STREAM has four octets")
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number) and not self._ignored(number):
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            self._count_noise()
            return
        self.forget(stream)
        self._events.append((RESET, stream, _UINT(payload)[0], True))
        self._count_reset()

    def _is_idle(self, number: int) -> bool:
        """Whether nobody has opened this stream yet, or nobody ever can."""
        if number == 0 or number > self.last_stream or not number & 1:
            return True
        return any(low <= number <= high for low, high in self._gaps)

    def _ignored(self, number: int) -> bool:
        return self._final_stream is not None and number > self._final_stream

    # -- budgets ------------------------------------------------------------------------------

    def _count_reset(self) -> None:
        self._count_control()
        if self.client:
            return
        self._resets.earned = self.finished_calls
        self.finished_calls = 0
        if not self._resets.spend(self._now):
            raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "too many cancelled streams")

    def _count_noise(self) -> None:
        noise = self._noise
        noise.level += 1
        if noise.level <= noise.bound or noise.forgive(self._now):
            return
        noise.level -= self.paid * self.limits.noise_credit
        self.paid = 0
        if noise.level > noise.bound:
            raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "too many frames of no use")

    def _count_control(self) -> None:
        """One more answer nobody asked the layer above for."""
        self.control_pending += 1
        if self.control_pending > self.limits.control_frames_pending_max:
            raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "answers pile up unread")

    # -- the connection -----------------------------------------------------------------------

    def _check_dependency(self, payload: bytes, number: int) -> None:
        """A stream cannot depend on itself; all else about priority is ignored."""
        if _UINT(payload[:4])[0] & _ID_MASK == number:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "a stream depends on itself")

    def _on_priority(self, payload: bytes, _flags: int, number: int) -> None:
        if number == 0:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "PRIORITY has five octets")
        self._check_dependency(payload, number)
        self._count_noise()

    def _on_push_promise(self, _payload: bytes, _flags: int, _number: int) -> None:
        raise BrokenRuleError(frames.PROTOCOL_ERROR, "PUSH_PROMISE was not agreed on")

    def _on_settings(self, payload: bytes, flags: int, number: int) -> None:
        if number:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._count_noise()
        if flags & frames.FLAG_ACK:
            if payload:
                raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "an acknowledgement is empty")
            return
        if len(payload) % 6:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "SETTINGS has six octets an entry")
        for name, value in _SETTING(payload):
            self._apply_setting(name, value)
        self.out.append(frames.SETTINGS_ACK)
        self._count_control()

    def _apply_setting(self, name: int, value: int) -> None:
        if name == 0x1:
            if value < 4096:
                self.table_reset = b"\x20"  # our blocks use no table: it may as well be empty
        elif name == 0x2:
            if value > (0 if self.client else 1):
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "ENABLE_PUSH out of range")
        elif name == 0x3:
            self.remote_streams_max = value
        elif name == 0x4:
            self._resize_windows(value)
        elif name == 0x5:
            if not 16_384 <= value <= _FRAME_MAX:
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
            self.frame_bytes_max = min(value, 65_536)  # longer frames gain nothing

    def _resize_windows(self, value: int) -> None:
        """Apply INITIAL_WINDOW_SIZE to the streams that are open (section 6.9.2)."""
        if value > frames.WINDOW_MAX:
            raise BrokenRuleError(frames.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE out of range")
        change = value - self._initial_send_window
        self._initial_send_window = value
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.WINDOW_MAX:
                raise BrokenRuleError(frames.FLOW_CONTROL_ERROR, "a window above 2^31 - 1")
            self.window_opened(stream)

    def _on_ping(self, payload: bytes, flags: int, number: int) -> None:
        if number:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "PING has eight octets")
        if flags & frames.FLAG_ACK:
            if self._pings_asked:
                self._pings_asked -= 1
            else:
                self._count_noise()
            if payload == _PING_DRAIN and self.closing and self._final_stream is None:
                self._final_stream = self.last_stream
                self.announcing = False
                self.out.append(frames.goaway_frame(self.last_stream, frames.NO_ERROR))
            return
        self._count_noise()
        self.out.append(frames.ping_frame(payload, ack=True))
        self._count_control()
        if not self.client:
            self._pings.sent = self._pings.sent or self.sent
            self.sent = False
            if not self._pings.ping(self._now, open_streams=len(self.streams)):
                raise BrokenRuleError(frames.ENHANCE_YOUR_CALM, "too_many_pings")

    def _on_goaway(self, payload: bytes, _flags: int, number: int) -> None:
        if number:
            raise BrokenRuleError(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "GOAWAY has eight octets")
        last, code = _UINT(payload[:4])[0] & _ID_MASK, _UINT(payload[4:8])[0]
        self._count_noise()
        if self.client:
            self.closing = True
        self._events.append((FAREWELL, None, (last, code), False))

    def _on_window_update(self, payload: bytes, _flags: int, number: int) -> None:
        if len(payload) != 4:
            raise BrokenRuleError(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four octets")
        increment = _UINT(payload)[0] & _ID_MASK
        self._count_noise()
        if number == 0:
            if increment == 0:
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self.send_window += increment
            if self.send_window > frames.WINDOW_MAX:
                raise BrokenRuleError(frames.FLOW_CONTROL_ERROR, "a window above 2^31 - 1")
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number) and not self._ignored(number):
                raise BrokenRuleError(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        stream.send_window += increment
        if increment == 0:
            self._stream_error(stream, frames.PROTOCOL_ERROR)
        elif stream.send_window > frames.WINDOW_MAX:
            self._stream_error(stream, frames.FLOW_CONTROL_ERROR)
        else:
            self.window_opened(stream)

    def ping(self) -> None:
        """Ask whether the peer lives; any bytes it sends are the answer."""
        self._pings_asked += 1
        self.out.append(frames.ping_frame(b"trioetcd", ack=False))

    def lives(self, now: float) -> bool:
        """Ask a peer that has been silent for too long (a PING); False if it does not answer.

        To be called now and then; the moments decide how exactly the time is kept.
        """
        if self._silence.is_too_long(self._now, now):
            self.ping()
        return not self._silence.is_final(now)

    def goaway(self) -> None:
        """Say that no new streams are taken; open ones go on (section 6.8).

        A server first announces it with the highest identifier and names the last stream only
        after a round trip, so that no call under way is lost.
        """
        if self.closing:
            return
        self.closing = True
        if self.client:
            self.out.append(frames.goaway_frame(0, frames.NO_ERROR))
            return
        self.announcing = True
        self.out.append(frames.goaway_frame(frames.STREAM_ID_MAX, frames.NO_ERROR))
        self._pings_asked += 1
        self.out.append(frames.ping_frame(_PING_DRAIN, ack=False))
