"""What must hold at every moment, watched from outside: by batches, messages and what is told.

Nothing here looks into Raft. Each member's log is rebuilt from the batches it hands to its disk;
what a member says of itself (term, leader, commit, applied, revision) is compared with what the
disks of all hold. The rules, by the Raft paper's names (figure 3), and this project's:

* election safety, log matching, leader completeness, state machine safety;
* what is committed is durable on a quorum, what a leader commits is of its own term, and what a
  member holds below its commit index is what was committed;
* only voters lead, and no leader begins a change of members before the last one is committed;
* a batch is never lost once it is durable;
* term, commit, applied and revision never go back;
* the state at an index is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trioetcd.cluster import CONF_CHANGES
from trioetcd.raft import decode_group
from trioetcd.replica import Envelope, Recovered, Replica
from trioetcd.replica.rows import META_ROW, decode_meta
from trioetcd.statemachine import CommandKind, kind_of
from trioetcd.testing.member_log import MemberLog, Stretch
from trioetcd.testing.promises import check_promise
from trioetcd.testing.truth import Entry, Truth
from trioetcd.testing.violation import Violation, require
from trioetcd.values import MemberID

__all__ = ["Oracles", "State", "Watched", "Word", "word_of"]

_LOG = b"e"[0]


class State(NamedTuple):
    """What the state machine is after an index, in short."""

    revision: int
    chain: int
    compacted: int
    leases: int


class Word(NamedTuple):
    """What a member says of itself after a step.

    Attributes:
        term, leader, commit, applied: Raft's; leader 0 if it knows none.
        voters: who votes, as it knows.
        state: its state machine's.
        ready: whether it serves clients.
    """

    term: int
    leader: int
    commit: int
    applied: int
    voters: tuple[MemberID, ...]
    state: State
    ready: bool


def word_of(replica: Replica) -> Word:
    """Ask a member."""
    store = replica.store
    return Word(
        replica.term,
        replica.leader,
        replica.commit_index,
        replica.applied_index,
        replica.membership.voters(),
        State(store.revision, store.chain, store.compact_revision, len(replica.lessor)),
        replica.ready,
    )


@dataclass(slots=True)
class Watched:
    """What is known of one member.

    Attributes:
        member: its number.
        log: its log as its batches tell it.
        votes: whom it voted for, durably, by term.
        term, commit, applied, revision: what it said last in this life.
        leader: whom it named, with `term`.
        voters: who votes, as it knows.
        served: the greatest revision it has had while it was ready.
    """

    member: MemberID
    log: MemberLog
    votes: dict[int, int] = field(default_factory=dict)
    term: int = 0
    leader: int = 0
    commit: int = 0
    applied: int = 0
    revision: int = 0
    voters: tuple[MemberID, ...] = ()
    served: int = 0


class Oracles:
    """All rules for one cluster.

    Attributes:
        truth: the committed log.
        members: what is known of each member.
        leaders: who led each term.
        committed: the greatest commit index anybody has told.
        first_seen: when each entry of an ended lease was first seen, by its data.

    Args:
        first: the index of the log's first entry (behind those that made the cluster).
        ttl_min: the least time to live of a lease.
        applied: told of every command when it is first carried out: index, kind, payload, data.
    """

    def __init__(
        self, *, first: int, ttl_min: int, applied: Callable[[int, int, bytes, bytes], None]
    ) -> None:
        self.truth = Truth(first=first, ttl_min=ttl_min)
        self.members: dict[MemberID, Watched] = {}
        self.leaders: dict[int, int] = {}
        self.committed = first - 1
        self.first_seen: dict[bytes, int] = {}
        self._first = first
        self._applied = applied
        self._stretches: dict[bytes, Stretch] = {}
        self._entries: dict[tuple[int, int], bytes] = {}
        self._previous: dict[tuple[int, int], int] = {}
        self._highest: dict[int, int] = {}
        self._commit_terms: dict[int, int] = {}
        self._entry_terms: dict[int, int] = {}
        self._changes: list[tuple[int, bytes]] = []
        self._states: dict[int, State] = {}

    def watch(self, member: MemberID, rows: Mapping[bytes, bytes | None]) -> None:
        """Begin to watch a member that has never run, and whose disk begins with `rows`."""
        row = rows[META_ROW]
        assert row is not None
        meta = decode_meta(row)
        log = MemberLog(meta.first)
        log.durable = log.cut = meta
        self.members[member] = Watched(member, log)

    # -- lives -------------------------------------------------------------------------------

    def booted(self, member: MemberID, recovered: Recovered) -> None:
        """Check what a member finds on its disk when it starts."""
        watched = self.members[member]
        log = watched.log
        durable = log.durable
        if durable is not None:
            found = (recovered.batch, recovered.last, recovered.applied)
            kept = (durable.batch, durable.last, durable.applied)
            require(found == kept, "the disk kept batch, last, applied {}, not {}", found, kept)
            state = recovered.hard_state
            require(
                (state.term, state.vote) == (durable.term, durable.vote),
                "the disk kept {}, not term {} and vote {}",
                state,
                durable.term,
                durable.vote,
            )
        watched.term = recovered.hard_state.term
        watched.leader = 0
        watched.commit = recovered.hard_state.commit
        watched.applied = recovered.applied
        watched.revision = recovered.revision

    def cut(self, member: MemberID, rows: dict[bytes, bytes | None], now: int) -> None:
        """Take in a batch that is handed to a disk."""
        watched = self.members[member]
        log = watched.log
        row = rows[META_ROW]
        assert row is not None
        meta = decode_meta(row)
        before = log.cut
        if before is not None:
            require(meta.batch == before.batch + 1, "batch {} after {}", meta.batch, before.batch)
            require(meta.term >= before.term, "term {} after {}", meta.term, before.term)
            require(meta.commit >= before.commit, "commit {} after {}", meta.commit, before.commit)
            require(meta.applied >= before.applied, "applied back to {}", meta.applied)
        require(
            meta.applied <= meta.commit <= meta.last,
            "applied {}, commit {}, last {} in one batch",
            meta.applied,
            meta.commit,
            meta.last,
        )
        stretches = [
            self._stretch(value, now)
            for key, value in rows.items()
            if key[0] == _LOG and value is not None
        ]
        stretches.sort()
        log.begin(meta, stretches)
        self._agree(log, meta.commit)
        self._check_changes(log)
        for first, entries in stretches:
            before_first = log.at(first - 1)
            if before_first is not None:
                self._follow(first, entries[0].term, before_first.term)

    def _stretch(self, encoded: bytes, now: int) -> Stretch:
        """Read a stored group; what is in it is checked once for all members."""
        known = self._stretches.get(encoded)
        if known is not None:
            return known
        group = decode_group(encoded)
        term = group.term
        committed = self.committed
        highest = self._highest
        index = int(group.first)
        entries = []
        for data in group.datas:
            other = self._entries.setdefault((index, term), data)
            require(other == data, "log matching: two entries at {} of term {}", index, term)
            if index != group.first:
                self._follow(index, term, term)
            if term > highest.get(index, 0):
                highest[index] = term
                if index <= committed:
                    self._complete(index)
            kind = kind_of(data)
            if kind == CommandKind.LEASE_REVOKE:
                self.first_seen.setdefault(data, now)
            if kind in CONF_CHANGES:
                self._changes.append((index, data))
            entries.append(Entry(term, data))
            index += 1
        stretch = self._stretches[encoded] = Stretch(group.first, entries)
        return stretch

    def _check_changes(self, log: MemberLog) -> None:
        """Check that changes of members first seen in a log follow none that is not committed."""
        changes, self._changes = self._changes, []
        for index, change in changes:
            for earlier in range(self.committed + 1, index):
                entry = log.at(earlier)
                require(
                    entry is None or not entry.data or entry.data[1] not in CONF_CHANGES,
                    "the change {} at {} was begun while the one at {} was not committed",
                    change,
                    index,
                    earlier,
                )

    def _complete(self, index: int) -> None:
        """Check that no leader of a later term than the one that committed lacks an entry.

        An entry of a later term at an index says that its leader's log had something else there.
        """
        committed = self._commit_terms.get(index, 0)
        highest = self._highest.get(index, 0)
        require(
            not committed or highest <= committed,
            "leader completeness: {} was committed in term {}, and there is one of term {}",
            index,
            committed,
            highest,
        )

    def _follow(self, index: int, term: int, previous: int) -> None:
        """Check that the same entry follows the same one in every log."""
        require(previous <= term, "term {} at {} follows term {}", term, index, previous)
        other = self._previous.setdefault((index, term), previous)
        require(
            other == previous,
            "log matching: the entry at {} of term {} follows both terms {} and {}",
            index,
            term,
            other,
            previous,
        )

    def synced(self, member: MemberID) -> None:
        """The batch under way is durable."""
        watched = self.members[member]
        watched.log.synced()
        meta = watched.log.durable
        assert meta is not None
        if meta.vote:
            vote = watched.votes.setdefault(meta.term, meta.vote)
            require(
                vote == meta.vote,
                "two votes in term {}: for {:x} and for {:x}",
                meta.term,
                vote,
                meta.vote,
            )

    def crashed(self, member: MemberID, *, kept: bool | None) -> None:
        """A member is gone; whether the batch under way is on its disk (None: there was none)."""
        if kept is False:
            self.members[member].log.lost()
        elif kept:
            self.synced(member)

    # -- what members say --------------------------------------------------------------------

    def stepped(self, member: MemberID, word: Word) -> None:
        """Check what a member says after a step; before its batch, if any, is taken in."""
        watched = self.members[member]
        term, leader, commit, applied, voters, state, ready = word
        if (term, leader) != (watched.term, watched.leader):
            require(term >= watched.term, "term {} after {}", term, watched.term)
            watched.term, watched.leader = term, leader
            if leader:
                other = self.leaders.setdefault(term, leader)
                require(
                    other == leader,
                    "election safety: {:x} and {:x} both led term {}",
                    other,
                    leader,
                    term,
                )
        if leader == member:
            require(member in voters, "{:x} leads term {} without a vote", member, term)
        if commit != watched.commit:
            require(commit >= watched.commit, "commit {} after {}", commit, watched.commit)
            watched.commit = commit
            if commit > self.committed:
                self._commit(watched, word)
        watched.voters = voters
        if applied != watched.applied:
            require(
                watched.applied < applied <= commit,
                "applied {} after {}, commit is {}",
                applied,
                watched.applied,
                commit,
            )
            self._follow_applied(watched, applied)
            watched.applied = applied
            self._compare(watched, state)
        if ready:
            self._serve(watched, state.revision)

    def sent(self, member: MemberID, envelopes: Sequence[Envelope]) -> None:
        """Check that what messages promise is durable when they leave."""
        log = self.members[member].log
        durable, cut = log.durable, log.cut
        assert durable is not None
        assert cut is not None
        for envelope in envelopes:
            message = envelope.message
            # What was promised in an older term is still there while this one takes it away.
            last = log.durable_last if message.term >= cut.term else durable.last
            check_promise(message, durable, max(last, durable.applied))

    def _commit(self, watched: Watched, word: Word) -> None:
        """Take in that a member, the first to say so, calls entries committed."""
        term, leader, commit = word[:3]
        holder = self._quorum(commit, (watched.voters, word.voters))
        newest = holder.at(commit)
        assert newest is not None
        require(
            leader != watched.member or newest.term == term,
            "the leader of term {} committed {}, of term {}, by counting",
            term,
            commit,
            newest.term,
        )
        for index in range(self.committed + 1, commit + 1):
            entry = holder.at(index)
            if entry is not None:
                self._entry_terms[index] = entry.term
            self._commit_terms[index] = term
            self._complete(index)
        self.committed = commit

    def _agree(self, log: MemberLog, commit: int) -> None:
        """Check that a log holds what was committed at an index, if it holds anything there."""
        committed = self._entry_terms.get(commit)
        entry = log.at(commit)
        require(
            committed is None or entry is None or entry.term == committed,
            "the entry at {} was committed in term {}, and is called so with another one: {}",
            commit,
            committed,
            entry,
        )

    def _quorum(self, index: int, configurations: Sequence[tuple[MemberID, ...]]) -> MemberLog:
        """Check that an entry just committed is durable on a quorum; give a log that has it."""
        for voters in configurations:
            logs = [self.members[each].log for each in voters if each in self.members]
            for log in logs:
                entry = log.at(index)
                if entry is None:
                    continue
                if sum(other.holds(index, entry.term) for other in logs) > len(voters) // 2:
                    return log
        held = {f"{each:x}": seen.log.durable_last for each, seen in self.members.items()}
        raise Violation(f"index {index} is committed and durable on no quorum; durable are {held}")

    def _follow_applied(self, watched: Watched, applied: int) -> None:
        """Compare what a member has applied with the truth, and make it the truth."""
        log = watched.log
        truth = self.truth
        for index in range(watched.applied + 1, applied + 1):
            entry = log.at(index)
            if entry is None:
                # Below a snapshot: only the state can be compared.
                require(index <= truth.last, "a snapshot holds {}, which nobody applied", index)
                continue
            require(index <= log.durable_last, "applied {} before it was durable here", index)
            if index <= truth.last:
                require(
                    truth.entry(index) == entry,
                    "state machine safety: {} was applied as {}, here as {}",
                    index,
                    truth.entry(index),
                    entry,
                )
                continue
            require(index == truth.last + 1, "applied {} after {}", index, truth.last)
            command = truth.append(entry)
            if command is not None:
                self._applied(index, command[0], command[2], entry.data)

    def _compare(self, watched: Watched, state: State) -> None:
        """Compare the state at the index a member has come to."""
        revision = state.revision
        require(revision >= watched.revision, "revision {} after {}", revision, watched.revision)
        watched.revision = revision
        applied = watched.applied
        effect = self.truth.effect(applied) if applied >= self._first else None
        if effect is not None:
            require(
                effect.revision == revision,
                "the revision after {} is {}, not {}",
                applied,
                revision,
                effect.revision,
            )
        other = self._states.setdefault(applied, state)
        require(other == state, "the state after {} is {}, elsewhere {}", applied, state, other)

    def _serve(self, watched: Watched, revision: int) -> None:
        """Check that clients of a sole voter never see time go back, not even over a restart.

        In a larger cluster a member cannot know, before it hears of the others, how much of its
        log was committed, so only linearizable reads promise that much there.
        """
        if revision != watched.served:
            require(
                revision > watched.served or len(watched.voters) > 1,
                "revision {} is served after a restart, {} before",
                revision,
                watched.served,
            )
            watched.served = max(watched.served, revision)
