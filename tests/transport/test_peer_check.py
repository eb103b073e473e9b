"""Tests of `trioetcd.transport.peer_check`: whose verified certificate may be a member's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.material import plain
from tests.transport.pairs import NOW, PROFILE, authority
from trioetcd import pki
from trioetcd.pki import AllowedNames, HostNames, Role
from trioetcd.transport.peer_check import PeerCheck, Resolver, address_refusal


@cache
def der(role: Role, name: str = "m1", hosts: tuple[str, ...] = ("m1.a.org", "10.0.0.1")) -> bytes:
    pair = pki.issue(authority("peer"), role, name, hosts=hosts, now=NOW, profile=PROFILE)
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def names(*common_names: str, hosts: Sequence[str] = ()) -> AllowedNames:
    return AllowedNames(flag="--peer-cert-allowed", common_names=common_names, hosts=tuple(hosts))


def test_one_usage_is_enough_where_members_have_two_certificates() -> None:
    """A client's certificate is no member's, unless members dial with certificates of their own."""
    assert "usage" in PeerCheck().refusal(der(Role.CLIENT))
    assert "usage" in PeerCheck().refusal(der(Role.SERVER))
    assert "" == PeerCheck().refusal(der(Role.PEER))
    assert "" == PeerCheck(both_usages=False).refusal(der(Role.CLIENT))


@pytest.mark.parametrize(
    ("allowed", "flag"),
    [
        (names(), ""),
        (names("m1"), ""),
        (names("m0", "m1"), ""),
        (names("m0", "M1"), "--peer-cert-allowed-cn"),
        (names(hosts=("m1.a.org",)), ""),
        (names(hosts=("other", "10.0.0.1")), ""),
        (names(hosts=("m2.a.org", "m1")), "--peer-cert-allowed-hostname"),
    ],
)
def test_names_may_be_settled(allowed: AllowedNames, flag: str) -> None:
    """One of the common names to the letter, or one host that the certificate stands for."""
    refusal = PeerCheck(allowed=allowed).refusal(der(Role.PEER))

    assert bool(flag) == bool(refusal)
    assert flag in refusal


def test_two_common_names_are_none() -> None:
    """A certificate with two of them might be one to us and the other to somebody else."""
    name = x509.NameAttribute(x509.NameOID.COMMON_NAME, "m1")
    other = x509.NameAttribute(x509.NameOID.COMMON_NAME, "m2")
    twice = plain("x", now=NOW, subject=x509.Name([name, other]))
    certificate = x509.load_pem_x509_certificate(twice.certificate).public_bytes(Encoding.DER)

    assert "common name" in PeerCheck(allowed=names("m1")).refusal(certificate)
    assert "common name" in PeerCheck(allowed=names("m2")).refusal(certificate)


def test_a_wildcard_stands_for_hosts() -> None:
    """As in Go: one label, the first."""
    wild = der(Role.PEER, hosts=("*.a.org",))

    assert "" == PeerCheck(allowed=names(hosts=("m7.a.org",))).refusal(wild)
    assert PeerCheck(allowed=names(hosts=("m7.b.a.org",))).refusal(wild)


def resolver(**addresses: str) -> Resolver:
    """Make a name service in which dots are underscores, and names go both ways."""
    known = {name.replace("_", "."): found.split() for name, found in addresses.items()}

    async def forward(name: str) -> Sequence[str]:
        return known.get(name, [])

    async def backward(address: str) -> Sequence[str]:
        return [name for name, found in known.items() if address in found or name == "m3.a.org"]

    return Resolver(forward, backward)


DNS = resolver(
    m1_a_org="10.0.0.1 fd00::1", m2_a_org="10.0.0.2", m3_a_org="10.0.0.99", m1_b_org="9.9.9.9"
)


@pytest.mark.parametrize(
    ("dns", "addresses", "host", "welcome"),
    [
        ((), (), "10.0.0.9", True),
        ((), ("10.0.0.1",), "10.0.0.1", True),
        ((), ("10.0.0.1",), "10.0.0.2", False),
        ((), ("fd00:0::1",), "fd00::1", True),
        (("m1.a.org",), (), "10.0.0.1", True),
        (("m1.a.org",), ("10.0.0.7",), "fd00::1", True),
        (("m1.a.org",), (), "10.0.0.2", False),
        (("m2.a.org", "m1.a.org"), (), "10.0.0.1", True),
        (("nobody.org",), (), "10.0.0.1", False),
        (("*.a.org",), (), "10.0.0.2", True),
        (("*.a.org",), (), "9.9.9.9", False),
        (("*.a.org",), (), "10.0.0.3", False),  # its name says so, and is not believed
    ],
)
async def test_a_certificate_stands_for_an_address(
    dns: tuple[str, ...], addresses: tuple[str, ...], host: str, *, welcome: bool
) -> None:
    """By an address in it, or a name that has this address; what an address calls itself is air."""
    refusal = await address_refusal(HostNames(dns, addresses), host, DNS)

    assert welcome == (refusal == "")
    assert welcome or "--peer-skip-client-san-verification" in refusal


async def test_the_address_of_who_dials_is_looked_at() -> None:
    """Of a TCP connection, unless that is switched off; never of a unix socket."""
    strict, lax = PeerCheck(resolver=DNS), PeerCheck(addresses=False)
    certificate = der(Role.PEER)

    assert "" == await strict.refusal_of_dialler(certificate, "10.0.0.1:5")
    assert "" == await strict.refusal_of_dialler(certificate, "fd00::1:5")
    assert "it came from 10.0.0.2" in await strict.refusal_of_dialler(certificate, "10.0.0.2:5")
    assert "" == await strict.refusal_of_dialler(certificate, "@")
    assert "" == await lax.refusal_of_dialler(certificate, "10.0.0.2:5")
    assert "usage" in await lax.refusal_of_dialler(der(Role.CLIENT), "10.0.0.1:5")


async def test_the_machines_names_are_asked_for() -> None:
    """Without a resolver of the test's: localhost is this machine, and nothing else is."""
    assert "" == await address_refusal(HostNames(("no.invalid", "localhost"), ()), "127.0.0.1")
    assert await address_refusal(HostNames(("no.invalid", "*.no.invalid"), ()), "127.0.0.1")
