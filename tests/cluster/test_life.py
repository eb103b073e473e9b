"""Members come and go among living replicas: proposed anywhere, screened by the leader, followed.

Three replicas over memory, a network that loses nothing unless a member is cut off, and time
moved by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from trioetcd import errors
from trioetcd.cluster import (
    Addition,
    Change,
    ClusterView,
    Member,
    Promotion,
    Removal,
    Update,
    encode_change,
)
from trioetcd.errors import EtcdError
from trioetcd.raft import ConfState
from trioetcd.replica import (
    Envelope,
    Input,
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
    """

    def __init__(self, members: Iterable[Member]) -> None:
        view = ClusterView(ClusterID(0xC1), tuple(members))
        self.now = 0.0
        self.cut: set[MemberID] = set()
        self.outcomes: dict[object, Outcome] = {}
        self.replicas: dict[MemberID, Replica] = {}
        self._disks: dict[MemberID, MemoryBackend] = {}
        self._inputs: dict[MemberID, list[Input]] = {}
        for one in view.members:
            rows = bootstrap(cluster_id=view.cluster_id, member_id=one.id, members=view.members)
            self._start(one.id, one.name, rows)

    def _start(self, number: MemberID, name: str, rows: Mapping[bytes, bytes | None]) -> None:
        disk = self._disks[number] = MemoryBackend()
        disk.prepare(rows).write()
        recovered = recover(disk)
        assert recovered is not None
        self._inputs[number] = []
        self.replicas[number] = Replica(
            backend=disk,
            recovered=recovered,
            config=ReplicaConfig(name=name),
            boot=number,
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
            outputs = replica.step(inputs, self.now)
            if outputs.persist is not None:
                self._disks[number].prepare(outputs.persist.rows).write()
                self._inputs[number].append(Persisted(outputs.persist.number))
            elif outputs.more:
                self._inputs[number].append(Tick(self.now))
            self.outcomes.update(dict(outputs.resolved))
            mail += outputs.sends
            for peer in outputs.snapshots:
                self._transfer(number, peer)
        for envelope in mail:
            if not self.cut & {envelope.sender, envelope.to} and envelope.to in self._inputs:
                self._inputs[envelope.to].append(Received([envelope]))
        return any(self._inputs.values())

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for inputs in self._inputs.values():
                inputs.append(Tick(self.now))
            while self._round():
                pass

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
        ticket = object()
        self._inputs[at].append(Proposed([(ticket, kind, payload)]))
        self.pass_time(10.0)
        return self.outcomes[ticket]

    def conf_states(self) -> dict[MemberID, ConfState]:
        return {number: r.membership.conf_state() for number, r in self.replicas.items()}


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, EtcdError), outcome
    return outcome.row.name


def done(outcome: Outcome) -> None:
    assert isinstance(outcome, tuple), outcome


def others(leader: MemberID, *members: MemberID) -> list[MemberID]:
    return [number for number in members if number != leader]


def test_a_learner_is_promoted_when_it_has_kept_up_whoever_is_asked() -> None:
    """The leader knows; whoever was asked hears the leader's word, yes or no."""
    living = Living([member(A), member(B), member(C, learner=True)])
    leader = living.lead()
    follower = others(leader, A, B)[0]
    living.cut = {C}
    for _ in range(40):
        done(living.put(leader))
    for at in (leader, follower):
        assert errors.LEARNER_NOT_READY.name == refusal(living.do(at, Promotion(C)))
    living.cut = set()
    living.pass_time(5.0)
    done(living.do(follower, Promotion(C)))
    assert {number: ConfState((A, B, C)) for number in (A, B, C)} == living.conf_states()
    assert errors.MEMBER_NOT_LEARNER.name == refusal(living.do(follower, Promotion(C)))
    living.cut = {follower}
    done(living.put(leader))  # the new voter counts


def test_a_removed_follower_is_missed_by_nobody() -> None:
    """Two are left and are enough; the number is never taken back."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    gone, staying = others(leader, A, B, C)
    done(living.do(staying, Removal(gone)))
    expected = ConfState(tuple(sorted((leader, staying))))
    assert all(living.conf_states()[number] == expected for number in (leader, staying))
    assert errors.MEMBER_NOT_FOUND.name == refusal(living.do(staying, Addition(member(gone), 1)))
    living.cut = {gone}
    done(living.put(staying))


def test_a_leader_that_is_removed_gives_way() -> None:
    """The removal is answered, and the others go on without it."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    staying = others(leader, A, B, C)
    done(living.do(staying[0], Removal(leader)))
    living.cut = {leader}
    assert living.lead() in staying
    assert [ConfState(tuple(staying))] * 2 == [living.conf_states()[n] for n in staying]
    done(living.put(staying[1]))


@pytest.mark.parametrize("at_leader", [False, True])
def test_new_urls_reach_everybody(*, at_leader: bool) -> None:
    """An update is an entry like any other, and changes no configuration."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    at = leader if at_leader else others(leader, A, B, C)[0]
    before = living.conf_states()
    done(living.do(at, Update(C, ("https://x:1",))))
    found = [r.membership.get(C) for r in living.replicas.values()]
    assert [("https://x:1",)] * 3 == [one and one.peer_urls for one in found]
    assert before == living.conf_states()


def test_a_voter_too_many_stops_the_cluster_and_nothing_is_lost() -> None:
    """A second voter that never comes: the addition is answered, later writes are not."""
    living = Living([member(A)])
    assert living.lead() == A
    done(living.put(A))
    done(living.do(A, Addition(Member(B, "", ("https://b:1",)), 1)))
    assert ConfState((A, B)) == living.conf_states()[A]
    assert isinstance(living.put(A), EtcdError)
    assert living.replicas[A].store.revision == 2


@pytest.mark.parametrize("learner", [False, True])
def test_a_joiner_learns_everything_by_a_snapshot(*, learner: bool) -> None:
    """Added, started with an empty log, told the state: it has the keys and knows the members."""
    living = Living([member(A)])
    living.lead()
    done(living.put(A))
    done(living.do(A, Addition(Member(B, "", ("https://b:1",), is_learner=learner), 1)))
    living.join(B)
    assert living.lead() == A
    living.pass_time(5.0)
    done(living.put(A))
    joined = living.replicas[B]
    assert living.replicas[A].membership.members() == joined.membership.members()
    assert ["m1", "m2"] == [one.name for one in joined.membership.members()]
    assert (3, 2 - learner) == (joined.store.revision, len(joined.membership.voters()))
    if learner:
        done(living.do(A, Promotion(B)))
    living.cut = {B}
    assert isinstance(living.put(A), EtcdError), "both are needed now"
