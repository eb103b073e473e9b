"""Watch over WebSocket on /v3/watch, in etcd's JSON dialect.

The client's frames, text or binary, are one stream of JSON objects: several in a frame and one
over several frames both work, as with etcd. Each answer is one text frame,
``{"result": {...}}``. Unlike etcd's, garbage is answered with an error and close code 1007, the
end is a proper close frame, and a page of a foreign origin is refused, because a browser adds
the user's client certificate to whatever page asks (docs/divergences.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from trioetcd.errors import HTTP_STATUS, WATCH_CANCELED, Code, ErrorRow, EtcdError
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.server import Server
from trioetcd.schema import messages, protojson
from trioetcd.transport.streams import ByteStream

__all__ = ["WATCH_PATH", "WatchDoor"]

WATCH_PATH: Final = "/v3/watch"

UPGRADE_SECONDS: Final = 10.0
"""How long the handshake may take."""

BUFFER_BYTES_MAX: Final = 1 << 20
"""An object that is still incomplete after this much is garbage."""

FAREWELL_SECONDS: Final = 0.8
"""For the close frame, which a client may be too slow to take."""

NORMAL_CLOSURE: Final = 1000
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
SERVICE_RESTART: Final = 1012

_CUT_TOKEN: Final = re.compile(
    r"\s*|t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\.|[eE][+-]?|\\?u[0-9a-fA-F]{0,4}"
)
"""What is left of a JSON text at its first error, if a frame ended within a token."""


class _GarbageError(Exception):
    """What the client sent is no JSON of ours."""


class WatchDoor:
    """Serves watches over WebSocket.

    Args:
        server: the member.
        origin_allowed: whether a browser's page of this origin may watch.
    """

    def __init__(self, server: Server, *, origin_allowed: Callable[[str], bool]) -> None:
        self._server = server
        self._origin_allowed = origin_allowed

    async def serve(self, stream: trio.abc.Stream, below: ByteStream) -> None:
        """Serve one connection.

        Args:
            stream: what comes on it, the upgrade request first.
            below: the same without that, as it is told when its certificate's time is over.
        """
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(UPGRADE_SECONDS):
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                origin = _header(request.headers, b"origin")
                if origin is None or self._origin_allowed(origin):
                    connection = await request.accept()
                    nursery.start_soon(self._watch, connection, below, nursery.cancel_scope)
                    return
                await request.reject(403, body=b"this origin is not in --cors\n")
            nursery.cancel_scope.cancel()

    async def _watch(
        self, connection: WebSocketConnection, below: ByteStream, scope: trio.CancelScope
    ) -> None:
        watch = _SocketWatch(connection)
        farewell = _Farewell()
        below.on_retire = farewell.retire
        below.on_expel = farewell.expel
        try:
            try:
                with farewell.scope:
                    await self._server.watch(watch)
                with trio.move_on_after(FAREWELL_SECONDS):
                    if farewell.error is not None:
                        await watch.send_error(farewell.error.code, farewell.error.text)
                    await connection.aclose(code=farewell.code, reason=farewell.reason)
            except EtcdError as error:
                await watch.send_error(error.code, error.text)
            except _GarbageError as error:
                await watch.send_error(Code.INVALID_ARGUMENT, str(error))
                await connection.aclose(code=INVALID_DATA, reason="not a watch request")
            await connection.aclose()
        except ConnectionClosed:
            pass
        scope.cancel()


class _Farewell:
    """How a watch ends: of itself, or because the client is to come again, or not to."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.code, self.reason = NORMAL_CLOSURE, ""
        self.error: ErrorRow | None = None

    def retire(self) -> None:
        self.code, self.reason = SERVICE_RESTART, "certificates have changed; connect again"
        self.scope.cancel()

    def expel(self) -> None:
        self.code, self.reason = POLICY_VIOLATION, "the certificate may not be used any more"
        self.error = WATCH_CANCELED
        self.scope.cancel()


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


class _SocketWatch:
    """A watch stream whose messages are JSON (`runtime.watch_feed.WatchStream`)."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._text = ""
        self._decoder = json.JSONDecoder()

    async def next(self, session: WatchSession) -> bool:
        """Take the requests of the next frame to the session."""
        try:
            frame = await self._connection.get_message()
        except ConnectionClosed:
            return False
        try:
            text = frame if isinstance(frame, str) else bytes(frame).decode()
        except UnicodeDecodeError as error:
            raise _GarbageError("a frame is not UTF-8") from error
        self._text += text
        while (found := self._object()) is not None:
            try:
                request = protojson.from_json(messages.WatchRequest, found.encode())
            except ValueError as error:
                raise _GarbageError(str(error)) from error
            session.handle(request)
        return True

    def _object(self) -> str | None:
        """Cut the next whole object off the buffer; None if it is not complete yet."""
        self._text = self._text.lstrip()
        if not self._text:
            return None
        try:
            _, end = self._decoder.raw_decode(self._text)
        except json.JSONDecodeError as error:
            rest = self._text[error.pos :]
            incomplete = "Unterminated" in error.msg or _CUT_TOKEN.fullmatch(rest) is not None
            if incomplete and len(self._text) <= BUFFER_BYTES_MAX:
                return None
            raise _GarbageError(f"invalid JSON: {error.msg} at character {error.pos}") from error
        except RecursionError as error:
            raise _GarbageError("JSON nested too deeply") from error
        found, self._text = self._text[:end], self._text[end:]
        return found

    async def send(self, answers: list[bytes], /) -> None:
        """Send WatchResponses, a frame each."""
        for answer in answers:
            response = messages.WatchResponse.FromString(answer)
            await self._connection.send_message(f'{{"result":{protojson.to_json(response)}}}')

    async def send_error(self, code: Code, text: str) -> None:
        """Send the error that ends the stream, in a shape old and new gateways' clients read."""
        status = HTTP_STATUS[code]
        error = {
            "grpc_code": code,
            "code": code,
            "http_code": status,
            "http_status": "Bad Request",
            "message": text,
            "details": [],
        }
        await self._connection.send_message(json.dumps({"error": error}, separators=(",", ":")))
