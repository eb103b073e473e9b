"""Listening sockets: accept, TLS handshake under a deadline, a bound on strangers.

Until a handshake is done nobody knows who is there, so what a stranger can cost is bounded: at
most `STRANGERS_MAX` connections are in their handshake at a time, shared fairly between addresses
(`trioetcd.transport.strangers`), each has `HANDSHAKE_SECONDS`, and the cryptography runs in two
threads, so that a thousand reconnects cannot hold up a heartbeat. Who shows no certificate stays a
stranger until its first byte.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import trio

from trioetcd.pki import PkiError
from trioetcd.transport.shown import AcceptedSocket, settle
from trioetcd.transport.strangers import (
    STRANGERS_MAX,
    WAITING_MAX,
    Seldom,
    Stranger,
    Strangers,
    origin_of,
)
from trioetcd.transport.streams import ByteStream, InThread, run_in_thread, shake_hands, tls_reason
from trioetcd.transport.tenure import RefusedError, Tenures

__all__ = [
    "HANDSHAKE_SECONDS",
    "STRANGERS_MAX",
    "Accepted",
    "Address",
    "Check",
    "Listener",
    "Network",
    "Rejected",
    "open_sockets",
]

HANDSHAKE_SECONDS: Final = 5.0
"""etcd gives 10 s since GHSA-6vch-q96h-7gc3; a loopback handshake takes 4 ms, a far one 1 s."""

HANDSHAKE_THREADS: Final = 2
"""A mutual-TLS handshake is 1.0 to 1.25 ms of C with the GIL released, on a machine's cores."""

BACKLOG: Final = 1024
"""Connections the kernel keeps for us while we are busy."""

OUT_OF_FILES_SECONDS: Final = 0.1
"""How long to wait for files to be closed when there are none left (trio waits as long)."""

_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a TCP host and port, or a path for a unix socket."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A connection whose handshake is done.

    Attributes:
        stream: its bytes.
        remote: the peer's address for logs.
        alpn: what ALPN agreed on, or None (also without TLS).
        certificate: the verified client certificate in DER, or None.
    """

    stream: ByteStream
    remote: str
    alpn: str | None
    certificate: bytes | None


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
"""Addresses that may come in."""

Check = Callable[[bytes, str], Awaitable[str]]
"""Says why the holder of a verified certificate (DER) at an address is not let in, or nothing."""


class Rejected(Protocol):
    """What is told about connections that did not get in."""

    def __call__(self, remote: str, reason: str, certificate: bytes = b"") -> None:
        """Note one refused connection; the certificate (DER) it showed need not be verified."""


async def open_sockets(address: Address, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bind and listen on every address that `address` names.

    Raises:
        OSError: somebody else listens there, or it is not ours to use.
    """
    if address.path is not None:
        return [_unix_socket(address.path)]
    found = await trio.socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, name in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:
                    continue
                raise
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind(name)
            except OSError as error:
                # A host name such as localhost may have an IPv6 address on a machine without.
                if error.errno == errno.EADDRNOTAVAIL and len(found) > 1:
                    opened.pop().close()
                    continue
                raise
            sock.setblocking(False)
            sock.listen(BACKLOG)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    if not opened:
        raise OSError(errno.EADDRNOTAVAIL, f"no address of {address} can be used here")
    return opened


