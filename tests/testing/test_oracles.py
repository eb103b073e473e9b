"""Each rule of the oracles, broken once by hand."""

from __future__ import annotations

import pytest

from trioetcd.cluster import Removal, encode_change
from trioetcd.raft import AppendEntriesReply, RequestVoteReply, encode_group
from trioetcd.replica import Envelope
from trioetcd.replica.rows import META_ROW, Meta, encode_meta, group_key
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, encode_command
from trioetcd.testing.oracles import Oracles, State, Word
from trioetcd.testing.violation import Violation
from trioetcd.values import ClusterID, Index, MemberID, RequestID, Revision, Term

ONE, TWO, THREE = VOTERS = (MemberID(1), MemberID(2), MemberID(3))


def rows(
    batch: int, *, term: int, last: int, vote: int = 0, commit: int = 3, applied: int = 3
) -> dict[bytes, bytes | None]:
    meta = Meta(
        batch=batch,
        chain_first=1,
        term=Term(term),
        vote=MemberID(vote),
        commit=Index(commit),
        applied=Index(applied),
        applied_term=Term(1),
        revision=Revision(1),
        compact_revision=Revision(-1),
        chain_bytes=0,
        epoch=0x80,
        first=Index(4),
        first_term=Term(1),
        last=Index(last),
        cluster_id=ClusterID(1),
        member_id=ONE,
    )
    return {META_ROW: encode_meta(meta)}


def put(number: int) -> bytes:
    request = messages.PutRequest(key=b"k", value=b"%d" % number)
    return encode_command(CommandKind.PUT, RequestID(1, 1, number), request.SerializeToString())


class Cluster:
    """Three members whose batches and words are made by hand."""

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.oracles = Oracles(
            first=4, ttl_min=1, applied=lambda index, *_: self.applied.append(index)
        )
        for member in VOTERS:
            self.oracles.watch(member, rows(1, term=1, last=3))
        self.batches = dict.fromkeys(VOTERS, 1)

    def cut(
        self,
        member: MemberID,
        *groups: tuple[int, int, list[bytes]],
        term: int,
        last: int,
        vote: int = 0,
        commit: int = 3,
        applied: int = 3,
    ) -> None:
        self.batches[member] += 1
        batch = rows(
            self.batches[member], term=term, last=last, vote=vote, commit=commit, applied=applied
        )
        for first, group_term, datas in groups:
            batch[group_key(first)] = encode_group(Index(first), Term(group_term), datas)
        self.oracles.cut(member, batch, 0)

    def write(
        self, member: MemberID, *groups: tuple[int, int, list[bytes]], term: int, last: int
    ) -> None:
        self.cut(member, *groups, term=term, last=last)
        self.oracles.synced(member)

    def say(
        self,
        member: MemberID,
        *,
        term: int = 2,
        leader: int = 1,
        commit: int = 3,
        applied: int = 3,
        revision: int = 1,
        chain: int = 0,
        voters: tuple[MemberID, ...] = VOTERS,
    ) -> None:
        state = State(revision, chain, -1, 0)
        word = Word(term, leader, commit, applied, voters, state, ready=True)
        self.oracles.stepped(member, word)

    def say_all(self, said: dict[str, int]) -> None:
        self.say(
            ONE,
            term=said["term"],
            commit=said["commit"],
            applied=said["applied"],
            revision=said["revision"],
        )


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_correct_cluster_passes(cluster: Cluster) -> None:
    """An entry durable on two of three may be committed, then applied by everybody."""
    for member in VOTERS:
        cluster.say(member)
        cluster.write(member, (4, 2, [put(1), b""]), term=2, last=5)
    cluster.say(ONE, commit=5, applied=5, revision=2)
    cluster.say(TWO, commit=5, applied=4, revision=2)
    cluster.say(TWO, commit=5, applied=5, revision=2)

    assert cluster.applied == [4]
    assert cluster.oracles.truth.last == 5


def test_two_leaders_of_a_term(cluster: Cluster) -> None:
    """Nobody leads a term that another one led."""
    cluster.say(ONE, term=2, leader=1)
    with pytest.raises(Violation, match="election safety"):
        cluster.say(TWO, term=2, leader=2)


def test_two_entries_of_one_term_at_one_index(cluster: Cluster) -> None:
    """An index and a term name one entry."""
    cluster.write(ONE, (4, 2, [put(1)]), term=2, last=4)
    with pytest.raises(Violation, match="log matching: two entries"):
        cluster.write(TWO, (4, 2, [put(2)]), term=2, last=4)


