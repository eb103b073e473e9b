"""Several members in memory: disks that lose what is not durable, and a bag of messages.

`Cluster` checks what consensus promises after every step: one leader per term, logs that match,
leaders that hold all that was committed, one committed sequence, marks that never go back, reads
that are not stale, and nothing said before it is durable. Time passes when a test says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

from tests.raft.member import Chance
from trioetcd.raft import (
    AddLearner,
    AddVoter,
    AppendEntries,
    AppendEntriesReply,
    ConfChange,
    ConfChangeError,
    ConfState,
    Group,
    HardState,
    InstallSnapshotReply,
    Log,
    Message,
    PreVote,
    PreVoteReply,
    Raft,
    RaftConfig,
    Ready,
    Remove,
    RequestVote,
    RequestVoteReply,
    Role,
    decode_group,
    simple,
)
from trioetcd.values import Index, MemberID, Term

CHANGE = b"C"
REFUSED = b"R"
NEW = HardState(Term(0), MemberID(0), Index(0))
FIRST = Index(1)
CHANGES: dict[bytes, type[AddVoter | AddLearner | Remove]] = {
    b"v": AddVoter,
    b"l": AddLearner,
    b"r": Remove,
}


def is_conf_change(data: bytes) -> bool:
    return data.startswith(CHANGE)


def encode_change(change: ConfChange) -> bytes:
    letter = next(letter for letter, kind in CHANGES.items() if isinstance(change, kind))
    return CHANGE + letter + b"%d" % change.member


def decode_change(data: bytes) -> ConfChange:
    return CHANGES[data[1:2]](MemberID(int(data[2:])))


def ids(*numbers: int) -> tuple[MemberID, ...]:
    """Give member ids."""
    return tuple(MemberID(number) for number in numbers)


@dataclass
class Disk:
    """What a member finds again after a crash."""

    conf: ConfState
    hard: HardState = NEW
    rows: dict[int, bytes] = field(default_factory=dict)
    first: Index = FIRST
    first_term: Term = NEW.term
    applied: Index = NEW.commit
    state: tuple[bytes, ...] = ()

    def entries(self) -> list[Group]:
        """Read the log, which has no gap."""
        groups = [decode_group(encoded) for _, encoded in sorted(self.rows.items())]
        expected = self.first
        for group in groups:
            assert expected == group.first, "stored groups tile the log"
            expected = Index(group.last + 1)
        return groups

    def term(self, index: int) -> Term | None:
        """Give the stored term of an entry."""
        for group in self.entries():
            if group.first <= index <= group.last:
                return group.term
        return None

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Read groups for members that lag: this is the archive."""
        found: list[Group] = []
        for group in self.entries():
            if group.last >= first:
                found.append(group)
                size -= len(group.encoded)
                if size <= 0:
                    break
        return found


@dataclass
class Snapshot:
    """A snapshot on its way."""

    to: MemberID
    sender: MemberID
    term: Term
    index: Index
    index_term: Term
    conf: ConfState
    state: tuple[bytes, ...]


