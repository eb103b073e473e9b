"""Peers that dial this member: who they are, whether they are welcome, and what they bring.

The listener has verified a certificate of the peers' CA, and that it may be a member's
(`trioetcd.transport.peer_check`), before anything arrives here. What goes wrong on a connection
ends that connection, with one line in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import trio

from trioetcd.cluster import encode_member
from trioetcd.errors import FUTURE_REVISION, EtcdError
from trioetcd.ports import Row
from trioetcd.questions import Hashed
from trioetcd.runtime.peers import Peers
from trioetcd.runtime.rejection import note_rejected
from trioetcd.transport.listener import Accepted
from trioetcd.transport.peer_dial import notice_death
from trioetcd.transport.streams import ByteStream
from trioetcd.transport.tls import PEER_ALPN
from trioetcd.values import SERVER_VERSION, MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.peer import (
    Event,
    HashAsked,
    Hello,
    Members,
    Messages,
    Numbered,
    OtherVersion,
    PeerListener,
    Purpose,
    Refusal,
    Refused,
    SnapshotEnd,
    SnapshotHead,
    SnapshotRows,
)

__all__ = ["HELLO_SECONDS", "HashTeller", "PeerDoor", "SnapshotReceiver"]

HELLO_SECONDS: Final = 5.0
"""For the hello, after the handshake that had as long."""

GREETINGS_MAX: Final = 64
"""Connections at a time that have not said hello; every member needs two."""

TOLD_MAX: Final = 256
"""Members whose last refusal is remembered, so that it is logged once and not every second."""

GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class SnapshotReceiver(Protocol):
    """Takes a snapshot over; one at a time."""

    async def offer(self, sender: MemberID, head: SnapshotHead) -> bool:
        """Say whether this snapshot is wanted now."""

    async def take(self, rows: list[Row]) -> None:
        """Take a piece; returns when the next one may come."""

    async def end(self, *, whole: bool) -> bool:
        """Install what came, if it is whole; True once it is this member's state, durably."""

    def abort(self) -> None:
        """The connection is gone before `end` was answered."""


class HashTeller(Protocol):
    """Knows what this member's data hashes to."""

    async def tell(self, purpose: Purpose, revision: int, /) -> Hashed:
        """Give a hash; raises EtcdError COMPACTED or FUTURE_REVISION."""