def test_one_entry_behind_two_others(cluster: Cluster) -> None:
    """Equal entries have equal predecessors."""
    cluster.write(ONE, (4, 2, [put(1)]), (5, 4, [put(2)]), term=4, last=5)
    with pytest.raises(Violation, match="log matching: the entry at 5"):
        cluster.write(TWO, (4, 3, [put(3)]), (5, 4, [put(2)]), term=4, last=5)


def test_a_commit_without_a_quorum(cluster: Cluster) -> None:
    """What only one of three holds is not committed."""
    cluster.write(ONE, (4, 2, [put(1)]), term=2, last=4)
    cluster.cut(TWO, (4, 2, [put(1)]), term=2, last=4)
    with pytest.raises(Violation, match="durable on no quorum"):
        cluster.say(ONE, commit=4)


def test_a_leader_commits_nothing_older_by_counting(cluster: Cluster) -> None:
    """What a majority holds is committed by an entry of the leader's own term, never alone."""
    for member in VOTERS:
        cluster.write(member, (4, 2, [put(1)]), term=3, last=4)
    with pytest.raises(Violation, match="leader of term 3 committed 4, of term 2, by counting"):
        cluster.say(ONE, term=3, leader=1, commit=4)


def test_a_follower_calls_committed_what_is_not(cluster: Cluster) -> None:
    """Below its commit index a member holds what was committed."""
    for member in (ONE, TWO):
        cluster.write(member, (4, 2, [put(1)]), term=2, last=4)
    cluster.say(ONE, commit=4)
    cluster.cut(THREE, (4, 1, [put(2)]), term=2, last=4)
    with pytest.raises(Violation, match="called so with another one"):
        cluster.cut(THREE, term=2, last=4, commit=4)


def test_only_voters_lead(cluster: Cluster) -> None:
    """A member that has no vote leads nobody."""
    with pytest.raises(Violation, match="leads term 2 without a vote"):
        cluster.say(ONE, term=2, leader=1, voters=(TWO, THREE))


def test_one_change_of_members_at_a_time(cluster: Cluster) -> None:
    """No change of members is begun while another one is not committed."""
    changes = [
        encode_command(CommandKind(kind), RequestID(1, 1, number), payload)
        for number, (kind, payload) in enumerate(map(encode_change, (Removal(ONE), Removal(TWO))))
    ]
    cluster.write(ONE, (4, 2, changes[:1]), term=2, last=4)
    with pytest.raises(Violation, match="was begun while the one at 4 was not committed"):
        cluster.cut(ONE, (5, 2, changes[1:]), term=2, last=5)


def test_entries_of_other_terms_make_no_quorum(cluster: Cluster) -> None:
    """Two members with different entries at an index do not agree about it."""
    cluster.write(ONE, (4, 2, [put(1)]), term=2, last=4)
    cluster.write(TWO, (4, 3, [put(2)]), term=3, last=4)
    with pytest.raises(Violation, match="durable on no quorum"):
        cluster.say(ONE, commit=4)


def test_two_states_for_one_index(cluster: Cluster) -> None:
    """Members that have applied the same have the same state."""
    for member in VOTERS:
        cluster.write(member, (4, 2, [put(1)]), term=2, last=4)
    cluster.say(ONE, commit=4, applied=4, revision=2, chain=7)
    with pytest.raises(Violation, match="the state after 4"):
        cluster.say(TWO, commit=4, applied=4, revision=2, chain=8)


def test_another_revision_than_the_model(cluster: Cluster) -> None:
    """The revision after an entry is the model's."""
    for member in VOTERS:
        cluster.write(member, (4, 2, [put(1)]), term=2, last=4)
    with pytest.raises(Violation, match="the revision after 4 is 3"):
        cluster.say(ONE, commit=4, applied=4, revision=3)


def test_two_entries_applied_at_one_index(cluster: Cluster) -> None:
    """Everybody applies the same entry at an index."""
    for member in (ONE, TWO):
        cluster.write(member, (4, 2, [put(1)]), term=2, last=4)
    cluster.say(ONE, commit=4, applied=4, revision=2)
    cluster.write(THREE, (4, 1, [put(2)]), term=2, last=4)
    with pytest.raises(Violation, match="state machine safety"):
        cluster.say(THREE, commit=4, applied=4, revision=2)


