"""The judge of level 3: an honest history passes, and each forged one is found out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.proof.history import Event, History, Kind, Operation, Response, Row, Stream
from tests.proof.judge import judge

LEASE = 7


def put(key: bytes, value: bytes, revision: int, *, create: int, version: int = 1) -> Row:
    """Make a row without a lease."""
    return Row(key, value, create, revision, version, 0)


A2 = put(b"a", b"v1", 2, create=2)
A3 = put(b"a", b"v2", 3, create=2, version=2)
B4 = put(b"b", b"v3", 4, create=4)
C4 = put(b"c", b"v3", 4, create=4)
A6 = put(b"a", b"v5", 6, create=6)
D7 = Row(b"d", b"v6", 7, 7, 1, LEASE)
EVENTS = (
    Event(b"a", 2, A2, None),
    Event(b"a", 3, A3, A2),
    Event(b"b", 4, B4, None),
    Event(b"c", 4, C4, None),
    Event(b"a", 5, None, A3),
    Event(b"a", 6, A6, None),
    Event(b"d", 7, D7, None),
    Event(b"d", 8, None, D7),
)


def stream(who: str) -> Stream:
    """Make a watch that saw everything as it was, a revision a response."""
    watch = Stream(who, b"\0", b"\0", 1, prev_kv=True)
    for revision in range(2, 9):
        events = tuple(event for event in EVENTS if event.revision == revision)
        watch.responses.append(Response(revision, events))
    watch.responses.append(Response(8, ()))
    return watch


def honest() -> History:
    """Make a history in which all is well."""
    operations = [
        Operation("x", Kind.PUT, 10, 20, 2, values={b"a": b"v1"}),
        # never answered, and done
        Operation("y", Kind.PUT, 15, None, values={b"a": b"v2"}),
        # never answered, and not done
        Operation("z", Kind.PUT, 15, None, values={b"a": b"never"}),
        Operation("x", Kind.TXN, 30, 40, 4, values={b"b": b"v3", b"c": b"v3"}),
        Operation("x", Kind.RANGE, 41, 45, 4, key=b"a", end=b"c", found=(A3, B4)),
        Operation("w", Kind.STALE, 41, 45, 2, key=b"a", found=(A2,)),
        Operation("x", Kind.DELETE, 50, 60, 5, values={b"a": None}),
        Operation("x", Kind.SWAP, 61, 65, 5, values={b"a": b"v4"}, expected=3, done=False),
        Operation("x", Kind.SWAP, 70, 80, 6, values={b"a": b"v5"}, expected=0),
        Operation("x", Kind.PAST, 81, 85, 6, key=b"a", at=3, found=(A3,)),
        Operation("x", Kind.PUT, 90, 95, 7, values={b"d": b"v6"}, lease=LEASE),
        Operation("x", Kind.REVOKE, 100, 110, lease=LEASE),
        Operation("x", Kind.DELETE, 120, 130, 8, values={b"d": None}, done=False),
    ]
    collectors = [stream("one"), stream("two")]
    return History(operations, list(collectors), collectors)


def test_an_honest_history_passes() -> None:
    """Writes in doubt, done or not, stale reads and revocations are no violations."""
    assert judge(honest()) == []


def lost_write(history: History) -> None:
    """An acknowledged write that nobody ever sees."""
    history.operations.append(Operation("x", Kind.PUT, 140, 150, 9, values={b"e": b"lost"}))


def replaced_write(history: History) -> None:
    """An acknowledged write whose revision holds something else."""
    history.operations[0].values = {b"a": b"other"}


def stale_read(history: History) -> None:
    """A linearizable read that shows what was superseded before it was asked."""
    history.operations.append(Operation("x", Kind.RANGE, 62, 64, 3, key=b"a", found=(A3,)))


def mixed_read(history: History) -> None:
    """A read that shows half of one state and half of another."""
    history.operations[4].found = (A2, B4)


def unborn_write(history: History) -> None:
    """A revision that nobody asked for."""
    del history.operations[1]


def double_swap(history: History) -> None:
    """Two swaps that both found the key missing."""
    history.operations.append(
        Operation("y", Kind.SWAP, 71, 79, 6, values={b"a": b"v5"}, expected=0)
    )


def failed_swap(history: History) -> None:
    """A swap that was told that its key had changed, when it had not."""
    history.operations[7].expected = 0


def early_revision(history: History) -> None:
    """A write whose revision somebody had been told before it was asked for."""
    history.operations[0].invoked = 46
    history.operations[0].returned = 47


def late_history(history: History) -> None:
    """A read at an old revision that shows another one."""
    history.operations[9].found = (A2,)


def left_keys(history: History) -> None:
    """A revoked lease that still has a key."""
    for watch in history.streams:
        del watch.responses[-2:]
    history.operations.pop()


def gap(history: History) -> None:
    """A watch that leaves out a revision."""
    del history.streams[0].responses[1]


def repetition(history: History) -> None:
    """A watch that tells a revision twice."""
    history.streams[0].responses.insert(2, history.streams[0].responses[1])


def disorder(history: History) -> None:
    """A watch that tells two revisions the wrong way round."""
    responses = history.streams[0].responses
    responses[0], responses[1] = responses[1], responses[0]


def torn_revision(history: History) -> None:
    """A watch that tells the two changes of one revision in two responses."""
    responses = history.streams[0].responses
    first, second = responses[2].events
    responses[2:3] = [Response(4, (first,)), Response(4, (second,))]


def wrong_previous(history: History) -> None:
    """A watch whose prev_kv is not what the key was."""
    events = history.streams[0].responses[1].events
    history.streams[0].responses[1].events = (events[0]._replace(before=None),)


def early_progress(history: History) -> None:
    """A progress notification that overtakes an event."""
    history.streams[0].responses.insert(0, Response(3, ()))


def progress_back(history: History) -> None:
    """A progress notification behind an earlier one."""
    history.streams[0].responses.append(Response(7, ()))


def different_members(history: History) -> None:
    """Two members that tell one revision differently."""
    (event,) = history.collectors[1].responses[0].events
    history.collectors[1].responses[0].events = (event._replace(now=A2._replace(value=b"x")),)


def unseen_revision(history: History) -> None:
    """A revision that no member's watch told."""
    for watch in history.streams:
        del watch.responses[4]


