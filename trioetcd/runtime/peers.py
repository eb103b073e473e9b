"""The other members: one link to each, kept in step with the membership.

What Raft wants sent goes to the links; what the links tell (a peer cannot be reached, it refuses
us) goes to the driver and the log. Whoever speaks to us is `trioetcd.runtime.peer_door`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

import trio

from trioetcd.cluster import Member
from trioetcd.ports import Entropy
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.trace import Log
from trioetcd.transport.listener import Address
from trioetcd.transport.peer_link import Dial, PeerLink
from trioetcd.url import parse_url
from trioetcd.values import SERVER_VERSION, ClusterID, MemberID
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Hello, Numbered, PeerMessage, Purpose, Refusal, Welcome

__all__ = ["Addressed", "LocalMember", "MembershipView", "Peers", "addresses_of"]

STRANGERS_MAX: Final = 16
"""Links to members that spoke to us and are not in our membership yet, at a time."""


class LocalMember(NamedTuple):
    """Who this member is.

    Attributes:
        cluster: its cluster.
        id: its number.
        boot: 64 random bits drawn at this start.
        peer_urls: where it advertises to be reached by its peers.
    """

    cluster: ClusterID
    id: MemberID
    boot: int
    peer_urls: tuple[str, ...]

    def hello(self, purpose: Purpose, receiver: MemberID) -> Hello:
        """Give what it says first when it has dialled `receiver`."""
        return Hello(
            purpose, self.cluster, self.id, receiver, self.boot, SERVER_VERSION, self.peer_urls
        )


class MembershipView(Protocol):
    """What is asked of `trioetcd.cluster.Membership`."""

    @property
    def changes(self) -> int:
        """A count that differs when anything has changed."""

    def members(self) -> list[Member]:
        """Give all members."""

    def get(self, member: MemberID, /) -> Member | None:
        """Give a member by its number."""

    def is_removed(self, member: MemberID, /) -> bool:
        """Whether the number belonged to a member that was removed."""


class Addressed(Protocol):
    """A message on its way, as `replica.Outputs.sends` has them."""

    @property
    def to(self) -> MemberID:
        """The receiver."""

    @property
    def sequence(self) -> int:
        """Its number."""

    @property
    def message(self) -> PeerMessage:
        """Itself."""


def addresses_of(urls: Iterable[str]) -> tuple[Address, ...]:
    """Give where peer URLs lead, leaving out what cannot be dialled; http:// means TLS as well."""
    found = []
    for text in urls:
        try:
            url = parse_url(text)
        except ValueError:
            continue
        if url.host and not url.unix and url.port:
            found.append(Address(url.host, url.port))
    return tuple(found)


class Peers:
    """Links to all other members.

    Attributes:
        local: this member.
        membership: who the others are.

    Args:
        local: see there.
        membership: see there; looked at in `learn` and `refresh`.
        dial: how a peer is dialled.
        entropy: for the pauses between attempts.
        limits: bounds of the protocol.
        reachable: told when a connection has been made.
        unreachable: told when a connection broke or could not be made.
        expelled: told when a peer says that this member was removed.
        metrics: where everything is counted.
        log: where trouble is told.
    """

    def __init__(
        self,
        local: LocalMember,
        membership: MembershipView,
        *,
        dial: Dial,
        entropy: Entropy,
        limits: PeerLimits,
        reachable: Callable[[MemberID], None],
        unreachable: Callable[[MemberID], None],
        expelled: Callable[[], None],
        metrics: Metrics,
        log: Log,
    ) -> None:
        self.local = local
        self.membership = membership
        self.limits = limits
        self.metrics = metrics
        self.log = log
        self.dial = dial
        self._entropy = entropy
        self._reachable = reachable
        self._unreachable = unreachable
        self._expelled = expelled
        self._peers: dict[MemberID, _Peer] = {}
        self._seen = -1
        self._nursery: trio.Nursery | None = None

    # -- who there is -------------------------------------------------------------------------

    def learn(self) -> bool:
        """Look at the membership if it has changed: links come, and get new addresses.

        Returns:
            Whether there are links to members that are gone (`forget_removed`).
        """
        if self._seen == self.membership.changes:
            return False
        self._seen = self.membership.changes
        for member in self.membership.members():
            if member.id != self.local.id:
                self._know(member.id, addresses_of(member.peer_urls), stranger=False)
        return bool(self._gone())

    def _gone(self) -> list[_Peer]:
        """Give those whose links lead to members that are gone; a stranger may come in yet."""
        membership = self.membership
        return [
            peer
            for peer in self._peers.values()
            if membership.get(peer.id) is None
            and (not peer.stranger or membership.is_removed(peer.id))
        ]

    def forget_removed(self) -> None:
        """End the links to members that are gone."""
        for peer in self._gone():
            self._forget(peer)

    def refresh(self) -> None:
        """Look at the membership, and end the links to members that are gone at once."""
        self.learn()
        self.forget_removed()

    def meet(self, hello: Hello) -> bool:
        """Answer a member that has spoken: dial it at once, known to the membership or not (yet).

        A member that lags may be led by one whose addition it has not applied; to catch up it
        must answer. Likewise one that joins, which knows nobody.

        Returns:
            Whether there is a link to it now.
        """
        peer = self._peers.get(hello.sender)
        if peer is not None:
            peer.link.hasten()
            return True
        addresses = addresses_of(hello.peer_urls)
        strangers = sum(peer.stranger for peer in self._peers.values())
        if not addresses or strangers >= STRANGERS_MAX:
            return False
        self._know(hello.sender, addresses, stranger=True)
        return True

    def part(self, member: MemberID) -> None:
        """Let go of a member that has gone, if it never came into the membership."""
        peer = self._peers.get(member)
        if peer is not None and peer.stranger:
            self._forget(peer)

    def addresses(self, member: MemberID) -> tuple[Address, ...]:
        """Give where a member may be reached; nothing if it is unknown."""
        peer = self._peers.get(member)
        return () if peer is None else peer.link.addresses

    def is_active(self, member: MemberID) -> bool:
        """Whether messages to a member leave at once."""
        peer = self._peers.get(member)
        return peer is not None and peer.link.active

    def connected_seconds(self) -> dict[MemberID, float]:
        """Give for how long each member has been connected to without a break."""
        now = trio.current_time()
        return {
            peer.id: now - peer.connected_at
            for peer in self._peers.values()
            if peer.link.active and not peer.stranger
        }

    def _know(self, member: MemberID, addresses: tuple[Address, ...], *, stranger: bool) -> None:
        peer = self._peers.get(member)
        if peer is None:
            peer = self._peers[member] = _Peer(self, member, addresses, self._entropy)
            if self._nursery is not None:
                self._nursery.start_soon(peer.run)
        elif peer.link.addresses != addresses:
            peer.link.reconnect(addresses)
        peer.stranger = stranger

    def _forget(self, peer: _Peer) -> None:
        del self._peers[peer.id]
        peer.end()

    # -- what the owner does ------------------------------------------------------------------

    def send(self, envelopes: Iterable[Addressed]) -> None:
        """Send what Raft wants sent, in order; never waits, and may lose any of it."""
        turn: dict[MemberID, list[Numbered]] = {}
        for envelope in envelopes:
            numbered = Numbered(envelope.sequence, envelope.message)
            turn.setdefault(envelope.to, []).append(numbered)
        for to, messages in turn.items():
            peer = self._peers.get(to)
            if peer is not None:
                peer.link.send(messages)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the links until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for peer in self._peers.values():
                    nursery.start_soon(peer.run)
                self.refresh()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    # -- what the links tell ------------------------------------------------------------------

    def reachable(self, member: MemberID) -> None:
        """Tell the owner that a member can be spoken to again (for a link)."""
        self._reachable(member)

    def unreachable(self, member: MemberID) -> None:
        """Tell Raft that what was sent to a member may be lost (for a link)."""
        self._unreachable(member)

    def expelled(self) -> None:
        """Tell the owner that this member was removed (for a link)."""
        self._expelled()


