"""Members that only peer with each other: real sockets, real TLS, real membership tables."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from tests.transport.peers import Dice, dialler_context, listener_context
from trioetcd import raft
from trioetcd.cluster import Addition, Change, Member, Membership, encode_change
from trioetcd.ports import Row
from trioetcd.questions import Hashed
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.peer_door import PeerDoor
from trioetcd.runtime.peers import LocalMember, Peers
from trioetcd.runtime.snapshot_stream import SnapshotIntake
from trioetcd.runtime.trace import Log
from trioetcd.testing.space import DictSpace
from trioetcd.transport.listener import Address, Listener, open_sockets
from trioetcd.transport.peer_check import PeerCheck
from trioetcd.transport.peer_dial import TlsDialler
from trioetcd.values import ClusterID, Index, MemberID, Term
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Numbered, Purpose, SnapshotHead

CLUSTER = ClusterID(0xC1)
LIMITS = PeerLimits(rows_bytes_max=2000)


class Envelope(NamedTuple):
    """A message on its way, as the replica hands it out."""

    to: MemberID
    sequence: int
    message: raft.Message


def heartbeat(sender: int, to: int, sequence: int) -> Envelope:
    message = raft.Heartbeat(MemberID(to), MemberID(sender), Term(3), Index(0), 0)
    return Envelope(MemberID(to), sequence, message)


@dataclass
class Peering:
    """One member's peers and door, and what they told.

    Attributes:
        accepts: what it says to an offered snapshot.
        hashing: tells what its data hashes to.
        rows: what came of snapshots.
    """

    local: LocalMember
    membership: Membership
    address: Address
    log_pipe: int
    peers: Peers = field(init=False)
    door: PeerDoor = field(init=False)
    intake: SnapshotIntake = field(init=False)
    metrics: Metrics = field(default_factory=Metrics)
    received: list[tuple[MemberID, int, Numbered]] = field(default_factory=list)
    reached: list[MemberID] = field(default_factory=list)
    unreachable: list[MemberID] = field(default_factory=list)
    expelled: int = 0
    accepts: bool = True
    offered: list[tuple[MemberID, SnapshotHead]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    applied: int = 0
    hashing: Callable[[Purpose, int], Awaitable[Hashed]] | None = None
    happened: trio.Event = field(default_factory=trio.Event)

    def note(self) -> None:
        self.happened.set()
        self.happened = trio.Event()

    async def wait(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                # A link's state has no event of its own; what changes it makes I/O.
                with trio.move_on_after(0.01):
                    await self.happened.wait()

    async def wait_received(self, count: int) -> None:
        await self.wait(lambda: len(self.received) == count)

    def do(self, change: Change) -> None:
        outcome = self.membership.apply(*encode_change(change))
        assert isinstance(outcome, tuple), outcome
        self.peers.refresh()

    def know(self, *others: Peering) -> None:
        for other in others:
            self.do(Addition(member_of(other), 5))

    def logged(self) -> list[dict[str, str]]:
        """Give what was logged so far."""
        self.peers.log.close()
        os.set_blocking(self.log_pipe, False)
        data = b""
        try:
            while piece := os.read(self.log_pipe, 65536):
                data += piece
        except BlockingIOError:
            pass
        return [json.loads(line) for line in data.splitlines()]

    # what the owner does with what it is told

    def hear(self, sender: MemberID, boot: int, messages: list[Numbered]) -> None:
        self.received += [(sender, boot, each) for each in messages]
        self.note()

    async def tell(self, purpose: Purpose, revision: int) -> Hashed:
        assert self.hashing is not None
        return await self.hashing(purpose, revision)

    def lose(self, member: MemberID) -> None:
        self.unreachable.append(member)
        self.note()

    def expel(self) -> None:
        self.expelled += 1
        self.note()

    def offer(self, sender: MemberID, head: SnapshotHead) -> None:
        self.offered.append((sender, head))
        self.intake.answer(accepting=self.accepts)

    def end(self, ok: bool, /) -> None:  # noqa: FBT001 # SnapshotIntake gives it by position
        self.ended.append(ok)
        if ok:
            self.applied = self.offered[-1][1].last_index
        self.note()


def member_of(peering: Peering) -> Member:
    return Member(
        id=peering.local.id, name="", peer_urls=(f"https://{peering.address}",), client_urls=()
    )


@asynccontextmanager
async def peering(
    number: int,
    *,
    cluster: ClusterID = CLUSTER,
    listens_with: Callable[[], ssl.SSLContext] = listener_context,
    dials_with: Callable[[], ssl.SSLContext] = dialler_context,
) -> AsyncIterator[Peering]:
    """Run one member's peers and door on loopback until the block is left."""
    sockets = await open_sockets(Address("127.0.0.1", 0))
    name = sockets[0].getsockname()
    address = Address(name[0], name[1])
    reading, writing = os.pipe()
    local = LocalMember(cluster, MemberID(number), 1000 + number, (f"https://{address}",))
    found = Peering(local, Membership(DictSpace(), epoch=b"\x80"), address, reading)
    log = Log(outputs=(writing,))
    found.peers = Peers(
        local,
        found.membership,
        dial=TlsDialler(dials_with, silence_seconds=5).dial,
        entropy=Dice(number),
        limits=LIMITS,
        reachable=found.reached.append,
        unreachable=found.lose,
        expelled=found.expel,
        metrics=found.metrics,
        log=log,
    )
    found.intake = SnapshotIntake(
        offered=found.offer,
        piece=found.rows.extend,
        ended=found.end,
        installed=lambda index: found.applied >= index,
        wait_turn=trio.lowlevel.checkpoint,
    )
    found.door = PeerDoor(
        found.peers,
        received=found.hear,
        snapshots=found.intake,
        hashes=found,
        silence_seconds=5,
    )
    async with trio.open_nursery() as nursery:
        listener = Listener(
            sockets,
            context=listens_with,
            serve=found.door.serve,
            rejected=found.door.rejected,
            check=PeerCheck().refusal_of_dialler,
        )
        nursery.start_soon(listener.run, nursery)
        await nursery.start(found.peers.run)
        try:
            yield found
        finally:
            nursery.cancel_scope.cancel()
            log.close()
            os.close(reading)
            os.close(writing)


@asynccontextmanager
async def cluster_of(numbers: Sequence[int]) -> AsyncIterator[list[Peering]]:
    """Run members that all know each other."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(peering(number)) for number in numbers]
        for one in members:
            one.know(*members)
        yield members


def some_rows(count: int = 500) -> Iterator[Row]:
    return ((b"k%06d" % at, b"v" * (at % 100)) for at in range(count))
