"""Replication: the leader's log goes to everybody else (paper, section 5.3).

The leader sends to each member what is new, once per turn and not once per proposal, and without
waiting for answers or for its own disk; it counts itself like any other voter, when its own batch
is durable. It commits what a majority holds, if that is of its own term (section 5.4.2).

A follower takes what follows an entry on which both logs agree, and acknowledges it when it is
durable.
"""

from __future__ import annotations

from trioetcd.raft.entry import Role
from trioetcd.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshotReply,
    Message,
    TimeoutNow,
    in_order,
)
from trioetcd.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from trioetcd.raft.quorum import VoteOutcome, joint_committed_index, joint_vote_outcome
from trioetcd.raft.state import NOBODY, State
from trioetcd.values import Index, MemberID, Term

__all__ = [
    "acknowledge_durable",
    "begin_leading",
    "broadcast_heartbeat",
    "commit",
    "hand_over",
    "hears_quorum",
    "is_old_news",
    "on_append_entries",
    "on_append_entries_reply",
    "on_heartbeat",
    "on_heartbeat_reply",
    "on_install_snapshot_reply",
    "on_offer",
    "part",
    "say_farewell",
    "send_new",
    "track_members",
]


# -- the leader ------------------------------------------------------------------------------


def begin_leading(state: State) -> None:
    """Lead this term, beginning with an empty entry of its own (section 8)."""
    state.forget()
    state.role = Role.LEADER
    state.leader = state.me
    log = state.log
    state.match[state.me] = log.stable
    # Any entry may be a membership change that is not applied: wait for all of them.
    state.pending_conf_index = log.last
    track_members(state)
    state.term_start = log.append(state.term, [b""])


def track_members(state: State) -> None:
    """Follow the configuration: begin with members that are new, forget those that are gone."""
    members = state.conf_state.members
    following = Index(state.log.last + 1)
    for peer in members:
        if peer != state.me and peer not in state.progress:
            state.progress[peer] = Progress(following)
            state.match[peer] = Index(0)
    for peer in [peer for peer in state.progress if peer not in members]:
        del state.progress[peer]
        del state.match[peer]


def part(state: State) -> None:
    """Remember to tell the members that have just been removed so."""
    commit_index = state.log.commit
    for peer in state.progress:
        if peer not in state.conf_state.members:
            state.farewells.append((peer, commit_index))


def say_farewell(state: State) -> None:
    """Tell removed members how far is committed, once that is durable here.

    Not before: whoever hears that it was removed ends. If this leader then forgot that the removal
    was committed, it would need the vote of the one that has gone, which of two is a majority.
    The entry itself has been sent; whether it has arrived is for the receiver to see.
    """
    log = state.log
    left = []
    for peer, index in state.farewells:
        if index > state.writing_commit:
            left.append((peer, index))
        elif index >= log.first - 1:
            state.outbox.append(
                AppendEntries(peer, state.me, state.term, index, log.term(index), index, ())
            )
    state.farewells = left


def send_new(state: State, peer: MemberID, progress: Progress) -> None:
    """Send one member what it does not have yet: one message at most, which the next one follows.

    Without anything new a message still goes if the member has not heard how far the leader has
    committed, or if it is due for another reason.
    """
    if progress.paused or progress.state == SNAPSHOT:
        return
    log = state.log
    following = progress.next
    new = following <= log.last
    if new and following > log.writing > log.stable and not progress.due:
        return  # what is in no batch yet leaves with the next one; by then there is more of it
    if new and progress.state == REPLICATE:
        new = len(progress.inflight) < state.config.inflight_max
    may_commit = min(log.commit, Index(following - 1))
    if not (new or progress.due or may_commit > progress.commit_sent):
        return
    if following < log.first:
        # It cannot be brought up to date from the log; one that is not there is not bothered.
        if progress.active:
            progress.install(log.applied)
            state.snapshots.append(peer)
        return
    prev = Index(following - 1)
    groups = log.slice(following, state.config.append_bytes_max) if new else ()
    state.outbox.append(
        AppendEntries(peer, state.me, state.term, prev, log.term(prev), log.commit, tuple(groups))
    )
    progress.due = False
    if progress.state == PROBE:
        progress.paused = True
        return
    if groups:
        last = groups[-1].last
        progress.inflight.append(last)
        progress.next = Index(last + 1)
    progress.commit_sent = min(log.commit, Index(progress.next - 1))


def broadcast_heartbeat(state: State) -> None:
    """Tell everybody who leads, and which read round is the latest (section 5.2)."""
    commit_index = state.log.commit
    number = state.reads.number
    for peer in state.progress:
        known = min(state.match[peer], commit_index)
        state.outbox.append(Heartbeat(peer, state.me, state.term, known, number))


def hears_quorum(state: State) -> bool:
    """Say whether a majority has answered since this was last asked (dissertation, 6.2)."""
    heard = {state.me: True}
    for peer, progress in state.progress.items():
        heard[peer] = progress.active
        progress.active = False
    return joint_vote_outcome(state.conf_state, heard) is VoteOutcome.WON


def commit(state: State) -> None:
    """Commit what a majority holds, if it is of this term (section 5.4.2, figure 8)."""
    index = joint_committed_index(state.conf_state, state.match)
    if index >= state.term_start:
        state.log.commit_to(index)


def _acknowledge(state: State, peer: MemberID, progress: Progress, index: Index) -> None:
    """Take in that the log of `peer` agrees up to `index`, durably."""
    known = state.match[peer]
    if index > known:
        state.match[peer] = index
    elif index < known or progress.state == REPLICATE:
        return
    if progress.state == REPLICATE:
        progress.acknowledged(index)
        progress.next = max(progress.next, Index(index + 1))
    elif progress.state == PROBE or index + 1 >= state.log.first:
        progress.replicate(index)
    if index > state.log.commit:
        commit(state)
    hand_over(state)


