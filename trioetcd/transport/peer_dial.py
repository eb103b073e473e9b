"""Dialling a peer: TCP, TLS 1.3 with both certificates verified, and noticing that it is gone."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioetcd.pki import PkiError
from trioetcd.transport.listener import HANDSHAKE_THREADS, Address
from trioetcd.transport.peer_check import PeerCheck
from trioetcd.transport.streams import ByteStream, InThread, run_in_thread, shake_hands, tls_reason
from trioetcd.transport.tenure import RefusedError, Tenures
from trioetcd.transport.tls import PEER_ALPN

__all__ = ["Connect", "DialError", "TlsDialler", "connect_tcp", "notice_death", "reason_of"]

_PROBES: Final = 2

Connect = Callable[[Address], Awaitable[socket.socket]]
"""Gives a connected socket that does not block, or raises OSError."""


class DialError(Exception):
    """There is no connection to a peer; the sentence says why."""


class TlsDialler:
    """Dials peers with the credentials of the moment.

    Args:
        context: gives the current TLS context at each attempt.
        silence_seconds: how long data may stay unacknowledged, or an idle peer unheard, before
            the kernel gives the connection up.
        check: judges the certificate that is shown there; by default its usages.
        connect: makes the connection beneath.
        in_thread: runs the cryptography.
        tenures: judges the peer's certificate after the handshake, and ends the connection when
            it may not be used any more; without it the handshake alone decides.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        silence_seconds: float,
        check: PeerCheck | None = None,
        connect: Connect | None = None,
        in_thread: InThread = run_in_thread,
        tenures: Tenures | None = None,
    ) -> None:
        self._tenures = tenures
        self._context = context
        self._silence_seconds = silence_seconds
        self._judge = check or PeerCheck()
        self._connect = connect or connect_tcp
        self._in_thread = in_thread
        self._threads = trio.CapacityLimiter(HANDSHAKE_THREADS)

    async def dial(self, address: Address) -> ByteStream:
        """Connect and shake hands; the peer's certificate must name the host that was dialled.

        Raises:
            DialError: nobody listens there, or not the right one.
        """
        try:
            sock = await self._connect(address)
        except OSError as error:
            raise DialError(f"{address}: {reason_of(error)}") from None
        try:
            notice_death(sock, self._silence_seconds)
            secure = self._context().wrap_socket(
                sock,
                server_hostname=address.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=True,
            )
        except OSError as error:  # it was gone before anything was said
            sock.close()
            raise DialError(f"{address}: {reason_of(error)}") from None
        stream = ByteStream(secure)
        try:
            await shake_hands(secure, self._threads, self._in_thread)
            self._check(secure)
            if self._tenures is not None:
                await self._tenures.admit(
                    stream, str(address), threads=self._threads, in_thread=self._in_thread
                )
        except OSError as error:
            stream.close()
            raise DialError(f"{address}: {reason_of(error)}") from None
        except (PkiError, RefusedError, DialError) as error:
            stream.close()
            raise DialError(f"{address}: {error}") from None
        except BaseException:
            stream.close()
            raise
        return stream

    def _check(self, secure: ssl.SSLSocket) -> None:
        certificate = secure.getpeercert(binary_form=True)
        assert certificate is not None, "a server always shows one"
        # One CA may sign members and listeners for clients; the latter are no members.
        refusal = self._judge.refusal(certificate)
        if refusal:
            raise DialError(f"what listens there is no member: {refusal}")
        if secure.selected_alpn_protocol() not in PEER_ALPN:
            raise DialError("what listens there does not speak the protocol of members")


async def connect_tcp(address: Address) -> socket.socket:
    """Give a connected socket that does not block.

    Raises:
        OSError: nobody listens there.
    """
    opened = await trio.open_tcp_stream(address.host, address.port)
    sock = socket.socket(fileno=opened.socket.detach())
    sock.setblocking(False)  # the new object believes otherwise
    return sock


def notice_death(sock: socket.socket, seconds: float) -> None:
    """Let the kernel end a connection whose other side has been silent for `seconds`.

    Data that waits for an acknowledgement counts from its first transmission (TCP_USER_TIMEOUT);
    where nothing is sent, the kernel asks by itself (keep-alive).

    Raises:
        OSError: the connection is broken already.
    """
    if sock.family == socket.AF_UNIX:
        return  # both ends are on this machine: the kernel knows at once
    whole = max(1, round(seconds))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, whole)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, whole)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))


def reason_of(error: OSError) -> str:
    """Say in a few words why there is no connection."""
    if isinstance(error, ssl.SSLError):
        return tls_reason(error, "the certificate shown there was refused", _REASONS)
    # open_tcp_stream says that all attempts failed, and why in a group; or adds the address
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    failure = cause if isinstance(cause, OSError) else error
    if not isinstance(failure, socket.gaierror) and failure.errno:
        return os.strerror(failure.errno)
    return failure.strerror or "the connection was closed during the handshake"


_REASONS: Final = {
    "WRONG_VERSION_NUMBER": "what listens there does not speak TLS",
    "TLSV1_ALERT_PROTOCOL_VERSION": "what listens there does not speak TLS 1.3",
    "TLSV1_ALERT_UNKNOWN_CA": "the member there does not trust this member's certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the member there asks for a certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the member there does not accept this member's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "this member's certificate has ended",
    "UNEXPECTED_EOF_WHILE_READING": "the connection was closed during the handshake",
}
