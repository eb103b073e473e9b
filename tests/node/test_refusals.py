"""Who is refused at the ports of a member: nobody hears a byte, and one line says who and why.

The member is a whole node with sockets, TLS and a log; each stranger comes with Python's own TLS.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio
from cryptography import x509

from tests.pki.material import plain
from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.node import Node
from trioetcd.pki import CertifiedKey, Profile, Role
from trioetcd.runtime.trace import Log
from trioetcd.storage import DataDir
from trioetcd.testing.cluster import free_port

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=800)
PROFILE = Profile()
HOSTS = ("localhost", "127.0.0.1")


def authority(purpose: str) -> CertifiedKey:
    """Make a CA that was there long ago, so that it can have signed what has ended."""
    return pki.create_authority(purpose, now=LONG_AGO, profile=PROFILE)


CLIENT_CA, PEER_CA = authority("client"), authority("peer")
OTHER_CLIENT_CA, OTHER_PEER_CA = authority("client"), authority("peer")


def issue(ca: CertifiedKey, role: Role, name: str = "mallory", now: datetime = NOW) -> CertifiedKey:
    hosts = () if role is Role.CLIENT else HOSTS
    return pki.issue(ca, role, name, hosts=hosts, now=now, profile=PROFILE)


Table = Mapping[str, tuple[CertifiedKey | None, str]]
"""Who comes, by name: the certificate shown, and why it is refused."""

REFUSED = "the client certificate was refused: "
UNKNOWN = REFUSED + "unable to get local issuer certificate"
PURPOSE = REFUSED + "unsuitable certificate purpose"
NONE = "the client presented no certificate"
NO_MEMBER = "its certificate is not a member's: it lacks a usage, server or client"

TO_CLIENTS: Table = {
    "none": (None, NONE),
    "expired": (issue(CLIENT_CA, Role.CLIENT, now=LONG_AGO), REFUSED + "certificate has expired"),
    "not yet valid": (
        issue(CLIENT_CA, Role.CLIENT, now=NOW + timedelta(days=2)),
        REFUSED + "certificate is not yet valid",
    ),
    "of another CA": (issue(OTHER_CLIENT_CA, Role.CLIENT), UNKNOWN),
    "a server's": (issue(CLIENT_CA, Role.SERVER), PURPOSE),
    "self-signed": (plain("mallory", now=NOW), REFUSED + "self-signed certificate"),
    "a member's": (issue(PEER_CA, Role.PEER), UNKNOWN),
    "the peers' CA itself": (PEER_CA, UNKNOWN.replace("unable to get local issuer", "self-signed")),
}
TO_PEERS: Table = {
    "none": (None, NONE),
    "a client's": (issue(CLIENT_CA, Role.CLIENT), UNKNOWN),
    "a client's, of the peers' CA": (issue(PEER_CA, Role.CLIENT), NO_MEMBER),
    "a server's, of the peers' CA": (issue(PEER_CA, Role.SERVER), PURPOSE),
    "of another cluster": (issue(OTHER_PEER_CA, Role.PEER), UNKNOWN),
    "expired": (issue(PEER_CA, Role.PEER, now=LONG_AGO), REFUSED + "certificate has expired"),
    "not yet valid": (
        issue(PEER_CA, Role.PEER, now=NOW + timedelta(days=2)),
        REFUSED + "certificate is not yet valid",
    ),
    "self-signed": (plain("mallory", now=NOW), REFUSED + "self-signed certificate"),
    "the member's server certificate": (issue(CLIENT_CA, Role.SERVER), UNKNOWN),
}


@dataclass
class Member:
    """A node that serves, and its log."""

    client_port: int
    peer_port: int
    metrics_port: int
    log: int
    rest: bytes = b""

    async def line(self) -> dict[str, object]:
        """Give the next line of the log."""
        while b"\n" not in self.rest:
            await trio.lowlevel.wait_readable(self.log)
            self.rest += os.read(self.log, 65_536)
        line, _, self.rest = self.rest.partition(b"\n")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    async def wait_said(self, words: str) -> dict[str, object]:
        """Give the next line whose message has these words."""
        with trio.fail_after(20):
            while words not in str((found := await self.line())["msg"]):
                pass
        return found


@asynccontextmanager
async def member(directory: Path, *more: str) -> AsyncIterator[Member]:
    """Run a node with certificates of the CAs above until the block is left."""
    pki_files.create_member(
        directory,
        name="m",
        hosts=HOSTS,
        peer_ca=PEER_CA,
        client_ca=CLIENT_CA,
        now=NOW,
        profile=PROFILE,
    )
    ports = [free_port() for _ in range(3)]
    client, peer, metrics = (f"https://127.0.0.1:{port}" for port in ports)
    flags = {
        "data-dir": directory / "data",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-metrics-urls": metrics,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "cert-file": directory / "server.crt",
        "key-file": directory / "server.key",
        "trusted-ca-file": directory / "client-ca.crt",
        "peer-cert-file": directory / "peer.crt",
        "peer-key-file": directory / "peer.key",
        "peer-trusted-ca-file": directory / "peer-ca.crt",
    }
    config = parse([*(f"--{name}={value}" for name, value in flags.items()), *more], {})
    reading, writing = os.pipe()
    with (
        closing(os.fdopen(reading)),
        closing(os.fdopen(writing)),
        closing(Log(outputs=(writing,))) as log,
        closing(DataDir.open(config.data_path)) as data_dir,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Node(config, log, data_dir).run)
            found = Member(ports[0], ports[1], ports[2], reading)
            await found.wait_said("ready to serve client requests")
            yield found
            nursery.cancel_scope.cancel()


def come(
    directory: Path, port: int, pair: CertifiedKey | None, alpn: str, ca: CertifiedKey
) -> tuple[int, bytes]:
    """Come in, ask something, and give the own port and every byte that was heard."""
    trust = directory / "trust.crt"
    trust.write_bytes(ca.certificate)
    context = ssl.create_default_context(cafile=trust)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([alpn])
    if pair is not None:
        both = directory / "stranger.pem"
        both.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(both)
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        own = sock.getsockname()[1]
        try:
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as secure:
                # The beginning of HTTP/2 and an empty SETTINGS, or of a hello among members.
                http = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
                secure.sendall(http if alpn == "h2" else b"\0\0\0\x03\x82\x01\x01")
                while data := secure.recv(4096):
                    heard += data
                    if alpn == "h2":
                        break
        except OSError:
            pass
    return own, heard


def holder(pair: CertifiedKey | None) -> tuple[str | None, str | None]:
    """Give subject and serial as a line of the log has them."""
    if pair is None:
        return None, None
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    serial = f"{certificate.serial_number:X}"
    return certificate.subject.rfc4514_string(), serial.zfill(len(serial) + len(serial) % 2)


async def refusals(
    found: Member,
    directory: Path,
    port: int,
    table: Table,
    alpn: str,
    ca: CertifiedKey,
) -> dict[str, object]:
    """Let everybody of a table come, and give what each has heard, and the line it cost."""
    outcomes: dict[str, object] = {}
    for name, (pair, _) in table.items():
        knock = partial(come, directory, port, pair, alpn, ca)
        own, heard = await trio.to_thread.run_sync(knock)
        line = await found.wait_said("")
        outcomes[name] = (
            heard,
            line["level"],
            line["msg"],
            line["remote-addr"] == f"127.0.0.1:{own}",
            line.get("subject"),
            line.get("serial"),
            line["error"],
        )
    return outcomes


def expected(table: Table, endpoint: str) -> dict[str, object]:
    message = f"rejected connection on {endpoint} endpoint"
    return {
        name: (b"", "warn", message, True, *holder(pair), reason)
        for name, (pair, reason) in table.items()
    }


async def test_who_is_refused_at_the_port_for_clients(tmp_path: Path) -> None:
    """No byte of an answer, and one line: from where, whose certificate, and what is wrong."""
    async with member(tmp_path) as found:
        told = await refusals(found, tmp_path, found.client_port, TO_CLIENTS, "h2", CLIENT_CA)
        right = issue(CLIENT_CA, Role.CLIENT, "alice")
        knock = partial(come, tmp_path, found.client_port, right, "h2", CLIENT_CA)
        _, heard = await trio.to_thread.run_sync(knock)

        assert expected(TO_CLIENTS, "client") == told
        assert heard.startswith(b"\0\0")  # a SETTINGS frame


async def test_who_is_refused_at_the_port_for_peers(tmp_path: Path) -> None:
    """The same for members."""
    async with member(tmp_path) as found:
        alpn = "trioetcd-peer"
        told = await refusals(found, tmp_path, found.peer_port, TO_PEERS, alpn, PEER_CA)

        assert expected(TO_PEERS, "peer") == told


async def test_names_and_networks_are_kept_to(tmp_path: Path) -> None:
    """A certificate of another name is refused with its reason, on both ports."""
    flags = ("--client-cert-allowed-cn=alice,bob", "--peer-cert-allowed-hostname=m2.example.org")
    async with member(tmp_path, *flags) as found:
        mallory = {
            "m": (
                issue(CLIENT_CA, Role.CLIENT),
                "its common name is none of --client-cert-allowed-cn",
            )
        }
        peer = {
            "m": (issue(PEER_CA, Role.PEER), "it names no host of --peer-cert-allowed-hostname")
        }
        clients = await refusals(found, tmp_path, found.client_port, mallory, "h2", CLIENT_CA)
        alpn = "trioetcd-peer"
        peers = await refusals(found, tmp_path, found.peer_port, peer, alpn, PEER_CA)
        alice = issue(CLIENT_CA, Role.CLIENT, "alice")
        knock = partial(come, tmp_path, found.client_port, alice, "h2", CLIENT_CA)
        _, heard = await trio.to_thread.run_sync(knock)

        assert expected(mallory, "client") == clients
        assert expected(peer, "peer") == peers
        assert heard


async def test_a_member_that_comes_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """A certificate that stands for other addresses is a stolen one, unless that is allowed."""
    away = pki.issue(PEER_CA, Role.PEER, "m2", hosts=("192.0.2.7",), now=NOW, profile=PROFILE)
    reason = (
        "its certificate stands for 192.0.2.7, and it came from 127.0.0.1; mend one of them, or "
        "start this member with --peer-skip-client-san-verification"
    )
    table = {"away": (away, reason)}
    alpn = "trioetcd-peer"
    async with member(tmp_path / "a") as found:
        told = await refusals(found, tmp_path, found.peer_port, table, alpn, PEER_CA)
        assert expected(table, "peer") == told
    async with member(tmp_path / "b", "--peer-skip-client-san-verification") as found:
        told = await refusals(found, tmp_path, found.peer_port, table, alpn, PEER_CA)
        assert told != expected(table, "peer")  # it is let in, and then refused for what it says


async def test_clients_from_elsewhere_are_closed_at_once(tmp_path: Path) -> None:
    """On the port for clients and on that for metrics; members are no clients."""
    async with member(tmp_path, "--allow-client-cidrs=192.0.2.0/24,2001:db8::/32") as found:
        alice = issue(CLIENT_CA, Role.CLIENT, "alice")
        for port in (found.client_port, found.metrics_port):
            knock = partial(come, tmp_path, port, alice, "h2", CLIENT_CA)
            own, heard = await trio.to_thread.run_sync(knock)
            line = await found.wait_said("rejected connection on client endpoint")
            assert b"" == heard
            assert f"127.0.0.1:{own}" == line["remote-addr"]
            assert "its address is in none of the networks that may come" == line["error"]
        knock = partial(come, tmp_path, found.peer_port, None, "trioetcd-peer", PEER_CA)
        await trio.to_thread.run_sync(knock)
        assert NONE == (await found.wait_said("rejected connection on peer endpoint"))["error"]


async def test_metrics_may_be_had_without_a_certificate(tmp_path: Path) -> None:
    """On their own port alone, and not with a wrong certificate."""
    async with member(tmp_path, "--metrics-client-cert=optional") as found:
        for pair, port, welcome in (
            (None, found.metrics_port, True),
            (None, found.client_port, False),
            (issue(OTHER_CLIENT_CA, Role.CLIENT), found.metrics_port, False),
        ):
            knock = partial(come, tmp_path, port, pair, "h2", CLIENT_CA)
            _, heard = await trio.to_thread.run_sync(knock)
            assert welcome == bool(heard)
