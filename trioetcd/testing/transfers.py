"""Snapshots on their way from member to member, piece by piece over a link that may break.

A transfer has a connection of its own: pieces arrive in order or not at all, and when the link
breaks, or either end dies, both ends that live are told so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from trioetcd.ports import Row
from trioetcd.replica import (
    SnapshotEnded,
    SnapshotMeta,
    SnapshotOffered,
    SnapshotPiece,
    SnapshotSent,
)
from trioetcd.testing.network import Network
from trioetcd.testing.schedule import Schedule, Trace
from trioetcd.testing.sim_member import SimMember
from trioetcd.values import Term

__all__ = ["Transfers"]

PIECE_BYTES: Final = 2_000
"""Small, so that a transfer has many places to break at."""

PIECE_MICROS: Final = 2_000
BREAK_ONE_IN: Final = 400
"""So seldom a piece is the one at which the connection breaks by itself."""


class World(Protocol):
    """What a transfer knows of the world."""

    schedule: Schedule
    trace: Trace
    network: Network
    members: list[SimMember]


@dataclass(slots=True)
class _Transfer:
    """One snapshot under way.

    Attributes:
        sender, to: places.
        boots: the lives of both ends in which it began.
        epoch: the link's age when it began.
        pieces: what is left to be sent.
        asked: whether it was offered and the answer is waited for.
    """

    sender: int
    to: int
    boots: tuple[int, int]
    epoch: int
    pieces: list[list[Row]]
    asked: bool = False


class Transfers:
    """All snapshots under way.

    Args:
        world: where they travel.
        random: breaks some of them.
    """

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._arriving: dict[int, _Transfer] = {}
        self.finished = 0

    def begin(self, sender: int, to: int) -> None:
        """Send the state of a member, as it stands now, to another."""
        world = self._world
        source = world.members[sender]
        replica = source.replica
        assert replica is not None
        cut = replica.cut_state()
        pieces = []
        while piece := cut.piece(PIECE_BYTES):
            pieces.append(piece)
        cut.close()
        term = replica.term
        boots = (source.boots, world.members[to].boots)
        transfer = _Transfer(sender, to, boots, world.network.epoch(sender, to), pieces)
        world.trace.event("snapshot", sender, to, cut.meta)
        self._later(transfer, lambda: self._offer(transfer, term, cut.meta))

    def _later(self, transfer: _Transfer, act: Callable[[], None]) -> None:
        world = self._world

        def arrive() -> None:
            if world.members[transfer.to].is_paused:
                self._later(transfer, act)  # it waits in the sockets
            elif self._is_whole(transfer):
                act()
            else:
                self._fail(transfer)

        world.schedule.after(PIECE_MICROS, arrive)

    def _is_whole(self, transfer: _Transfer) -> bool:
        world = self._world
        ends = (world.members[transfer.sender], world.members[transfer.to])
        return (
            tuple(end.boots for end in ends) == transfer.boots
            and all(end.replica is not None for end in ends)
            and world.network.passes(transfer.sender, transfer.to, transfer.epoch)
            and self._random.randrange(BREAK_ONE_IN) > 0
        )

    def _offer(self, transfer: _Transfer, term: int, meta: SnapshotMeta) -> None:
        world = self._world
        if transfer.to in self._arriving:
            self._fail(transfer)
            return
        self._arriving[transfer.to] = transfer
        transfer.asked = True
        sender = world.members[transfer.sender].id
        world.members[transfer.to].put_in(SnapshotOffered(sender, Term(term), meta))

    def answered(self, place: int, *, ok: bool) -> None:
        """Take a member's answer to what was offered to it."""
        transfer = self._arriving[place]
        transfer.asked = False
        if ok:
            self._later(transfer, lambda: self._send(transfer))
        else:
            del self._arriving[place]
            self._report(transfer, ok=False)

    def ended(self, place: int) -> None:
        """A member's life has ended: what was offered to it is never answered."""
        transfer = self._arriving.get(place)
        if transfer is not None and transfer.asked:
            self._fail(transfer)

    def _send(self, transfer: _Transfer) -> None:
        member = self._world.members[transfer.to]
        if transfer.pieces:
            member.put_in(SnapshotPiece(transfer.pieces.pop(0)))
            self._later(transfer, lambda: self._send(transfer))
            return
        del self._arriving[transfer.to]
        self.finished += 1
        member.put_in(SnapshotEnded(ok=True))
        self._report(transfer, ok=True)

    def _fail(self, transfer: _Transfer) -> None:
        """Tell both ends, as far as they live, that the connection broke."""
        world = self._world
        world.trace.event("snapshot broken", transfer.sender, transfer.to)
        if self._arriving.get(transfer.to) is transfer:
            del self._arriving[transfer.to]
            if world.members[transfer.to].boots == transfer.boots[1]:
                world.members[transfer.to].put_in(SnapshotEnded(ok=False))
        self._report(transfer, ok=False)

    def _report(self, transfer: _Transfer, *, ok: bool) -> None:
        world = self._world
        source, target = world.members[transfer.sender], world.members[transfer.to]
        if source.boots == transfer.boots[0]:
            source.put_in(SnapshotSent(target.id, ok))
