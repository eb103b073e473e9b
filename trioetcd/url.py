"""The URLs of listeners and members: ``scheme://host:port`` and ``unix://path``, checked.

No name is resolved and no socket is opened here.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

__all__ = ["Url", "parse_url", "parse_urls"]

_PORT_MAX = 65535


class Url(NamedTuple):
    """One URL of a listener or a member.

    Attributes:
        scheme: http, https, unix or unixs.
        host: name or address without brackets; empty for unix sockets.
        port: the port; 0 for unix sockets.
        path: the socket's path; empty otherwise.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in {"https", "unixs"}

    @property
    def unix(self) -> bool:
        """Whether it is a socket of the file system."""
        return self.scheme in {"unix", "unixs"}

    @property
    def address(self) -> str:
        """The ``host:port`` form with brackets around IPv6, or the path."""
        if self.unix:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.unix or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


def parse_url(text: str) -> Url:
    """Give the URL that `text` spells.

    Raises:
        ValueError: it spells none that a member can use; the message says why.
    """
    text = text.strip()
    scheme, mark, rest = text.partition("://")
    if mark and scheme in {"unix", "unixs"}:
        if not rest:
            raise ValueError(f"{text}: a unix URL needs the path of its socket")
        return Url(scheme, "", 0, rest)
    if not mark or scheme not in {"http", "https"}:
        hint = "" if mark else f"; write https://{text}"
        raise ValueError(f"{text!r} is no URL of http, https, unix or unixs{hint}")
    if "/" in rest or "?" in rest or "#" in rest:
        raise ValueError(f"{text} must end after the port")
    if "@" in rest:
        raise ValueError("a URL must hold no user name or password")
    host, mark, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        _check_ipv6(host, text)
    elif ":" in host or "[" in rest:
        mark = ""
    if not mark or not port.isascii() or not port.isdecimal() or int(port) > _PORT_MAX:
        raise ValueError(f"{text} must have the form {scheme}://host:port")
    return Url(scheme, host, int(port))


def _check_ipv6(host: str, text: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"{text}: what stands in brackets is no IPv6 address") from None


def parse_urls(text: str) -> tuple[Url, ...]:
    """Give the URLs of a comma-separated list, each once, sorted by their text as etcd does.

    Raises:
        ValueError: one of them is no URL that a member can use.
    """
    return tuple(sorted({parse_url(part) for part in text.split(",")}, key=str))