def _unix_socket(name: str) -> socket.socket:
    path = Path(name)
    if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
        # Left by a process that is gone: connecting tells.
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(name)
            except OSError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, f"somebody listens on {name}")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(name)
        path.chmod(0o600)
        sock.setblocking(False)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts connections on sockets and hands over those that got through the handshake.

    Args:
        sockets: bound and listening, non-blocking; owned by this object.
        context: gives the current TLS context at each accept; None is a plain listener.
        serve: called in a task of its own per connection; the stream is closed after it.
        rejected: told of each connection that did not get in.
        networks: from where connections may come; none means from anywhere. Unix sockets are
            always let in.
        check: asked about each verified certificate.
        strangers_max: connections in their handshake at a time.
        waiting_max: how many more may wait for that.
        handshake_seconds: how long a handshake may take.
        in_thread: runs the cryptography.
        tenures: judges certificates after the handshake, and ends connections whose may not be
            used any more; without it the handshake alone decides.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        *,
        context: Callable[[], ssl.SSLContext] | None,
        serve: Callable[[Accepted], Awaitable[None]],
        rejected: Rejected,
        networks: Sequence[Network] = (),
        check: Check | None = None,
        strangers_max: int = STRANGERS_MAX,
        waiting_max: int = WAITING_MAX,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        in_thread: InThread = run_in_thread,
        tenures: Tenures | None = None,
    ) -> None:
        self._tenures = tenures
        self._sockets = sockets
        self._context = context
        self._serve = serve
        self._rejected = rejected
        self._networks = tuple(networks)
        self._seldom = Seldom()
        self._check = check
        self._handshake_seconds = handshake_seconds
        self._in_thread = in_thread
        self._strangers = Strangers(strangers_max, waiting_max)
        self._threads = trio.CapacityLimiter(HANDSHAKE_THREADS)

    async def run(self, connections: trio.Nursery) -> None:
        """Accept for ever; connections live in `connections`, which outlives the accepting."""
        try:
            async with trio.open_nursery() as nursery:
                for sock in self._sockets:
                    nursery.start_soon(self._accept, sock, connections)
        finally:
            for sock in self._sockets:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def _accept(self, listening: socket.socket, connections: trio.Nursery) -> None:
        while True:
            sock, remote, origin = await self._next(listening)
            connections.start_soon(self._admit, sock, remote, self._strangers.arrive(origin))

    async def _next(self, listening: socket.socket) -> tuple[socket.socket, str, str]:
        """Give the next connection from where it may come, its address, and what shares with it."""
        while True:
            await trio.lowlevel.wait_readable(listening)
            try:
                sock, name = listening.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self._rejected("", f"no connection could be accepted: {error.strerror}")
                    await trio.sleep(OUT_OF_FILES_SECONDS)
                # Anything else is the peer's: it was gone before we came (ECONNABORTED).
                continue
            sock.setblocking(False)
            if sock.family == socket.AF_UNIX:
                return sock, "@", "@"
            remote = f"{name[0]}:{name[1]}"
            if not self._may_come_from(name[0]):
                sock.close()
                self._tell_stray(name[0], remote)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return sock, remote, origin_of(name[0])

    def _may_come_from(self, host: str) -> bool:
        if not self._networks:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in network for network in self._networks)

    def _tell_stray(self, host: str, remote: str) -> None:
        """Say that somebody came from outside of the networks, but not each time."""
        silent = self._seldom.tell(origin_of(host), trio.current_time())
        if silent is not None:
            more = f" ({silent} more since the last line)" if silent else ""
            self._rejected(remote, f"its address is in none of the networks that may come{more}")

    async def _admit(self, sock: socket.socket, remote: str, stranger: Stranger) -> None:
        accepted: Accepted | None = None
        deadline = trio.CancelScope()
        try:
            try:
                with stranger.scope:
                    await stranger.admitted.wait()
                    deadline.deadline = trio.current_time() + self._handshake_seconds
                    with deadline:
                        accepted = await self._meet(sock, remote, stranger)
            finally:
                self._strangers.leave(stranger)
            if accepted is not None:
                await self._serve(accepted)
            elif deadline.cancelled_caught:
                what = "no byte" if self._context is None else "no TLS handshake"
                self._rejected(remote, f"{what} within {self._handshake_seconds:g} s")
            elif stranger.sent_away:
                self._rejected(remote, stranger.sent_away)
        finally:
            if accepted is not None:
                accepted.stream.close()
            else:
                sock.close()

    async def _meet(self, sock: socket.socket, remote: str, stranger: Stranger) -> Accepted | None:
        """Wait for the first byte, and for all of the handshake; None if it is not let in."""
        await trio.lowlevel.wait_readable(sock)
        if self._context is None:
            return Accepted(ByteStream(sock), remote, None, None)
        try:
            secure = self._context().wrap_socket(
                sock,
                server_side=True,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=True,
            )
        except OSError as error:
            self._rejected(remote, _reason_of(error))
            return None
        accepted: Accepted | None = None
        try:
            await shake_hands(secure, self._threads, stranger.busy(self._in_thread))
            accepted = await self._know(secure, remote, stranger)
        except (OSError, RefusedError, PkiError) as error:
            shown = secure.shown if isinstance(secure, AcceptedSocket) else b""
            self._rejected(remote, _reason_of(error), shown)
        finally:
            if accepted is None:
                secure.close()
        return accepted

    async def _know(
        self, secure: ssl.SSLSocket, remote: str, stranger: Stranger
    ) -> Accepted | None:
        """Look at whom the handshake has verified; None if it is not let in."""
        certificate = secure.getpeercert(binary_form=True)
        if secure.session_reused:
            # OpenSSL does so by TLS 1.2, and Python cannot forbid it. A connection that ends
            # without a farewell takes its session with it: the next attempt is a whole handshake.
            self._rejected(remote, "it went on with an old TLS session", certificate or b"")
            return None
        settle(secure)
        if certificate is None:
            await trio.lowlevel.wait_readable(secure)
        elif self._check is not None:
            reason = await self._check(certificate, remote)
            if reason:
                self._rejected(remote, reason, certificate)
                return None
        stream = ByteStream(secure)
        if self._tenures is not None:
            # The last thing: from then on the connection is in the book until its stream closes.
            await self._tenures.admit(
                stream, remote, threads=self._threads, in_thread=stranger.busy(self._in_thread)
            )
        return Accepted(stream, remote, secure.selected_alpn_protocol(), certificate)


def _reason_of(error: OSError | RefusedError | PkiError) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_reason(error, "the client certificate was refused", _REASONS)
    if not isinstance(error, OSError):
        return str(error)
    return error.strerror or "the connection was closed during the TLS handshake"


_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client presented no certificate",
    "HTTP_REQUEST": "the client spoke plain HTTP to a TLS port",
    "WRONG_VERSION_NUMBER": "the client did not speak TLS",
    "UNSUPPORTED_PROTOCOL": "the client's TLS version is too old",
    "NO_SHARED_CIPHER": "client and server share no cipher suite",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not trust this server's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client does not accept this server's certificate",
    "UNEXPECTED_EOF_WHILE_READING": "the client closed the connection during the handshake",
}
