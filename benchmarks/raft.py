"""What an entry costs in consensus alone: three members in memory, from proposal to apply.

Usage: ``python benchmarks/raft.py [--batch N] [--rounds N] [--size BYTES]``

One proposal of N entries after the other goes to the leader; all three members take in messages,
encode what they persist, and apply. Disks and links are instant, and the followers decode what the
leader sent, as they would. Times are CPU time of the thread over all three members together, so a
member costs about a third. Without --batch both 1 and 100 are measured.
"""

from __future__ import annotations

import argparse
import gc
from random import Random
from time import thread_time

from trioetcd.raft import (
    AppendEntries,
    ConfState,
    HardState,
    Log,
    Message,
    Raft,
    RaftConfig,
    decode_group,
)
from trioetcd.values import Index, MemberID, Term

VOTERS = (MemberID(1), MemberID(2), MemberID(3))


class Chance:
    """Entropy that repeats."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def bits(self, count: int, /) -> int:
        """Draw `count` bits."""
        return self._random.getrandbits(count)


def make(member: MemberID) -> Raft:
    """Make one of three new members."""
    log = Log(
        first=Index(1), first_term=Term(0), applied=Index(0), commit=Index(0), stable=Index(0)
    )
    return Raft(
        config=RaftConfig(member_id=member),
        log=log,
        hard_state=HardState(Term(0), MemberID(0), Index(0)),
        conf_state=ConfState(VOTERS),
        entropy=Chance(member),
    )


def turn(raft: Raft, inbox: list[Message]) -> list[Message]:
    """Do what an owner does in a turn; give what leaves."""
    for message in inbox:
        raft.step(message)
    while datas := raft.committed():
        raft.advance(Index(raft.log.applied + len(datas)))
    ready = raft.ready()
    messages = raft.take_messages()
    if ready.must_persist:
        for group in ready.groups:
            assert group.encoded
        raft.persist(ready)
        raft.persisted()
        messages += raft.take_messages()
    return messages


def carry(message: Message) -> Message:
    """Carry entries as bytes, as a link does."""
    if isinstance(message, AppendEntries) and message.groups:
        groups = tuple(decode_group(group.encoded) for group in message.groups)
        return message._replace(groups=groups)
    return message


def settle(rafts: dict[MemberID, Raft], proposer: Raft | None) -> int:
    """Let messages go to and fro until there are none; give how many there were.

    A member takes its turn when something has come in: messages, or proposals to `proposer`.
    """
    inboxes: dict[MemberID, list[Message]] = {member: [] for member in rafts}
    count = 0
    while True:
        leaving: list[Message] = []
        for member, raft in rafts.items():
            inbox, inboxes[member] = inboxes[member], []
            if inbox or raft is proposer:
                leaving += turn(raft, inbox)
        proposer = None
        if not leaving:
            return count
        count += len(leaving)
        for message in leaving:
            inboxes[message.to].append(carry(message))


def measure(batch: int, rounds: int, size: int) -> None:
    """Propose `rounds` batches and print what an entry cost."""
    rafts = {member: make(member) for member in VOTERS}
    rafts[VOTERS[0]].campaign()
    leader = rafts[VOTERS[0]]
    settle(rafts, leader)
    assert leader.leader == VOTERS[0]
    datas = [b"v" * size] * batch
    gc.freeze()
    messages = 0
    started = thread_time()
    for _ in range(rounds):
        leader.propose(list(datas))
        messages += settle(rafts, leader)
    took = thread_time() - started
    entries = batch * rounds
    assert all(raft.log.applied == entries + 1 for raft in rafts.values())
    print(
        f"{entries} entries in batches of {batch}: {1e6 * took / entries:.2f} us an entry "
        f"on three members, {messages / rounds:.1f} messages a batch"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--size", type=int, default=300)
    options = parser.parse_args()
    for batch in (1, 100) if options.batch is None else (options.batch,):
        measure(batch, options.rounds, options.size)


if __name__ == "__main__":
    main()
