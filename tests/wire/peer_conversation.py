"""Hellos, messages and both sides of a connection between members, for more than one test file."""

from __future__ import annotations

import random
from collections.abc import Iterator

from trioetcd.raft import Group
from trioetcd.values import ClusterID, Index, MemberID, Term
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import (
    Answer,
    Hello,
    Numbered,
    PeerDialler,
    PeerListener,
    PeerMessage,
    Purpose,
    SnapshotHead,
)
from trioetcd.wire.peer import Event as ListenerEvent
from trioetcd.wire.peer_messages import MESSAGES, FieldKind, MessageRow

SENDER = MemberID(2**64 - 1)
TO = MemberID(7)
URLS = ("https://10.0.0.1:2380", "https://m1:2380")
HEAD = SnapshotHead(Term(5), Index(100), Term(4), b"meta")


def hello(purpose: Purpose = Purpose.MESSAGES) -> Hello:
    return Hello(purpose, ClusterID(2**64 - 2), SENDER, TO, 2**63 + 5, "3.7.1", URLS)


def message_of(row: MessageRow, dice: random.Random) -> PeerMessage:
    """Make a message of a kind with fields of any size, entries in order."""
    term = Term(dice.choice((1, 7, 2**40, 2**63 - 1)))
    fields: list[object] = []
    for name, kind in row.fields:
        match kind:
            case FieldKind.COUNT:
                bound = int(term) if name.endswith("term") else 2**62
                fields.append(dice.randint(0, dice.choice((1, 300, bound))) % (bound + 1))
            case FieldKind.NUMBER:
                fields.append(dice.choice((0, 1, 2**64 - 1, dice.getrandbits(64))))
            case FieldKind.FLAG:
                fields.append(bool(dice.getrandbits(1)))
            case FieldKind.GROUPS:
                fields.append(groups(dice, first=int(str(fields[0])) + 1, term=int(str(fields[1]))))
            case FieldKind.DATAS:
                fields.append([dice.randbytes(dice.randint(0, 300)) for _ in range(3)])
    return row.cls(TO, SENDER, term, *fields)


def groups(dice: random.Random, *, first: int, term: int) -> tuple[Group, ...]:
    """Make groups that follow each other from `first` on."""
    made = []
    for _ in range(dice.randint(0, 3)):
        datas = [dice.randbytes(dice.randint(0, 100)) for _ in range(dice.randint(1, 4))]
        made.append(Group(Index(first), Term(term), datas))
        first += len(datas)
    return tuple(made)


def some_of_each(seed: int, count: int = 3) -> list[Numbered]:
    """Make messages of every kind, in a mixed order, with growing numbers."""
    dice = random.Random(seed)
    made = [message_of(row, dice) for row in MESSAGES for _ in range(count)]
    dice.shuffle(made)
    return [Numbered(2**62 + at, message) for at, message in enumerate(made)]


def events_of(listener: PeerListener) -> Iterator[ListenerEvent]:
    while (event := listener.next_event()) is not None:
        yield event


def answers_of(dialler: PeerDialler) -> Iterator[Answer]:
    while (answer := dialler.next_event()) is not None:
        yield answer


def joined(
    purpose: Purpose = Purpose.MESSAGES, *, limits: PeerLimits | None = None
) -> tuple[PeerDialler, PeerListener]:
    """Give both sides of a connection that has said hello and was welcomed."""
    dialler = PeerDialler(hello(purpose), limits=limits)
    listener = PeerListener(limits=limits)
    listener.receive(dialler.take())
    assert [hello(purpose)] == list(events_of(listener))
    listener.welcome(9, "3.7.1")
    dialler.receive(listener.take())
    assert len(list(answers_of(dialler))) == 1
    return dialler, listener
