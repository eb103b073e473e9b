"""An HTTP/1.1 connection: plain requests to the door, an upgrade of the watch path to WebSocket."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import trio

from trioetcd.frontend.http import HttpDoor
from trioetcd.frontend.websocket import WATCH_PATH, WatchDoor
from trioetcd.transport.streams import ByteStream, PrefixedStream
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.http1 import Http1Server, Request, Upgrade
from trioetcd.wire.limits import Limits

__all__ = ["Http1Connection"]

IDLE_SECONDS: Final = 30.0
"""How long a request may take to arrive, its answer to be read, a kept connection be silent."""


class Http1Connection:
    """One client over HTTP/1.1.

    Args:
        stream: its bytes.
        door: answers plain requests.
        watch: serves WebSockets; None where there are none.
        limits: bounds on what the client may send.
    """

    def __init__(
        self, stream: ByteStream, *, door: HttpDoor, watch: WatchDoor | None, limits: Limits
    ) -> None:
        self._stream = stream
        self._door = door
        self._watch = watch
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
        status, headers, body = self._door.answer(request.method, request.target, request.body)
        return self._codec.respond(status, headers, body, close=self._last)

    async def _upgrade(self, upgrade: Upgrade) -> None:
        path = urlsplit(upgrade.request.target).path
        if self._watch is None or path != WATCH_PATH:
            body = f"no WebSocket here; watch on {WATCH_PATH}\n".encode()
            head = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            await self._stream.send_all(head % len(body) + body)
            return
        await self._watch.serve(PrefixedStream(upgrade.replay, self._stream), self._stream)

    async def _flush(self) -> None:
        data = self._codec.take()
        if data:
            await self._stream.send_all(data)
