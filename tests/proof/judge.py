"""Holds what clients and watchers saw to etcd's promises.

The watchers of the members saw each revision; that is the log. Then each answer is held to it:
acknowledged writes are there, at their revision, and nothing is there that nobody asked for; each
read shows the state at the revision it tells; revisions agree with real time. And a search that
knows no revisions looks, key by key, for an order that explains the answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.proof.history import Event, History, Kind, Log, Operation, Stream, within
from trioetcd.testing.linearizability import Action, Call, RevisionOrder, check_registers
from trioetcd.testing.violation import Violation

__all__ = ["judge"]

READS = frozenset({Kind.RANGE, Kind.STALE, Kind.PAST})


def judge(history: History) -> list[str]:
    """Give one sentence for each promise that was not kept."""
    log = Log(history.collectors)
    found = list(log.flaws)
    for stream in history.streams:
        found += judge_stream(stream, log, history.compacted)
    attribution = Attribution(history.operations, log)
    found += attribution.flaws
    found += judge_order(history.operations)
    for operation in history.operations:
        found += judge_answer(operation, log, history.compacted)
    try:
        check_registers(register_calls(history.operations, attribution, log))
    except Violation as violation:
        found.append(str(violation))
    return found


def judge_stream(stream: Stream, log: Log, compacted: int) -> Iterator[str]:
    """Check one watch: ordered, unique, complete, atomic, bookmarks and prev_kv right."""
    position = stream.start - 1
    progress = 0
    for response in stream.responses:
        if not response.events:
            # behind events it may be, as it promises no less for that; behind another one not
            if response.revision < progress:
                yield f"{stream.who}: progress went back from {progress} to {response.revision}"
            progress = response.revision
            missed = log.events(stream.key, stream.end, position + 1, response.revision)
            if missed:
                yield f"{stream.who}: progress {response.revision} before {missed[0]}"
            position = max(position, response.revision)
            continue
        last = response.events[-1].revision
        wanted = log.events(stream.key, stream.end, position + 1, last)
        if len(wanted) != len(response.events):
            yield (
                f"{stream.who}: {len(response.events)} events from {position + 1} to {last} "
                f"where there are {len(wanted)}: {response.events[:2]}..., not {wanted[:2]}..."
            )
        else:
            for want, have in zip(wanted, response.events, strict=True):
                yield from _judge_event(stream, want, have, compacted)
        position = max(position, last)


def _judge_event(stream: Stream, want: Event, have: Event, compacted: int) -> Iterator[str]:
    if want._replace(before=None) != have._replace(before=None):
        yield f"{stream.who}: saw {have}, not {want}"
        return
    before = want.before if stream.prev_kv else None
    # what was superseded before a compaction may be gone
    gone = have.before is None and want.revision <= compacted + 1
    if have.before != before and not gone:
        yield f"{stream.who}: {want.key!r}@{want.revision} was {before}, not {have.before}"


def judge_order(operations: list[Operation]) -> list[str]:
    """Check that revisions agree with real time."""
    moments: list[tuple[int, int, int]] = []
    for number, operation in enumerate(operations):
        if operation.returned is not None and operation.revision:
            moments.append((operation.invoked, 0, number))
            moments.append((operation.returned, 1, number))
    found = []
    order = RevisionOrder()
    floors: dict[int, int] = {}
    for _, is_answer, number in sorted(moments):
        operation = operations[number]
        if not is_answer:
            floors[number] = order.invoke()
        elif operation.kind is Kind.STALE:
            # it may be old, but what it showed has happened
            order.revision = max(order.revision, operation.revision)
        else:
            write = operation.kind.writes and operation.done
            try:
                order.answer(floors[number], operation.revision, write=write, who=operation)
            except Violation as violation:
                found.append(str(violation))
    return found


class Attribution:
    """Who caused each revision of the log.

    Attributes:
        causes: the operation behind each revision.
        seen: for each revision, when anybody was first told of it or of a later one; None if
            nobody ever was.
        flaws: one sentence for each acknowledged write that is not in the log as it should be,
            and for each revision that nobody asked for.
    """

    def __init__(self, operations: list[Operation], log: Log) -> None:
        self.causes: dict[int, Operation] = {}
        self.flaws: list[str] = []
        self._log = log
        self._answers = sorted(
            (operation.revision, operation.returned)
            for operation in operations
            if operation.returned is not None and operation.revision
        )
        self._earliest = _suffix_minimum([returned for _, returned in self._answers])
        unknown: dict[frozenset[tuple[bytes, bytes | None]], list[Operation]] = defaultdict(list)
        revokes: dict[int, Operation] = {}
        for operation in operations:
            if not operation.kind.writes or operation.refused:
                continue
            if operation.kind is Kind.REVOKE:
                revokes[operation.lease] = operation
            elif operation.returned is None:
                unknown[frozenset(operation.values.items())].append(operation)
            elif operation.done:
                self._settle(operation)
        for revision in sorted(log.revisions):
            if revision not in self.causes:
                self._explain(revision, unknown, revokes)

    def seen(self, revision: int) -> int | None:
        """Give when anybody was first told of a revision or a later one, None if never."""
        at = bisect_left(self._answers, (revision, 0))
        return self._earliest[at] if at < len(self._earliest) else None

    def _settle(self, operation: Operation) -> None:
        revision = operation.revision
        if not self._matches(operation, revision):
            events = self._log.revisions.get(revision)
            self.flaws.append(f"acknowledged {operation}, but revision {revision} is {events}")
        elif revision in self.causes:
            self.flaws.append(f"{operation} and {self.causes[revision]} have one revision")
        self.causes[revision] = operation

    def _matches(self, operation: Operation, revision: int) -> bool:
        events = self._log.revisions.get(revision, ())
        values = {event.key: None if event.now is None else event.now.value for event in events}
        leases = {event.now.lease for event in events if event.now is not None}
        return values == operation.values and leases <= {operation.lease}

    def _explain(
        self,
        revision: int,
        unknown: dict[frozenset[tuple[bytes, bytes | None]], list[Operation]],
        revokes: dict[int, Operation],
    ) -> None:
        events = self._log.revisions[revision]
        values = frozenset(
            (event.key, None if event.now is None else event.now.value) for event in events
        )
        # a revocation goes first: once its keys are gone it explains nothing else, a delete may
        before = self._log.get(events[0].key, revision - 1)
        lease = 0 if before is None else before.lease
        deleted = {event.key for event in events if event.now is None}
        candidates = [revokes[lease]] if lease in revokes else []
        if deleted != self._log.attached(lease, revision - 1):
            candidates = []
        candidates += unknown.get(values, [])
        candidates.sort(
            key=lambda operation: (operation.kind is not Kind.REVOKE, operation.invoked)
        )
        seen = self.seen(revision)
        for cause in candidates:
            if seen is not None and cause.invoked > seen:
                continue
            if cause.kind is Kind.REVOKE:
                del revokes[lease]
            elif self._matches(cause, revision):
                unknown[values].remove(cause)
            else:
                continue
            self.causes[revision] = cause
            return
        late = f"; only later, for {candidates[0]}" if candidates else ""
        self.flaws.append(f"nobody asked for revision {revision}: {events}{late}")


def _suffix_minimum(values: list[int]) -> list[int]:
    smallest = list(values)
    for at in range(len(smallest) - 2, -1, -1):
        smallest[at] = min(smallest[at], smallest[at + 1])
    return smallest


def judge_answer(operation: Operation, log: Log, compacted: int) -> Iterator[str]:
    """Check what an answer says against the log."""
    if operation.returned is None:
        return
    if operation.refused:
        if "compacted" in operation.refused and operation.at > compacted:
            yield f"{operation}, though nobody compacted beyond {compacted}"
        return
    if operation.revision > log.last:
        yield f"{operation} tells a revision that never was; the last is {log.last}"
    revision = operation.at or operation.revision
    if operation.kind in READS:
        wanted = log.select(operation.key, operation.end, revision)
        if operation.limit:
            wanted = wanted[: operation.limit]
        if wanted != operation.found:
            yield f"{operation} should have found {wanted}"
    elif operation.kind is Kind.SWAP:
        (key,) = operation.values
        before = log.get(key, revision - operation.done)
        held = (0 if before is None else before.mod) == operation.expected
        if held != operation.done:
            yield f"{operation} found {before}"
    elif operation.kind is Kind.REVOKE:
        left = log.attached(operation.lease, log.last)
        if left:
            yield f"{operation} left {sorted(left)}"
    elif operation.kind is Kind.DELETE and not operation.done:
        (key,) = operation.values
        if log.get(key, revision) is not None:
            yield f"{operation} did not find {log.get(key, revision)}"


def register_calls(
    operations: list[Operation], attribution: Attribution, log: Log
) -> Iterator[Call]:
    """Give each key's history as that of a register, without any revision.

    What was never answered and is not in the log did not happen and is left out; what is in the
    log happened before anybody was told of its revision.
    """
    keys = {key for operation in operations for key in operation.values}
    for operation in operations:
        if operation.returned is None or operation.refused:
            continue
        if operation.kind is Kind.RANGE:
            found = {row.key: row.value for row in operation.found}
            read = found if operation.limit else keys
            for key in read:
                if within(key, operation.key, operation.end):
                    yield _call(operation, key, Action.READ, found.get(key))
        elif operation.kind is Kind.DELETE and not operation.done:
            for key in operation.values:
                yield _call(operation, key, Action.READ, None)
        elif operation.kind is Kind.SWAP:
            for key, value in operation.values.items():
                yield _call(
                    operation, key, Action.SWAP, value, expected=_expected(operation, key, log)
                )
    for revision, operation in attribution.causes.items():
        if operation.kind is Kind.SWAP and operation.returned is not None:
            continue
        returned = operation.returned
        if returned is None:
            returned = attribution.seen(revision)
        for event in log.revisions.get(revision, ()):
            value = None if event.now is None else event.now.value
            yield Call(event.key, Action.WRITE, operation.invoked, returned, value)


def _expected(operation: Operation, key: bytes, log: Log) -> object:
    """Give the value a swap expects, which nobody else wrote; a revision nobody wrote is none."""
    if not operation.expected:
        return None
    row = log.get(key, operation.expected)
    return row.value if row is not None and row.mod == operation.expected else b""


def _call(
    operation: Operation, key: bytes, action: Action, value: object, *, expected: object = None
) -> Call:
    return Call(
        key,
        action,
        operation.invoked,
        operation.returned,
        value,
        expected=expected,
        succeeded=operation.done,
    )
