"""The certificates that a listener shows to whoever dials it; nothing about them is believed."""

from __future__ import annotations

import re
import socket
import ssl
import sys
from typing import Final

from trioetcd import pki
from trioetcd.pki import PkiError
from trioetcd.transport.tls import CLIENT_ALPN, PEER_ALPN

__all__ = ["fetch_chain", "read_endpoint"]

_SECONDS: Final = 5.0
_FORM: Final = re.compile(r"(?:https://)?(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})/?")


def read_endpoint(text: str) -> tuple[str, int] | None:
    """Give the host and port that ``host:port`` or an URL names; None if it names none."""
    match = _FORM.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        return None
    return match[1] or match[2], int(match[3])


def fetch_chain(host: str, port: int) -> tuple[bytes, ...]:
    """Give the certificates (PEM) that a listener sends in a handshake, its own first.

    Works for listeners that require a certificate of the client too: in TLS 1.3 they show their
    own before they ask.

    Raises:
        PkiError: nobody answers there, or not in TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is shown, not trusted
    context.set_alpn_protocols([*CLIENT_ALPN, *PEER_ALPN])
    where = f"{host}:{port}"
    try:
        with (
            socket.create_connection((host, port), timeout=_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            chain = _sent(secured)
    except ssl.SSLError as error:
        raise PkiError(
            f"{where} ended the handshake ({error.reason or error}); is TLS spoken there?"
        ) from None
    except OSError as error:
        raise PkiError(f"{where}: {error.strerror or error}; is a member running there?") from None
    return tuple(pki.to_pem(der, f"what {where} shows") for der in chain)


def _sent(secured: ssl.SSLSocket) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return [bytes(der) for der in secured.get_unverified_chain()]
    # Before 3.13 the standard library has this for itself; the leaf alone is public.
    inner = getattr(secured, "_sslobj", None)
    if inner is not None and hasattr(inner, "get_unverified_chain"):
        return [
            ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in inner.get_unverified_chain()
        ]
    der = secured.getpeercert(binary_form=True)
    return [der] if der else []
