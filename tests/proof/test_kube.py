"""The judge of kube-apiserver's contract: an honest run passes, each forged one is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.proof.history import Event, Response, Row, Stream
from tests.proof.kube import requests
from tests.proof.kube.judge import COMPACTED, FUTURE, judge
from tests.proof.kube.record import Claim, Compaction, Grant, Page, Record, Snapshot, Write
from tests.proof.kube.storage import Features
from trioetcd.schema import messages

PODS = b"/registry/pods/"
PODS_END = b"/registry/pods0"
A, B, C, E = (PODS + name for name in (b"a", b"b", b"c", b"e"))
LEASE = 7
SECOND = 1_000_000_000

A2 = Row(A, b"v1", 2, 2, 1, 0)
A3 = Row(A, b"v2", 2, 3, 2, 0)
B4 = Row(B, b"v3", 4, 4, 1, 0)
K5 = Row(requests.COMPACT_KEY, b"0", 5, 5, 1, 0)
C6 = Row(C, b"v4", 6, 6, 1, LEASE)
E7 = Row(E, b"v5", 7, 7, 1, LEASE)
K9 = Row(requests.COMPACT_KEY, b"3", 5, 9, 2, 0)
LAST = 10
EVENTS = (
    Event(A, 2, A2, None),
    Event(A, 3, A3, A2),
    Event(B, 4, B4, None),
    Event(requests.COMPACT_KEY, 5, K5, None),
    Event(C, 6, C6, None),
    Event(E, 7, E7, None),
    Event(A, 8, None, A3),
    Event(requests.COMPACT_KEY, 9, K9, K5),
    Event(C, 10, None, C6),
    Event(E, 10, None, E7),
)


def watch(who: str, key: bytes, end: bytes) -> Stream:
    """Make a watch that told everything as it was, with progress now and then."""
    stream = Stream(who, key, end, 1, prev_kv=True)
    for revision in range(2, LAST + 1):
        events = tuple(event for event in EVENTS if event.revision == revision and key <= event.key)
        if end != b"\0":
            events = tuple(event for event in events if event.key < end)
        if events:
            stream.responses.append(Response(revision, events))
    stream.responses.append(Response(LAST, ()))
    return stream


def honest() -> Record:
    """Make a run in which all is well."""
    record = Record()
    record.collectors = [watch("collector", b"\0", b"\0")]
    record.streams = [*record.collectors, watch("cache", PODS, PODS_END)]
    record.writes = [
        Write("x", A, b"v1", 0, 10, 0, 20, done=True, revision=2, asked=False),
        # never answered, and done
        Write("y", A, b"v2", 2, 21),
        # never answered, and not done
        Write("y", A, b"never", 2, 21),
        Write("x", A, b"late", 2, 30, 0, 35, revision=3, found=A3),
        Write("x", B, b"v3", 0, 36, 0, 40, done=True, revision=4),
        Write("x", C, b"v4", 0, 60, LEASE, 65, done=True, revision=6),
        Write("x", E, b"v5", 0, 66, LEASE, 70, done=True, revision=7),
        Write("x", A, None, 3, 71, 0, 80, done=True, revision=8),
        Write("y", A, None, 3, 71, 0, 82, revision=8, found=None),
    ]
    record.claims = [
        Claim("x", b"0", 0, 41, 45, done=True, revision=5),
        Claim("y", b"0", 0, 41, 46, revision=5, version=1),
        Claim("x", b"3", 1, 83, 85, done=True, revision=9),
    ]
    record.compactions = [Compaction(3, 86, 90)]
    record.grants = {LEASE: Grant(20, 50)}
    record.first = dict.fromkeys(range(2, 10), 100) | {10: 21 * SECOND}
    record.pages = [
        Page("get", A, b"", 0, 1, 22, 24, 3, (A3,), 1),
        Page("list", PODS, PODS_END, 0, 2, 72, 81, 7, (A3, B4), 4, more=True),
        Page("list", B + b"\0", PODS_END, 7, 4, 83, 84, 8, (C6, E7), 2),
        Page("keys", PODS, PODS_END, 0, 0, 72, 73, 7, keys_of(A3, B4, C6, E7), 4, values=False),
        Page("count", PODS, PODS_END, 0, 0, 83, 84, 8, None, 3),
        Page("nothing", PODS + b"x", PODS_END, 0, 0, 83, 84, 8, ()),
        Page("past", A, b"", 2, 1, 91, 92, rows=None, refused=COMPACTED),
        Page("past", PODS, PODS_END, 3, 0, 91, 92, 9, (A3,), 1),
        Page("future", PODS, PODS_END, 1000, 0, 91, 92, rows=None, refused=FUTURE),
    ]
    record.snapshots = [Snapshot("cache", PODS, 7, 8, (B4, C6, E7))]
    record.refusals = [("cache", 2, 3, COMPACTED), ("caches", 0, 0, "etcdserver: no leader")]
    return record


def keys_of(*rows: Row) -> tuple[Row, ...]:
    """Take away what a read of keys does not show."""
    return tuple(row._replace(value=b"") for row in rows)


def test_an_honest_run_passes() -> None:
    """Writes in doubt, conflicts, ended leases, compactions and refusals are no violations."""
    assert judge(honest()) == []


def missing_event(record: Record) -> None:
    """A watch that leaves out an event."""
    del record.streams[1].responses[2]


def repeated_event(record: Record) -> None:
    """A watch that tells an event twice."""
    record.streams[1].responses.insert(2, record.streams[1].responses[1])


def reordered_events(record: Record) -> None:
    """A watch that tells two events the wrong way round."""
    responses = record.streams[1].responses
    responses[0], responses[1] = responses[1], responses[0]


def torn_revision(record: Record) -> None:
    """A watch that tells the end of a lease in two responses."""
    responses = record.streams[1].responses
    first, second = responses[-2].events
    responses[-2:-1] = [Response(10, (first,)), Response(10, (second,))]


def dishonest_progress(record: Record) -> None:
    """A progress answer that overtakes an event."""
    record.streams[1].responses.insert(1, Response(3, ()))


def progress_back(record: Record) -> None:
    """A progress answer behind the begin of its watch."""
    late = Stream("late", PODS, PODS_END, 9, prev_kv=True)
    late.responses.append(Response(7, ()))
    record.streams.append(late)


def header_behind(record: Record) -> None:
    """A response with events whose header has an older revision."""
    record.streams[1].responses[1].revision = 2


def wrong_prev_kv(record: Record) -> None:
    """A watch that tells wrong what an object was."""
    responses = record.streams[1].responses
    (event,) = responses[5].events
    responses[5].events = (event._replace(before=A2),)


def wrong_count(record: Record) -> None:
    """A page that counts too few."""
    record.pages[1].count = 3


def wrong_rest(record: Record) -> None:
    """A second page that counts what the first had."""
    record.pages[2].count = 4


def wrong_more(record: Record) -> None:
    """A page that says that it is the last, and is not."""
    record.pages[1].more = False


def wrong_number(record: Record) -> None:
    """A count that is not."""
    record.pages[4].count = 4


def moved_page(record: Record) -> None:
    """A second page that shows a later revision than the first."""
    record.pages[2].rows = (C6._replace(version=2), E7)


def missing_key(record: Record) -> None:
    """A list of keys without one of them."""
    record.pages[3].rows = keys_of(A3, B4, C6)


def stale_get(record: Record) -> None:
    """A read that shows what was superseded before it was asked."""
    record.pages.append(Page("get", A, b"", 0, 1, 66, 69, 2, (A2,), 1))


def answered_past(record: Record) -> None:
    """A read before the compacted revision that is answered."""
    record.pages[6] = Page("past", A, b"", 2, 1, 91, 92, 9, (A2,), 1)


def early_compaction(record: Record) -> None:
    """A read that is refused for a compaction that nobody had asked for by then."""
    record.pages[6].returned = 85


def wrong_refusal(record: Record) -> None:
    """A read that is refused for another reason."""
    record.pages[6].refused = "etcdserver: compacted"


def wrong_future(record: Record) -> None:
    """A revision that is there, and refused as one of the future."""
    record.pages[8].at = LAST


def wrong_cache(record: Record) -> None:
    """A cache that holds an object that is gone."""
    record.snapshots[0] = replace(record.snapshots[0], rows=(A3, B4, C6, E7))


def incomplete_cache(record: Record) -> None:
    """A cache that lacks an object."""
    record.snapshots[0] = replace(record.snapshots[0], rows=(B4, C6))


def late_cache(record: Record) -> None:
    """A consistent read from a cache that is not there yet."""
    record.snapshots[0] = replace(record.snapshots[0], wanted=9)


def lost_write(record: Record) -> None:
    """An acknowledged write that nobody ever sees."""
    record.writes.append(Write("x", B, b"lost", 4, 93, 0, 94, done=True, revision=9))


def double_write(record: Record) -> None:
    """A write that is there twice, the second time on top of what it did not expect."""
    double = Row(B, b"v3", 4, 11, 2, 0)
    for stream in record.streams:
        stream.responses.append(Response(11, (Event(B, 11, double, B4),)))


def unexpected_write(record: Record) -> None:
    """A write that is done although its object is not what it expected."""
    record.writes[4].expected = 3


def unasked_revision(record: Record) -> None:
    """A revision that nobody asked for."""
    del record.writes[1]


def false_conflict(record: Record) -> None:
    """A write that is told of a conflict, and there is none."""
    record.writes[3].expected = 3


def wrong_conflict(record: Record) -> None:
    """A write that is shown another object than what is in its way."""
    record.writes[3].found = A2


def two_claims(record: Record) -> None:
    """Two compactors that were both told that they may compact."""
    record.claims[1].done = True


def back_in_time(record: Record) -> None:
    """A write whose revision was seen before it was asked for."""
    record.writes[4].invoked = 66
    record.writes[4].returned = 67


def early_end(record: Record) -> None:
    """A lease that ends before its time."""
    record.first[10] = 19 * SECOND


def half_end(record: Record) -> None:
    """A lease that ends, and leaves one of its objects."""
    for stream in record.streams:
        stream.responses[-2].events = stream.responses[-2].events[:1]


def refused_compaction(record: Record) -> None:
    """A compaction that is refused as done already, and is not."""
    record.compactions[0] = Compaction(3, 86, refused=COMPACTED)


def wrong_compact_revision(record: Record) -> None:
    """A watch that is ended by a compaction that was not."""
    record.refusals[0] = ("cache", 2, 4, COMPACTED)


def needless_end(record: Record) -> None:
    """A watch that is ended by a compaction that took nothing of it."""
    record.refusals[0] = ("cache", 3, 3, COMPACTED)


def odd_end(record: Record) -> None:
    """A watch that is ended for another reason."""
    record.refusals[0] = ("cache", 2, 0, "etcdserver: whatever")


FORGERIES: list[tuple[Callable[[Record], None], str]] = [
    (missing_event, "where there are"),
    (repeated_event, "where there are"),
    (reordered_events, "where there are"),
    (torn_revision, "where there are"),
    (dishonest_progress, "progress 3 before"),
    (progress_back, "progress 7 of a watch from 9 on"),
    (header_behind, "under revision 2"),
    (wrong_prev_kv, "@8 was Row"),
    (wrong_count, "counts 3 where there are 4"),
    (wrong_rest, "counts 4 where there are 2"),
    (wrong_more, "says of more: False, with 2 of 4"),
    (wrong_number, "counts 4 where there are 3"),
    (moved_page, "found 2: it lacks"),
    (missing_key, "found 3: it lacks"),
    (stale_get, "read revision 2 after"),
    (answered_past, "answered though 3 had been compacted"),
    (early_compaction, "though nobody compacted beyond 0"),
    (wrong_refusal, "was refused: etcdserver: compacted"),
    (wrong_future, "the last revision is 10"),
    (wrong_cache, "holds 4: it lacks"),
    (incomplete_cache, "holds 2: it lacks"),
    (late_cache, "was at 8, not at 9"),
    (lost_write, "acknowledged Write"),
    (double_write, "nobody asked for revision 11"),
    (unexpected_write, "nobody asked for revision 4"),
    (unasked_revision, "nobody asked for revision 3"),
    (false_conflict, "told of a conflict, but it was"),
    (wrong_conflict, "shown another object"),
    (two_claims, "acknowledged Claim"),
    (two_claims, "revision 5 was given to both"),
    (back_in_time, "wrote revision 4 after 6 was seen"),
    (early_end, "lease 7 of 20 s ended after 19.00 s"),
    (half_end, "ends lease 7 with"),
    (refused_compaction, "compacting to 3 was refused"),
    (wrong_compact_revision, "from 2 on was ended by a compaction to 4"),
    (odd_end, "with the reason 'etcdserver: whatever'"),
    (needless_end, "from 3 on was ended by a compaction to 3"),
]


@pytest.mark.parametrize(("forge", "sentence"), FORGERIES)
def test_a_forged_run_is_found_out(forge: Callable[[Record], None], sentence: str) -> None:
    """Each lie about an otherwise honest run gets the sentence that names it."""
    record = honest()
    forge(record)
    found = judge(record)
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["3.4.30"], False),
        (["3.4.31"], True),
        (["3.5.12"], False),
        (["3.5.13", "3.6.0"], True),
        (["3.6.0", "3.5.1"], False),
    ],
)
def test_progress_is_asked_for_where_kubernetes_asks(
    versions: list[str], *, expected: bool
) -> None:
    """Only where no member is so old that its answer could overtake events."""
    features = Features()
    features.judge(versions)
    assert features.progress == expected


def test_an_optimistic_write_compares_with_zero() -> None:
    """A create compares the revision with a zero that is there, not left out."""
    request = requests.optimistic_put(b"k", b"v", 0, get_on_failure=False)
    (compare,) = messages.TxnRequest.FromString(request.SerializeToString()).compare
    assert compare.WhichOneof("target_union") == "mod_revision"
    assert not request.failure
