"""Tests of `trioetcd.node.peering`: a node's listener, links and replica hang together."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from cryptography import x509

from tests.runtime.member import Disk, running
from trioetcd import pki, raft
from trioetcd.cluster import Addition, ClusterView, Member, encode_change
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.credential_files import credential_files
from trioetcd.node.machine import Machine
from trioetcd.node.peering import Peering, ask, peer_limits
from trioetcd.node.settings import Config
from trioetcd.pki import CertifiedKey, Profile
from trioetcd.replica import Envelope, Outputs, SnapshotSent
from trioetcd.runtime.clock import SystemEntropy
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.testing.cluster import free_port
from trioetcd.testing.node_life import Diary
from trioetcd.transport.credentials import Credentials, load
from trioetcd.transport.tenure import LEAVING_LOOKS
from trioetcd.url import parse_url
from trioetcd.values import Index, MemberID, Term

NOW = datetime.now(UTC)
PROFILE = Profile()


@dataclass
class Node:
    """One node's peering, and what it is made of."""

    config: Config
    credentials: Credentials
    server: Server
    peering: Peering
    url: str


@dataclass
class Authorities:
    """The two CAs of a cluster."""

    peer: CertifiedKey
    client: CertifiedKey


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities(
        pki.create_authority("peer", now=NOW, profile=PROFILE),
        pki.create_authority("client", now=NOW, profile=PROFILE),
    )


def configure(directory: Path, authorities: Authorities, url: str) -> tuple[Config, Credentials]:
    """Make a member's certificates, and the settings that name them."""
    pki_files.create_member(
        directory,
        name="m",
        hosts=("127.0.0.1",),
        peer_ca=authorities.peer,
        client_ca=authorities.client,
        now=NOW,
        profile=PROFILE,
    )
    config = parse(
        [
            f"--data-dir={directory / 'data'}",
            f"--listen-peer-urls={url}",
            f"--initial-advertise-peer-urls={url}",
            f"--peer-cert-file={directory / 'peer.crt'}",
            f"--peer-key-file={directory / 'peer.key'}",
            f"--peer-trusted-ca-file={directory / 'peer-ca.crt'}",
        ],
        {},
    )
    files, _ = credential_files(config, now=NOW)
    return config, Credentials(load(files, now=NOW), entropy=SystemEntropy(), ended=lambda *_: None)


@asynccontextmanager
async def node(directory: Path, authorities: Authorities) -> AsyncIterator[Node]:
    """Run a server with its peering until the block is left."""
    url = f"https://127.0.0.1:{free_port()}"
    config, credentials = configure(directory, authorities, url)
    log = Log(outputs=())
    async with running(Disk()) as server, trio.open_nursery() as nursery:
        peering = Peering(
            config,
            server,
            Machine(),
            credentials,
            boot=1,
            log=log,
        )
        server.also_turned = peering.turned
        await nursery.start(peering.run)
        yield Node(config, credentials, server, peering, url)
        nursery.cancel_scope.cancel()
    log.close()


async def until(condition: object) -> None:
    assert callable(condition)
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_a_joiner_is_told_the_members(tmp_path: Path, authorities: Authorities) -> None:
    """Who has a certificate of the peers' CA may ask who is in the cluster."""
    async with node(tmp_path / "a", authorities) as found:
        _, joiner = configure(tmp_path / "b", authorities, "https://127.0.0.1:1")
        log = Log(outputs=())
        view = await ask([parse_url(found.url)], found.config, Machine(), joiner, log)
        log.close()

        replica = found.server.replica
        assert ClusterView(replica.cluster_id, tuple(found.server.membership.members())) == view


async def test_a_turns_messages_reach_the_other_nodes_replica(
    tmp_path: Path, authorities: Authorities
) -> None:
    """What a turn sends goes over the link and into the other one's driver."""
    async with (
        node(tmp_path / "a", authorities) as one,
        node(tmp_path / "b", authorities) as two,
    ):
        # Both members have the same number, so the second one is given another.
        other = MemberID(2)
        two.peering.peers.local = two.peering.peers.local._replace(id=other)
        two.peering._door._local = two.peering.peers.local
        member = Member(id=other, name="", peer_urls=(two.url,))
        outcome = one.server.membership.apply(*encode_change(Addition(member, 1)))
        assert isinstance(outcome, tuple), outcome
        own = one.server.replica.member_id
        one.peering.turned(Outputs())
        await until(lambda: one.peering.peers.is_active(other))
        message = raft.Heartbeat(other, own, Term(1), Index(0), 0)
        one.peering.turned(Outputs(sends=[Envelope(own, other, 1, 1, message)]))
        counter = two.server.metrics.network_peer_received_bytes_total.labels(f"{own:x}")

        await until(lambda: counter.value > 0)
        await two.server.driver.wait_turn()


