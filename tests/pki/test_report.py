"""Tests of `trioetcd.pki.report`: a certificate in words."""

from __future__ import annotations

from datetime import timedelta

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import Profile, Role


def test_a_report_says_who_for_what_and_until_when() -> None:
    """Names, usages, dates and fingerprint stand in the report."""
    authority = pki.create_authority("peer", now=NOW, profile=Profile())
    made = pki.issue(authority, Role.PEER, "m1", hosts=["h", "::1"], now=NOW, profile=Profile())
    text = pki.describe(made.certificate, now=NOW)

    assert text.startswith("CN=m1,O=trioetcd\n")
    assert "90 days left" in text
    assert "server and client" in text
    assert "h, ::1" in text
    assert pki.fingerprint(made.certificate) in text
    assert "certificate authority" in pki.describe(authority.certificate, now=NOW)


def test_a_report_tells_an_ended_certificate_and_a_plain_one() -> None:
    """What is over is said to be over; what has no usages may do anything."""
    text = pki.describe(plain("m").certificate, now=NOW + timedelta(days=33))

    assert "ended 3 days ago" in text
    assert "use          any" in text


def test_one_authority_for_two_purposes_is_noticed() -> None:
    """Two trust files share a CA only if they do."""
    one = pki.create_authority("peer", now=NOW, profile=Profile()).certificate
    two = pki.create_authority("client", now=NOW, profile=Profile()).certificate

    assert pki.shared_certificates(one + two, two)
    assert not pki.shared_certificates(one, two)