def is_old_news(state: State, message: Message) -> bool:
    """Say whether an answer could wait: it moves no commit index, and lets nothing be sent."""
    if type(message) is not AppendEntriesReply or state.role != Role.LEADER:
        return False
    progress = state.progress.get(message.sender)
    log = state.log
    return (
        progress is not None
        and progress.state == REPLICATE
        and message.term == state.term
        and not message.rejected
        and message.index <= log.commit
        and progress.next > log.last
        and state.transferee == NOBODY
    )


def hand_over(state: State) -> None:
    """Let the transferee campaign as soon as its log is whole (dissertation, section 3.10)."""
    to = state.transferee
    if to != NOBODY and state.match[to] == state.log.last:
        state.outbox.append(TimeoutNow(to, state.me, state.term))


def on_append_entries_reply(state: State, message: AppendEntriesReply) -> None:
    """Note how far a follower has come, or go back to where the logs may agree (5.3)."""
    progress = state.progress.get(message.sender)
    if state.role != Role.LEADER or progress is None or message.index > state.log.last:
        return
    progress.active = True
    if not message.rejected:
        _acknowledge(state, message.sender, progress, message.index)
        return
    known = state.match[message.sender]
    if progress.state == REPLICATE:
        # Only what was sent after the last acknowledgement can have been refused.
        if message.index > known:
            progress.probe(known + 1)
    elif progress.state == PROBE and message.index == progress.next - 1:
        agreed = message.hint_index
        if agreed >= state.log.first:
            agreed = state.log.agreement(agreed, message.hint_term)
        progress.probe(max(min(message.index, Index(agreed + 1)), Index(known + 1)))


def on_heartbeat_reply(state: State, message: HeartbeatReply) -> None:
    """Note that a follower is there; one that lags hears from the log again."""
    progress = state.progress.get(message.sender)
    if state.role != Role.LEADER or progress is None or message.round > state.reads.number:
        return
    progress.active = True
    progress.round = max(progress.round, message.round)
    progress.paused = False
    if state.match[message.sender] < state.log.last:
        # Whatever is under way may have been lost, and nobody would notice.
        progress.due = True


def on_install_snapshot_reply(state: State, message: InstallSnapshotReply) -> None:
    """Go on with entries behind the snapshot that a member has installed (section 7)."""
    progress = state.progress.get(message.sender)
    if state.role != Role.LEADER or progress is None or message.index > state.log.last:
        return
    progress.active = True
    if not message.rejected:
        _acknowledge(state, message.sender, progress, message.index)
    elif progress.state == SNAPSHOT:
        progress.probe(state.match[message.sender] + 1)
        progress.paused = True


# -- the follower ----------------------------------------------------------------------------


def _hear(state: State, leader: MemberID) -> bool:
    """Take in that `leader` leads this term; False if that cannot be."""
    if state.leader == NOBODY:
        state.follow(state.term, leader)
    elif state.leader != leader:
        return False
    state.elapsed = 0
    return True


def on_heartbeat(state: State, message: Heartbeat) -> None:
    """Follow the sender; commit what it says (section 5.2)."""
    if not _hear(state, message.sender):
        return
    if message.commit <= state.log.last:
        state.log.commit_to(message.commit)
    state.send(HeartbeatReply(message.sender, state.me, state.term, message.round))


def on_append_entries(state: State, message: AppendEntries) -> None:
    """Take entries, if the log agrees with the leader's just before them (section 5.3)."""
    if not _hear(state, message.sender) or not in_order(message):
        return
    log = state.log
    prev, groups = message.prev_index, message.groups
    if prev < log.commit:
        # What is committed is in the leader's log too, and need not be looked at.
        prev = log.commit
        groups = tuple(
            group.starting(max(group.first, prev + 1)) for group in groups if group.last > prev
        )
        if groups and groups[0].term < log.term(prev):
            return
    elif not log.matches(prev, message.prev_term):
        hint = log.agreement(prev, message.prev_term)
        state.send(
            AppendEntriesReply(state.leader, state.me, state.term, prev, True, hint, log.term(hint))
        )
        return
    last = log.append_groups(prev, groups)
    moved = log.commit_to(min(message.commit, last))
    if moved and not groups and last <= state.acknowledged:
        # The leader only told how far it has committed, and has been told of everything else. If
        # it has not heard that, it asks again, without any news, and that is answered.
        return
    _accept(state, last)


def _accept(state: State, index: Index) -> None:
    """Acknowledge that the log agrees up to `index`: now, or as soon as it is durable."""
    state.accepted = max(state.accepted, index)
    if index <= state.log.stable:
        acknowledge_durable(state)


def acknowledge_durable(state: State) -> None:
    """Tell the leader how much of what was accepted is durable."""
    index = state.acknowledged = min(state.accepted, state.log.stable)
    state.send(
        AppendEntriesReply(state.leader, state.me, state.term, index, False, Index(0), Term(0)),
        index,
    )


def on_offer(state: State, leader: MemberID, index: Index, term: Term) -> bool:
    """Say whether a snapshot that ends with the entry at `index`, of `term`, is of use (7)."""
    if term > state.term or not _hear(state, leader):
        return False
    log = state.log
    if index > log.commit:
        if not log.matches(index, term):
            return True
        # The log holds all that the snapshot does, and perhaps more: it stays as it is.
        log.commit_to(index)
    state.send(
        InstallSnapshotReply(leader, state.me, state.term, log.commit, rejected=False), log.commit
    )
    return False
