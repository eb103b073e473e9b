"""What a learner does for clients, and what it does for itself."""

from __future__ import annotations

from tests.replica.states import FOLLOWER, LEADER, follower, follower_disk
from trioetcd.cluster import MEMBER_ATTRIBUTES
from trioetcd.errors import NOT_SUPPORTED_FOR_LEARNER, EtcdError
from trioetcd.raft import Heartbeat, Propose
from trioetcd.replica import Envelope, ReadRequested, Received
from trioetcd.schema import messages
from trioetcd.statemachine import HEAD, CommandKind
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Index, Term


def hear_the_leader(member: Synchronous) -> list[Envelope]:
    """Let the member hear who leads; gives what it then has to say."""
    heartbeat = Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0)
    member.step(Received([Envelope(LEADER, FOLLOWER, 1, 1, heartbeat)]))
    sends = list(member.outputs.sends)
    while member.waiting is not None:
        sends += member.persist().sends
    member.now += 1.0
    return sends + member.step().sends


def put_and_read(member: Synchronous) -> list[object]:
    """Ask for a write and a linearizable read; gives the refusals' rows."""
    payload = messages.PutRequest(key=b"k").SerializeToString()
    member.propose(("write", CommandKind.PUT, payload))
    member.step(ReadRequested(["read"]))
    outcomes = [member.resolved.get("write"), member.resolved.get("read")]
    return [each.row if isinstance(each, EtcdError) else each for each in outcomes]


def test_a_learner_takes_neither_writes_nor_linearizable_reads() -> None:
    """Both are refused with etcd's answer, whether there is a leader or not."""
    member = follower(follower_disk(is_learner=True))
    assert [NOT_SUPPORTED_FOR_LEARNER] * 2 == put_and_read(member)
    member = follower(follower_disk(is_learner=True))
    hear_the_leader(member)
    assert LEADER == member.replica.leader
    assert [NOT_SUPPORTED_FOR_LEARNER] * 2 == put_and_read(member)


def test_a_member_that_votes_sends_both_on() -> None:
    """The control: what a learner refuses is under way at a voter that follows."""
    member = follower()
    hear_the_leader(member)
    assert [None, None] == put_and_read(member)


def test_a_learner_tells_its_own_name() -> None:
    """Its name and client URLs go to the leader all the same."""
    sends = hear_the_leader(follower(follower_disk(is_learner=True)))
    datas = [
        data for each in sends if isinstance(each.message, Propose) for data in each.message.datas
    ]
    assert [MEMBER_ATTRIBUTES] == [HEAD.unpack_from(data)[1] for data in datas]
