"""The members that `certs init` is told of, and the configuration file that each of them gets."""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.flags import FLAGS, ConfigError
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError

__all__ = ["CONFIG_FILE", "Member", "check_distinct", "known_members", "read_member", "render"]

CONFIG_FILE: Final = "trioetcd.yaml"
_CLIENT_PORT: Final = 2379
_PEER_PORT: Final = 2380
_PORT_MAX: Final = 65535
_RESERVED: Final = {
    "ca": "that is where the CAs' keys are kept",
    "clients": "that is where the clients' certificates are kept",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as told on the command line.

    Attributes:
        name: its name.
        hosts: its names and addresses; it is advertised by the first.
        client_port: where clients find it.
        peer_port: where members find it.
    """

    name: str
    hosts: tuple[str, ...]
    client_port: int
    peer_port: int

    @property
    def client_url(self) -> str:
        """Where clients find it."""
        return _url(self.hosts[0], self.client_port)

    @property
    def peer_url(self) -> str:
        """Where members find it."""
        return _url(self.hosts[0], self.peer_port)

    def listen_urls(self, port: int) -> list[str]:
        """Give where it listens: its addresses, or all where only names are known."""
        addresses = [host for host in self.hosts if host == "localhost" or _is_address(host)]
        if not addresses:
            return [_url("0.0.0.0", port)]  # noqa: S104  # a name says nothing about the interface
        return [_url(host, port) for host in addresses]


def read_member(text: str) -> Member:
    """Read ``NAME=HOST[:PORT[:PEERPORT]][,HOST...]``; without hosts it is on this machine.

    Raises:
        click.UsageError: it is spelled otherwise.
        PkiError: the name cannot be a file's.
    """
    name, _, rest = text.partition("=")
    name = pki_files.file_name_of(name)
    if name in _RESERVED:
        raise click.UsageError(f"{name!r}: {_RESERVED[name]}; give the member another name")
    if set(name) & set(", ="):
        raise click.UsageError(f"{name!r} cannot be a member's name; use letters, digits and '-'")
    first, *others = [part.strip() for part in rest.split(",") if part.strip()] or ["localhost"]
    host, ports = _read_host(first)
    for other in others:
        if _read_host(other)[1]:
            raise click.UsageError(f"{text}: only the first host of a member takes ports")
    client = ports[0] if ports else _CLIENT_PORT
    peer = ports[1] if len(ports) > 1 else client + 1
    if client == peer or peer > _PORT_MAX:
        raise click.UsageError(f"{text}: clients and members need a port each, up to {_PORT_MAX}")
    return Member(name, (host, *(_read_host(other)[0] for other in others)), client, peer)


def check_distinct(members: Sequence[Member]) -> None:
    """Check that no two members have one name, or one address.

    Raises:
        click.UsageError: two have.
    """
    names: set[str] = set()
    taken: dict[str, str] = {}
    for at, member in enumerate(members):
        if member.name in names:
            raise click.UsageError(f"the member {member.name} is named twice")
        names.add(member.name)
        for url in (member.client_url, member.peer_url):
            if url in taken:
                first = _CLIENT_PORT + 10 * at
                host = url.removeprefix("https://").rpartition(":")[0]
                raise click.UsageError(
                    f"{taken[url]} and {member.name} would both be at {url}; give ports, such as "
                    f"{member.name}={host}:{first}:{first + 1}"
                )
            taken[url] = member.name


def known_members(out: Path) -> tuple[Member, ...]:
    """Give the members of earlier runs, as their configuration files tell them."""
    found = []
    for path in sorted(out.glob(f"*/{CONFIG_FILE}")):
        try:
            config = parse([f"--config-file={path}"], {})
        except (ConfigError, OSError) as error:
            raise PkiError(f"{path} cannot be read: {error}") from None
        peer, client = config.initial_advertise_peer_urls[0], config.advertise_client_urls[0]
        found.append(Member(config.name, (peer.host,), client.port, peer.port))
    return tuple(found)


def render(
    member: Member,
    *,
    members: Sequence[Member],
    directory: Path,
    data_dir: Path,
    cluster: str,
    joins: bool,
) -> str:
    """Give the contents of a member's configuration file (YAML).

    Args:
        member: whose file it is.
        members: the cluster, itself among them.
        directory: where the member finds its certificates; absolute.
        data_dir: where it keeps its data; absolute.
        cluster: the cluster's name, which members tell each other.
        joins: whether the cluster is there before it.
    """
    files = PkiFiles(directory)
    start = shlex.join(["trioetcd", "--config-file", str(directory / CONFIG_FILE)])
    settings: dict[str, object] = {
        "name": member.name,
        "data-dir": str(data_dir),
        "listen-client-urls": ",".join(member.listen_urls(member.client_port)),
        "advertise-client-urls": member.client_url,
        "listen-peer-urls": ",".join(member.listen_urls(member.peer_port)),
        "initial-advertise-peer-urls": member.peer_url,
        "initial-cluster": ",".join(f"{each.name}={each.peer_url}" for each in members),
        "initial-cluster-state": "existing" if joins else "new",
        "initial-cluster-token": cluster,
        "client-transport-security": _security(files.server, files.client_ca, "client"),
        "peer-transport-security": _security(files.peer, files.peer_ca, "peer"),
    }
    return (
        "# Made by `trioetcd certs init`. Start the member:\n"
        f"#   {start}\n" + "\n".join(_lines(settings)) + "\n"
    )


def _security(certificate: Path, trust: Path, side: str) -> dict[str, object]:
    section: dict[str, object] = {
        "cert-file": str(certificate),
        "key-file": str(PkiFiles.key_of(certificate)),
        "trusted-ca-file": str(trust),
        "client-cert-auth": True,
    }
    if FLAGS[f"{side}-crl-file"].status.value == "works":
        section["crl-file"] = str(trust.with_name(f"{side}-crl.pem"))
    return section


def _lines(settings: Mapping[str, object]) -> list[str]:
    lines = []
    for name, value in settings.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {line}" for line in _lines(value)]
        else:  # every JSON scalar is a YAML one
            lines.append(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    return lines


def _read_host(text: str) -> tuple[str, list[int]]:
    """Split ``host:port:port``, ``[::1]:port`` or ``::1``."""
    if _is_address(text):
        return text, []
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_address(host) or (rest and not rest.startswith(":")):
            raise click.UsageError(f"{text!r} is no address in brackets with ports behind it")
        words = rest[1:].split(":") if rest else []
    else:
        host, *words = text.split(":")
    if not host or len(words) > 2:
        raise click.UsageError(f"{text!r} must have the form HOST, HOST:PORT or HOST:PORT:PEERPORT")
    for word in words:
        if not word.isascii() or not word.isdecimal() or not 0 < int(word) <= _PORT_MAX:
            raise click.UsageError(f"{text!r}: {word!r} is no port from 1 to {_PORT_MAX}")
    return host, [int(word) for word in words]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