def test_a_later_leader_without_a_committed_entry(cluster: Cluster) -> None:
    """No later leader has something else where an entry was committed."""
    for member in (ONE, TWO):
        cluster.write(member, (4, 2, [put(1)]), term=2, last=4)
    cluster.say(ONE, commit=4)
    with pytest.raises(Violation, match="leader completeness"):
        cluster.write(THREE, (4, 3, [put(2)]), term=3, last=4)


def test_an_earlier_leaders_entry_may_stay_behind(cluster: Cluster) -> None:
    """An entry of a term before the one that committed is no later leader's."""
    cluster.write(THREE, (4, 3, [put(2)]), term=3, last=4)
    for member in (ONE, TWO):
        cluster.write(member, (4, 2, [put(1)]), (5, 4, [b""]), term=4, last=5)
    cluster.say(ONE, term=4, commit=5)


def test_two_votes_in_a_term(cluster: Cluster) -> None:
    """A durable vote is not given to another one in the same term, not even after a crash."""
    cluster.cut(ONE, term=2, last=3, vote=2)
    cluster.oracles.synced(ONE)
    cluster.cut(ONE, term=2, last=3, vote=3)
    with pytest.raises(Violation, match="two votes in term 2"):
        cluster.oracles.synced(ONE)


def test_a_vote_that_was_lost_may_be_given_again(cluster: Cluster) -> None:
    """A vote that never became durable binds nobody."""
    cluster.cut(ONE, term=2, last=3, vote=2)
    cluster.oracles.crashed(ONE, kept=False)
    cluster.batches[ONE] -= 1
    cluster.cut(ONE, term=2, last=3, vote=3)
    cluster.oracles.synced(ONE)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (RequestVoteReply(TWO, ONE, Term(2), granted=True), False),
        (RequestVoteReply(THREE, ONE, Term(2), granted=True), True),
        (RequestVoteReply(TWO, ONE, Term(2), granted=False), True),
        (RequestVoteReply(TWO, ONE, Term(3), granted=False), False),
        (AppendEntriesReply(TWO, ONE, Term(2), Index(4), False, Index(0), Term(0)), True),
        (AppendEntriesReply(TWO, ONE, Term(2), Index(5), False, Index(0), Term(0)), False),
        (AppendEntriesReply(TWO, ONE, Term(2), Index(5), True, Index(0), Term(0)), True),
    ],
)
def test_promises_are_durable_when_they_leave(
    cluster: Cluster, message: RequestVoteReply | AppendEntriesReply, *, kept: bool
) -> None:
    """Votes, terms and acknowledgements leave only when a crash cannot take them back."""
    cluster.cut(ONE, (4, 2, [put(1)]), term=2, last=4, vote=3)
    cluster.oracles.synced(ONE)
    cluster.cut(ONE, (5, 2, [put(2)]), term=3, last=5, vote=2)
    envelope = Envelope(ONE, message.to, 1, 1, message)

    if kept:
        cluster.oracles.sent(ONE, [envelope])
    else:
        with pytest.raises(Violation, match="leaves"):
            cluster.oracles.sent(ONE, [envelope])


def test_what_was_promised_in_an_older_term_may_be_replaced(cluster: Cluster) -> None:
    """An acknowledgement leaves with the batch that a later leader's entries ride in."""
    cluster.write(ONE, (4, 2, [put(1)]), term=2, last=4)
    cluster.cut(ONE, (4, 3, [put(2)]), term=3, last=4)
    old = AppendEntriesReply(TWO, ONE, Term(2), Index(4), False, Index(0), Term(0))
    cluster.oracles.sent(ONE, [Envelope(ONE, TWO, 1, 1, old)])
    with pytest.raises(Violation, match="leaves"):
        cluster.oracles.sent(ONE, [Envelope(ONE, TWO, 1, 2, old._replace(term=Term(3)))])


@pytest.mark.parametrize("what", ["term", "commit", "applied", "revision"])
def test_nothing_goes_back(cluster: Cluster, what: str) -> None:
    """Term, commit, applied and revision only grow while a member lives."""
    said = {"term": 4, "commit": 5, "applied": 5, "revision": 3}
    for member in VOTERS:
        cluster.write(member, (4, 4, [put(1), put(2)]), term=4, last=5)
    cluster.say_all(said)
    if what == "revision":
        cluster.oracles.members[ONE].revision = 9
        cluster.write(ONE, (6, 4, [b""]), term=4, last=6)
        cluster.write(TWO, (6, 4, [b""]), term=4, last=6)
        said = {"term": 4, "commit": 6, "applied": 6, "revision": 3}
    else:
        said = {**said, what: said[what] - 1}

    with pytest.raises(Violation, match="after"):
        cluster.say_all(said)
