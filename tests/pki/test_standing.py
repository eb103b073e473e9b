"""Tests of `trioetcd.pki.standing`: what is said of a certificate that was let in before."""

from __future__ import annotations

from datetime import timedelta

from tests.pki.material import NOW, plain
from tests.pki.test_crl import der_of, made, serial_of
from trioetcd import pki
from trioetcd.pki import Authorities, CertifiedKey, CrlSet, Profile, Reason, Role

PROFILE = Profile()
CA = pki.create_authority("client", now=NOW, profile=PROFILE)
OTHER = pki.create_authority("client", now=NOW, profile=PROFILE)
LEAF = pki.issue(CA, Role.CLIENT, "alice", now=NOW, profile=PROFILE)


def lists(data: bytes, trust: bytes = CA.certificate) -> CrlSet:
    return pki.verify_lists(data, trust=trust, now=NOW, what="crl.pem")


def reason(
    authorities: Authorities, standing: pki.Standing, *, days: float = 0, seconds: int = 0
) -> Reason | None:
    found = authorities.objection(standing, NOW + timedelta(days=days, seconds=seconds))
    return None if found is None else found.reason


def test_a_good_certificate_has_no_objection_until_it_ends() -> None:
    """From its first to its last second nothing is said; before and after, its dates are."""
    authorities = Authorities(CA.certificate)
    standing = authorities.standing(der_of(LEAF))

    assert None is reason(authorities, standing)
    assert None is reason(authorities, standing, days=365, seconds=-1)
    assert Reason.EXPIRED is reason(authorities, standing, days=365)
    assert Reason.EARLY is reason(authorities, standing, days=-1)
    assert authorities.known(der_of(LEAF)) is standing


def test_a_later_list_revokes_a_standing_worked_out_before() -> None:
    """The value made at the handshake is judged by the authorities of a later generation."""
    standing = Authorities(CA.certificate).standing(der_of(LEAF))
    later = Authorities(CA.certificate, lists(made(CA, serial_of(LEAF))))
    objection = later.objection(standing, NOW)

    assert objection is not None
    assert objection.reason is Reason.REVOKED
    assert "CN=alice" in objection.sentence
    assert f"serial {serial_of(LEAF):x}, is revoked since 2030-06-01" in objection.sentence


def test_a_ca_that_is_trusted_no_more_ends_its_certificates() -> None:
    """Taking a CA out of the trust ends what it signed, and only that."""
    both = Authorities(CA.certificate + OTHER.certificate)
    standing = both.standing(der_of(LEAF))
    other = both.standing(der_of(pki.issue(OTHER, Role.CLIENT, "bob", now=NOW, profile=PROFILE)))
    after = Authorities(OTHER.certificate)

    assert Reason.UNTRUSTED is reason(after, standing)
    assert None is reason(after, other)


def test_a_ca_ends_what_hangs_on_it() -> None:
    """No certificate outlives its CA, though plain tools sign so."""
    authority = plain("ca", authority=True)
    leaf = plain("alice", issuer=authority, now=NOW + timedelta(days=10))
    authorities = Authorities(authority.certificate)
    standing = authorities.standing(der_of(leaf))

    assert None is reason(authorities, standing, days=29.9)
    assert Reason.EXPIRED is reason(authorities, standing, days=30)


def chain() -> tuple[CertifiedKey, CertifiedKey, CertifiedKey]:
    root = plain("root", authority=True)
    between = plain("between", issuer=root, authority=True)
    return root, between, plain("alice", issuer=between)


def test_a_chain_is_followed_as_far_as_it_is_known() -> None:
    """With what the other side has shown, each certificate of the chain may be revoked."""
    root, between, leaf = chain()
    authorities = Authorities(
        root.certificate,
        lists(made(root, serial_of(between)), root.certificate),
    )
    shown = authorities.standing(der_of(leaf), [der_of(between)])
    objection = authorities.objection(shown, NOW)

    assert objection is not None
    assert "a CA above the certificate CN=alice" in objection.sentence
    assert None is reason(authorities, authorities.standing(der_of(leaf)))


def test_a_trusted_issuer_in_between_may_be_revoked_by_its_root() -> None:
    """Intermediates in the trust file make lists of their own, and are revoked by their root."""
    root, between, leaf = chain()
    trust = root.certificate + between.certificate
    for data in (made(root, serial_of(between)), made(between, serial_of(leaf))):
        authorities = Authorities(trust, lists(data, trust))
        standing = authorities.standing(der_of(leaf))
        assert Reason.REVOKED is reason(authorities, standing)


def test_an_unknown_way_hangs_on_the_trust_as_a_whole() -> None:
    """What cannot be followed here stays as long as nothing changes, and no longer."""
    root, _, leaf = chain()
    first = Authorities(root.certificate)
    standing = first.standing(der_of(leaf))

    assert None is reason(Authorities(root.certificate), standing)
    assert Reason.UNTRUSTED is reason(Authorities(root.certificate + CA.certificate), standing)
