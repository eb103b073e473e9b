"""A node's side of its cluster: the peer listener, the links, and how a replica hangs between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

import trio

from trioetcd.cluster import ClusterView
from trioetcd.node.listening import open_listener
from trioetcd.node.machine import Machine
from trioetcd.node.settings import Config
from trioetcd.pki import AllowedNames
from trioetcd.ports import Row
from trioetcd.replica import (
    Envelope,
    Outputs,
    Reachable,
    Received,
    SnapshotEnded,
    SnapshotMeta,
    SnapshotOffered,
    SnapshotPiece,
    SnapshotSent,
    Unreachable,
)
from trioetcd.replica.state_cut import StateCut
from trioetcd.runtime.ask_members import ask_members
from trioetcd.runtime.hashing import Hashes
from trioetcd.runtime.peer_door import PeerDoor
from trioetcd.runtime.peers import LocalMember, Peers
from trioetcd.runtime.server import Server
from trioetcd.runtime.snapshot_stream import SnapshotIntake, send_snapshot
from trioetcd.runtime.trace import Log
from trioetcd.transport.credentials import Credentials
from trioetcd.transport.listener import Listener
from trioetcd.transport.peer_check import PeerCheck
from trioetcd.transport.peer_dial import TlsDialler
from trioetcd.url import Url
from trioetcd.values import MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import MIB, PeerLimits
from trioetcd.wire.peer import Numbered, SnapshotHead

__all__ = ["Peering", "ask", "peer_limits"]

_SILENCE_SECONDS_MIN: Final = 1.0
_READ_BYTES: Final = 256 * 1024

_PARTING_SECONDS: Final = 1.0
"""For how long there are connections to a member after it was removed (etcd)."""

_META: Final = Struct(">Qq")
"""What the head of a snapshot says besides its place in the log: revision, compact revision."""


def peer_limits(config: Config) -> PeerLimits:
    """Give the bounds of the members' protocol: a frame holds the longest request, and some."""
    return PeerLimits(frame_bytes_max=max(16 * MIB, 2 * config.max_request_bytes))


def _dialler(config: Config, machine: Machine, credentials: Credentials) -> TlsDialler:
    return TlsDialler(
        lambda: credentials.current.peer_dialer,
        silence_seconds=max(_SILENCE_SECONDS_MIN, config.election_seconds),
        check=_peer_check(config),
        connect=machine.connect,
        in_thread=machine.in_thread,
        tenures=credentials.peers,
    )


def _peer_check(config: Config) -> PeerCheck:
    return PeerCheck(
        allowed=AllowedNames(
            flag="--peer-cert-allowed",
            common_names=config.peer_cert_allowed_cn,
            hosts=config.peer_cert_allowed_hostname,
        ),
        # Who dials with a certificate of its own has two, each with one usage.
        both_usages=not config.peer_client_cert_file,
        addresses=not config.peer_skip_client_san_verification,
    )


async def ask(
    urls: Sequence[Url], config: Config, machine: Machine, credentials: Credentials, log: Log
) -> ClusterView | None:
    """Ask other members who is in the cluster, before this one is."""
    return await ask_members(
        urls,
        dial=_dialler(config, machine, credentials).dial,
        limits=peer_limits(config),
        failed=lambda reason: log.info("a peer did not tell the members", error=reason),
    )


