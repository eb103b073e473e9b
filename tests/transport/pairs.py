"""Connected sockets in every kind, and the certificates of the secured ones."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

from trioetcd import pki
from trioetcd.pki import Bundle, CertifiedKey, Profile, Role
from trioetcd.transport import tls
from trioetcd.transport.streams import ByteStream

NOW = datetime.now(UTC)  # contexts verify against the clock of the machine
PROFILE = Profile()
HOSTS = ("localhost", "127.0.0.1", "::1")


@cache
def authority(name: str) -> CertifiedKey:
    """Give the certificate authority of a name, the same one at every call."""
    return pki.create_authority(name, now=NOW, profile=PROFILE)


@cache
def bundle(role: Role, ca: str = "client") -> Bundle:
    pair = pki.issue(authority(ca), role, "name", hosts=HOSTS, now=NOW, profile=PROFILE)
    return pki.verify(role, chain=pair.certificate, key=pair.key, now=NOW)


@cache
def server_context() -> ssl.SSLContext:
    """Make the context of a listener that asks for certificates of the CA `client`."""
    return tls.client_listener_context(bundle(Role.SERVER), trust=authority("client").certificate)


def client_context(*, ca: str | None = "client", alpn: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
    """Make the context of a client with a certificate of a CA, or without any."""
    return tls.client_context(
        trust=authority("client").certificate,
        bundle=None if ca is None else bundle(Role.CLIENT, ca),
        alpn=alpn,
    )


def plain_sockets(*, buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Give two connected sockets, non-blocking, the kernel's buffers as small as asked for."""
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return pair


def secure_sockets(*, buffer: int | None = None) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Give a server's and a client's socket whose handshake is done."""
    above, below = plain_sockets(buffer=buffer)
    server = server_context().wrap_socket(above, server_side=True, do_handshake_on_connect=False)
    client = client_context().wrap_socket(
        below,
        server_hostname="localhost",
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
    )
    waiting = [client, server]
    for _ in range(20):
        left = []
        for side in waiting:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                left.append(side)
        waiting = left
    assert not waiting, "the handshake made no progress"
    return server, client


KINDS = {"plain": plain_sockets, "tls": secure_sockets}


@contextmanager
def streams(kind: str, *, buffer: int | None = None) -> Iterator[tuple[ByteStream, ByteStream]]:
    """Give two connected streams, and close them in the end."""
    one, two = KINDS[kind](buffer=buffer)
    above, below = ByteStream(one), ByteStream(two)
    try:
        yield above, below
    finally:
        above.close()
        below.close()
