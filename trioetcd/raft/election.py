"""Elections: who campaigns, who gets a vote, who leads (paper, sections 5.2 and 5.4.1).

With PreVote a member asks first whether it could win (dissertation, section 9.6), so that one that
was cut off does not come back with a term that deposes the leader. With CheckQuorum a member that
hears from a leader ignores whoever wants its vote (section 4.2.3), unless that leader asked for the
election itself (section 3.10). A vote of one's own counts when it is durable.
"""

from __future__ import annotations

from typing import Final

from trioetcd.raft.entry import Role
from trioetcd.raft.messages import (
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from trioetcd.raft.quorum import VoteOutcome, joint_vote_outcome
from trioetcd.raft.replication import begin_leading
from trioetcd.raft.state import NOBODY, State
from trioetcd.values import Term

__all__ = [
    "ask_the_silent",
    "campaign",
    "count_own_vote",
    "disturbs",
    "may_campaign",
    "on_pre_vote",
    "on_pre_vote_reply",
    "on_request_vote",
    "on_request_vote_reply",
    "on_timeout_now",
]

_COURTESY_TICKS: Final = 2
"""So long who has just said yes does not ask itself: the other needs two rounds and a sync."""


def may_campaign(state: State) -> bool:
    """Say whether this member may stand for election.

    Learners and members that were removed may not. Nor may one that has committed a membership
    change and not applied it: it does not know whose votes it needs.
    """
    if state.me not in state.conf_state.voting:
        return False
    return not any(map(state.config.is_conf_change, state.log.unapplied()))


def campaign(state: State, *, transfer: bool) -> None:
    """Begin an election, or ask first whether it could be won."""
    if not may_campaign(state):
        return
    if state.config.pre_vote and not transfer and not state.sole_voter:
        _ask(state)
    else:
        _stand(state, transfer=transfer)


def _ask(state: State) -> None:
    """Ask for votes in the next term without beginning it (dissertation, section 9.6)."""
    state.forget()
    state.role = Role.PRE_CANDIDATE
    # Nothing is promised by this, so it counts without the disk.
    state.votes[state.me] = True
    ask_the_silent(state)
    _count(state)


def ask_the_silent(state: State) -> None:
    """Ask those for a PreVote who have not said yes or no.

    With every tick again (section 5.1): who heard from the leader a moment later than this member
    ignored it the first time, because for one tick more it took the leader for alive.
    """
    log = state.log
    term = Term(state.term + 1)
    for peer in state.conf_state.voting:
        if peer not in state.votes:
            # The question reveals no term, so it does not wait for the disk.
            state.outbox.append(PreVote(peer, state.me, term, log.last, log.last_term))


def _stand(state: State, *, transfer: bool) -> None:
    """Become a candidate of the next term and vote for oneself (section 5.2)."""
    state.forget()
    state.term = Term(state.term + 1)
    state.vote = state.me
    state.role = Role.CANDIDATE
    log = state.log
    for peer in state.conf_state.voting:
        if peer != state.me:
            state.send(RequestVote(peer, state.me, state.term, log.last, log.last_term, transfer))


def count_own_vote(state: State) -> None:
    """Count this candidate's vote for itself, which has become durable."""
    state.votes[state.me] = True
    _count(state)


def _count(state: State) -> None:
    """Go on to what the votes decide."""
    outcome = joint_vote_outcome(state.conf_state, state.votes)
    if outcome is VoteOutcome.PENDING:
        return
    if outcome is VoteOutcome.LOST:
        state.follow(state.term, NOBODY)
    elif state.role == Role.PRE_CANDIDATE:
        _stand(state, transfer=False)
    else:
        begin_leading(state)


def disturbs(state: State, message: PreVote | RequestVote) -> bool:
    """Say whether a vote is asked for while a leader is there (dissertation, section 4.2.3)."""
    if not state.config.check_quorum or state.leader == NOBODY:
        return False
    if isinstance(message, RequestVote) and message.transfer:
        return False
    return state.elapsed < state.config.election_ticks


def _electable(state: State, message: PreVote | RequestVote) -> bool:
    """Say whether the asker's log holds all that may be committed (section 5.4.1)."""
    return state.log.covers(message.last_index, message.last_term)


def _goes_before(state: State, message: PreVote) -> bool:
    """Say whether this member asks too, with a log as good and a greater number.

    Until the sender has answered: whoever is reached both ways soon has, and one that reaches too
    few must not keep out one that would reach enough.
    """
    log = state.log
    equal = (message.last_term, message.last_index) == (log.last_term, log.last)
    asks = state.role == Role.PRE_CANDIDATE and message.sender not in state.votes
    return asks and equal and state.me > message.sender


def _misses_leader(state: State) -> bool:
    """Say whether this member asks already, or has heard of no leader for a timeout."""
    if state.role == Role.FOLLOWER:
        return state.elapsed >= state.config.election_ticks
    return state.role == Role.PRE_CANDIDATE


def on_pre_vote(state: State, message: PreVote) -> None:
    """Say whether the sender would get this vote.

    Two that ask at once would tell each other yes, and then vote each for itself; so who asks
    refuses those that it goes before. And who goes before the sender asks soon itself, again if
    need be: its own patience would only lengthen the time without a leader.
    """
    free = message.term > state.term or (
        message.term == state.term
        and (state.vote == message.sender or (state.vote == NOBODY and state.leader == NOBODY))
    )
    before = not _electable(state, message) or _goes_before(state, message)
    if free and before and _misses_leader(state):
        state.elapsed = state.patience
    if free and not before:
        _let_go_first(state)
        state.outbox.append(PreVoteReply(message.sender, state.me, message.term, granted=True))
    else:
        state.send(PreVoteReply(message.sender, state.me, state.term, granted=False))


def _let_go_first(state: State) -> None:
    """Let somebody try who was told yes: asking right afterwards would split the votes.

    Up to a limit: one whose questions arrive and who hears no answer asks for ever.
    """
    limit = 2 * state.config.election_ticks
    state.patience = max(state.patience, min(state.elapsed + _COURTESY_TICKS, limit))


def on_request_vote(state: State, message: RequestVote) -> None:
    """Vote for one candidate of this term at most: the first whose log will do (section 5.2)."""
    free = state.vote == message.sender or (state.vote == NOBODY and state.leader == NOBODY)
    granted = free and _electable(state, message)
    if granted:
        state.vote = message.sender
        state.elapsed = 0
    state.send(RequestVoteReply(message.sender, state.me, state.term, granted))


def on_pre_vote_reply(state: State, message: PreVoteReply) -> None:
    """Count an answer to the question asked before campaigning."""
    if state.role != Role.PRE_CANDIDATE or message.term != state.term + message.granted:
        return
    state.votes.setdefault(message.sender, message.granted)
    _count(state)


def on_request_vote_reply(state: State, message: RequestVoteReply) -> None:
    """Count a vote, once the own one is durable: before that nobody has been asked."""
    if state.role != Role.CANDIDATE or state.me not in state.votes:
        return
    state.votes.setdefault(message.sender, message.granted)
    _count(state)


def on_timeout_now(state: State, message: TimeoutNow) -> None:
    """Campaign at once, because the leader wants this member to lead (dissertation, 3.10)."""
    if state.role == Role.FOLLOWER and message.sender == state.leader:
        campaign(state, transfer=True)
