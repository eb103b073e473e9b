"""Tests of `trioetcd.pki.pem`: what is damaged is found when it is read, not later."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from trioetcd import pki
from trioetcd.pki import PkiError, Profile, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_flipped_bit_in_a_certificate_is_a_sentence() -> None:
    """Any flipped bit of a certificate is refused with `PkiError`, or does no harm."""
    authority = pki.create_authority("cluster", now=NOW, profile=Profile())
    leaf = pki.issue(
        authority, Role.SERVER, "member", hosts=("localhost",), now=NOW, profile=Profile()
    )
    chance = random.Random(2280)
    refused = 0
    for _ in range(300):
        damaged = bytearray(leaf.certificate)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        for use in (
            lambda chain: pki.verify(
                Role.SERVER,
                chain=chain,
                key=leaf.key,
                issuers=authority.certificate,
                now=NOW,
                what="server.crt",
            ),
            lambda chain: pki.renew(
                authority, Role.SERVER, chain, hosts=("localhost",), now=NOW, profile=Profile()
            ),
        ):
            try:
                use(bytes(damaged))
            except PkiError:
                refused += 1

    assert refused > 300
