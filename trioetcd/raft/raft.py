"""One member's part in consensus: the term rule, elections, the leader's commit rule.

Paper: "In Search of an Understandable Consensus Algorithm (Extended Version)", sections 5 and 8.
Nothing here persists, sends or applies: all of that is asked for through `Ready`.

A member counts itself like any other voter, and only when what it says is durable: its own vote
when term and vote are (section 5.2), its own match index when the entries are (section 5.3).
"""

from __future__ import annotations

from trioetcd.ports import Entropy
from trioetcd.raft.config import RaftConfig
from trioetcd.raft.entry import ConfState, HardState, Role
from trioetcd.raft.log import Log
from trioetcd.raft.quorum import VoteOutcome, committed_index, vote_outcome
from trioetcd.raft.read_index import sole_voter_read_index
from trioetcd.raft.ready import Ready
from trioetcd.values import Index, MemberID, Term

__all__ = ["Raft"]

_NOBODY = MemberID(0)


class Raft:
    """Consensus as a value machine: see the package's docstring for the order of calls.

    Args:
        config: settings.
        log: the log as recovered.
        hard_state: the hard state as recovered.
        conf_state: who votes.
        entropy: for election timeouts.
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
        self.conf_state = conf_state
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader = _NOBODY
        self.term_start = Index(0)
        """The index of the empty entry this leader began with; 0 for others."""
        self._entropy = entropy
        self._durable = (self.term, self.vote)
        self._writing = self._durable
        self._votes: dict[MemberID, bool] = {}
        self._match: dict[MemberID, Index] = {}
        self._elapsed = 0
        self._patience = self._draw_patience()

    # -- what time and callers bring ---------------------------------------------------------

    def tick(self) -> None:
        """Let one tick pass; a member without a leader campaigns when its patience ends."""
        if self.role == Role.LEADER:
            return
        self._elapsed += 1
        if self._elapsed >= self._patience:
            self.campaign()

    def campaign(self) -> None:
        """Become a candidate of the next term and vote for oneself (section 5.2).

        The vote is counted when it is durable, in `persisted`.
        """
        assert self.role != Role.LEADER, "a leader does not campaign"
        if self.config.member_id not in self.conf_state.voters:
            return
        self.term = Term(self.term + 1)
        self.vote = self.config.member_id
        self.role = Role.CANDIDATE
        self.leader = _NOBODY
        self._votes = {}
        self._elapsed = 0
        self._patience = self._draw_patience()

    def propose(self, datas: list[bytes]) -> Index | None:
        """Append entries to the leader's log; give the first index, or None if not leader."""
        if self.role != Role.LEADER:
            return None
        return self.log.append(self.term, datas)

    def read_index(self) -> Index | None:
        """Give the index a linearizable read must wait for; None while none may be promised."""
        if self.role != Role.LEADER:
            return None
        return sole_voter_read_index(self.log, self.term)

    # -- what the owner does for Raft --------------------------------------------------------

    def ready(self) -> Ready:
        """Say what there is to persist; to be asked when no batch is in flight."""
        groups = self.log.unstable(self.config.batch_bytes_max)
        return Ready(
            HardState(self.term, self.vote, self.log.commit),
            bool(groups) or (self.term, self.vote) != self._durable,
            groups,
        )

    def persist(self, ready: Ready) -> None:
        """Note that the batch asked for by `ready` is on its way to the disk."""
        if ready.groups:
            self.log.write(ready.groups[-1].last)
        self._writing = (ready.hard_state.term, ready.hard_state.vote)

    def persisted(self) -> None:
        """Note that the batch in flight is durable: now this member counts itself."""
        stable = self.log.persisted()
        self._durable = self._writing
        me = self.config.member_id
        if self._durable != (self.term, self.vote):
            return
        if self.role == Role.CANDIDATE and self.vote == me:
            self._votes[me] = True
            if vote_outcome(self.conf_state.voters, self._votes) is VoteOutcome.WON:
                self._become_leader()
        elif self.role == Role.LEADER:
            self._match[me] = stable
            self._commit()

    def committed(self) -> list[bytes]:
        """Give the next entries to apply: committed, and durable here."""
        return self.log.applicable(self.config.apply_entries_max)

    def advance(self, applied: Index) -> None:
        """Note that everything up to `applied` has been applied."""
        self.log.applied_to(applied)

    # -- inside ------------------------------------------------------------------------------

    def _become_leader(self) -> None:
        """Lead this term, beginning with an empty entry of its own (section 8)."""
        self.role = Role.LEADER
        self.leader = self.config.member_id
        self._match = {self.config.member_id: self.log.stable}
        self.term_start = self.log.append(self.term, [b""])

    def _commit(self) -> None:
        """Commit what a majority holds, if it is of this term (section 5.4.2, figure 8)."""
        index = committed_index(self.conf_state.voters, self._match)
        if index > self.log.commit and self.log.term(index) == self.term:
            self.log.commit_to(index)

    def _draw_patience(self) -> int:
        """Draw an election timeout, so that candidates rarely collide (section 5.2)."""
        ticks = self.config.election_ticks
        return ticks + (self._entropy.bits(32) * ticks >> 32)
