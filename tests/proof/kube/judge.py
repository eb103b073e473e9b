"""Holds what apiservers were told to what their storage may rely on.

The collectors' watches from the start on are the log. Every write that was acknowledged is in it,
at its revision, on top of the object that it expected; nothing is in it that nobody asked for, but
for the objects of leases that had their time. Every watch told all of its events, once and in
order, and its progress was honest. Every page, stream, count and cache shows the log at its
revision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.proof.history import Event, Log, Row, Stream
from tests.proof.judge import judge_stream
from tests.proof.kube import requests
from tests.proof.kube.record import Claim, Page, Record, Snapshot, Write
from trioetcd.testing.linearizability import RevisionOrder
from trioetcd.testing.violation import Violation

__all__ = ["judge"]

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
NO_LEADER = "etcdserver: no leader"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


def judge(record: Record) -> list[str]:
    """Give one sentence for each promise that was not kept."""
    log = Log(record.collectors)
    found = [*record.flaws, *log.flaws]
    compacted = max((each.revision for each in record.compactions), default=0)
    for stream in record.streams:
        found += judge_stream(stream, log, compacted)
        found += _judge_revisions(stream)
    causes = Causes(record, log)
    found += causes.flaws
    record.counts["leases that ended"] += causes.ended
    for page in record.pages:
        found += judge_page(page, log, record)
    for snapshot in record.snapshots:
        found += judge_snapshot(snapshot, log)
    found += judge_order(record)
    found += judge_compactions(record)
    return found


def _judge_revisions(stream: Stream) -> Iterator[str]:
    """Check that no response tells a revision before its events, or before the watch's begin."""
    for response in stream.responses:
        if response.events and response.revision < response.events[-1].revision:
            yield f"{stream.who}: {response.events[-1]} under revision {response.revision}"
        if not response.events and response.revision < stream.start - 1:
            yield f"{stream.who}: progress {response.revision} of a watch from {stream.start} on"


class Causes:
    """Finds out who caused each revision of the log.

    Attributes:
        ended: how many leases had their time.
        flaws: one sentence for each acknowledged write that is not there as it should be, each
            refused one that should not have been, and each revision that nobody asked for.
    """

    def __init__(self, record: Record, log: Log) -> None:
        self.ended = 0
        self.flaws: list[str] = []
        self._record = record
        self._log = log
        self._open: dict[tuple[bytes, bytes | None], list[Write]] = defaultdict(list)
        for write in record.writes:
            if write.returned is None or write.done:
                self._open[write.key, write.value].append(write)
            else:
                self.flaws += self._judge_refused(write)
        self._claims = [each for each in record.claims if each.returned is None or each.done]
        for revision in sorted(log.revisions):
            self._explain(revision, log.revisions[revision])
        for writes in self._open.values():
            self.flaws += [
                f"acknowledged {write}, but revision {write.revision} is "
                f"{log.revisions.get(write.revision)}"
                for write in writes
                if write.done
            ]
        self.flaws += [f"acknowledged {claim} is not there" for claim in self._claims if claim.done]

    def _explain(self, revision: int, events: tuple[Event, ...]) -> None:
        if len(events) == 1:
            event = events[0]
            before = self._log.get(event.key, revision - 1)
            if event.key == requests.COMPACT_KEY and self._claimed(event, before):
                return
            if self._written(event, before):
                return
        if not self._expired(revision, events):
            self.flaws.append(f"nobody asked for revision {revision}: {events}")

    def _written(self, event: Event, before: Row | None) -> bool:
        value = None if event.now is None else event.now.value
        expected = 0 if before is None else before.mod
        writes = self._open[event.key, value]
        fitting = [each for each in writes if _fits(each, event, expected)]
        # who was told of it goes first: the others may not have been done
        fitting.sort(key=lambda each: not each.done)
        if fitting:
            writes.remove(fitting[0])
        return bool(fitting)

    def _claimed(self, event: Event, before: Row | None) -> bool:
        version = 0 if before is None else before.version
        for claim in sorted(self._claims, key=lambda each: not each.done):
            if event.now is None or (claim.value, claim.expected) != (event.now.value, version):
                continue
            if claim.returned is None or claim.revision == event.revision:
                self._claims.remove(claim)
                return True
        return False

    def _expired(self, revision: int, events: tuple[Event, ...]) -> bool:
        """Whether a revision is the end of a lease, with all its objects, and not too early."""
        before = self._log.get(events[0].key, revision - 1)
        lease = 0 if before is None else before.lease
        grant = self._record.grants.get(lease)
        if grant is None or any(event.now is not None for event in events):
            return False
        self.ended += 1
        deleted = {event.key for event in events}
        attached = self._log.attached(lease, revision - 1)
        if deleted != attached:
            self.flaws.append(f"revision {revision} ends lease {lease} with {deleted}: {attached}")
        first = self._record.first.get(revision)
        if first is not None and first - grant.invoked < grant.seconds * 1_000_000_000:
            lived = (first - grant.invoked) / 1e9
            self.flaws.append(f"lease {lease} of {grant.seconds} s ended after {lived:.2f} s")
        return True

    def _judge_refused(self, write: Write) -> Iterator[str]:
        """Check that a write that was told of a conflict had one, and was shown it."""
        held = self._log.get(write.key, write.revision)
        if (0 if held is None else held.mod) == write.expected:
            yield f"{write} was told of a conflict, but it was {held}"
        elif write.asked and write.found != held:
            yield f"{write} was shown another object than {held}"


