"""What one member knows about its part in consensus, and the two things every topic does with it.

Elections, replication and reads are functions over this one object; `Raft` adds what the owner
calls. `State.send` is the only way out for a message that promises anything, and `State.follow` the
only way back to being a follower.
"""

from __future__ import annotations

from trioetcd.ports import Entropy
from trioetcd.raft.config import RaftConfig
from trioetcd.raft.entry import ConfState, HardState, Role
from trioetcd.raft.log import Log
from trioetcd.raft.messages import Message
from trioetcd.raft.progress import Progress
from trioetcd.raft.read_index import ReadRounds
from trioetcd.values import Index, MemberID, Term

__all__ = ["NOBODY", "State"]

NOBODY = MemberID(0)


class State:
    """One member.

    Attributes:
        config, log, conf_state: settings; entries; who takes part.
        me: this member.
        sole_voter: whether this member is a majority by itself.
        term, vote: the current term, and for whom this member voted in it (figure 2).
        role, leader: see `Role`; the leader of the term, 0 if none is known.
        term_start: the index of the empty entry this leader began with; 0 for others.
        transferee: to whom leadership is being transferred; 0 for nobody.
        durable: term and vote as they are on the disk.
        writing: term and vote as they are in the batch in flight.
        writing_commit: how far commits were known in the batch that was cut last.
        votes: who granted and who refused, in a campaign or before one.
        progress: the other members, as a leader sees them.
        match: how far members, this one too, are known to agree durably with the leader.
        pending_conf_index: no membership change is accepted before this index is applied.
        accepted: up to where this follower's log agrees with its leader's.
        acknowledged: how much of that the leader has been told, because it is durable.
        reads: linearizable reads on their way.
        elapsed: ticks since a leader was heard of, or since a leader last counted its quorum.
        patience: how many ticks without a leader this member waits.
        transfer_elapsed: ticks since the transfer began.
        outbox: messages that may leave.
        snapshots: members that wait for a snapshot.
        farewells: members that were removed, and how far was committed then; a leader tells them
            once it will not forget that itself.
        held: messages that may not leave yet, with the index they need durable; all of them need
            term and vote durable.
    """

    def __init__(
        self,
        *,
        config: RaftConfig,
        log: Log,
        hard_state: HardState,
        conf_state: ConfState,
        entropy: Entropy,
    ) -> None:
        assert hard_state.commit == log.commit
        assert hard_state.term >= log.last_term, "the log is from a term never entered"
        self.config = config
        self.log = log
        self.me = config.member_id
        self.configure(conf_state)
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader = NOBODY
        self.term_start = Index(0)
        self.transferee = NOBODY
        self.durable = (self.term, self.vote)
        self.writing = self.durable
        self.writing_commit = log.commit
        self.votes: dict[MemberID, bool] = {}
        self.progress: dict[MemberID, Progress] = {}
        self.match: dict[MemberID, Index] = {}
        self.pending_conf_index = Index(0)
        self.accepted = Index(0)
        self.acknowledged = Index(0)
        self.reads = ReadRounds()
        self.elapsed = 0
        self.transfer_elapsed = 0
        self.outbox: list[Message] = []
        self.snapshots: list[MemberID] = []
        self.farewells: list[tuple[MemberID, Index]] = []
        self.held: list[tuple[int, Message]] = []
        self._entropy = entropy
        self.patience = self.draw_patience()

    def configure(self, conf_state: ConfState) -> None:
        """Take part as `conf_state` says."""
        self.conf_state = conf_state
        self.sole_voter = conf_state.voters == (self.me,) and not conf_state.joint

    def draw_patience(self) -> int:
        """Draw an election timeout, so that candidates rarely collide (section 5.2).

        From half the range that the paper names: courtesy keeps votes from being split here
        (docs/adr/0014), and a longer range would only lengthen the time without a leader.
        """
        ticks = self.config.election_ticks
        return ticks + (self._entropy.bits(32) * (ticks // 2 + 1) >> 32)

    def send(self, message: Message, index: int = 0) -> None:
        """Let a message leave as soon as what it promises is durable.

        A message speaks for its sender's term and vote, which must be on the disk before anybody
        hears of them (figure 2), and for the log up to `index`. `release` does the rest.
        """
        if self.durable == (self.term, self.vote) and index <= self.log.stable:
            self.outbox.append(message)
        else:
            self.held.append((index, message))

    def release(self) -> None:
        """Let go what has become durable, in order; forget what is of an older term.

        To be called when term and vote are durable.
        """
        held = self.held
        self.held = []
        for index, message in held:
            if message.term == self.term:
                self.send(message, index)

    def follow(self, term: Term, leader: MemberID) -> None:
        """Be a follower in `term`, the current one or a later one (section 5.1).

        All that belonged to another role, or to an older term, is dropped.
        """
        assert term >= self.term, "terms never go back"
        if term > self.term:
            self.term = term
            self.vote = NOBODY
        self.role = Role.FOLLOWER
        self.forget()
        self.leader = leader

    def forget(self) -> None:
        """Drop what belonged to the role or term so far; time begins anew."""
        self.leader = NOBODY
        self.elapsed = 0
        self.patience = self.draw_patience()
        self.term_start = Index(0)
        self.transferee = NOBODY
        self.votes = {}
        self.progress = {}
        self.match = {}
        self.snapshots = []
        self.farewells = []
        self.accepted = self.acknowledged = Index(0)
        self.reads.drop()