class Node:
    """One member and its owner."""

    def __init__(self, cluster: Cluster, member: MemberID, disk: Disk) -> None:
        self.cluster = cluster
        self.id = member
        self.disk = disk
        self.batch: tuple[Ready, Disk] | None = None
        self.down = False
        self.start()

    def start(self) -> None:
        """Begin with what the disk holds."""
        disk = self.disk
        groups = disk.entries()
        runs: list[tuple[Index, Term]] = []
        term = disk.first_term
        for group in groups:
            if group.term != term:
                runs.append((group.first, group.term))
                term = group.term
        self.log = Log(
            first=disk.first,
            first_term=disk.first_term,
            applied=disk.applied,
            commit=disk.hard.commit,
            runs=runs,
            groups=[group for group in groups if group.last > disk.applied],
            stable=groups[-1].last if groups else Index(disk.first - 1),
            archive=self,
        )
        self.raft = Raft(
            config=replace(self.cluster.config, member_id=self.id),
            log=self.log,
            hard_state=disk.hard,
            conf_state=disk.conf,
            entropy=Chance(self.cluster.random),
        )
        self.state = disk.state
        self.conf = disk.conf
        self.batch = None
        self.down = False
        self.asked: dict[int, Index] = {}
        self.reads: list[tuple[int, Index]] = []

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Read the disk as it is now."""
        return self.disk.groups(first, size)

    def crash(self) -> None:
        """Lose all that is not durable."""
        self.down = True
        self.batch = None

    # -- the owner's work --------------------------------------------------------------------

    def cut(self) -> bool:
        """Put a batch on its way, if there is something to write and none is under way."""
        if self.batch is not None:
            return False
        ready = self.raft.ready()
        if not ready.must_persist and self.log.applied == self.disk.applied:
            return False
        assert ready.truncated is None or ready.groups[0].first == ready.truncated
        disk = replace(self.disk, rows=dict(self.disk.rows))
        if ready.truncated is not None:
            for first in [first for first in disk.rows if first >= ready.truncated]:
                del disk.rows[first]
        last = self.log.stable
        for group in ready.groups:
            self.cluster.note_written(self, group)
            disk.rows[group.first] = group.encoded
            last = group.last
        term, vote, commit = ready.hard_state
        disk.hard = HardState(term, vote, min(commit, last))
        disk.applied, disk.state, disk.conf = self.log.applied, self.state, self.conf
        keep = self.cluster.keep
        groups = disk.entries()
        while len(groups) > 1 and groups[0].last <= disk.applied - keep:
            gone = groups.pop(0)
            del disk.rows[gone.first]
            disk.first, disk.first_term = Index(gone.last + 1), gone.term
        self.log.compact(disk.first)
        self.batch = ready, disk
        self.raft.persist(ready)
        return True

    def persisted(self) -> bool:
        """Let the batch under way become durable."""
        if self.batch is None:
            return False
        ready, self.disk = self.batch
        self.batch = None
        if ready.truncated is not None or ready.groups:
            self.disk.entries()
        self.raft.persisted()
        self.cluster.check(self)
        return True

    def apply(self) -> bool:
        """Apply what is committed and durable."""
        some = False
        while datas := self.raft.committed():
            for data in datas:
                index = Index(self.log.applied + 1)
                self.cluster.note_applied(self, index, self.log.term(index), data)
                self.state = (*self.state, data)
                if is_conf_change(data):
                    self.change(decode_change(data))
                self.raft.advance(index)
                some = True
        return some

    def change(self, change: ConfChange) -> None:
        """Change the membership, unless that makes no sense, which all members see alike."""
        try:
            conf = simple(self.conf, change)
        except ConfChangeError:
            return
        # When a leader of two removes itself, and the last message in which it says that this is
        # committed is lost, the other one waits for its vote for ever: an owner lets somebody
        # else lead first.
        if len(conf.voters) > 1 or len(self.conf.voters) == 1 or not self.cluster.guarded:
            self.conf = conf
            self.raft.apply_conf_change(conf)

    def send(self) -> bool:
        """Put all that may leave into the bag."""
        messages = self.raft.take_messages()
        some = bool(messages)
        for message in messages:
            self.cluster.check_promise(self, message)
        self.cluster.bag.extend(messages)
        for peer in self.raft.take_snapshots():
            applied = self.log.applied
            term = self.log.term(applied)
            snapshot = (self.raft.term, applied, term, self.conf, self.state)
            self.cluster.bag.append(Snapshot(peer, self.id, *snapshot))
            some = True
        for context, index in self.raft.take_reads():
            assert index >= self.asked.pop(context), "a stale read"
            self.reads.append((context, index))
        return some

    def read(self) -> int:
        """Ask for a linearizable read; give its context."""
        context = self.cluster.random.getrandbits(64)
        self.asked[context] = self.cluster.last_committed()
        self.raft.request_read(context)
        return context

    def receive(self, message: Message | Snapshot) -> None:
        """Take in a message, or a snapshot."""
        if not isinstance(message, Snapshot):
            self.raft.step(message)
        elif not self.install(message):
            self.cluster.report(message, ok=False)
        else:
            self.cluster.report(message, ok=True)
        self.cluster.check(self)

    def install(self, snapshot: Snapshot) -> bool:
        """Install a snapshot in one batch, if it is of use and no other batch is under way."""
        offered = self.raft.offered_snapshot(
            snapshot.sender, snapshot.term, snapshot.index, snapshot.index_term
        )
        if not offered or self.batch is not None:
            return False
        ready = self.raft.ready()
        self.raft.persist(ready._replace(groups=[], truncated=None))
        self.disk = Disk(
            conf=snapshot.conf,
            hard=HardState(ready.hard_state.term, ready.hard_state.vote, snapshot.index),
            first=Index(snapshot.index + 1),
            first_term=snapshot.index_term,
            applied=snapshot.index,
            state=snapshot.state,
        )
        self.raft.persisted()
        assert self.raft.restore(snapshot.index, snapshot.index_term, snapshot.conf)
        self.state, self.conf = snapshot.state, snapshot.conf
        return True


class Cluster:
    """Members, the bag of messages between them, and what has been seen of them."""

    def __init__(
        self,
        voters: int = 3,
        *,
        learners: int = 0,
        seed: int = 0,
        keep: int = 1 << 30,
        config: RaftConfig | None = None,
    ) -> None:
        config = config or RaftConfig(member_id=MemberID(1))
        self.config = replace(config, is_conf_change=is_conf_change, refused=refuse)
        self.random = Random(seed)
        self.keep = keep
        """How many applied entries the log keeps."""
        self.guarded = False
        """Whether the last but one voter stays."""
        self.bag: list[Message | Snapshot] = []
        self.cut_off: set[tuple[MemberID, MemberID]] = set()
        self.leaders: dict[Term, MemberID] = {}
        self.written: dict[tuple[int, int], tuple[bytes, Term | None]] = {}
        self.applied: dict[int, tuple[Term, bytes]] = {}
        self.commits: dict[MemberID, Index] = {}
        self.conf = ConfState(
            ids(*range(1, voters + 1)), ids(*range(voters + 1, voters + learners + 1))
        )
        self.nodes = {member: Node(self, member, Disk(self.conf)) for member in self.conf.members}

    def __getitem__(self, number: int) -> Node:
        return self.nodes[MemberID(number)]

    # -- what is seen ------------------------------------------------------------------------

    def note_written(self, node: Node, group: Group) -> None:
        """Log matching (figure 3): equal index and term mean equal entry and predecessor."""
        for at, data in enumerate(group.datas):
            index = group.first + at
            known = index - 1 >= node.log.first - 1
            before = node.log.term(index - 1) if known else None
            seen, seen_before = self.written.setdefault((index, group.term), (data, before))
            assert seen == data, f"two entries at {index} in term {group.term}"
            assert before is None or seen_before is None or before == seen_before

    def note_applied(self, node: Node, index: Index, term: Term, data: bytes) -> None:
        """State machine safety (figure 3): one entry per index is ever applied."""
        assert self.applied.setdefault(index, (term, data)) == (term, data)
        assert len(node.state) == index - 1

    def last_committed(self) -> Index:
        """Give the furthest commit index that anybody has had."""
        return max(self.commits.values(), default=Index(0))

    def check(self, node: Node) -> None:
        """Check one member after something happened to it."""
        raft, log = node.raft, node.log
        before = self.commits.get(node.id, 0)
        if log.commit > before:
            self.commits[node.id] = log.commit
        assert log.first - 1 <= log.applied <= min(log.commit, log.stable) <= log.last
        if raft.role == Role.LEADER:
            seen = self.leaders.get(raft.term)
            assert seen in {None, node.id}, f"two leaders in term {raft.term}"
            if seen is None:
                self.leaders[raft.term] = node.id
                for index, (term, _) in self.applied.items():
                    if index >= log.first:
                        assert log.term(index) == term, "a leader lacks a committed entry"

    def check_promise(self, node: Node, message: Message) -> None:
        """Durable before promised: what a message says must be on the disk already."""
        hard = node.disk.hard
        if hard.term > message.term:
            return  # It was so when it was said, and is too late to matter.
        match message:
            case PreVote() | PreVoteReply(granted=True):
                return
            case RequestVote():
                assert (hard.term, hard.vote) == (message.term, node.id)
            case RequestVoteReply(granted=True):
                assert (hard.term, hard.vote) == (message.term, message.to)
            case AppendEntriesReply(rejected=False) | InstallSnapshotReply(rejected=False):
                last = max((group.last for group in node.disk.entries()), default=0)
                assert message.index <= max(last, node.disk.first - 1)
            case AppendEntries():
                assert (hard.term, hard.vote) == (message.term, node.id)
            case _:
                pass
        assert hard.term >= message.term

    # -- what happens ------------------------------------------------------------------------

    def report(self, snapshot: Snapshot, *, ok: bool) -> None:
        """Tell the sender of a snapshot how it went."""
        sender = self.nodes[snapshot.sender]
        if not sender.down:
            sender.raft.report_snapshot(snapshot.to, ok=ok)

    def reachable(self, message: Message | Snapshot) -> bool:
        """Whether a message gets through now."""
        node = self.nodes.get(message.to)
        return (
            node is not None and not node.down and (message.sender, message.to) not in self.cut_off
        )

    def deliver(self, message: Message | Snapshot) -> None:
        """Hand a message over, or lose it."""
        if self.reachable(message):
            self.nodes[message.to].receive(message)
        elif isinstance(message, Snapshot):
            self.report(message, ok=False)

    def separate(self, *members: int) -> None:
        """Cut these members off from all others, but not from each other."""
        inside = set(members)
        self.cut_off = {
            (a, b) for a in self.nodes for b in self.nodes if (a in inside) != (b in inside)
        }

    def heal(self) -> None:
        """Let everybody hear everybody."""
        self.cut_off = set()

    def settle(self) -> None:
        """Let everything happen that needs no time, in order, until nothing is left."""
        for _ in range(10_000):
            some = False
            for node in self.nodes.values():
                if not node.down:
                    some |= node.apply()
                    some |= node.cut()
                    some |= node.send()
                    some |= node.persisted()
                    self.check(node)
            bag, self.bag = self.bag, []
            for message in bag:
                self.deliver(message)
            if not (some or bag):
                return
        raise AssertionError("it never settles")

    def tick(self, times: int = 1, members: Iterable[int] | None = None) -> None:
        """Let time pass and everything settle, tick by tick."""
        for _ in range(times):
            for node in self.nodes.values():
                if not node.down and (members is None or node.id in members):
                    node.raft.tick()
                    self.check(node)
            self.settle()

    def leader(self) -> Node:
        """Give the leader of the latest term."""
        leaders = [node for node in self.up() if node.raft.role == Role.LEADER]
        assert leaders, "nobody leads"
        return max(leaders, key=lambda node: node.raft.term)

    def up(self) -> list[Node]:
        """Give the members that run."""
        return [node for node in self.nodes.values() if not node.down]

    def elect(self, number: int) -> Node:
        """Make a member leader, as if its patience had ended first."""
        node = self[number]
        for other in self.up():
            other.raft.elapsed = max(other.raft.elapsed, self.config.election_ticks)
        node.raft.campaign()
        self.settle()
        assert node.raft.role == Role.LEADER
        return node

    def propose(self, number: int, *datas: bytes) -> bool:
        """Propose at a member and let everything settle."""
        taken = self[number].raft.propose(list(datas))
        self.settle()
        return taken

    def add(self, number: int) -> Node:
        """Start a member that knows the first configuration and no entry yet."""
        member = MemberID(number)
        node = self.nodes[member] = Node(self, member, Disk(self.conf))
        return node


def refuse(data: bytes) -> bytes:
    """Give what takes the place of a refused membership change."""
    return REFUSED + data
