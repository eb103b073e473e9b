"""Whether the holder of a certificate of the peers' CA may be a member.

TLS has verified the certificate when it comes here. What is looked at besides: its usages, the
names that the settings allow, and, of whoever has dialled, whether it comes from where its
certificate says that it lives. The last is etcd's check of a peer's names against its address: a
stolen certificate is of no use elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from trioetcd import pki
from trioetcd.pki import AllowedNames, HostNames, PkiError

__all__ = ["ANYBODY", "PeerCheck", "Resolver", "address_refusal"]

NAMES_MAX: Final = 16
"""Names of one certificate that are looked up; a member has few."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """The name service.

    Attributes:
        addresses: gives the addresses of a host name; none when it has none.
        names: gives the host names of an address; likewise.
    """

    addresses: Callable[[str], Awaitable[Sequence[str]]]
    names: Callable[[str], Awaitable[Sequence[str]]]


async def _addresses(name: str) -> Sequence[str]:
    try:
        found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return [str(each[4][0]) for each in found]


async def _names(address: str) -> Sequence[str]:
    try:
        name, _ = await trio.socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
    except (OSError, UnicodeError):
        return ()
    return [name]


SYSTEM: Final = Resolver(_addresses, _names)
"""The machine's own."""


ANYBODY: Final = AllowedNames(flag="--peer-cert-allowed")
"""Every name is welcome."""


class PeerCheck:
    """Judges verified certificates of peers.

    Args:
        allowed: names of which a certificate must carry one.
        both_usages: whether a member's certificate must be usable on both sides, which keeps
            clients out where one CA signs clients and members.
        addresses: whether who dials must come from where its certificate says it lives.
        resolver: looks up host names.
    """

    def __init__(
        self,
        *,
        allowed: AllowedNames = ANYBODY,
        both_usages: bool = True,
        addresses: bool = True,
        resolver: Resolver = SYSTEM,
    ) -> None:
        self._allowed = allowed
        self._both_usages = both_usages
        self._addresses = addresses
        self._resolver = resolver

    def refusal(self, der: bytes) -> str:
        """Say why the holder of a certificate (DER), on whatever side, is no member, or nothing."""
        try:
            if self._both_usages and not pki.may_be_peer(der):
                return "its certificate is not a member's: it lacks a usage, server or client"
            return self._allowed.refusal(der)
        except PkiError as error:
            return str(error)

    async def refusal_of_dialler(self, der: bytes, remote: str) -> str:
        """Say the same of one that has dialled from an address (``host:port``, ``@`` if unix)."""
        refusal = self.refusal(der)
        if refusal or not self._addresses or remote == "@":
            return refusal
        host = remote.rpartition(":")[0].partition("%")[0]
        return await address_refusal(pki.host_names(der), host, self._resolver)


async def address_refusal(named: HostNames, host: str, resolver: Resolver = SYSTEM) -> str:
    """Say why a certificate's names do not stand for the address it came from, or nothing.

    As etcd does it, but a host name counts only if it has this address: what an address says of
    its own name is believed by nobody else. A certificate without names passes.

    Args:
        named: the names in the certificate.
        host: an IP address.
        resolver: looks up host names.
    """
    if not named.dns and not named.addresses:
        return ""
    address = ipaddress.ip_address(host)
    if any(ipaddress.ip_address(each) == address for each in named.addresses):
        return ""
    names = [each for each in named.dns if not each.startswith("*.")][:NAMES_MAX]
    if any(each.startswith("*.") for each in named.dns):
        names += [
            name
            for name in await resolver.names(host)
            if any(pki.covers(each, name) for each in named.dns)
        ]
    for name in names:
        for found in await resolver.addresses(name):
            if ipaddress.ip_address(found.partition("%")[0]) == address:
                return ""
    told = ", ".join((*named.addresses, *named.dns)[:NAMES_MAX])
    return (
        f"its certificate stands for {told}, and it came from {host}; mend one of them, or start "
        f"this member with --peer-skip-client-san-verification"
    )
