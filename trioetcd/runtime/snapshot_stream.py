"""A member's whole state on its way to another one: sending it, and taking it in.

The rows of a snapshot are read from a pinned view while others are served; each piece is small,
and both sides go on only when the other one, and their own turns, keep up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from trioetcd.ports import Row
from trioetcd.runtime.peers import Peers
from trioetcd.transport.peer_dial import DialError
from trioetcd.transport.peer_link import connect
from trioetcd.transport.streams import ByteStream
from trioetcd.values import MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.peer import (
    Accepted,
    Answer,
    Failed,
    Installed,
    PeerDialler,
    Purpose,
    Refused,
    SnapshotHead,
    cut_rows,
)

__all__ = ["SnapshotIntake", "send_snapshot"]

PIECE_SECONDS: Final = 30.0
"""A receiver that does not take a piece for so long has failed."""

INSTALL_SECONDS: Final = 600.0
"""A receiver may take so long from the last piece to the end: it syncs everything once."""


class _FailedError(Exception):
    """The transfer has failed; the sentence says why."""


async def send_snapshot(peers: Peers, to: MemberID, head: SnapshotHead, rows: Iterator[Row]) -> str:
    """Send a snapshot to a member.

    Args:
        peers: who knows where the member is.
        to: the member.
        head: what the snapshot is of.
        rows: its rows in any order, from a view that does not change; read as they are sent.

    Returns:
        Nothing if the member has installed it, or a sentence that says why not.
    """
    metrics = peers.metrics
    name = f"{to:x}"
    metrics.network_snapshot_send_inflights_total.labels(name).value += 1
    started = trio.current_time()
    reason = "it was given up"
    try:
        reason = await _send(peers, to, head, rows)
    finally:
        metrics.network_snapshot_send_inflights_total.labels(name).value -= 1
        if reason:
            metrics.network_snapshot_send_failures.labels(name).value += 1
    fields = {"peer-id": name, "snapshot-index": head.last_index}
    if reason:
        peers.log.warn("failed to send snapshot", **fields, error=reason)
    else:
        seconds = trio.current_time() - started
        metrics.network_snapshot_send_success.labels(name).value += 1
        metrics.network_snapshot_send_total_duration_seconds.labels(name).observe(seconds)
        peers.log.info("sent snapshot", **fields, took=f"{seconds:.3f}s")
    return reason


async def _send(peers: Peers, to: MemberID, head: SnapshotHead, rows: Iterator[Row]) -> str:
    reason = "it has told no address"
    for address in peers.addresses(to):
        dialler = PeerDialler(peers.local.hello(Purpose.SNAPSHOT, to), limits=peers.limits)
        try:
            stream = await connect(peers.dial, dialler, address)
        except DialError as error:
            reason = str(error)
            continue
        try:
            await _Outgoing(stream, dialler).carry(head, cut_rows(rows, peers.limits))
        except trio.BrokenResourceError as error:
            return f"{address}: {error}"
        except (_FailedError, RemoteProtocolError) as error:
            return f"{address}: {error}"
        finally:
            stream.close()
        return ""
    return reason


class _Outgoing:
    """One transfer on a connection that has been welcomed."""

    def __init__(self, stream: ByteStream, dialler: PeerDialler) -> None:
        self._stream = stream
        self._dialler = dialler

    async def carry(self, head: SnapshotHead, pieces: Iterator[list[Row]]) -> None:
        """Send everything and wait until it is installed.

        Raises:
            _FailedError: the receiver does not want it, or could not install it.
            RemoteProtocolError: the receiver broke the protocol.
            trio.BrokenResourceError: the connection broke.
        """
        dialler = self._dialler
        dialler.offer(head)
        await self._write()
        await self._expect(Accepted, PIECE_SECONDS)
        for piece in pieces:
            dialler.send_rows(piece)
            await self._write()
            self._look()
        dialler.end()
        await self._write()
        await self._expect(Installed, INSTALL_SECONDS)

    async def _write(self) -> None:
        with trio.move_on_after(PIECE_SECONDS) as silence:
            await self._stream.send_all(self._dialler.take())
        if silence.cancelled_caught:
            raise _FailedError(f"it took nothing for {PIECE_SECONDS:g} s")

    def _look(self) -> None:
        """See whether the receiver has given up meanwhile."""
        data = self._stream.receive_nowait()
        if data is not None:
            self._hear(data)

    async def _expect(self, wanted: type[Accepted | Installed], seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                answer = self._hear(await self._stream.receive_some())
                if isinstance(answer, wanted):
                    return
        raise _FailedError(f"no answer within {seconds:g} s")

    def _hear(self, data: bytes) -> Answer | None:
        if not data:
            raise _FailedError("the peer closed the connection")
        self._dialler.receive(data)
        answer = self._dialler.next_event()
        if isinstance(answer, Refused | Failed):
            raise _FailedError(answer.reason)
        return answer


class SnapshotIntake:
    """Takes one snapshot at a time into a replica: `trioetcd.runtime.peer_door.SnapshotReceiver`.

    Args:
        offered: told of a snapshot's head; `answer` is called with what the replica thinks of it.
        piece: given rows.
        ended: told that all came whole, or that nothing more comes.
        installed: whether the replica has applied everything up to an index.
        wait_turn: waits until the replica has taken what it was given.
    """

    def __init__(
        self,
        *,
        offered: Callable[[MemberID, SnapshotHead], None],
        piece: Callable[[list[Row]], None],
        ended: Callable[[bool], None],
        installed: Callable[[int], bool],
        wait_turn: Callable[[], Awaitable[None]],
    ) -> None:
        self._offered = offered
        self._piece = piece
        self._ended = ended
        self._installed = installed
        self._wait_turn = wait_turn
        self._head: SnapshotHead | None = None
        self._open = False
        self._asking = False
        self._answer: bool | None = None

    def answer(self, *, accepting: bool) -> None:
        """Say what the replica thinks of the snapshot that was offered."""
        if not self._asking:  # whoever offered it has gone meanwhile
            if accepting:
                self._ended(False)
            return
        self._answer = accepting

    async def offer(self, sender: MemberID, head: SnapshotHead) -> bool:
        """Ask the replica; one snapshot at a time.

        One that has come whole and waits to be installed is in nobody's way: the replica says
        whether it takes another one.
        """
        if self._open or self._asking:
            return False
        self._head = head
        self._answer = None
        self._asking = True
        try:
            self._offered(sender, head)
            while self._answer is None:
                await self._wait_turn()
        finally:
            self._asking = False
            self._open = bool(self._answer)
            if not self._open:
                self._head = None
        return self._open

    async def take(self, rows: list[Row]) -> None:
        """Hand on a piece and wait for the turn that takes it."""
        self._piece(rows)
        await self._wait_turn()

    async def end(self, *, whole: bool) -> bool:
        """Let the replica install it, and wait until it has."""
        head = self._head
        assert head is not None, "a snapshot that was offered"
        self._open = False
        self._ended(whole)
        while whole and not self._installed(head.last_index):
            if self._head is not head:
                return False
            await self._wait_turn()
        if self._head is head:
            self._head = None
        return whole

    def abort(self) -> None:
        """Tell the replica that nothing more comes, unless it has been told."""
        if self._open:
            self._open = False
            self._head = None
            self._ended(False)
