"""One member's part in consensus: what the owner calls, the term rule, who hears which message.

Paper: "In Search of an Understandable Consensus Algorithm (Extended Version)"; dissertation:
"Consensus: Bridging Theory and Practice". Nothing here persists, sends or applies: all of that is
asked for.

===================  ========================================  =====================
message              by whom it is heard                       where
===================  ========================================  =====================
PreVote              everybody                                 `election`
PreVoteReply         pre-candidate                             `election`
RequestVote          everybody                                 `election`
RequestVoteReply     candidate                                 `election`
TimeoutNow           follower, from its leader                 `election`
AppendEntries        all but the leader                        `replication`
AppendEntriesReply   leader                                    `replication`
Heartbeat            all but the leader                        `replication`
HeartbeatReply       leader                                    `replication`, here
InstallSnapshotReply leader                                    `replication`
Propose              leader                                    here
ReadIndex            leader                                    here
ReadIndexReply       follower                                  here
===================  ========================================  =====================
"""

from __future__ import annotations

from typing import Final, assert_never

from trioetcd.raft import election, replication
from trioetcd.raft.entry import ConfState, HardState, Role, portions
from trioetcd.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshotReply,
    Message,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from trioetcd.raft.progress import REPLICATE, SNAPSHOT
from trioetcd.raft.quorum import joint_committed_index
from trioetcd.raft.ready import Ready
from trioetcd.raft.state import NOBODY, State
from trioetcd.values import Index, MemberID, Term

__all__ = ["Raft"]

_TERM_MAX: Final = 1 << 63
"""No cluster gets to such a term; a message that says so is garbage, and would not fit a row."""


