"""What becomes of an admitted connection: ALPN, the preface or the first line decide its protocol.

This is also the one place where an exception of a connection ends: it is the connection's own
trouble, it is logged with its traceback and counted, and the member goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final

import trio

from trioetcd.api.audit import Auditor
from trioetcd.api.router import Router
from trioetcd.frontend.grpc import GrpcConnection
from trioetcd.frontend.http import HttpDoor
from trioetcd.frontend.http1 import Http1Connection
from trioetcd.frontend.websocket import WatchDoor
from trioetcd.pki import Origin, PkiError, identity_of
from trioetcd.ports import BackendError
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.transport.listener import Accepted
from trioetcd.wire import Limits

__all__ = ["Frontend"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

FIRST_BYTES_SECONDS: Final = 10.0
"""Who got through the handshake has this long to say something."""

DRAIN_SECONDS: Final = 1.0
"""How long calls under way may take after the member was told to stop."""

EXPIRY_SECONDS: Final = 0.1
"""How often deadlines of calls are looked at."""


SILENCE_LOOKS: Final = 10
"""Silent clients are looked at so often, at most, in the shorter of the times that they have."""

LOOKS_MAX: Final = 1000
"""So many of them at a time."""


GONE: Final = frozenset({trio.BrokenResourceError, trio.ClosedResourceError})
"""How a connection ends whose client went away."""

NO_HANDLERS: Final = Router({}, {})
"""Where only plain HTTP is served."""


class Frontend:
    """All client connections of one member.

    Args:
        server: the member.
        limits: bounds on what a connection may send.
        origin_allowed: whether a browser's page of this origin may use the member.
        host_allowed: whether plain HTTP without TLS may ask for this host name.
        log: where trouble is told.
        backups: makes those that clients want, if any can be made.
        auditor: takes notes of all changes, if any are to be taken.
    """

    def __init__(
        self,
        server: Server,
        *,
        limits: Limits,
        origin_allowed: Callable[[str], bool],
        host_allowed: Callable[[str], bool] = lambda _: True,
        log: Log,
        backups: Backups | None = None,
        auditor: Auditor | None = None,
    ) -> None:
        self._server = server
        self._limits = limits
        self._host_allowed = host_allowed
        self._log = log
        self._router = Router.of(server, backups, auditor)
        self._door = HttpDoor(server)
        self._watch = WatchDoor(server, origin_allowed=origin_allowed)
        self._connections: set[GrpcConnection] = set()
        self._draining = False

    async def serve(self, accepted: Accepted, *, api: bool = True) -> None:
        """Serve one connection to its end."""
        metrics = self._server.metrics
        stream = accepted.stream
        metrics.trioetcd_connections.value += 1
        try:
            origin = _origin_of(accepted)
            await self._serve(accepted, origin, api=api)
        except PkiError as error:
            self._log.warn(
                "rejected connection on client endpoint",
                **{"remote-addr": accepted.remote, "error": str(error)},
            )
        except Exception as failure:
            kinds = _kinds(failure)
            if any(issubclass(kind, BackendError) for kind in kinds):
                # The disk's trouble is the member's: nothing may be answered any more.
                raise
            if not kinds <= GONE:
                # One connection's trouble, whatever it is, must not become the member's.
                metrics.trioetcd_connection_errors_total.value += 1
                self._log.error(
                    "a connection failed",
                    remote=accepted.remote,
                    traceback=traceback.format_exc(),
                )
        finally:
            metrics.trioetcd_connections.value -= 1
            metrics.network_client_grpc_received_bytes_total.value += stream.received_bytes
            metrics.network_client_grpc_sent_bytes_total.value += stream.sent_bytes

    async def serve_plain(self, accepted: Accepted) -> None:
        """Serve a connection on which there is only plain HTTP, such as /metrics."""
        await self.serve(accepted, api=False)

    async def _serve(self, accepted: Accepted, origin: Origin, *, api: bool) -> None:
        first = b""
        alpn = accepted.alpn
        if alpn in {None, "h2"}:
            with trio.move_on_after(FIRST_BYTES_SECONDS) as silence:
                # "P" may become a preface, a PUT or a POST.
                while len(first) < len(PREFACE) and PREFACE.startswith(first):
                    data = await accepted.stream.receive_some()
                    if not data:
                        return
                    first += data
            if silence.cancelled_caught:
                return
            if alpn is None:
                alpn = "h2" if PREFACE.startswith(first[: len(PREFACE)]) else "http/1.1"
        if alpn == "h2":
            router = self._router if api else NO_HANDLERS
            await self._serve_http2(accepted, origin, first, router)
        else:
            await Http1Connection(
                accepted.stream,
                door=self._door,
                watch=self._watch if api else None,
                limits=self._limits,
                host_allowed=None if accepted.stream.encrypted else self._plain_host_allowed,
                origin=origin,
            ).run(first)

    def _plain_host_allowed(self, host: str) -> bool:
        """Keep out pages whose host name was made to point here (DNS rebinding, CVE-2018-5702)."""
        if self._host_allowed(host):
            return True
        self._log.warn("rejecting HTTP request to prevent DNS rebinding attacks", host=host[:200])
        return False

    async def _serve_http2(
        self, accepted: Accepted, origin: Origin, first: bytes, router: Router
    ) -> None:
        connection = GrpcConnection(
            accepted.stream,
            router=router,
            door=self._door,
            limits=self._limits,
            metrics=self._server.metrics,
            now=self._server.now,
            turns=self._server.driver,
            soon=self._server.cursors.soon,
            origin=origin,
        )
        self._connections.add(connection)
        accepted.stream.on_retire = connection.retire
        accepted.stream.on_expel = connection.expel
        try:
            if self._draining:
                connection.drain()
            await connection.run(first)
        finally:
            self._connections.discard(connection)

    async def run_deadlines(self) -> None:
        """Answer calls whose deadline has passed, and tell the handlers of time, for ever."""
        while True:
            await trio.sleep(EXPIRY_SECONDS)
            now = self._server.now()
            self._router.tick(now)
            for connection in list(self._connections):
                connection.expire(now)

    async def run_keepalive(self) -> None:
        """Ask clients that are silent for too long, for ever (`--grpc-keepalive-interval`)."""
        limits = self._limits
        shorter = min(limits.quiet_seconds_max, limits.ping_answer_seconds_max)
        if shorter <= 0:
            return
        while True:
            await trio.sleep(max(shorter / SILENCE_LOOKS, EXPIRY_SECONDS))
            for at, connection in enumerate(list(self._connections), 1):
                connection.ask_silent(self._server.now())
                if not at % LOOKS_MAX:
                    await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Take no new calls, let those under way finish, for at most `DRAIN_SECONDS`."""
        self._draining = True
        for connection in list(self._connections):
            connection.drain()
        with trio.move_on_after(DRAIN_SECONDS):
            for connection in list(self._connections):
                await connection.wait_idle()
        for connection in list(self._connections):
            connection.close()


def _origin_of(accepted: Accepted) -> Origin:
    """Say who is at the other end of a connection.

    Raises:
        PkiError: the certificate, which TLS was content with, cannot be read.
    """
    der = accepted.certificate
    return Origin(None if der is None else identity_of(der), accepted.remote)


def _kinds(failure: BaseException) -> set[type[BaseException]]:
    """Give the kinds of all exceptions in a group, or of the one."""
    if isinstance(failure, BaseExceptionGroup):
        return {kind for part in failure.exceptions for kind in _kinds(part)}
    return {type(failure)}
