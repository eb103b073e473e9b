"""From verified certificates to `ssl.SSLContext`: which versions, suites and checks.

Contexts are made whole and never changed afterwards: trust can be added to a live context, but
not taken away. What is verified in memory is what is loaded: no file is read twice.

NIST SP 800-52r2 and Mozilla's *intermediate* list for clients; TLS 1.3 alone between members.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Final

from trioetcd.pki import Bundle
from trioetcd.transport.shown import remember_shown

__all__ = [
    "CIPHER_SUITES",
    "CLIENT_ALPN",
    "PEER_ALPN",
    "client_context",
    "client_listener_context",
    "peer_dialer_context",
    "peer_listener_context",
    "select_suites",
    "unverified_context",
]

CLIENT_ALPN: Final = ("h2", "http/1.1")
"""What the client listener speaks, its preference first; gRPC refuses TLS without ALPN."""

PEER_ALPN: Final = ("trioetcd-peer",)
"""What members speak with each other."""

CIPHER_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""TLS 1.2 suites with forward secrecy and authenticated encryption: IANA and Go's names."""

_TLS13_SUITES: Final = frozenset(
    {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    }
)
_WEAK_SUITES: Final = frozenset(
    {
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_RSA_WITH_RC4_128_SHA",
    }
)
_VERSIONS: Final = {
    "TLS1.2": ssl.TLSVersion.TLSv1_2,
    "TLS1.3": ssl.TLSVersion.TLSv1_3,
    "": ssl.TLSVersion.MAXIMUM_SUPPORTED,
}


def select_suites(names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Turn the names of --cipher-suites into OpenSSL's list.

    Args:
        names: Go's or IANA's names; none means every good one.

    Returns:
        OpenSSL's list, and those names that were left out because they are weak.

    Raises:
        ValueError: an unknown name, or nothing good is left.
    """
    chosen: list[str] = []
    weak: list[str] = []
    for name in names or tuple(CIPHER_SUITES):
        if name in CIPHER_SUITES:
            chosen.append(CIPHER_SUITES[name])
        elif name in _WEAK_SUITES:
            weak.append(name)
        elif name not in _TLS13_SUITES:  # those are always on; naming them does no harm
            raise ValueError(f"unexpected TLS cipher suite {name!r}")
    if not chosen:
        good = ", ".join(sorted(CIPHER_SUITES)[:2])
        raise ValueError(f"none of the cipher suites is good enough for TLS 1.2; add {good}")
    return ":".join(dict.fromkeys(chosen)), tuple(weak)


def client_listener_context(
    bundle: Bundle,
    *,
    trust: bytes | None,
    suites: str = "",
    version_min: str = "TLS1.2",
    version_max: str = "",
    optional: bool = False,
) -> ssl.SSLContext:
    """Make the client listener's context.

    Args:
        bundle: the server's certificate.
        trust: PEM of the clients' CAs: whoever has no certificate of theirs is turned away.
            None lets everybody in.
        suites: what `select_suites` gave.
        version_min: ``TLS1.2`` or ``TLS1.3``.
        version_max: likewise; empty is the newest there is.
        optional: whether those are let in, too, who show no certificate; a wrong one is refused.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, bundle)
    context.minimum_version = _VERSIONS[version_min]
    context.maximum_version = _VERSIONS[version_max]
    context.set_ciphers(suites or select_suites(())[0])
    context.set_alpn_protocols(list(CLIENT_ALPN))
    _ask_for_certificates(context, trust, optional=optional)
    return context


def peer_listener_context(bundle: Bundle, *, trust: bytes) -> ssl.SSLContext:
    """Make the peer listener's context: TLS 1.3, certificates required."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(PEER_ALPN))
    _ask_for_certificates(context, trust)
    return context


def peer_dialer_context(bundle: Bundle, *, trust: bytes) -> ssl.SSLContext:
    """Make the context with which a member dials its peers: TLS 1.3, host names checked."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(PEER_ALPN))
    _trust(context, trust)
    return context


def client_context(
    *,
    trust: bytes | None,
    bundle: Bundle | None = None,
    alpn: Sequence[str] = ("h2",),
) -> ssl.SSLContext:
    """Make the context with which a client dials a member; host names are checked.

    Args:
        trust: PEM of the CAs that may have signed the member's certificate; None takes the
            system's.
        bundle: the client's own certificate, if it has one.
        alpn: what it speaks.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(select_suites(())[0])
    context.set_alpn_protocols(list(alpn))
    if trust is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, trust)
    return context


def unverified_context(bundle: Bundle | None, *, alpn: Sequence[str]) -> ssl.SSLContext:
    """Make the context to look at a port with: whatever it shows is taken, and not believed.

    Args:
        bundle: the caller's own certificate, if it shows one.
        alpn: what it speaks.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, bundle: Bundle | None) -> ssl.SSLContext:
    # SSLContext itself, not create_default_context: the latter writes a key log where the
    # environment says so, and from Python 3.13 on refuses plain openssl certificates.
    context = ssl.SSLContext(protocol)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # As Go does: a CA in the trust file is trusted even if it is not self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # no resumption: each connection shows its certificate
    if bundle is not None:
        _load(context, bundle)
    return context


def _load(context: ssl.SSLContext, bundle: Bundle) -> None:
    """Load certificate and key from memory: `ssl` takes only paths, so it gets a memory file."""
    descriptor = os.memfd_create("trioetcd-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(bundle.chain)
            file.write(b"\n")
            file.write(bundle.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _trust(context: ssl.SSLContext, trust: bytes) -> None:
    context.load_verify_locations(cadata=trust.decode("ascii"))


def _ask_for_certificates(
    context: ssl.SSLContext, trust: bytes | None, *, optional: bool = False
) -> None:
    if trust is None:
        context.verify_mode = ssl.CERT_NONE
        return
    _trust(context, trust)
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    remember_shown(context)
