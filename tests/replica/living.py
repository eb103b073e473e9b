"""Replicas that live together: a network that loses what it is told to, and time moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from trioetcd.cluster import Change, ClusterView, Member, encode_change
from trioetcd.errors import EtcdError
from trioetcd.ports import PreparedBatch
from trioetcd.raft import ConfState
from trioetcd.replica import (
    Envelope,
    Input,
    LeaseAsked,
    Persisted,
    Proposed,
    Received,
    Replica,
    ReplicaConfig,
    SnapshotEnded,
    SnapshotOffered,
    SnapshotPiece,
    SnapshotSent,
    Tick,
    bootstrap,
    recover,
)
from trioetcd.replica.rows import bootstrap_joiner
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, Outcome
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Dice
from trioetcd.values import ClusterID, MemberID

A, B, C = MemberID(1), MemberID(2), MemberID(3)
TICK = 0.1


def member(number: MemberID, *, learner: bool = False) -> Member:
    return Member(number, f"m{number}", (f"https://{number}:1",), is_learner=learner)


class Living:
    """Replicas that live together.

    Attributes:
        cut: members that nothing reaches and that reach nobody.
        loses: says which messages are lost.
        stuck: members whose disk does not answer, until `unstick`.
        outcomes: what became of proposals, by ticket.
        leases: what was told of leases, by ticket.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        view = ClusterView(ClusterID(0xC1), tuple(members))
        self.now = 0.0
        self.cut: set[MemberID] = set()
        self.loses: Callable[[Envelope], bool] = lambda _envelope: False
        self.stuck: set[MemberID] = set()
        self.outcomes: dict[object, Outcome] = {}
        self.leases: dict[object, int | None] = {}
        self.replicas: dict[MemberID, Replica] = {}
        self._disks: dict[MemberID, MemoryBackend] = {}
        self._writing: dict[MemberID, PreparedBatch] = {}
        self._unheard: dict[MemberID, Persisted] = {}
        self._boots = 0
        self._inputs: dict[MemberID, list[Input]] = {}
        for one in view.members:
            rows = bootstrap(cluster_id=view.cluster_id, member_id=one.id, members=view.members)
            self._start(one.id, one.name, rows)

    def _start(self, number: MemberID, name: str, rows: Mapping[bytes, bytes | None]) -> None:
        self._disks[number] = MemoryBackend()
        self._disks[number].prepare(rows).write()
        self._boot(number, name)

    def restart(self, number: MemberID) -> None:
        """Cut a member's power, and give it back: what was not written is gone."""
        self._writing.pop(number, None)
        self._boot(number, f"m{number}")

    def _boot(self, number: MemberID, name: str) -> None:
        self._boots += 1
        disk = self._disks[number]
        recovered = recover(disk)
        assert recovered is not None
        self._inputs[number] = []
        self.replicas[number] = Replica(
            backend=disk,
            recovered=recovered,
            config=ReplicaConfig(name=name),
            boot=self._boots,
            entropy=Dice(number),
            now=self.now,
        )

    def join(self, number: MemberID) -> None:
        """Start a member that the cluster has added."""
        rows = bootstrap_joiner(cluster_id=ClusterID(0xC1), member_id=number)
        self._start(number, f"m{number}", rows)

    def _transfer(self, sender: MemberID, to: MemberID) -> None:
        """Send the whole state, as a connection of its own would."""
        replica = self.replicas[sender]
        cut = replica.cut_state()
        pieces = []
        while rows := cut.piece(1 << 20):
            pieces.append(SnapshotPiece(rows))
        cut.close()
        offered = SnapshotOffered(sender, replica.term, cut.meta)
        self._inputs[to] += [offered, *pieces, SnapshotEnded(ok=True)]
        self._inputs[sender].append(SnapshotSent(to, ok=True))

    def _round(self) -> bool:
        """Let everybody take what has come; whether there was anything."""
        mail: list[Envelope] = []
        for number, replica in self.replicas.items():
            inputs, self._inputs[number] = self._inputs[number], []
            if not inputs:
                continue
            if any(isinstance(each, Persisted) for each in inputs):
                self._writing.pop(number).write()
            outputs = replica.step(inputs, self.now)
            if outputs.persist is not None:
                self._writing[number] = self._disks[number].prepare(outputs.persist.rows)
                written = Persisted(outputs.persist.number)
                if number in self.stuck:
                    self._unheard[number] = written
                else:
                    self._inputs[number].append(written)
            elif outputs.more:
                self._inputs[number].append(Tick(self.now))
            self.outcomes.update(dict(outputs.resolved))
            self.leases.update(dict(outputs.leases))
            mail += outputs.sends
            for peer in outputs.snapshots:
                self._transfer(number, peer)
        for envelope in mail:
            lost = self.cut & {envelope.sender, envelope.to} or self.loses(envelope)
            if not lost and envelope.to in self._inputs:
                self._inputs[envelope.to].append(Received([envelope]))
        return any(self._inputs.values())

    def unstick(self, number: MemberID) -> None:
        """Let a disk answer again."""
        self.stuck.remove(number)
        if number in self._unheard:
            self._inputs[number].append(self._unheard.pop(number))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for inputs in self._inputs.values():
                inputs.append(Tick(self.now))
            self.settle()

    def lead(self) -> MemberID:
        """Wait until somebody leads whom everybody that is not cut off knows."""
        for _ in range(100):
            self.pass_time(TICK)
            known = {r.leader for number, r in self.replicas.items() if number not in self.cut}
            if len(known) == 1 and MemberID(0) not in known:
                return known.pop()
        raise AssertionError("nobody leads")

    def do(self, at: MemberID, change: Change) -> Outcome:
        return self.propose(at, *encode_change(change))

    def put(self, at: MemberID) -> Outcome:
        request = messages.PutRequest(key=b"k", value=b"v")
        return self.propose(at, CommandKind.PUT, request.SerializeToString())

    def propose(self, at: MemberID, kind: int, payload: bytes) -> Outcome:
        ticket = self.ask(at, kind, payload)
        self.pass_time(10.0)
        return self.outcomes[ticket]

    def ask(self, at: MemberID, kind: int, payload: bytes) -> object:
        """Propose, and let no time pass; gives the ticket."""
        ticket = object()
        self.give(at, Proposed([(ticket, kind, payload)]))
        return ticket

    def ask_lease(self, at: MemberID, lease: int, *, renew: bool) -> object:
        """Ask how long a lease lives, and let no time pass; gives the ticket."""
        ticket = object()
        self.give(at, LeaseAsked(ticket, lease, renew))
        return ticket

    def give(self, at: MemberID, *inputs: Input) -> None:
        """Let a member take something with its next step."""
        self._inputs[at] += inputs

    def settle(self) -> None:
        """Let everything happen that happens while time stands still."""
        while self._round():
            pass

    def conf_states(self) -> dict[MemberID, ConfState]:
        return {number: r.membership.conf_state() for number, r in self.replicas.items()}


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, EtcdError), outcome
    return outcome.row.name


def done(outcome: Outcome) -> None:
    assert isinstance(outcome, tuple), outcome


def others(leader: MemberID, *members: MemberID) -> list[MemberID]:
    return [number for number in members if number != leader]