class Peering:
    """The peers of one member.

    Attributes:
        peers: the links.
        hashes: tell others, and this member, what its data hashes to.
        expelled: set when this member has been removed from its cluster: it must end.

    Args:
        config: the settings.
        server: whose driver is fed, and whose turns are carried out.
        machine: sockets and chance.
        credentials: TLS.
        boot: this start's number, the replica's.
        log: where trouble is told.
    """

    def __init__(
        self,
        config: Config,
        server: Server,
        machine: Machine,
        credentials: Credentials,
        *,
        boot: int,
        log: Log,
    ) -> None:
        self.expelled = trio.Event()
        self._config = config
        self._machine = machine
        self._credentials = credentials
        self._driver = server.driver
        self._nursery: trio.Nursery | None = None
        replica = self._replica = server.replica
        urls = tuple(str(url) for url in config.initial_advertise_peer_urls)
        self.peers = Peers(
            LocalMember(replica.cluster_id, replica.member_id, boot, urls),
            server.membership,
            dial=_dialler(config, machine, credentials).dial,
            entropy=machine.entropy,
            limits=peer_limits(config),
            reachable=self._reachable,
            unreachable=self._unreachable,
            expelled=self.expelled.set,
            metrics=server.metrics,
            log=log,
        )
        server.connected = self.peers.connected_seconds
        self._intake = SnapshotIntake(
            offered=self._offered,
            piece=lambda rows: self._driver.put_in(SnapshotPiece(rows)),
            ended=lambda ok: self._driver.put_in(SnapshotEnded(ok)),
            installed=lambda index: replica.applied_index >= index,
            wait_turn=self._driver.wait_turn,
        )
        self.hashes = Hashes(
            server.store,
            server.cursors,
            wait_turn=self._driver.wait_turn,
            took=server.metrics.mvcc_hash_rev_duration_seconds.observe,
        )
        self._door = PeerDoor(
            self.peers,
            received=self._received,
            snapshots=self._intake,
            hashes=self.hashes,
            silence_seconds=max(_SILENCE_SECONDS_MIN, config.election_seconds),
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for peers and keep the links until cancelled.

        Raises:
            OSError: a peer URL cannot be listened on; names it.
        """
        listeners = [await self._listener(url) for url in self._config.listen_peer_urls]
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(listener.run, nursery)
            await nursery.start(self.peers.run)
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                # The server's last turns come later, and must not ask for tasks any more.
                self._nursery = None

    def turned(self, outputs: Outputs) -> None:
        """Carry out what a turn of the replica asks for."""
        if self.peers.learn() and self._nursery is not None:
            self._nursery.start_soon(self._part)
        if outputs.sends:
            self.peers.send(outputs.sends)
        if outputs.accepting is not None:
            self._intake.answer(accepting=outputs.accepting)
        for member in outputs.snapshots:
            self._transfer(member)
        if outputs.expelled:
            self.expelled.set()

    async def _part(self) -> None:
        """Leave a member that was removed the time to hear so from its leader, then end it all.

        It ends when it has heard. If it has not, it dials again, and is told by the refusal.
        """
        await trio.sleep(_PARTING_SECONDS)
        self.peers.forget_removed()
        self._door.dismiss_removed()

    async def _listener(self, url: Url) -> Listener:
        return await open_listener(
            url,
            self._machine,
            reuse_port=self._config.socket_reuse_port,
            context=lambda: self._credentials.current.peer_listener,
            serve=self._door.serve,
            rejected=self._door.rejected,
            check=_peer_check(self._config).refusal_of_dialler,
            tenures=self._credentials.callers,
        )

    def _received(self, sender: MemberID, boot: int, messages: list[Numbered]) -> None:
        own = self.peers.local.id
        self._driver.hear(
            Received([Envelope(sender, own, boot, *numbered) for numbered in messages])
        )

    # -- snapshots ----------------------------------------------------------------------------

    def _offered(self, sender: MemberID, head: SnapshotHead) -> None:
        if len(head.meta) != _META.size:
            raise RemoteProtocolError("a snapshot with a description of another kind")
        revision, compact_revision = _META.unpack(head.meta)
        meta = SnapshotMeta(head.last_index, head.last_term, revision, compact_revision)
        self._driver.put_in(SnapshotOffered(sender, head.term, meta))

    def _transfer(self, to: MemberID) -> None:
        """Pin the state as this turn left it, and send it to a member."""
        if self._nursery is None:
            self._driver.put_in(SnapshotSent(to, ok=False))
            return
        cut = self._replica.cut_state()
        meta = cut.meta
        head = SnapshotHead(
            self._replica.term,
            meta.last_index,
            meta.last_term,
            _META.pack(meta.revision, meta.compact_revision),
        )
        self._nursery.start_soon(self._send_state, to, head, cut)

    async def _send_state(self, to: MemberID, head: SnapshotHead, cut: StateCut) -> None:
        reason = "it was given up"
        try:
            reason = await send_snapshot(self.peers, to, head, _rows(cut))
        finally:
            cut.close()
            self._driver.put_in(SnapshotSent(to, ok=not reason))

    def _reachable(self, member: MemberID) -> None:
        self._driver.put_in(Reachable(member))

    def _unreachable(self, member: MemberID) -> None:
        self._driver.put_in(Unreachable(member))


def _rows(cut: StateCut) -> Iterator[Row]:
    """Read the rows of a state a piece at a time."""
    while rows := cut.piece(_READ_BYTES):
        yield from rows