class PeerDoor:
    """Serves the connections of the peer listener.

    Args:
        peers: who is known, and how it is answered.
        received: given messages: the sender, its boot, and the messages in order.
        snapshots: takes snapshots over; without it every snapshot is refused.
        hashes: answers who asks for a hash.
        silence_seconds: how long a peer may be silent before the kernel asks, and as long again
            until it gives up.
    """

    def __init__(
        self,
        peers: Peers,
        *,
        received: Callable[[MemberID, int, list[Numbered]], None],
        snapshots: SnapshotReceiver | None,
        hashes: HashTeller,
        silence_seconds: float,
    ) -> None:
        self._peers = peers
        self._local = peers.local
        self._received = received
        self._snapshots = snapshots
        self._hashes = hashes
        self._silence_seconds = silence_seconds
        self._greeting = 0
        self._told: dict[MemberID, str] = {}
        self._current: dict[tuple[MemberID, Purpose], trio.CancelScope] = {}

    def rejected(self, remote: str, reason: str, certificate: bytes = b"") -> None:
        """Note a connection that did not get in (for the listener)."""
        note_rejected(self._peers.log, self._peers.metrics, "peer", remote, reason, certificate)

    async def serve(self, accepted: Accepted) -> None:
        """Serve one connection to its end; never raises what the other side could cause."""
        reason = self._stranger(accepted)
        if reason:
            self.rejected(accepted.remote, reason, accepted.certificate or b"")
            return
        listener = PeerListener(limits=self._peers.limits)
        try:
            notice_death(accepted.stream.socket, self._silence_seconds)
            hello = await self._greet(accepted, listener)
            if hello is not None:
                await self._welcomed(accepted.stream, listener, hello)
        except RemoteProtocolError as error:
            self._broke_protocol(accepted, listener, str(error))
        except GONE:
            return  # whoever dialled dials again; its end is told by the link the other way

    def _broke_protocol(self, accepted: Accepted, listener: PeerListener, reason: str) -> None:
        metrics = self._peers.metrics
        metrics.trioetcd_protocol_errors_total.value += 1
        fields = {"remote-addr": accepted.remote, "error": reason}
        if listener.hello is not None:
            name = f"{listener.hello.sender:x}"
            fields["peer-id"] = name
            metrics.network_peer_received_failures_total.labels(name).value += 1
        self._peers.log.warn("closed a connection of a peer that broke the protocol", **fields)

    def _stranger(self, accepted: Accepted) -> str:
        """Say why whoever came through the handshake is no member; nothing if it may be one."""
        if accepted.certificate is None or accepted.alpn not in PEER_ALPN:
            return "it does not speak the protocol of members"
        if self._greeting >= GREETINGS_MAX:
            return "too many connections have not said hello"
        return ""

    # -- hello --------------------------------------------------------------------------------

    async def _greet(self, accepted: Accepted, listener: PeerListener) -> Hello | None:
        """Hear the hello and answer it; None if that was all."""
        self._greeting += 1
        event: Event | None = None
        try:
            with trio.move_on_after(HELLO_SECONDS):
                event = await _next(accepted.stream, listener)
        finally:
            self._greeting -= 1
        if event is None:
            reason = f"no hello within {HELLO_SECONDS:g} s"
            self.rejected(accepted.remote, reason, accepted.certificate or b"")
            return None
        assert isinstance(event, Hello | OtherVersion), "the first event is a hello"
        refusal = self._judge(event)
        if refusal is not None:
            self._tell(accepted, event, refusal)
            listener.refuse(*refusal)
        elif isinstance(event, Hello) and event.purpose is Purpose.MEMBERS:
            members = [encode_member(each) for each in self._peers.membership.members()]
            listener.tell_members(Members(self._local.cluster, members))
        else:
            assert isinstance(event, Hello), "another version is refused"
            self._told.pop(event.sender, None)
            listener.welcome(self._local.boot, SERVER_VERSION)
            await accepted.stream.send_all(listener.take())
            return event
        await accepted.stream.send_all(listener.take())
        return None

    def _judge(self, hello: Hello | OtherVersion) -> Refused | None:
        """Say why a hello is refused; None if it is welcome."""
        if isinstance(hello, OtherVersion):
            sentence = f"this member speaks version 1 of the protocol, not {hello.protocol}"
            return Refused(Refusal.VERSION, sentence)
        if hello.purpose is Purpose.MEMBERS:
            return None
        local = self._local
        if hello.cluster != local.cluster:
            return Refused(
                Refusal.CLUSTER, f"this is cluster {local.cluster:x}, not {hello.cluster:x}"
            )
        if hello.receiver != local.id:
            return Refused(Refusal.RECEIVER, f"this is member {local.id:x}, not {hello.receiver:x}")
        name = f"{hello.sender:x}"
        if self._peers.membership.is_removed(hello.sender):
            return Refused(
                Refusal.REMOVED, f"member {name} has been removed from cluster {local.cluster:x}"
            )
        if hello.sender in {local.id, 0} or not self._peers.meet(hello):
            return Refused(Refusal.UNKNOWN, f"nobody here knows a member {name}")
        return None

    def _tell(self, accepted: Accepted, hello: Hello | OtherVersion, refusal: Refused) -> None:
        """Log a refusal, unless it is the same one as the last of that member."""
        sender = hello.sender if isinstance(hello, Hello) else MemberID(0)
        if self._told.get(sender) == refusal.reason:
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told[sender] = refusal.reason
        self._peers.log.warn(
            "refused a peer",
            **{
                "remote-addr": accepted.remote,
                "peer-id": f"{sender:x}",
                "error": refusal.reason,
            },
        )

    def dismiss_removed(self) -> None:
        """End the connections of removed members: when they dial again they are told, and end."""
        for (member, _), scope in list(self._current.items()):
            if self._peers.membership.is_removed(member):
                scope.cancel()

    # -- what is brought ----------------------------------------------------------------------

    async def _welcomed(self, stream: ByteStream, listener: PeerListener, hello: Hello) -> None:
        """Serve a connection; a newer one of the same member and purpose ends it."""
        key = hello.sender, hello.purpose
        scope = trio.CancelScope()
        older = self._current.get(key)
        if older is not None:
            older.cancel()
        self._current[key] = scope
        before = 0
        counter = self._peers.metrics.network_peer_received_bytes_total.labels(f"{hello.sender:x}")
        try:
            with scope:
                if hello.purpose is Purpose.SNAPSHOT:
                    await self._take_snapshot(stream, listener, hello.sender)
                    return
                if hello.purpose.asks_hash:
                    await self._tell_hash(stream, listener, hello.purpose)
                    return
                while True:
                    self._hear(listener, hello)
                    counter.value += stream.received_bytes - before
                    before = stream.received_bytes
                    await stream.wait_readable()
                    data = stream.receive_nowait()
                    if data == b"":
                        return
                    if data:
                        listener.receive(data)
        finally:
            counter.value += stream.received_bytes - before
            if self._current.get(key) is scope:
                del self._current[key]
                if hello.purpose is Purpose.MESSAGES:
                    self._peers.part(hello.sender)

    def _hear(self, listener: PeerListener, hello: Hello) -> None:
        """Hand on all messages that have arrived whole."""
        messages: list[Numbered] = []
        try:
            while (event := listener.next_event()) is not None:
                assert isinstance(event, Messages), "nothing else comes on this connection"
                messages += event.messages
        finally:
            if messages:
                self._received(hello.sender, hello.boot, messages)

    async def _tell_hash(
        self, stream: ByteStream, listener: PeerListener, purpose: Purpose
    ) -> None:
        """Answer the one question that comes on this connection, while whoever asked is there."""
        asked = await _next(stream, listener)
        if asked is None:
            return
        assert isinstance(asked, HashAsked), "nothing else comes on this connection"
        answered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_gone, stream, nursery.cancel_scope)
            try:
                listener.tell_hash(await self._hashes.tell(purpose, asked.revision))
            except EtcdError as error:
                ahead = error.row == FUTURE_REVISION
                listener.refuse(Refusal.FUTURE if ahead else Refusal.COMPACTED, error.row.text)
            answered = True
            nursery.cancel_scope.cancel()
        if answered:
            await stream.send_all(listener.take())

    async def _take_snapshot(
        self, stream: ByteStream, listener: PeerListener, sender: MemberID
    ) -> None:
        head = await _next(stream, listener)
        if head is None:
            return
        assert isinstance(head, SnapshotHead), "a snapshot begins with its head"
        metrics = self._peers.metrics
        name = f"{sender:x}"
        snapshots = self._snapshots
        if snapshots is None or not await snapshots.offer(sender, head):
            listener.refuse(Refusal.SNAPSHOT, "this member does not take this snapshot now")
            await stream.send_all(listener.take())
            return
        started = trio.current_time()
        metrics.network_snapshot_receive_inflights_total.labels(name).value += 1
        installed = answered = False
        try:
            listener.accept()
            await stream.send_all(listener.take())
            whole = await _take_rows(stream, listener, snapshots)
            installed = await snapshots.end(whole=whole)
            answered = True
        finally:
            if not answered:
                snapshots.abort()
            metrics.network_snapshot_receive_inflights_total.labels(name).value -= 1
            if not installed:
                metrics.network_snapshot_receive_failures.labels(name).value += 1
        if installed:
            seconds = trio.current_time() - started
            metrics.network_snapshot_receive_total_duration_seconds.labels(name).observe(seconds)
            metrics.network_snapshot_receive_success.labels(name).value += 1
            listener.installed()
        else:
            listener.failed("the snapshot could not be installed")
        await stream.send_all(listener.take())


async def _wait_gone(stream: ByteStream, scope: trio.CancelScope) -> None:
    """Cancel `scope` when the dialler has closed the connection, or says more than it may."""
    with suppress(*GONE):
        await stream.receive_some()
    scope.cancel()


async def _take_rows(
    stream: ByteStream, listener: PeerListener, snapshots: SnapshotReceiver
) -> bool:
    """Take all pieces; True if they came whole."""
    while True:
        event = await _next(stream, listener)
        match event:
            case SnapshotRows(rows):
                await snapshots.take(rows)
            case SnapshotEnd(whole):
                return whole
            case _:
                return False


async def _next(stream: ByteStream, listener: PeerListener) -> Event | None:
    """Wait for the next event; None at the end of the connection."""
    while True:
        event = listener.next_event()
        if event is not None:
            return event
        data = await stream.receive_some()
        if not data:
            return None
        listener.receive(data)
