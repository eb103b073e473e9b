"""A node's side of its cluster: the peer listener, the links, and how a replica hangs between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from trioetcd.cluster import ClusterView
from trioetcd.node.settings import Config
from trioetcd.ports import Entropy
from trioetcd.replica import Envelope, Outputs, Received, Unreachable
from trioetcd.runtime.ask_members import ask_members
from trioetcd.runtime.peer_door import PeerDoor, SnapshotReceiver
from trioetcd.runtime.peers import LocalMember, Peers
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.transport.credentials import Contexts
from trioetcd.transport.listener import Address, Listener, open_sockets
from trioetcd.transport.peer_dial import TlsDialler
from trioetcd.url import Url
from trioetcd.values import MemberID
from trioetcd.wire.limits import MIB, PeerLimits
from trioetcd.wire.peer import Numbered

__all__ = ["Peering", "ask", "peer_limits"]

_SILENCE_SECONDS_MIN: Final = 1.0


def peer_limits(config: Config) -> PeerLimits:
    """Give the bounds of the members' protocol: a frame holds the longest request, and some."""
    return PeerLimits(frame_bytes_max=max(16 * MIB, 2 * config.max_request_bytes))


def _dialler(config: Config, contexts: Contexts) -> TlsDialler:
    silence = max(_SILENCE_SECONDS_MIN, config.election_seconds)
    return TlsDialler(lambda: contexts.peer_dialer, silence_seconds=silence)


async def ask(
    urls: Sequence[Url], config: Config, contexts: Contexts, log: Log
) -> ClusterView | None:
    """Ask other members who is in the cluster, before this one is."""
    return await ask_members(
        urls,
        dial=_dialler(config, contexts).dial,
        limits=peer_limits(config),
        failed=lambda reason: log.info("a peer did not tell the members", error=reason),
    )


class Peering:
    """The peers of one member.

    Attributes:
        peers: the links.
        expelled: set when this member has been removed from its cluster: it must end.

    Args:
        config: the settings.
        server: whose driver is fed, and whose turns are carried out.
        contexts: TLS.
        boot: this start's number, the replica's.
        entropy: chance.
        snapshots: takes in what a leader sends to a member that lags far behind; without it
            such a leader is refused.
        log: where trouble is told.
    """

    def __init__(
        self,
        config: Config,
        server: Server,
        contexts: Contexts,
        *,
        boot: int,
        entropy: Entropy,
        snapshots: SnapshotReceiver | None,
        log: Log,
    ) -> None:
        self.expelled = trio.Event()
        self._config = config
        self._contexts = contexts
        self._driver = server.driver
        replica = server.replica
        urls = tuple(str(url) for url in config.initial_advertise_peer_urls)
        self.peers = Peers(
            LocalMember(replica.cluster_id, replica.member_id, boot, urls),
            server.membership,
            dial=_dialler(config, contexts).dial,
            entropy=entropy,
            limits=peer_limits(config),
            unreachable=self._unreachable,
            expelled=self.expelled.set,
            metrics=server.metrics,
            log=log,
        )
        self._door = PeerDoor(
            self.peers,
            received=self._received,
            snapshots=snapshots,
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
            task_status.started()

    def turned(self, outputs: Outputs) -> None:
        """Carry out what a turn of the replica asks for."""
        self.peers.refresh()
        if outputs.sends:
            self.peers.send(outputs.sends)
        if outputs.expelled:
            self.expelled.set()

    async def _listener(self, url: Url) -> Listener:
        address = Address(url.host, url.port, url.path if url.unix else None)
        try:
            sockets = await open_sockets(address, reuse_port=self._config.socket_reuse_port)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(url)) from None
        return Listener(
            sockets,
            context=lambda: self._contexts.peer_listener,
            serve=self._door.serve,
            rejected=self._door.rejected,
        )

    def _received(self, sender: MemberID, boot: int, messages: list[Numbered]) -> None:
        own = self.peers.local.id
        self._driver.put_in(
            Received([Envelope(sender, own, boot, *numbered) for numbered in messages])
        )

    def _unreachable(self, member: MemberID) -> None:
        self._driver.put_in(Unreachable(member))
