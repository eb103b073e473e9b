"""Tests of `trioetcd.transport.tls`: who gets in, who does not, and by which TLS."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from tests.pki.material import plain
from tests.transport.handshake import shake
from trioetcd import pki
from trioetcd.pki import Bundle, CertifiedKey, Profile, Role
from trioetcd.transport import tls

NOW = datetime.now(UTC)  # contexts verify against the clock of the machine
PROFILE = Profile()
CLIENT_CA = pki.create_authority("client", now=NOW, profile=PROFILE)
PEER_CA = pki.create_authority("peer", now=NOW, profile=PROFILE)
OTHER_CA = pki.create_authority("client", now=NOW, profile=PROFILE)


def bundle(
    role: Role,
    authority: CertifiedKey,
    *,
    now: datetime = NOW,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
) -> Bundle:
    pair = pki.issue(authority, role, "name", hosts=hosts, now=now, profile=PROFILE)
    return pki.verify(role, chain=pair.certificate, key=pair.key, now=now)


SERVER = bundle(Role.SERVER, CLIENT_CA)
ALICE = bundle(Role.CLIENT, CLIENT_CA)


def listener(
    *, suites: str = "", version_min: str = "TLS1.2", version_max: str = "", optional: bool = False
) -> ssl.SSLContext:
    return tls.client_listener_context(
        SERVER,
        trust=CLIENT_CA.certificate,
        suites=suites,
        version_min=version_min,
        version_max=version_max,
        optional=optional,
    )


def test_the_right_client_comes_in() -> None:
    """A client of the client CA gets through by TLS 1.3 and h2, and is known by its certificate."""
    client = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE)
    outcome = shake(listener(), client)

    assert ("h2", "TLSv1.3") == (outcome.alpn, outcome.version)
    assert outcome.client_der is not None
    assert pki.identity_of(outcome.client_der).common_name == "name"


def test_made_certificates_pass_the_strict_profile() -> None:
    """A client with OpenSSL's strict checks accepts what is made here."""
    client = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = listener()
    server.verify_flags |= ssl.VERIFY_X509_STRICT

    assert shake(server, client, "127.0.0.1").alpn == "h2"


LONG_AGO = NOW - timedelta(days=800)
OLD_CA = pki.create_authority("client", now=LONG_AGO, profile=PROFILE)


@pytest.mark.parametrize(
    ("what", "certificate", "trust"),
    [
        ("none", None, CLIENT_CA),
        ("another CA's", bundle(Role.CLIENT, OTHER_CA), CLIENT_CA),
        ("a peer's", bundle(Role.PEER, PEER_CA), CLIENT_CA),
        ("a server's", bundle(Role.SERVER, CLIENT_CA), CLIENT_CA),
        ("an ended one", bundle(Role.CLIENT, OLD_CA, now=LONG_AGO), OLD_CA),
    ],
)
def test_wrong_clients_stay_out(
    what: str,
    certificate: Bundle | None,
    trust: CertifiedKey,
) -> None:
    """No certificate, another CA's, a wrong usage or an ended one: the handshake fails."""
    print(what)
    server = tls.client_listener_context(SERVER, trust=trust.certificate)
    with pytest.raises(ssl.SSLError):
        shake(server, tls.client_context(trust=CLIENT_CA.certificate, bundle=certificate))


def test_a_self_signed_client_stays_out() -> None:
    """A certificate that vouches for itself is refused."""
    alone = plain("mallory", now=NOW, hosts=())
    mallory = pki.verify(Role.CLIENT, chain=alone.certificate, key=alone.key, now=NOW)
    with pytest.raises(ssl.SSLError):
        shake(listener(), tls.client_context(trust=CLIENT_CA.certificate, bundle=mallory))


def test_without_a_client_ca_everybody_comes_in() -> None:
    """No trust means no certificates are asked for."""
    server = tls.client_listener_context(SERVER, trust=None)
    outcome = shake(server, tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE))

    assert outcome.client_der is None


