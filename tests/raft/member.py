"""One member by itself, for tests that say what it is told and look at what it answers."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from trioetcd.raft import (
    AppendEntries,
    AppendEntriesReply,
    ConfState,
    Group,
    HardState,
    Log,
    Message,
    Raft,
    RaftConfig,
    RequestVoteReply,
    Role,
)
from trioetcd.values import Index, MemberID, Term

ME = MemberID(7)
B = MemberID(8)
C = MemberID(9)
THREE = (ME, B, C)
NEW = HardState(Term(0), MemberID(0), Index(0))


class Dice:
    """Chance that always shows the same number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def bits(self, count: int, /) -> int:
        """Give the number, cut to `count` bits."""
        return self.value & ((1 << count) - 1)


class Chance:
    """Entropy from a seeded generator."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def bits(self, count: int, /) -> int:
        """Draw `count` bits."""
        return self._random.getrandbits(count)


class Shelf:
    """An archive of given groups."""

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self.stored = groups

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Give all groups from the one that holds `first` on."""
        return [group for group in self.stored if group.last >= first]


def make(
    *,
    hard_state: HardState = NEW,
    groups: tuple[Group, ...] = (),
    applied: int = 0,
    voters: tuple[MemberID, ...] = (ME,),
    learners: tuple[MemberID, ...] = (),
    dice: int = 0,
    batch_bytes_max: int = 1 << 20,
    pre_vote: bool = True,
    config: RaftConfig | None = None,
) -> Raft:
    """Make a member from what it would have recovered."""
    first = groups[0].first if groups else Index(applied + 1)
    last = groups[-1].last if groups else Index(applied)
    runs: list[tuple[Index, Term]] = []
    first_term = Term(0) if first == 1 else groups[0].term if groups else hard_state.term
    for group in groups:
        if group.term != (runs[-1][1] if runs else first_term):
            runs.append((group.first, group.term))
    log = Log(
        first=first,
        first_term=first_term,
        applied=Index(applied),
        commit=hard_state.commit,
        runs=runs,
        groups=groups,
        stable=last,
        archive=Shelf(groups),
    )
    config = config or RaftConfig(
        member_id=ME, election_ticks=10, batch_bytes_max=batch_bytes_max, pre_vote=pre_vote
    )
    return Raft(
        config=replace(config, member_id=ME),
        log=log,
        hard_state=hard_state,
        conf_state=ConfState(voters, learners),
        entropy=Dice(dice),
    )


def persist(raft: Raft) -> None:
    """Carry one batch to the disk and back."""
    raft.persist(raft.ready())
    raft.persisted()


def elect(raft: Raft) -> None:
    """Make a sole voter leader, its first entry committed."""
    raft.campaign()
    persist(raft)
    persist(raft)


def lead(raft: Raft) -> Raft:
    """Make one voter of several leader; its first entry is durable here, and nowhere else."""
    raft.campaign(transfer=True)
    persist(raft)
    for peer in raft.conf_state.voting:
        if peer != ME and raft.role != Role.LEADER:
            raft.step(RequestVoteReply(ME, peer, raft.term, granted=True))
    persist(raft)
    raft.take_messages()
    return raft


def leader() -> Raft:
    """Make the leader of three members in term 1; nobody has acknowledged anything."""
    return lead(make(voters=THREE))


def applied_all(raft: Raft) -> Raft:
    """Apply everything that may be applied."""
    while datas := raft.committed():
        raft.advance(Index(raft.log.applied + len(datas)))
    return raft


def ack(sender: MemberID, term: int, index: int) -> AppendEntriesReply:
    """Accept up to `index`."""
    return AppendEntriesReply(ME, sender, Term(term), Index(index), False, Index(0), Term(0))


def refusal(
    sender: MemberID, term: int, index: int, hint: int, hint_term: int
) -> AppendEntriesReply:
    """Reject at `index`."""
    return AppendEntriesReply(
        ME, sender, Term(term), Index(index), True, Index(hint), Term(hint_term)
    )


def append(
    term: int, prev: int, prev_term: int, *groups: Group, commit: int = 0, sender: MemberID = B
) -> AppendEntries:
    """Append groups behind `prev`."""
    return AppendEntries(
        ME, sender, Term(term), Index(prev), Term(prev_term), Index(commit), groups
    )


def group(first: int, term: int, *datas: bytes) -> Group:
    """Make a group."""
    return Group(Index(first), Term(term), list(datas))


def only(raft: Raft) -> Message:
    """Give the one message that leaves now."""
    (message,) = raft.take_messages()
    return message


def sent(raft: Raft, to: MemberID) -> list[Message]:
    """Give what leaves now for one member."""
    return [message for message in raft.take_messages() if message.to == to]
