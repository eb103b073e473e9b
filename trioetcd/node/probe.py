"""Dial a port as a stranger would, and say which certificate it shows and whom it lets in.

Blocking, for the command line. Nothing is believed: the certificate is shown, not verified; who
asks decides. With TLS 1.3 a port's verdict on the caller's own certificate comes after the
handshake, with the first bytes: so something is asked that only who was let in is answered.
"""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from trioetcd import pki
from trioetcd.cluster import ClusterView, decode_member
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import CertifiedKey, Facts, PkiError, Role
from trioetcd.schema.messages import DecodeError
from trioetcd.transport import tls
from trioetcd.transport.peer_dial import reason_of
from trioetcd.values import SERVER_VERSION, ClusterID, MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.peer import Hello, Members, PeerDialler, Purpose

__all__ = ["Place", "Seen", "members_of", "probe", "probe_all", "read_place"]

SECONDS: Final = 5.0
"""For connecting, and again for each answer."""

_REFUSAL_SECONDS: Final = 0.3
_AT_ONCE: Final = 16
_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
_DEFAULT_PORTS: Final = {"client": 2379, "peer": 2380}
_REQUEST: Final = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How a client begins HTTP/2, with settings that change nothing (RFC 9113, 3.4)."""


_TURNED_AWAY: Final = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of the certificate shown to it",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept the certificate shown to it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate shown to it has ended",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the certificate shown to it is revoked",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants to see a certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it wants to see a certificate, or speaks other TLS",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A port of a member.

    Attributes:
        host: name or address.
        port: its number.
        purpose: ``client`` or ``peer``.
    """

    host: str
    port: int
    purpose: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a port showed.

    Attributes:
        place: which.
        certificate: of the member; None when it came to none.
        der: the same as it was sent.
        alpn: what it agreed to speak; empty for nothing.
        admitted: whether it let the caller in; None when that was not asked.
        reason: why it came to no certificate, or why the caller was not let in.
        view: what a peer port said of its cluster.
    """

    place: Place
    certificate: Facts | None = None
    der: bytes = b""
    alpn: str = ""
    admitted: bool | None = None
    reason: str = ""
    view: ClusterView | None = None


def read_place(text: str, purpose: str) -> Place:
    """Read ``host:port``, ``host``, ``[::1]:port`` or an https URL.

    Raises:
        PkiError: it is none of these.
    """
    rest = text.removeprefix("https://").rstrip("/")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(_DEFAULT_PORTS[purpose])
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in rest or not port.isascii() or not port.isdecimal():
        raise PkiError(f"{text!r} is no place to dial; write host:port")
    if not 0 < int(port) < 65536:
        raise PkiError(f"{text!r} has no port from 1 to 65535")
    return Place(host, int(port), purpose)


def probe(place: Place, pair: CertifiedKey | None, *, now: datetime) -> Seen:
    """Dial a port and say what it shows.

    Args:
        place: where.
        pair: the caller's certificate; without one nothing is asked beyond the handshake.
        now: the time, for the checks of the caller's own certificate.

    Raises:
        PkiError: the caller's certificate cannot be used.
    """
    context = _context(place, pair, now)
    try:
        with closing(socket.create_connection((place.host, place.port), SECONDS)) as sock:
            try:
                secure = context.wrap_socket(sock, server_hostname=place.host)
            except OSError as error:
                return Seen(place=place, reason=_reason(error))
            with closing(secure):
                return _look(secure, place, asked=pair is not None)
    except OSError as error:
        return Seen(place=place, reason=sentence_of(error).partition(";")[0])


def probe_all(
    places: list[Place], pairs: dict[str, CertifiedKey | None], *, now: datetime
) -> list[Seen]:
    """Dial many ports at the same time; gives what they showed in the same order.

    Args:
        places: where.
        pairs: the caller's certificate by purpose.
        now: the time.

    Raises:
        PkiError: the caller's certificate cannot be used.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(
            threads.map(lambda place: probe(place, pairs.get(place.purpose), now=now), places)
        )


def members_of(seen: list[Seen]) -> ClusterView | None:
    """Give what the first peer port that was willing to said of its cluster."""
    return next((one.view for one in seen if one.view is not None), None)


def _context(place: Place, pair: CertifiedKey | None, now: datetime) -> ssl.SSLContext:
    bundle = None
    if pair is not None:
        role = Role.PEER if place.purpose == "peer" else Role.CLIENT
        bundle = pki.verify(role, chain=pair.certificate, key=pair.key, now=now)
    alpn = tls.PEER_ALPN if place.purpose == "peer" else tls.CLIENT_ALPN
    return tls.unverified_context(bundle, alpn=alpn)


def _look(secure: ssl.SSLSocket, place: Place, *, asked: bool) -> Seen:
    der = secure.getpeercert(binary_form=True) or b""
    alpn = secure.selected_alpn_protocol() or ""
    seen = Seen(
        place=place,
        certificate=pki.inspect_der(der, f"the certificate of {place}"),
        der=der,
        alpn=alpn,
    )
    if not asked:
        return seen
    view: ClusterView | None = None
    reason = ""
    try:
        if _heard(secure):
            pass  # HTTP/2 servers speak first
        elif place.purpose == "peer":
            view = _ask_members(secure)
        elif alpn in tls.CLIENT_ALPN:
            secure.sendall(_PREFACE if alpn == "h2" else _REQUEST)
            if not secure.recv(1):
                reason = "the connection was closed instead of an answer"
        else:
            reason = "it speaks neither HTTP/2 nor HTTP/1.1"
    except OSError as error:
        reason = _reason(error)
    except (RemoteProtocolError, DecodeError) as error:
        reason = str(error)
    return Seen(
        place=place,
        certificate=seen.certificate,
        der=der,
        alpn=alpn,
        admitted=not reason,
        reason=reason,
        view=view,
    )


def _heard(secure: ssl.SSLSocket) -> bool:
    """Say whether anything was said to us; leaves a refusal the time to arrive with its reason.

    Raises:
        OSError: we are refused.
    """
    secure.settimeout(_REFUSAL_SECONDS)
    try:
        return bool(secure.recv(1))
    except TimeoutError:
        return False
    finally:
        secure.settimeout(SECONDS)


def _ask_members(secure: ssl.SSLSocket) -> ClusterView:
    """Ask as one who is about to join: it is answered whoever shows a member's certificate."""
    nobody = MemberID(0)
    hello = Hello(Purpose.MEMBERS, ClusterID(0), nobody, nobody, 0, SERVER_VERSION, ())
    dialler = PeerDialler(hello)
    secure.sendall(dialler.take())
    taken = 0
    while (answer := dialler.next_event()) is None:
        data = secure.recv(65536)
        taken += len(data)
        if not data or taken > _ANSWER_BYTES_MAX:
            raise ConnectionAbortedError("the connection was closed instead of an answer")
        dialler.receive(data)
    if not isinstance(answer, Members):
        raise RemoteProtocolError("what listens there did not tell its members")
    return ClusterView(answer.cluster, tuple(map(decode_member, answer.members)))


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, ssl.SSLError) or error.strerror:
        return _TURNED_AWAY.get(getattr(error, "reason", ""), reason_of(error))
    return str(error)