def test_where_certificates_are_optional_wrong_ones_stay_out() -> None:
    """Nobody need show a certificate, and nobody may show one of another CA."""
    without = shake(listener(optional=True), tls.client_context(trust=CLIENT_CA.certificate))
    right = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE)
    wrong = tls.client_context(trust=CLIENT_CA.certificate, bundle=bundle(Role.CLIENT, OTHER_CA))

    assert without.client_der is None
    assert shake(listener(optional=True), right).client_der is not None
    with pytest.raises(ssl.SSLError):
        shake(listener(optional=True), wrong)


def test_a_client_refuses_a_server_of_another_name_or_ca() -> None:
    """Host names and CAs are checked by the dialling side."""
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname|not valid for"):
        shake(listener(), tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE), "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(listener(), tls.client_context(trust=OTHER_CA.certificate, bundle=ALICE))


def test_peers_come_in_and_clients_do_not() -> None:
    """The peer listener takes peers by TLS 1.3, and nobody from the client CA."""
    peer = bundle(Role.PEER, PEER_CA)
    server = tls.peer_listener_context(peer, trust=PEER_CA.certificate)
    outcome = shake(server, tls.peer_dialer_context(peer, trust=PEER_CA.certificate))

    assert (tls.PEER_ALPN[0], "TLSv1.3") == (outcome.alpn, outcome.version)
    with pytest.raises(ssl.SSLError):
        shake(server, tls.client_context(trust=PEER_CA.certificate, bundle=ALICE))
    old = tls.peer_dialer_context(peer, trust=PEER_CA.certificate)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(server, old)


def test_plain_openssl_certificates_work() -> None:
    """Certificates without identifiers and usages serve and are served, as with etcd."""
    root = plain("root", authority=True, now=NOW)
    one, two = plain("s", issuer=root, now=NOW), plain("c", issuer=root, now=NOW)
    server = pki.verify(Role.SERVER, chain=one.certificate, key=one.key, now=NOW)
    client = pki.verify(Role.CLIENT, chain=two.certificate, key=two.key, now=NOW)
    outcome = shake(
        tls.client_listener_context(server, trust=root.certificate),
        tls.client_context(trust=root.certificate, bundle=client),
    )

    assert outcome.alpn == "h2"


def test_versions_are_bounded_as_told() -> None:
    """TLS 1.2 is spoken when 1.3 is switched off, 1.1 never, and 1.3 alone when asked for."""
    client = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE)
    outcome = shake(listener(version_max="TLS1.2"), client)

    assert outcome.version == "TLSv1.2"
    assert outcome.suite in tls.CIPHER_SUITES.values()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(listener(version_min="TLS1.3"), client)


def test_no_session_outlives_its_connection() -> None:
    """Renegotiation, compression and tickets are off."""
    context = listener()

    assert context.num_tickets == 0
    for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION, ssl.OP_NO_TICKET):
        assert context.options & option


def test_http_1_is_spoken_to_those_who_ask() -> None:
    """ALPN falls back to http/1.1."""
    client = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE, alpn=["http/1.1"])

    assert shake(listener(), client).alpn == "http/1.1"


def test_suites_are_chosen_by_their_go_names() -> None:
    """Good suites are taken, TLS 1.3's pass by, weak ones are left out and told."""
    names = [
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
    ]
    suites, weak = tls.select_suites(names)

    assert ("ECDHE-ECDSA-AES256-GCM-SHA384", ("TLS_RSA_WITH_AES_128_CBC_SHA",)) == (suites, weak)
    client = tls.client_context(trust=CLIENT_CA.certificate, bundle=ALICE)
    outcome = shake(listener(suites=suites, version_max="TLS1.2"), client)
    assert outcome.suite == suites


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(["TLS_X"], "unexpected TLS cipher suite"), (["TLS_RSA_WITH_RC4_128_SHA"], "good enough")],
)
def test_unknown_and_weak_suites_are_refused(names: list[str], sentence: str) -> None:
    """A slip in a name, and a list without one good suite, end in a sentence."""
    with pytest.raises(ValueError, match=sentence):
        tls.select_suites(names)
