"""The certificate that a client shows, also when the handshake fails for it.

OpenSSL forgets a certificate that it refuses, and Python's `ssl` gives out only one that it has
accepted. Whoever has to mend a client wants to know which of its certificates has ended, so the
handshake's messages are listened to: `ssl` has a callback for that. It is Python's own, made to
look into connections, and has been there since 3.8; where it is missing, the log lines name no
subject. It costs a call for each record, so it ends with the handshake (`settle`). Set on the class
below `ssl.SSLContext`, it gets numbers; `ssl` would make enumerations of them, and a handshake
cost a quarter more.

What is seen here is not verified. It goes into log lines and nowhere else.
"""

from __future__ import annotations

import ssl
from functools import cache
from typing import Final

__all__ = ["AcceptedSocket", "remember_shown", "settle"]

_CALLBACK: Final = getattr(ssl.SSLContext.__base__, "_msg_callback", None)
_HANDSHAKE: Final = 22
_CERTIFICATE: Final = 11
_LENGTH: Final = 3
_HEADER: Final = 1 + _LENGTH


class AcceptedSocket(ssl.SSLSocket):
    """A socket of a context that `remember_shown` was called for.

    Attributes:
        shown: the first certificate that the other side has sent (DER); empty before.
    """

    shown = b""


def remember_shown(context: ssl.SSLContext) -> None:
    """Let sockets of a listener's context remember what they are shown."""
    context.sslsocket_class = AcceptedSocket
    if _CALLBACK is not None:
        _CALLBACK.__set__(context, _look)


def settle(secure: ssl.SSLSocket) -> None:
    """Stop looking: the handshake is done."""
    secure.context = _silent_context()


@cache
def _silent_context() -> ssl.SSLContext:
    # What a connection keeps using of its context after the handshake is the callback alone.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _look(
    secure: object, direction: str, _version: int, content: int, message: int, data: bytes
) -> None:
    sent = content == _HANDSHAKE and message == _CERTIFICATE and direction == "read"
    if sent and isinstance(secure, AcceptedSocket):
        secure.shown = _first(data)


def _first(message: bytes) -> bytes:
    """Give the first certificate of a message: RFC 5246, 7.4.2, or RFC 8446, 4.4.2."""
    body = message[_HEADER:]
    if int.from_bytes(body[:_LENGTH]) != len(body) - _LENGTH:
        body = body[1 + body[0] :] if body else body  # TLS 1.3 has a context in front
    size = int.from_bytes(body[_LENGTH : 2 * _LENGTH])
    return body[2 * _LENGTH : 2 * _LENGTH + size]
