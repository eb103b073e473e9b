"""Tests of `trioetcd.pki.check`: every side of a certificate, each in a sentence of its own."""

from __future__ import annotations

from datetime import timedelta

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import Profile, Role

CA = pki.create_authority("client", now=NOW, profile=Profile())
OTHER = pki.create_authority("client", now=NOW, profile=Profile())
PAIR = pki.issue(CA, Role.SERVER, "m1", hosts=["h", "10.0.0.1"], now=NOW, profile=Profile())


def test_a_good_certificate_passes_every_check() -> None:
    """Each check that was asked for is there, and passed."""
    done = pki.check_certificate(
        PAIR.certificate,
        role=Role.SERVER,
        key=PAIR.key,
        issuers=CA.certificate,
        hosts=["h", "10.0.0.1"],
        now=NOW,
    )

    assert ["subject", "dates", "strength", "chain", "usages", "key", "names"] == [
        check.subject for check in done
    ]
    assert all(check.passed for check in done)


def test_every_failure_is_told_not_just_the_first() -> None:
    """A certificate that is wrong in every way has a sentence for each of them."""
    done = pki.check_certificate(
        PAIR.certificate,
        role=Role.PEER,
        key=OTHER.key,
        issuers=OTHER.certificate,
        hosts=["h", "elsewhere"],
        now=NOW + timedelta(days=400),
    )
    failed = {check.subject: check.sentence for check in done if not check.passed}

    assert {"dates", "chain", "usages", "key", "names"} == set(failed)
    assert "ended on 2031-06-01" in failed["dates"]
    assert "is not signed by its CA" in failed["chain"]
    assert "lacks the usage clientAuth" in failed["usages"]
    assert "another certificate's" in failed["key"]
    assert "does not name elsewhere, but only h, 10.0.0.1" in failed["names"]


def test_what_is_not_given_is_not_checked() -> None:
    """Alone, a certificate's dates and key are looked at."""
    done = pki.check_certificate(
        plain("x").certificate, role=None, key=None, issuers=None, hosts=(), now=NOW
    )

    assert ["subject", "dates", "strength"] == [check.subject for check in done]


def test_an_ended_authority_vouches_for_nobody() -> None:
    """A leaf under a CA that has ended fails, though it has not ended itself."""
    ca = plain("old", authority=True)
    leaf = plain("leaf", issuer=ca, now=NOW + timedelta(days=20))
    done = pki.check_certificate(
        leaf.certificate,
        role=None,
        key=None,
        issuers=ca.certificate,
        hosts=(),
        now=NOW + timedelta(days=40),
    )

    assert [("chain", "the CA CN=old ended on 2030-07-01 12:00 UTC")] == [
        (check.subject, check.sentence) for check in done if not check.passed
    ]


def test_a_key_that_is_none_and_a_weak_one_fail() -> None:
    """A key file with something else, and an RSA key too short, have their sentences."""
    done = pki.check_certificate(
        plain("weak", rsa_bits=1024).certificate,
        role=None,
        key=b"nothing",
        issuers=None,
        hosts=(),
        now=NOW,
    )

    assert ["strength", "key"] == [check.subject for check in done if not check.passed]