class _Peer:
    """One other member: its link, and what is counted of it; the link's owner."""

    def __init__(
        self, peers: Peers, member: MemberID, addresses: tuple[Address, ...], entropy: Entropy
    ) -> None:
        self.id = member
        self.stranger = False
        self.connected_at = 0.0
        self.name = f"{member:x}"
        self.link = PeerLink(
            peers.dial,
            peers.local.hello(Purpose.MESSAGES, member),
            addresses,
            entropy=entropy,
            owner=self,
            limits=peers.limits,
        )
        self._peers = peers
        self._scope = trio.CancelScope()
        self._was_active = False
        self._told_too_long = False
        metrics = peers.metrics
        self._both = (f"{peers.local.id:x}", self.name)
        self._sent = metrics.network_peer_sent_bytes_total.labels(self.name)
        self._lost = metrics.network_peer_sent_failures_total.labels(self.name)
        metrics.network_known_peers.labels(*self._both).value = 1
        metrics.network_active_peers.labels(*self._both).read = lambda: int(self.link.active)

    async def run(self) -> None:
        """Keep the link until `end`."""
        with self._scope:
            await self.link.run()

    def end(self) -> None:
        """End the link and forget its series."""
        self._scope.cancel()
        metrics = self._peers.metrics
        metrics.network_known_peers.forget(*self._both)
        metrics.network_active_peers.forget(*self._both)
        metrics.network_peer_sent_bytes_total.forget(self.name)
        metrics.network_peer_sent_failures_total.forget(self.name)

    # PeerLinkOwner

    def connected(self, address: Address, welcome: Welcome) -> None:
        if not self._was_active:
            self.connected_at = trio.current_time()
        self._was_active = True
        self._told_too_long = False
        self._peers.reachable(self.id)
        self._peers.log.info(
            "peer became active",
            **{
                "peer-id": self.name,
                "remote-addr": str(address),
                "remote-server-version": welcome.version,
            },
        )

    def unreachable(self) -> None:
        if self._was_active:
            self._was_active = False
            self._peers.metrics.network_disconnected_peers_total.labels(*self._both).value += 1
        self._peers.unreachable(self.id)

    def troubled(self, reason: str) -> None:
        self._peers.log.warn("peer became inactive", **{"peer-id": self.name, "error": reason})

    def refused(self, code: str) -> None:
        if code == Refusal.REMOVED:
            self._peers.expelled()

    def sent(self, count: int) -> None:
        self._sent.value += count

    def lost(self, count: int) -> None:
        self._lost.value += count

    def too_long(self) -> None:
        if not self._told_too_long:  # once a connection: what is asked for again is dropped again
            self._told_too_long = True
            self._peers.log.warn(
                "dropped a message to a peer that is longer than a frame may be; with a larger "
                "--max-request-bytes at all members it would get through",
                **{"peer-id": self.name, "frame-bytes-max": self._peers.limits.frame_bytes_max},
            )