FORGERIES: list[tuple[Callable[[History], None], str]] = [
    (lost_write, "acknowledged"),
    (replaced_write, "acknowledged"),
    (stale_read, "has no order"),
    (stale_read, "read revision 3 after 5 was seen"),
    (mixed_read, "should have found"),
    (unborn_write, "nobody asked for revision 3"),
    (double_swap, "have one revision"),
    (double_swap, "has no order"),
    (failed_swap, "found None"),
    (early_revision, "wrote revision 2 after 4 was seen"),
    (late_history, "should have found"),
    (left_keys, "left [b'd']"),
    (gap, "where there are"),
    (repetition, "where there are"),
    (disorder, "where there are"),
    (torn_revision, "where there are"),
    (wrong_previous, "was Row"),
    (early_progress, "progress 3 before"),
    (progress_back, "progress went back from 8 to 7"),
    (different_members, "to another"),
    (unseen_revision, "nobody saw revision 6"),
]


@pytest.mark.parametrize(("forge", "sentence"), FORGERIES)
def test_a_forged_history_is_found_out(forge: Callable[[History], None], sentence: str) -> None:
    """Each lie about an otherwise honest history gets the sentence that names it."""
    history = honest()
    forge(history)
    found = judge(history)
    assert any(sentence in each for each in found), found


def test_what_a_compaction_took_is_no_lie() -> None:
    """A missing prev_kv and a refused read below a compaction are in order, above it not."""
    history = honest()
    wrong_previous(history)
    refused = Operation("x", Kind.PAST, 140, 150, key=b"a", at=2, refused="has been compacted")
    history.operations.append(refused)
    assert len(judge(history)) == 2
    history.compacted = 3
    assert judge(history) == []
