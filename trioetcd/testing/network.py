"""A network that loses, doubles, overtakes, stalls and falls apart; one queue per direction.

What is sent is opaque. The network decides when, whether and how often it arrives; it keeps no
clock of its own: `send` is told the time and gives arrival times. Links are like TCP unless told
otherwise: in order, and a reset loses what is under way in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import assert_never

__all__ = ["LinkFaults", "Network", "Shape", "partition"]

Node = int
"""Whoever sends and receives: a member's place in the cluster."""

Link = tuple[Node, Node]


class Shape(Enum):
    """How a partition cuts the cluster."""

    ISOLATE = "isolate"
    HALVES = "halves"
    ONE_WAY = "one-way"
    RING = "ring"
    BRIDGE = "bridge"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """What every link suffers while faults are on.

    Attributes:
        delay_micros: the mean of the exponential part of the delay.
        loss: the probability that a packet is lost.
        duplicate: the probability that a packet arrives twice.
        reorder: the probability that a packet may be overtaken.
    """

    delay_micros: int = 500
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


BASE_MICROS = 200
"""The least time a packet takes."""

DUPLICATE_MICROS = 200_000
"""About how much later the second of two equal packets comes."""

QUEUE_MICROS = 300
"""About how far behind each other packets come that were held up."""

OVERTAKEN_MICROS = 20_000
"""About how far a packet that is overtaken falls behind."""


class Network:
    """All links between a number of nodes.

    Args:
        faults: what every link suffers.
        random: where chance comes from; used by nothing else.

    Attributes:
        faults: the same; may be replaced at any time.
        sent, lost, duplicated, resets: counts.
    """

    def __init__(self, faults: LinkFaults, random: Random) -> None:
        self.faults = faults
        self._random = random
        self._cut: dict[Link, int] = {}
        self._clogged: dict[Link, int] = {}
        self._last: dict[Link, int] = {}
        self._epoch: dict[Link, int] = {}
        self.sent = 0
        self.lost = 0
        self.duplicated = 0
        self.resets = 0

    # -- packets -----------------------------------------------------------------------------

    def send(self, sender: Node, to: Node, now: int) -> list[int]:
        """Put a packet on a link.

        Args:
            sender: who sends.
            to: who is to get it.
            now: microseconds.

        Returns:
            When it arrives: never, once or twice. Whoever delivers it asks `passes` first, with
            the link's `epoch` from before.
        """
        self.sent += 1
        link = (sender, to)
        faults = self.faults
        random = self._random.random
        if link in self._cut or (faults.loss and random() < faults.loss):
            self.lost += 1
            return []
        delay = BASE_MICROS
        if faults.delay_micros:
            delay += int(self._random.expovariate(1.0) * faults.delay_micros)
        at = now + delay
        clogged = self._clogged.get(link, 0)
        at = max(at, clogged)
        if faults.reorder and random() < faults.reorder:
            at += int(random() * OVERTAKEN_MICROS)
        else:
            last = self._last.get(link, 0)
            if at <= last:
                # What was held up comes out in order, and not always at once.
                at = last + int(random() * QUEUE_MICROS)
            self._last[link] = at
        if faults.duplicate and random() < faults.duplicate:
            self.duplicated += 1
            return [at, at + int(random() * DUPLICATE_MICROS)]
        return [at]

    def epoch(self, sender: Node, to: Node) -> int:
        """Give the number of the connection a packet is sent on; a reset begins another one."""
        return self._epoch.get((sender, to), 0)

    def passes(self, sender: Node, to: Node, epoch: int) -> bool:
        """Whether a packet sent on connection `epoch` still arrives now."""
        link = (sender, to)
        if link in self._cut or self._epoch.get(link, 0) != epoch:
            self.lost += 1
            return False
        return True

    # -- faults ------------------------------------------------------------------------------

    def reset(self, one: Node, other: Node) -> None:
        """Break the connections between two nodes: what is under way is lost, both ways."""
        self.resets += 1
        for link in ((one, other), (other, one)):
            self._epoch[link] = self._epoch.get(link, 0) + 1
            self._last.pop(link, None)

    def clog(self, sender: Node, to: Node, until: int) -> None:
        """Let nothing sent from now on arrive before `until`; nothing is lost."""
        link = (sender, to)
        self._clogged[link] = max(until, self._clogged.get(link, 0))

    def cut(self, links: Iterable[Link]) -> Callable[[], None]:
        """Cut links, one direction each; gives what mends just this cut."""
        cut = list(links)
        for link in cut:
            self._cut[link] = self._cut.get(link, 0) + 1
        mended = False

        def mend() -> None:
            nonlocal mended
            if mended:
                return
            mended = True
            for link in cut:
                left = self._cut.get(link, 0) - 1
                if left > 0:
                    self._cut[link] = left
                else:
                    self._cut.pop(link, None)

        return mend

    def is_cut(self, sender: Node, to: Node) -> bool:
        """Whether nothing gets from one node to another."""
        return (sender, to) in self._cut

    def heal(self) -> None:
        """Mend everything and forget every fault; what is clogged comes now."""
        self._cut.clear()
        self._clogged.clear()
        self.faults = LinkFaults()


def partition(shape: Shape, nodes: list[Node], random: Random) -> list[Link]:
    """Choose the links that a partition of a shape cuts.

    Args:
        shape: how it cuts.
        nodes: who there is, two at least.
        random: who is on which side.
    """
    order = nodes[:]
    random.shuffle(order)
    match shape:
        case Shape.ISOLATE | Shape.FLAPPING:
            return _between(order[:1], order[1:])
        case Shape.HALVES:
            size = random.randrange(1, len(order))
            return _between(order[:size], order[size:])
        case Shape.ONE_WAY:
            return [(order[0], other) for other in order[1:]]
        case Shape.RING:
            return _ring(order)
        case Shape.BRIDGE:
            middle = len(order) // 2
            return _between(order[:middle], order[middle + 1 :])
        case _:
            assert_never(shape)


def _ring(order: list[Node]) -> list[Link]:
    """Cut so that everybody sees a majority and no two see the same one.

    Three nodes have no such ring, so there each hears one of its neighbours only.
    """
    number = len(order)
    if number <= 3:
        return [(order[at], order[at - 1]) for at in range(number)]
    reach = number // 4 or 1
    return [
        (order[at], order[other])
        for at in range(number)
        for other in range(number)
        if min((at - other) % number, (other - at) % number) > reach
    ]


def _between(some: list[Node], others: list[Node]) -> list[Link]:
    """Give all links between two sides, both ways."""
    links = [(one, other) for one in some for other in others]
    return links + [(other, one) for one, other in links]