def _fits(write: Write, event: Event, expected: int) -> bool:
    lease = 0 if event.now is None else event.now.lease
    return (
        write.expected == expected
        and write.lease == lease
        and (write.returned is None or write.revision == event.revision)
    )


def judge_page(page: Page, log: Log, record: Record) -> Iterator[str]:
    """Check one read: its objects, how many there are, and whether there are more."""
    who = f"{page.who} of {page.key!r} at {page.at}"
    if page.refused:
        yield from _judge_refusal(page, who, log, record)
        return
    gone = [
        each.revision
        for each in record.compactions
        if each.returned is not None and each.returned < page.invoked and page.at < each.revision
    ]
    if page.at and gone:
        yield f"{who} was answered though {gone[0]} had been compacted"
    if page.revision < page.at or page.revision > log.last:
        yield f"{who} tells revision {page.revision}; the last is {log.last}"
    wanted = log.select(page.key, page.end, page.at or page.revision)
    if page.count != len(wanted):
        yield f"{who} counts {page.count} where there are {len(wanted)}"
    if page.rows is None:
        if page.more:
            yield f"{who} says that there is more than a number"
        return
    shown = wanted[: page.limit] if page.limit else wanted
    if page.more != (len(shown) < len(wanted)):
        yield f"{who} says of more: {page.more}, with {len(shown)} of {len(wanted)}"
    if not page.values:
        shown = tuple(row._replace(value=b"", lease=0) for row in shown)
    have = page.rows if page.values else tuple(row._replace(lease=0) for row in page.rows)
    if have != shown:
        yield f"{who} found {len(have)}: {_differences(have, shown)}"


def _judge_refusal(page: Page, who: str, log: Log, record: Record) -> Iterator[str]:
    if page.refused == COMPACTED:
        asked = [each.revision for each in record.compactions if each.invoked < page.returned]
        compacted = max(asked, default=0)
        if page.at >= compacted or not page.at:
            yield f"{who} was compacted, though nobody compacted beyond {compacted}"
    elif page.refused == FUTURE:
        if page.at <= log.last:
            yield f"{who} was of the future, where the last revision is {log.last}"
    else:
        yield f"{who} was refused: {page.refused}"


def judge_snapshot(snapshot: Snapshot, log: Log) -> Iterator[str]:
    """Check that a cache held all objects as they were at its revision."""
    end = requests.prefix_end(snapshot.prefix)
    wanted = log.select(snapshot.prefix, end, snapshot.revision)
    if snapshot.revision < snapshot.wanted:
        yield f"{snapshot.who} was at {snapshot.revision}, not at {snapshot.wanted}"
    if snapshot.rows != wanted:
        yield (
            f"{snapshot.who} at {snapshot.revision} holds {len(snapshot.rows)}: "
            f"{_differences(snapshot.rows, wanted)}"
        )


def _differences(have: tuple[Row, ...], wanted: tuple[Row, ...]) -> str:
    missing = sorted(set(wanted) - set(have))[:2]
    extra = sorted(set(have) - set(wanted))[:2]
    if not missing and not extra:
        return "in another order, or twice"
    return f"it lacks {missing} and has {extra}, and maybe more"


def judge_order(record: Record) -> Iterator[str]:
    """Check that revisions agree with real time."""
    asked: list[Write | Claim | Page] = [*record.writes, *record.claims, *record.pages]
    answered = [each for each in asked if each.returned is not None and each.revision]
    moments = sorted(
        [(each.invoked, 0, number) for number, each in enumerate(answered)]
        + [(each.returned or 0, 1, number) for number, each in enumerate(answered)]
    )
    order = RevisionOrder()
    floors: dict[int, int] = {}
    for _, is_answer, number in moments:
        each = answered[number]
        if not is_answer:
            floors[number] = order.invoke()
            continue
        write = not isinstance(each, Page) and each.done
        try:
            order.answer(floors[number], each.revision, write=write, who=_brief(each))
        except Violation as violation:
            yield str(violation)


def _brief(each: Write | Claim | Page) -> str:
    key = requests.COMPACT_KEY if isinstance(each, Claim) else each.key
    return f"{type(each).__name__} of {key!r} by {each.who}"


def judge_compactions(record: Record) -> Iterator[str]:
    """Check what compactions and watches were refused for."""
    for compaction in record.compactions:
        others = [each.revision for each in record.compactions if each is not compaction]
        passed = compaction.refused == COMPACTED and max(others, default=0) >= compaction.revision
        if compaction.refused and not passed:
            yield f"compacting to {compaction.revision} was refused: {compaction.refused}"
    for who, start, at, reason in record.refusals:
        if at and (start >= at or all(at != each.revision for each in record.compactions)):
            yield f"{who} from {start} on was ended by a compaction to {at}"
        elif start and not at and reason != NO_LEADER:
            yield f"{who} from {start} on was ended with the reason {reason!r}"
        elif at and reason not in {COMPACTED, ""}:
            yield f"{who} was ended by a compaction with the reason {reason!r}"