class Raft(State):
    """Consensus as a value machine: see the package's docstring for the order of calls.

    Owners read `term`, `vote`, `role`, `leader`, `conf_state`, `term_start`, `transferee` and
    `log`; everything else that `State` holds is consensus' own.

    Args:
        config: settings.
        log: the log as recovered.
        hard_state: the hard state as recovered.
        conf_state: who takes part, as of the last applied entry.
        entropy: for election timeouts.
    """

    # -- what time and callers bring ---------------------------------------------------------

    def tick(self) -> None:
        """Let one heartbeat interval pass.

        A leader sends heartbeats, and once per election timeout looks whether it still hears from
        a majority; everybody else campaigns when its patience ends.
        """
        self.elapsed += 1
        if self.role == Role.LEADER:
            self._lead_on()
        elif self.elapsed >= self.patience:
            if election.may_campaign(self):
                self.campaign()
            else:
                self.follow(self.term, NOBODY)
        elif self.role == Role.PRE_CANDIDATE:
            election.ask_the_silent(self)

    def _lead_on(self) -> None:
        ticks = self.config.election_ticks
        if self.transferee != NOBODY:
            self.transfer_elapsed += 1
            if self.transfer_elapsed >= ticks:
                self.transferee = NOBODY
        if self.elapsed >= ticks:
            self.elapsed = 0
            if not replication.hears_quorum(self) and self.config.check_quorum:
                self.resign()
                return
        replication.broadcast_heartbeat(self)

    def campaign(self, *, transfer: bool = False) -> None:
        """Stand for election; a sole voter and a transferee at once, others after a PreVote.

        Does nothing if this member may not (`election.may_campaign`). A vote of one's own is
        counted when it is durable, in `persisted`.
        """
        assert self.role != Role.LEADER, "a leader does not campaign"
        election.campaign(self, transfer=transfer)

    def propose(self, datas: list[bytes]) -> bool:
        """Append entries to the leader's log, here or over there.

        A membership change that may not be made now is replaced by what `RaftConfig.refused`
        gives, so that order and number of entries stay.

        Returns:
            Whether they are on their way; without a leader, and while leadership is being
            transferred, they are not.
        """
        if self.role == Role.LEADER:
            if self.transferee != NOBODY:
                return False
            if any(map(self.config.is_conf_change, datas)):
                datas = self._admit(datas)
            self.log.append(self.term, datas)
            return True
        if self.leader == NOBODY:
            return False
        for portion in portions(datas, self.config.append_bytes_max):
            self.send(Propose(self.leader, self.me, self.term, portion))
        return True

    def _admit(self, datas: list[bytes]) -> list[bytes]:
        """Let one membership change at a time pass (dissertation, section 4.1).

        And none before an entry of the leader's own term is committed: an earlier change might
        come to be committed without it, and the two majorities need not meet.
        """
        config, log = self.config, self.log
        admitted: list[bytes] = []
        for index, data in enumerate(datas, log.last + 1):
            if not config.is_conf_change(data):
                admitted.append(data)
            elif log.applied < self.pending_conf_index or log.commit < self.term_start:
                admitted.append(config.refused(data))
            else:
                self.pending_conf_index = Index(index)
                admitted.append(data)
        return admitted

    def transfer(self, to: MemberID) -> None:
        """Begin to hand leadership to another voter (dissertation, section 3.10).

        No proposal is taken meanwhile. Given up after an election timeout; `transferee` is 0
        then. Does nothing on a member that does not lead, or for one that does not vote.
        """
        if self.role != Role.LEADER or to not in self.progress or to == self.transferee:
            return
        if to not in self.conf_state.voters:
            return
        self.transferee = to
        self.transfer_elapsed = 0
        replication.hand_over(self)

    def resign(self) -> None:
        """Step down at once, in the same term: a leader whose disk hangs serves nobody."""
        self.follow(self.term, NOBODY)

    # -- reads -------------------------------------------------------------------------------

    def request_read(self, context: int) -> None:
        """Ask for the index a linearizable read must wait for (dissertation, section 6.4).

        `take_reads` gives it. Dropped when there is no leader, when role, term or leader change,
        or when a message is lost: the owner asks again, with a `context` never used before, not
        even before a restart.
        """
        if self.role == Role.LEADER:
            self.reads.gather(context, NOBODY)
        elif self.leader != NOBODY:
            self.reads.ask(context)
            self.send(ReadIndex(self.leader, self.me, self.term, context))

    def take_reads(self) -> list[tuple[int, Index]]:
        """Give ``(context, read index)`` of the reads that have been confirmed."""
        self._begin_round()
        confirmed, self.reads.confirmed = self.reads.confirmed, []
        return confirmed

    def read_index(self) -> Index | None:
        """Give a sole voter's read index, for which nobody need be asked; None for others.

        None too before an entry of the term is committed. Does not wait for the disk.
        """
        if self.role != Role.LEADER or not self.sole_voter:
            return None
        commit = self.log.commit
        return commit if commit >= self.term_start else None

    def _begin_round(self) -> None:
        """Begin a round if reads wait for one and the commit index may be promised."""
        if self.role == Role.LEADER and self.reads.waiting and self.log.commit >= self.term_start:
            self.reads.begin(self.log.commit)
            replication.broadcast_heartbeat(self)
            self._confirm_round()

    def _confirm_round(self) -> None:
        """Answer the round under way if a majority has acknowledged it."""
        reads = self.reads
        if not reads.under_way:
            return
        rounds = {peer: Index(progress.round) for peer, progress in self.progress.items()}
        rounds[self.me] = Index(reads.number)
        if joint_committed_index(self.conf_state, rounds) < reads.number:
            return
        index, asked = reads.confirm()
        for context, member in asked:
            if member == NOBODY:
                reads.confirmed.append((context, index))
            else:
                self.outbox.append(ReadIndexReply(member, self.me, self.term, context, index))

    # -- messages ----------------------------------------------------------------------------

    def is_old_news(self, message: Message) -> bool:
        """Say whether a message may be taken in with the next one: nobody waits for its effect.

        So it is with the last acknowledgement of what a majority has acknowledged before.
        """
        return replication.is_old_news(self, message)

    def step(self, message: Message) -> None:
        """Take in a message from another member; one that makes no sense is ignored."""
        if message.to != self.me or message.sender in {NOBODY, self.me}:
            return
        if message.term != self.term and not self._term_rule(message):
            return
        match message:
            case AppendEntries():
                replication.on_append_entries(self, message)
            case AppendEntriesReply():
                replication.on_append_entries_reply(self, message)
            case Heartbeat():
                replication.on_heartbeat(self, message)
            case HeartbeatReply():
                replication.on_heartbeat_reply(self, message)
                self._confirm_round()
            case Propose():
                if self.role == Role.LEADER and message.datas and all(message.datas):
                    self.propose(message.datas)
            case ReadIndex():
                if self.role == Role.LEADER:
                    self.reads.gather(message.context, message.sender)
            case ReadIndexReply():
                if message.sender == self.leader:
                    self.reads.answered(message.context, message.index)
            case PreVote():
                election.on_pre_vote(self, message)
            case PreVoteReply():
                election.on_pre_vote_reply(self, message)
            case RequestVote():
                election.on_request_vote(self, message)
            case RequestVoteReply():
                election.on_request_vote_reply(self, message)
            case TimeoutNow():
                election.on_timeout_now(self, message)
            case InstallSnapshotReply():
                replication.on_install_snapshot_reply(self, message)
            case _:
                assert_never(message)

    def _term_rule(self, message: Message) -> bool:
        """Bring this member's term and the message's together; say whether it is to be heard.

        Section 5.1: a later term makes a follower, an earlier one is not heard. A question that
        only precedes an election, and its good answer, change no term (dissertation, 9.6).
        """
        if message.term < self.term:
            return self._hear_stale(message)
        if message.term >= _TERM_MAX:
            return False
        match message:
            case PreVote():
                return not election.disturbs(self, message)
            case RequestVote() if election.disturbs(self, message):
                return False
            case PreVoteReply(granted=True):
                return True
            case AppendEntries() | Heartbeat():
                self.follow(message.term, message.sender)
            case _:
                self.follow(message.term, NOBODY)
        return True

    def _hear_stale(self, message: Message) -> bool:
        """Tell the sender of an older term about this one, where that helps.

        A leader of an older term must know, or a member that was cut off and came back with a
        later term could never rejoin: it ignores the leader, and PreVote and CheckQuorum keep it
        from deposing the leader by an election (dissertation, section 9.6).
        """
        match message:
            case PreVote():
                return True
            case RequestVote():
                self.send(RequestVoteReply(message.sender, self.me, self.term, granted=False))
            case AppendEntries() | Heartbeat() if self.config.check_quorum or self.config.pre_vote:
                self._refuse_leader(message.sender)
            case _:
                pass
        return False

    def _refuse_leader(self, sender: MemberID) -> None:
        self.send(AppendEntriesReply(sender, self.me, self.term, Index(0), True, Index(0), Term(0)))

    def take_messages(self) -> list[Message]:
        """Give all messages that may leave now, in order.

        What a message promises is durable when it is handed out. To be called when a batch of
        inputs has been taken in: what is new goes to each member in one message.
        """
        if self.role == Role.LEADER:
            self._begin_round()
            for peer, progress in self.progress.items():
                replication.send_new(self, peer, progress)
        outbox, self.outbox = self.outbox, []
        return outbox

    # -- snapshots ---------------------------------------------------------------------------

    def take_snapshots(self) -> list[MemberID]:
        """Give the members that a snapshot must be sent to now (section 7).

        Asked for after `take_messages`, which finds out. Each transfer ends with
        `report_snapshot`; until then nothing else is sent to that member but heartbeats.
        """
        peers, self.snapshots = self.snapshots, []
        return peers

    def report_snapshot(self, peer: MemberID, *, ok: bool) -> None:
        """Take in that the transfer of a snapshot to `peer` has ended, well or not.

        Entries go on when the member says that it has installed it, or when it has answered a
        heartbeat.
        """
        progress = self.progress.get(peer)
        if progress is None or progress.state != SNAPSHOT:
            return
        following = self.match[peer] + 1
        progress.probe(max(following, progress.snapshot + 1) if ok else following)
        progress.paused = True

    def report_unreachable(self, peer: MemberID) -> None:
        """Take in that the link to `peer` broke: what was under way to it may be lost."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state == REPLICATE:
            progress.probe(self.match[peer] + 1)

    def offered_snapshot(
        self, sender: MemberID, term: Term, index: Index, term_of_index: Term
    ) -> bool:
        """Say whether a snapshot that `sender`, leader of `term`, offers may be received.

        If it ends in what is here already, the leader is told, and the answer is no. A snapshot
        takes time: the owner asks again, of the same snapshot, before it cuts the batch that
        installs it, and takes in no message while that batch is in flight.
        """
        if not 0 < term < _TERM_MAX or sender in {NOBODY, self.me}:
            return False
        if term < self.term:
            self._refuse_leader(sender)
            return False
        if term > self.term:
            self.follow(term, sender)
        return replication.on_offer(self, sender, index, term_of_index)

    def restore(self, index: Index, term: Term, conf_state: ConfState) -> bool:
        """Take in that a snapshot that ends with the entry at `index`, of `term`, is installed.

        The log begins anew behind it, and the leader is told.

        Returns:
            False, with nothing changed, if as much is committed here already.
        """
        if index <= self.log.commit or self.role == Role.LEADER:
            return False
        assert term <= self.term, "the snapshot is of a term never entered"
        self.log.restore(index, term)
        self.configure(conf_state)
        self.accepted = self.acknowledged = Index(0)
        if self.leader != NOBODY:
            self.send(InstallSnapshotReply(self.leader, self.me, self.term, index, rejected=False))
        return True

    # -- what the owner does for Raft --------------------------------------------------------

    def ready(self) -> Ready:
        """Say what there is to persist; to be asked when no batch is in flight."""
        config, log = self.config, self.log
        groups = log.unstable(config.batch_bytes_max, config.append_bytes_max)
        term, vote = self.term, self.vote
        return Ready(
            HardState(term, vote, log.commit),
            bool(groups) or (term, vote) != self.durable,
            groups,
            log.truncated,
        )

    def persist(self, ready: Ready) -> None:
        """Note that the batch asked for by `ready` is on its way to the disk."""
        if ready.groups:
            self.log.write(ready.groups[-1].last)
        term, vote, commit = ready.hard_state
        self.writing = (term, vote)
        self.writing_commit = min(commit, self.log.writing)

    def persisted(self) -> None:
        """Note that the batch in flight is durable: now this member counts itself.

        And now what it promised may be said.
        """
        stable = self.log.persisted()
        self.durable = self.writing
        if self.durable != (self.term, self.vote):
            return
        if self.held:
            self.release()
        if self.role == Role.LEADER:
            self.match[self.me] = stable
            replication.commit(self)
            if self.farewells:
                replication.say_farewell(self)
        elif self.role == Role.CANDIDATE:
            election.count_own_vote(self)
        elif self.acknowledged < min(self.accepted, stable):
            replication.acknowledge_durable(self)

    def committed(self) -> list[bytes]:
        """Give the next entries to apply: committed, and durable here."""
        return self.log.applicable(self.config.apply_entries_max)

    def advance(self, applied: Index) -> None:
        """Note that everything up to `applied` has been applied."""
        self.log.applied_to(applied)

    def apply_conf_change(self, conf_state: ConfState) -> None:
        """Switch to another configuration: the entry that says so has been applied (section 6).

        A leader that does not vote any more steps down, after this entry was committed
        (dissertation, section 4.2.2). A lesser majority may commit more, or confirm reads.
        """
        self.configure(conf_state)
        if self.role != Role.LEADER:
            return
        if self.me not in conf_state.voting:
            # The others must hear that this is committed: two of them may need it to elect one.
            replication.broadcast_heartbeat(self)
            self.resign()
            return
        replication.part(self)
        replication.track_members(self)
        if self.transferee not in conf_state.voters:
            self.transferee = NOBODY
        replication.commit(self)
        self._confirm_round()
