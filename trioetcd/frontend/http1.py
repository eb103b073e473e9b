"""An HTTP/1.1 connection: plain requests to the door, an upgrade of the watch path to WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import trio

from trioetcd.frontend.http import HttpDoor
from trioetcd.frontend.websocket import WATCH_PATH, WatchDoor
from trioetcd.pki import NOWHERE, Origin
from trioetcd.transport.streams import ByteStream, PrefixedStream
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.http1 import Http1Server, Request, Upgrade
from trioetcd.wire.limits import Limits

__all__ = ["Http1Connection"]

IDLE_SECONDS: Final = 30.0
"""How long a request may take to arrive, its answer to be read, a kept connection be silent."""

_TEXT: Final = ("content-type", "text/plain; charset=utf-8")
_OTHER_HOST: Final = b"this host name is not in --host-whitelist\n"


class Http1Connection:
    """One client over HTTP/1.1.

    Args:
        stream: its bytes.
        door: answers plain requests.
        watch: serves WebSockets; None where there are none.
        limits: bounds on what the client may send.
        origin: who the client is.
        host_allowed: whether it may ask for this host name; None lets it ask for any.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        door: HttpDoor,
        watch: WatchDoor | None,
        limits: Limits,
        origin: Origin = NOWHERE,
        host_allowed: Callable[[str], bool] | None = None,
    ) -> None:
        self._origin = origin
        self._stream = stream
        self._door = door
        self._watch = watch
        self._host_allowed = host_allowed
        self._codec = Http1Server(limits=limits)
        self._last = False

    async def run(self, first: bytes = b"") -> None:
        """Serve until the client goes.

        Args:
            first: bytes read already.
        """
        data = first
        self._stream.on_retire = self._retire
        deadline = trio.current_time() + IDLE_SECONDS
        try:
            while not self._codec.closing:
                if not data:
                    with trio.move_on_at(deadline) as silence:
                        data = await self._stream.receive_some()
                    if silence.cancelled_caught:
                        return
                found = self._codec.receive(data)
                data = b""
                while found:
                    event = found.pop(0)
                    if isinstance(event, Upgrade):
                        await self._upgrade(event)
                        return
                    found += self._answer(event)
                    deadline = trio.current_time() + IDLE_SECONDS
                with trio.move_on_at(deadline) as silence:
                    await self._flush()
                if silence.cancelled_caught:
                    return
        except RemoteProtocolError as error:
            await self._stream.send_all(self._codec.take() + error.hint)

    def _retire(self) -> None:
        """Close after the next answer, so that the client comes again."""
        self._last = True

    def _answer(self, request: Request) -> list[Request | Upgrade]:
        if not self._may_ask(request):
            return self._codec.respond(421, [_TEXT], _OTHER_HOST, close=True)
        status, headers, body = self._door.answer(request.method, request.target, request.body)
        return self._codec.respond(status, headers, body, close=self._last)

    def _may_ask(self, request: Request) -> bool:
        """Say whether the request is for a host that is asked for here."""
        if self._host_allowed is None:
            return True
        host = (request.get("host") or b"").decode("latin-1")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = host
        return self._host_allowed(name)

    async def _upgrade(self, upgrade: Upgrade) -> None:
        if not self._may_ask(upgrade.request):
            await self._stream.send_all(_head(421, len(_OTHER_HOST)) + _OTHER_HOST)
            return
        path = urlsplit(upgrade.request.target).path
        if self._watch is None or path != WATCH_PATH:
            body = f"no WebSocket here; watch on {WATCH_PATH}\n".encode()
            await self._stream.send_all(_head(404, len(body)) + body)
            return
        await self._watch.serve(
            PrefixedStream(upgrade.replay, self._stream), self._stream, self._origin
        )

    async def _flush(self) -> None:
        data = self._codec.take()
        if data:
            await self._stream.send_all(data)


def _head(status: int, length: int) -> bytes:
    """Make the head of an answer to an upgrade that does not take place."""
    phrase = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
        status,
        phrase,
        length,
    )
