"""Judges every answer the moment it is given: against the log, the model and all answers before.

* A command's answer is the one the model gives at its place in the log, it is there once, and it
  lies behind every command that was answered before it was asked for.
* A linearizable read shows the model's state at its revision, which is no older than anything
  anybody had been told before it was asked for. Any other read shows some committed state.
* A refused command is never carried out. A lease lives as long as was promised.
"""

from __future__ import annotations

from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.testing.linearizability import RevisionOrder
from trioetcd.testing.operation import KeepAlive, Operation, Propose, Read, Result, Status
from trioetcd.testing.truth import Truth
from trioetcd.testing.violation import require

__all__ = ["Answers"]

_SHARED = frozenset({CommandKind.COMPACT, CommandKind.LEASE_REVOKE})
"""Commands whose payload may stand in the log more than once."""

_CLOCK_MICROS = 2_000
"""What rounding may take from a lease."""


class Answers:
    """What clients have been told so far.

    Attributes:
        order: revisions against real time.
        results: how many results there were of each status.
        index: the greatest index of a command that was answered.

    Args:
        truth: the committed log.
        drift: by which factor the fastest clock runs ahead.
    """

    def __init__(self, truth: Truth, *, drift: float) -> None:
        self.order = RevisionOrder()
        self.results: dict[Status, int] = dict.fromkeys(Status, 0)
        self.index = 0
        self._truth = truth
        self._drift = drift
        self._refused: dict[bytes, Operation] = {}
        self._promised: dict[int, tuple[int, int]] = {}
        self._revoked: dict[int, None] = {}

    def begin(self, operation: Operation) -> None:
        """Note that a request is made."""
        operation.floor = self.order.invoke()
        operation.floor_index = self.index
        match operation.ask:
            case Propose(CommandKind.LEASE_REVOKE, payload):
                self._revoked[messages.LeaseRevokeRequest.FromString(payload).ID] = None
            case _:
                pass

    def end(self, operation: Operation, result: Result) -> None:
        """Judge a result.

        Raises:
            Violation: it cannot be.
        """
        self.results[result.status] += 1
        match operation.ask:
            case Propose(kind, payload):
                if kind >= 32:
                    return
                if result.status in {Status.DONE, Status.ERROR}:
                    self._carried_out(operation, kind, payload, result)
                elif result.status == Status.REFUSED and kind not in _SHARED:
                    require(payload not in self._truth.executed, "{}: refused and done", operation)
                    self._refused[payload] = operation
            case Read(request, serializable):
                if result.status in {Status.DONE, Status.ERROR}:
                    self._read(operation, request, result, serializable=serializable)
            case KeepAlive(lease):
                if result.status == Status.DONE:
                    self._promise(lease, operation.invoked, result.revision)
            case _:
                pass

    def _carried_out(
        self, operation: Operation, kind: CommandKind, payload: bytes, result: Result
    ) -> None:
        places = self._truth.executed.get(payload, [])
        require(bool(places), "{}: answered {}, and it is not in the log", operation, result)
        if kind not in _SHARED:
            require(len(places) == 1, "{}: carried out at {}", operation, places)
        told = result.error or (result.revision, result.body)
        for index in places:
            effect = self._truth.effect(index)
            right = (
                effect.answer
                if isinstance(effect.answer, str)
                else (effect.revision, effect.answer)
            )
            if right == told and index > operation.floor_index:
                break
        else:
            effects = [(index, self._truth.effect(index)) for index in places]
            require(
                False,
                "{}: answered {}; right, and behind index {}, is one of {}",
                operation,
                result,
                operation.floor_index,
                effects,
            )
            return
        self.index = max(self.index, index)
        if result.status == Status.DONE:
            write = bool(effect.changes)
            self.order.answer(operation.floor, result.revision, write=write, who=operation)
            if kind == CommandKind.LEASE_GRANT:
                answer = messages.LeaseGrantResponse.FromString(result.body)
                self._promise(answer.ID, operation.invoked, answer.TTL)

    def _read(
        self,
        operation: Operation,
        request: messages.RangeRequest,
        result: Result,
        *,
        serializable: bool,
    ) -> None:
        model = self._truth.model
        floor = 0 if serializable else operation.floor
        if result.status == Status.ERROR:
            wanted = request.revision
            right = (result.error == "Compacted" and 0 < wanted < model.compacted) or (
                result.error == "FutureRevision" and wanted > floor
            )
            require(right, "{}: answered {}", operation, result)
            return
        revision = result.revision
        require(revision <= model.revision, "{}: read the future: {}", operation, result)
        self.order.answer(floor, revision, write=False, who=operation)
        right_body = model.range(request, request.revision or revision).SerializeToString()
        require(
            result.body == right_body,
            "{}: read {}, right is {}",
            operation,
            result,
            right_body,
        )

    # -- leases ------------------------------------------------------------------------------

    def _promise(self, lease: int, begin: int, seconds: int) -> None:
        """Note that a lease lives for some seconds from a moment on."""
        known = self._promised.get(lease)
        if known is None or begin + seconds * 1_000_000 > known[0] + known[1]:
            self._promised[lease] = (begin, seconds * 1_000_000)

    def applied(self, index: int, kind: int, payload: bytes, seen: int | None) -> None:
        """Judge a command that has just become part of the truth.

        Args:
            index: where.
            kind: what.
            payload: the request.
            seen: for the end of a lease, when a member first wanted it.

        Raises:
            Violation: it must not be.
        """
        refused = self._refused.get(payload)
        require(refused is None, "{}: refused, and then done at {}", refused, index)
        if kind != CommandKind.LEASE_REVOKE or seen is None:
            return
        lease = messages.LeaseRevokeRequest.FromString(payload).ID
        promise = self._promised.get(lease)
        if promise is None or lease in self._revoked:
            return
        begin, micros = promise
        least = begin + micros / self._drift - _CLOCK_MICROS
        require(
            seen >= least,
            "lease {} was promised from {} for {} µs and was ended at {}",
            lease,
            begin,
            micros,
            seen,
        )
