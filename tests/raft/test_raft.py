"""One member's part in consensus; what the paper claims is cited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.raft import ConfState, Group, HardState, Log, Raft, RaftConfig, Role
from trioetcd.values import Index, MemberID, Term

ME = MemberID(7)
NEW = HardState(Term(0), MemberID(0), Index(0))


class Dice:
    """Chance that always shows the same number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def bits(self, count: int, /) -> int:
        """Give the number, cut to `count` bits."""
        return self.value & ((1 << count) - 1)


def make(
    *,
    hard_state: HardState = NEW,
    groups: tuple[Group, ...] = (),
    applied: int = 0,
    voters: tuple[MemberID, ...] = (ME,),
    dice: int = 0,
    batch_bytes_max: int = 1 << 20,
    pre_vote: bool = True,
) -> Raft:
    """Make a member from what it would have recovered."""
    last = groups[-1].last if groups else Index(0)
    runs: list[tuple[Index, Term]] = []
    for group in groups:
        if not runs or runs[-1][1] != group.term:
            runs.append((group.first, group.term))
    log = Log(
        first=Index(1),
        first_term=Term(0),
        applied=Index(applied),
        commit=hard_state.commit,
        runs=runs,
        groups=groups,
        stable=last,
    )
    return Raft(
        config=RaftConfig(
            member_id=ME,
            election_ticks=10,
            batch_bytes_max=batch_bytes_max,
            pre_vote=pre_vote,
        ),
        log=log,
        hard_state=hard_state,
        conf_state=ConfState(voters),
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


def test_candidate_votes_for_itself_in_the_next_term() -> None:
    """Section 5.2: to begin an election, a server increments its term and votes for itself."""
    raft = make(hard_state=HardState(Term(4), MemberID(3), Index(0)))
    raft.campaign()
    assert (raft.term, raft.vote, raft.role, raft.leader) == (5, ME, Role.CANDIDATE, 0)
    ready = raft.ready()
    assert ready.must_persist
    assert ready.hard_state == HardState(Term(5), ME, Index(0))


def test_a_vote_counts_only_when_durable() -> None:
    """Figure 2: currentTerm and votedFor are on stable storage before they are acted on."""
    raft = make()
    raft.campaign()
    ready = raft.ready()
    raft.persist(ready)
    assert raft.role == Role.CANDIDATE
    raft.persisted()
    assert (raft.role, raft.leader) == (Role.LEADER, ME)


def test_a_batch_cut_before_the_campaign_elects_nobody() -> None:
    """Durable is what was in the batch, not what has happened since."""
    raft = make()
    raft.persist(raft.ready())
    raft.campaign()
    raft.persisted()
    assert raft.role == Role.CANDIDATE
    persist(raft)
    assert raft.role == Role.LEADER


def test_leader_begins_with_an_empty_entry_of_its_term() -> None:
    """Section 8: a leader commits a no-op at the start of its term."""
    raft = make()
    raft.campaign()
    persist(raft)
    assert raft.ready().groups == [Group(Index(1), Term(1), [b""])]
    assert raft.term_start == 1
    assert raft.read_index() is None
    persist(raft)
    assert raft.log.commit == 1
    assert raft.committed() == [b""]
    assert raft.read_index() == 1


def test_leader_counts_itself_only_when_persisted() -> None:
    """A sole voter's commit index moves with its disk, never before (etcd 14370)."""
    raft = make()
    elect(raft)
    assert raft.propose([b"a", b"b"])
    ready = raft.ready()
    raft.persist(ready)
    assert (raft.log.commit, raft.committed()) == (1, [b""])
    raft.propose([b"c"])
    raft.persisted()
    assert raft.log.commit == 3
    assert raft.ready().groups == [Group(Index(4), Term(1), [b"c"])]


def test_entries_of_earlier_terms_commit_with_one_of_the_current_term() -> None:
    """Section 5.4.2 and figure 8: an old entry is not committed by counting replicas."""
    groups = (Group(Index(1), Term(1), [b"", b"a", b"b"]),)
    raft = make(hard_state=HardState(Term(1), ME, Index(1)), groups=groups)
    raft.campaign()
    persist(raft)
    assert raft.role == Role.LEADER
    assert raft.log.commit == 1, "durable everywhere, and not committed"
    assert raft.read_index() is None
    persist(raft)
    assert raft.log.commit == 4


def test_one_voter_of_three_neither_leads_nor_commits() -> None:
    """Section 5.2: a candidate needs votes of a majority."""
    raft = make(voters=(ME, MemberID(8), MemberID(9)), pre_vote=False)
    raft.campaign()
    persist(raft)
    assert raft.role == Role.CANDIDATE
    assert not raft.propose([b"a"])


def test_a_member_that_does_not_vote_does_not_campaign() -> None:
    """Section 6: only voters stand for election."""
    raft = make(voters=(MemberID(8),))
    raft.campaign()
    assert (raft.term, raft.role) == (0, Role.FOLLOWER)


@given(st.integers(0, 2**32 - 1))
def test_election_timeouts_are_drawn_between_one_and_two(dice: int) -> None:
    """Section 5.2: election timeouts are randomized within a fixed interval."""
    raft = make(dice=dice)
    ticks = 0
    while raft.role == Role.FOLLOWER:
        raft.tick()
        ticks += 1
    assert 10 <= ticks < 20


def test_a_candidate_without_outcome_tries_the_next_term() -> None:
    """Section 5.2: a split vote ends with a timeout and a new election."""
    raft = make(voters=(ME, MemberID(8)), pre_vote=False)
    for _ in range(20):
        raft.tick()
    assert raft.term == 2


def test_a_leader_does_not_campaign() -> None:
    """Time alone does not depose a sole voter."""
    raft = make()
    elect(raft)
    for _ in range(100):
        raft.tick()
    assert (raft.term, raft.role) == (1, Role.LEADER)
    with pytest.raises(AssertionError):
        raft.campaign()


def test_ready_hands_out_no_more_than_a_batch_holds() -> None:
    """A batch takes entries up to its size, one at least; the rest waits for the next."""
    raft = make(batch_bytes_max=10)
    elect(raft)
    raft.propose([b"x" * 6, b"y" * 6, b"z" * 40, b"w"])
    sizes: list[list[int]] = []
    while raft.ready().must_persist:
        sizes.append([len(d) for group in raft.ready().groups for d in group.datas])
        persist(raft)
    assert sizes == [[6], [6], [40], [1]]


def test_one_batch_at_a_time() -> None:
    """Asking for another batch while one is in flight is a programmer's error."""
    raft = make()
    elect(raft)
    raft.propose([b"a"])
    raft.persist(raft.ready())
    with pytest.raises(AssertionError):
        raft.ready()


def test_recovered_state_must_fit_together() -> None:
    """A log of a term that was never entered is refused."""
    with pytest.raises(AssertionError):
        make(groups=(Group(Index(1), Term(3), [b"a"]),))


def test_a_follower_counts_nothing() -> None:
    """A batch without a campaign, such as one of effects alone, elects and commits nothing."""
    raft = make()
    persist(raft)
    assert (raft.role, raft.log.commit) == (Role.FOLLOWER, 0)