async def test_a_revoked_peer_loses_its_connections_and_gets_no_new_one(
    tmp_path: Path, authorities: Authorities
) -> None:
    """Both ways: what it dialled ends and is refused, what was dialled to it ends too."""
    async with (
        node(tmp_path / "a", authorities) as one,
        node(tmp_path / "b", authorities) as two,
    ):
        other = MemberID(2)
        two.peering.peers.local = two.peering.peers.local._replace(id=other)
        two.peering._door._local = two.peering.peers.local
        own = one.server.replica.member_id
        member = Member(id=other, name="", peer_urls=(two.url,))
        one.server.membership.apply(*encode_change(Addition(member, 1)))
        one.peering.turned(Outputs())
        await until(lambda: one.peering.peers.is_active(other))
        await until(lambda: two.peering.peers.is_active(own))
        await until(lambda: len(one.credentials.callers) == len(one.credentials.peers) == 1)
        pair = (tmp_path / "b" / "peer.crt").read_bytes()
        serial = x509.load_pem_x509_certificate(pair).serial_number
        crl = tmp_path / "peer-crl.pem"
        crl.write_bytes(pki.revocation_list(authorities.peer, now=NOW, serials=[serial]))
        files, _ = credential_files(replace(one.config, peer_crl_file=str(crl)), now=NOW)
        assert one.credentials.replace(load(files, now=NOW))
        for _ in range(LEAVING_LOOKS + 1):
            await one.credentials.look()

        await until(lambda: not one.peering.peers.is_active(other))
        await until(lambda: not two.peering.peers.is_active(own))
        assert len(one.credentials.callers) == len(one.credentials.peers) == 0
        failures = one.server.metrics.trioetcd_handshake_failures_total
        diary = Diary()
        urls = [parse_url(one.url)]
        assert await ask(urls, two.config, Machine(), two.credentials, diary) is None
        await until(lambda: failures.value > 0)


async def test_a_peer_port_in_use_is_named(tmp_path: Path, authorities: Authorities) -> None:
    """Somebody else's port is an error with the URL in it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"https://127.0.0.1:{other.getsockname()[1]}"
        config, credentials = configure(tmp_path / "a", authorities, url)
        log = Log(outputs=())
        async with running(Disk()) as server:
            peering = Peering(
                config,
                server,
                Machine(),
                credentials,
                boot=1,
                log=log,
            )
            with pytest.raises(OSError, match="in use") as failure:
                await peering.run()
        log.close()

    assert failure.value.filename == url


async def test_the_replica_may_say_that_it_was_removed(
    tmp_path: Path, authorities: Authorities
) -> None:
    """A turn that says so sets the event that ends the member."""
    async with node(tmp_path / "a", authorities) as found:
        assert not found.peering.expelled.is_set()
        found.peering.turned(Outputs(expelled=True))
        assert found.peering.expelled.is_set()


async def test_who_asks_for_a_snapshot_at_the_end_hears_that_none_went(
    tmp_path: Path, authorities: Authorities
) -> None:
    """A member's last turns come when its peering has ended, and may ask for what it did."""
    config, credentials = configure(tmp_path, authorities, f"https://127.0.0.1:{free_port()}")
    with closing(Log(outputs=())) as log:
        async with running(Disk()) as server:
            peering = Peering(config, server, Machine(), credentials, boot=1, log=log)
            async with trio.open_nursery() as nursery:
                await nursery.start(peering.run)
                nursery.cancel_scope.cancel()
            peering.turned(Outputs(snapshots=[MemberID(2)]))

            assert SnapshotSent(MemberID(2), ok=False) in server.driver._inputs


def test_a_frame_holds_the_longest_request() -> None:
    """A larger --max-request-bytes makes longer frames."""
    assert peer_limits(parse([], {})).frame_bytes_max == 16 << 20
    assert peer_limits(parse(["--max-request-bytes=33554432"], {})).frame_bytes_max == 64 << 20
