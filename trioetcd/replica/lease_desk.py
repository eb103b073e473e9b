"""Questions about the time that is left to leases: only a leader knows it, and who follows asks it.

A leader answers once others have confirmed, after the question came, that it leads; so a leader
that was deposed without knowing it promises no time that its successor does not give. Whoever asks
goes on asking, of whoever leads, until it is answered or time is up: to ask twice does no harm.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, cast

from trioetcd.errors import NO_LEADER, TIMEOUT, TOO_MANY_REQUESTS, ErrorRow, EtcdError
from trioetcd.lease import Lessor
from trioetcd.questions import LeaseAnswer, LeaseQuestion, Question
from trioetcd.raft import Raft, Role
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.inputs import LeaseAsked, Ticket
from trioetcd.replica.lease_keeper import Append
from trioetcd.replica.outputs import Outputs, Resolved
from trioetcd.replica.reads import Reads
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.values import Index, MemberID, Term

__all__ = ["ASKED_MAX", "RETRY_SECONDS", "LeaseDesk"]

ASKED_MAX: Final = 1024
"""Questions under way to the leader at a time; the others wait for their turn. A quarter of what
waits for a connection, beside heartbeats and votes."""

WAITING_MAX: Final = 20_000
"""Questions of clients, or of other members, that wait here."""

RETRY_SECONDS: Final = 0.5
"""A question without an answer for so long is asked again, as reads are."""

_BITS: Final = 64


class _Waiting(NamedTuple):
    ticket: Ticket
    lease: int
    renew: bool
    until: float


class _Confirming(NamedTuple):
    """Stands among the tickets of reads until others have confirmed who leads.

    Attributes:
        member: who asks; this member for a client of its own.
        context: the number of the question there.
        lease: the lease, with its sign.
        renew: whether to renew it.
    """

    member: MemberID
    context: int
    lease: int
    renew: bool


class LeaseDesk:
    """Asks and answers.

    Attributes:
        messages: what other members are to be told now.
        busy: whether `go_on` and `collect` may have anything to do.

    Args:
        raft: who leads.
        lessor: knows the leases, and on a leader their ends.
        reads: confirms who leads.
        append: takes a leader's own entries.
        config: says after how many seconds a client is told that it waited in vain.
    """

    def __init__(
        self, raft: Raft, lessor: Lessor, reads: Reads, append: Append, config: ReplicaConfig
    ) -> None:
        self.messages: list[Question] = []
        self.busy = False
        self._raft = raft
        self._lessor = lessor
        self._reads = reads
        self._append = append
        self._timeout = config.request_seconds
        self._count = 0
        self._waiting: dict[int, _Waiting] = {}
        self._line: deque[int] = deque()
        self._asked: dict[int, float] = {}
        self._whom = (raft.leader, raft.term)
        self._confirming = 0
        # Confirmed, and to be answered when a checkpoint has been taken back.
        self._checkpointed: list[_Confirming] = []
        self._taken_back: deque[tuple[Term, Index, list[_Confirming]]] = deque()
        self._told: list[tuple[Ticket, int | None]] = []

    # -- who asks ----------------------------------------------------------------------------

    def ask(
        self, asked: LeaseAsked, now: float, refusal: ErrorRow | None, outputs: Outputs
    ) -> None:
        """Take a client's question, unless it is to be refused."""
        if refusal is None and len(self._waiting) >= WAITING_MAX:
            refusal = TOO_MANY_REQUESTS
        if refusal is not None:
            outputs.resolved.append((asked.ticket, EtcdError(refusal)))
            return
        self.busy = True
        self._count += 1
        until = now + self._timeout
        self._waiting[self._count] = _Waiting(asked.ticket, asked.lease, asked.renew, until)
        self._line.append(self._count)

    def go_on(self, now: float) -> None:
        """Ask whoever leads what has not been asked of it."""
        raft = self._raft
        if self._whom != (raft.leader, raft.term):
            self._whom = (raft.leader, raft.term)
            self._ask_again()
        if not raft.leader:
            return
        line = self._line
        while line and len(self._asked) < ASKED_MAX:
            context = line.popleft()
            waiting = self._waiting.get(context)
            if waiting is None:
                continue
            self._asked[context] = now
            if raft.role == Role.LEADER:
                self._confirm(_Confirming(raft.me, context, waiting.lease, waiting.renew), now)
                continue
            # The term is only told; one that is not durable must not be.
            term, _ = raft.durable
            lease = waiting.lease % (1 << _BITS)
            self.messages.append(
                LeaseQuestion(raft.leader, raft.me, term, context, lease, waiting.renew)
            )

    def _ask_again(self, before: float | None = None) -> None:
        """Put back into line what was asked before then, or all of it."""
        again = [context for context, at in self._asked.items() if before is None or at <= before]
        for context in again:
            del self._asked[context]
        self._line.extendleft(reversed(again))

    def expire(self, now: float, outputs: Outputs) -> None:
        """Give up on questions that have waited for too long; ask the others again.

        To be called when reads have been given up: who leads was told there what it waited for.
        """
        self._take_failed(outputs)
        if self._raft.role != Role.LEADER:
            self._ask_again(now - RETRY_SECONDS)
        row = TIMEOUT if self._raft.leader else NO_LEADER
        waiting = self._waiting
        while waiting and (oldest := next(iter(waiting.items())))[1].until <= now:
            self._forget(oldest[0])
            outputs.resolved.append((oldest[1].ticket, EtcdError(row)))

    def fail(self, row: ErrorRow, outputs: Outputs) -> None:
        """Give up on all questions of clients, with one reason."""
        outputs.resolved.extend((each.ticket, EtcdError(row)) for each in self._waiting.values())
        self._waiting.clear()
        self._asked.clear()
        self._line.clear()

    def _forget(self, context: int) -> _Waiting | None:
        self._asked.pop(context, None)
        return self._waiting.pop(context, None)

    # -- who is asked ------------------------------------------------------------------------

    def receive(self, message: Question, now: float) -> None:
        """Take what another member asks or answers."""
        if isinstance(message, LeaseAnswer):
            self._answered(message.context, message.seconds if message.known else None)
        elif self._raft.role == Role.LEADER and self._confirming < WAITING_MAX:
            _, member, _, context, lease, renew = message
            lease -= lease >> _BITS - 1 << _BITS
            self._confirm(_Confirming(member, context, lease, renew), now)

    def _confirm(self, confirming: _Confirming, now: float) -> None:
        self.busy = True
        self._confirming += 1
        self._reads.add([confirming], now)

    def _answered(self, context: int, seconds: int | None) -> None:
        waiting = self._forget(context)
        if waiting is not None:
            self.busy = True
            self._told.append((waiting.ticket, seconds))

    def collect(self, outputs: Outputs, now: float) -> None:
        """Take out of `outputs` what was confirmed for this desk, and answer it."""
        raft = self._raft
        if self._confirming:
            self._take_failed(outputs)
            readable, outputs.readable = outputs.readable, []
            for ticket in readable:
                if self._takes_back(ticket):
                    assert isinstance(ticket, _Confirming)
                    self._answer(ticket, now)
                else:
                    outputs.readable.append(ticket)
        taken_back = self._taken_back
        # What an earlier term left may have been voided, and then it is never applied.
        while taken_back and (
            taken_back[0][0] != raft.term or taken_back[0][1] <= raft.log.applied
        ):
            term, _, confirmed = taken_back.popleft()
            if term == raft.term:
                for each in confirmed:
                    self._answer(each, now)
        if self._checkpointed:
            self._take_back(outputs)
        if self._told:
            outputs.leases, self._told = self._told, []
        self.busy = bool(self._waiting or self._confirming or taken_back)

    def _take_failed(self, outputs: Outputs) -> None:
        """Take out of `outputs` what could not be confirmed, and tell this member's clients why.

        Other members are told nothing: they ask again.
        """
        if not self._confirming:
            return
        resolved: list[Resolved] = []
        for ticket, outcome in outputs.resolved:
            if not self._takes_back(ticket):
                resolved.append((ticket, outcome))
            elif not (isinstance(outcome, EtcdError) and outcome.row is TIMEOUT):
                confirming = cast("_Confirming", ticket)
                mine = confirming.member == self._raft.me
                waiting = self._forget(confirming.context) if mine else None
                if waiting is not None:
                    resolved.append((waiting.ticket, outcome))
        outputs.resolved = resolved

    def _take_back(self, outputs: Outputs) -> None:
        """Let the log say that leases which are to be renewed have their full time again."""
        confirmed, self._checkpointed = self._checkpointed, []
        request = messages.LeaseCheckpointRequest()
        for lease in dict.fromkeys(each.lease for each in confirmed):
            request.checkpoints.add(ID=lease)
        raft = self._raft
        if self._append(CommandKind.LEASE_CHECKPOINT, [request.SerializeToString()]):
            self._taken_back.append((raft.term, raft.log.last, confirmed))
            outputs.more = True  # the batch of this step has been cut
            return
        # Leadership moves: own questions go to whoever leads next, others' members ask again.
        for each in confirmed:
            if each.member == raft.me and self._asked.pop(each.context, None) is not None:
                self._line.append(each.context)

    def _takes_back(self, ticket: Ticket) -> bool:
        mine = isinstance(ticket, _Confirming)
        self._confirming -= mine
        return mine

    def _answer(self, confirmed: _Confirming, now: float) -> None:
        """Answer a question; not at all if this member leads no more, so that another is asked."""
        if not self._lessor.primary:
            return
        member, context, lease, renew = confirmed
        if renew and self._lessor.is_checkpointed(lease):
            self._checkpointed.append(confirmed)
            return
        seconds = self._seconds(lease, now, renew=renew)
        raft = self._raft
        if member == raft.me:
            self._answered(context, seconds)
            return
        term, _ = raft.durable
        known = seconds is not None
        self.messages.append(LeaseAnswer(member, raft.me, term, context, known, seconds or 0))

    def _seconds(self, lease: int, now: float, *, renew: bool) -> int | None:
        if renew:
            try:
                return self._lessor.renew(lease, now)
            except EtcdError:
                return None
        found = self._lessor.time_to_live(lease, now)
        # One that is over waits to be revoked: it is not renewed, and has no time to tell of.
        return int(found[1]) if found is not None and found[1] > 0 else None
