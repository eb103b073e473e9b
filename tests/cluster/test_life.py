"""Members come and go among living replicas: proposed anywhere, screened by the leader."""

from __future__ import annotations

import pytest

from tests.replica.living import A, B, C, Living, done, member, others, refusal
from trioetcd import errors
from trioetcd.cluster import Addition, Member, Promotion, Removal, Update
from trioetcd.errors import EtcdError
from trioetcd.raft import ConfState


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
