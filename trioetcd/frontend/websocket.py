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
from typing import Final, NamedTuple

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from trioetcd.api.guard import Guard
from trioetcd.errors import HTTP_STATUS, WATCH_CANCELED, Code, ErrorRow, EtcdError
from trioetcd.mvcc import WatchSession
from trioetcd.pki import Origin
from trioetcd.runtime.server import Server
from trioetcd.schema import messages, protojson
from trioetcd.transport.streams import ByteStream

__all__ = ["WATCH_PATH", "WatchDoor"]

WATCH_PATH: Final = "/v3/watch"

BEARER: Final = "Bearer"
"""The word before a token, also where browsers can say it: as the name of a sub-protocol."""

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
        self._guard = Guard(server)
        self._origin_allowed = origin_allowed

    async def serve(self, stream: trio.abc.Stream, below: ByteStream, origin: Origin) -> None:
        """Serve one connection.

        Args:
            stream: what comes on it, the upgrade request first.
            below: the same without that, as it is told when its certificate's time is over.
            origin: who is at its other end.
        """
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(UPGRADE_SECONDS):
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                page = _header(request.headers, b"origin")
                if page is None or self._origin_allowed(page):
                    shown = request.proposed_subprotocols[:1] == (BEARER,)
                    connection = await request.accept(subprotocol=BEARER if shown else None)
                    watch = _SocketWatch(
                        connection, _Metadata(origin, _token(request)), self._guard
                    )
                    nursery.start_soon(self._watch, watch, below, nursery.cancel_scope)
                    return
                await request.reject(403, body=b"this origin is not in --cors\n")
            nursery.cancel_scope.cancel()

    async def _watch(self, watch: _SocketWatch, below: ByteStream, scope: trio.CancelScope) -> None:
        guard, connection, metadata = self._guard, watch.connection, watch.metadata
        farewell = _Farewell()
        below.on_retire = farewell.retire
        below.on_expel = farewell.expel
        try:
            try:
                with farewell.scope:
                    await guard.settle(metadata)
                    await self._server.watch(watch, guard.permit(metadata))
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


class _Metadata(NamedTuple):
    """What an upgrade says of who watches (`api.context.Metadata`)."""

    origin: Origin
    token: bytes | None

    def get(self, name: str, /) -> bytes | None:
        return self.token if name == "token" else None


def _token(request: WebSocketRequest) -> bytes | None:
    """Give the token that is shown with an upgrade, None without one."""
    found = _header(request.headers, b"authorization")
    if found is None and request.proposed_subprotocols[:1] == (BEARER,):
        found = next(iter(request.proposed_subprotocols[1:]), "")
    if found is None:
        cookies = _header(request.headers, b"cookie") or ""
        pairs = (each.strip().partition("=") for each in cookies.split(";"))
        found = next((value for name, _, value in pairs if name == "token"), None)
    return None if found is None else found.encode("latin-1")


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


class _SocketWatch:
    """A watch stream whose messages are JSON (`runtime.watch_feed.WatchStream`)."""

    def __init__(self, connection: WebSocketConnection, metadata: _Metadata, guard: Guard) -> None:
        self.connection = connection
        self.metadata = metadata
        self._guard = guard
        self._text = ""
        self._decoder = json.JSONDecoder()
        self.prompt = None  # frames are sent by a task

    async def next(self, session: WatchSession) -> bool:
        """Take the requests of the next frame to the session."""
        try:
            frame = await self.connection.get_message()
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
            await self._guard.settle_watch(self.metadata, request)
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
            await self.connection.send_message(f'{{"result":{protojson.to_json(response)}}}')

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
        await self.connection.send_message(json.dumps({"error": error}, separators=(",", ":")))
