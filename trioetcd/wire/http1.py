"""HTTP/1.1 for a server of small requests, on h11: bytes in, requests out; answers in, bytes out.

The JSON gateway, health and metrics, and the head of a WebSocket upgrade, which is only recognised
here: its bytes are handed over to be read again by a WebSocket library. One request at a time;
a client that sends the next one early is not read until this one is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import h11

from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import Limits

__all__ = ["Http1Server", "Request", "Upgrade"]

_BODILESS: Final = frozenset({204, 304})


class Request(NamedTuple):
    """A whole request; header names are lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, bytes], ...]
    body: bytes

    def get(self, name: str) -> bytes | None:
        """Give the first header called `name` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Upgrade(NamedTuple):
    """A request to speak another protocol.

    Attributes:
        request: its head; there is no body.
        replay: every byte received since its first one, for whoever takes the connection over.
    """

    request: Request
    replay: bytes


class Http1Server:
    """One HTTP/1.1 connection.

    Attributes:
        closing: the answer that was given is the last one: write, then close.
        upgraded: the connection belongs to another protocol now.
    """

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.closing = False
        self.upgraded = False
        self._h11 = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.limits.http1_head_bytes_max
        )
        self._out: list[bytes] = []
        self._raw = bytearray()  # bytes of a head, until it is known not to be an upgrade
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._waiting = b""  # the beginning of the next request, while this one is answered
        self._busy = False
        self._bodiless = False

    # -- receiving ----------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Request | Upgrade]:
        """Take bytes from the client (none: it closed its side); give at most one request.

        Raises:
            RemoteProtocolError: write what `take` gives, then the error's hint; then close.
        """
        if self.closing or self.upgraded:
            return []
        if self._busy:
            self._waiting += data
            if len(self._waiting) > self.limits.http1_head_bytes_max:
                raise self._farewell(400, "too much was sent before the answer")
            return []
        if self._head is None:
            self._raw += data  # h11 bounds it: it refuses a head that is too large
        try:
            self._h11.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            raise self._farewell(error.error_status_hint, str(error)) from None

    def _read(self) -> list[Request | Upgrade]:
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                found = self._on_head(event)
                if found is not None:
                    return [found]
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self.limits.body_bytes_max:
                    raise self._farewell(413, "the request's body is too large")
            elif isinstance(event, h11.EndOfMessage):
                return [self._on_end()]
            elif isinstance(event, h11.ConnectionClosed):
                self.closing = True
                return []
            else:  # NEED_DATA; PAUSED cannot be, for nothing is read while a request is answered
                if self._h11.they_are_waiting_for_100_continue:
                    self._go_ahead()
                return []

    def _on_head(self, head: h11.Request) -> Upgrade | None:
        self._head = head
        raw, self._raw = self._raw, bytearray()
        names = dict(head.headers)
        # Any other protocol but WebSocket may be ignored, and is (RFC 9110 section 7.8).
        asked = b"upgrade" in names.get(b"connection", b"").lower()
        if asked and names.get(b"upgrade", b"").lower() == b"websocket":
            self.upgraded = True
            return Upgrade(_request(head, b""), bytes(raw))
        if head.method == b"CONNECT":
            raise self._farewell(501, "no tunnels here")
        expect = names.get(b"expect")
        if expect is not None and expect.lower() != b"100-continue":
            raise self._farewell(417, "an expectation nobody knows")
        length = names.get(b"content-length")
        if length is not None and int(length) > self.limits.body_bytes_max:
            raise self._farewell(413, "the request's body is too large")
        return None

    def _go_ahead(self) -> None:
        answer = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        self._out.append(self._h11.send(answer) or b"")

    def _on_end(self) -> Request:
        head = self._head
        assert head is not None, "a message's end comes after its head"
        body = bytes(self._body)
        self._body = bytearray()
        self._busy = True
        self._bodiless = head.method == b"HEAD"
        return _request(head, body)

    def _farewell(self, status: int, text: str) -> RemoteProtocolError:
        self.closing = True
        body = text.encode("utf-8", "replace") + b"\n"
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return RemoteProtocolError(text, code=status)
        hint = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n" % (
            status,
            _reason(status),
        )
        hint += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        return RemoteProtocolError(text, code=status, hint=hint + body)

    # -- answering ----------------------------------------------------------------------------

    def respond(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, *, close: bool = False
    ) -> list[Request | Upgrade]:
        """Answer the request; give the next one if it has arrived whole already.

        Raises:
            RemoteProtocolError: the next one is garbage; as `receive`.
        """
        self.begin_response(
            status,
            [
                *(pair for pair in headers if pair[0].lower() != "content-length"),
                *([] if status in _BODILESS else [("Content-Length", str(len(body)))]),
            ],
            close=close,
        )
        if not self._bodiless and status not in _BODILESS:
            self.send_body(body)
        return self.finish_response()

    def begin_response(
        self, status: int, headers: Sequence[tuple[str, str]], *, close: bool = False
    ) -> None:
        """Begin an answer in pieces; without Content-Length it is chunked (streams)."""
        assert self._busy, "an answer needs a request"
        fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        if close:
            fields.append((b"Connection", b"close"))
        self._out.append(
            self._h11.send(h11.Response(status_code=status, headers=fields, reason=_reason(status)))
            or b""
        )

    def send_body(self, data: bytes) -> None:
        """Send a piece of the answer's body."""
        if data and not self._bodiless:
            self._out.append(self._h11.send(h11.Data(data=data)) or b"")

    def finish_response(self) -> list[Request | Upgrade]:
        """End the answer; give the next request if it has arrived whole already.

        Raises:
            RemoteProtocolError: the next one is garbage; as `receive`.
        """
        self._out.append(self._h11.send(h11.EndOfMessage()) or b"")
        self._busy = False
        self._head = None
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            self.closing = True
            return []
        # What h11 has read beyond the request is the next one's; it keeps it across the cycle.
        self._raw = bytearray(self._h11.trailing_data[0])
        self._h11.start_next_cycle()
        waiting, self._waiting = self._waiting, b""
        if not waiting and not self._raw:
            return []
        if waiting:
            return self.receive(waiting)
        try:
            return self._read()
        except h11.RemoteProtocolError as error:
            raise self._farewell(error.error_status_hint, str(error)) from None

    def take(self) -> bytes:
        """Give what is to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        return data


def _request(head: h11.Request, body: bytes) -> Request:
    return Request(
        head.method.decode("ascii"),
        head.target.decode("latin-1"),
        tuple((name.decode("ascii"), value) for name, value in head.headers),
        body,
    )


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""
