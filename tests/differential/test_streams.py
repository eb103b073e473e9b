"""What is checked on each watch stream by itself: every broken promise is noticed."""

from __future__ import annotations

import pytest

from tests.differential.streams import FRAGMENT_BYTES, Record
from trioetcd.schema import messages

HEADER = messages.ResponseHeader(revision=10)
LARGE = FRAGMENT_BYTES // 2 + 1


def _created(*, start: int = 0, fragment: bool = False, notify: bool = False) -> Record:
    """Give the record of a stream with one watch, number 3."""
    record = Record(strict=True)
    create = messages.WatchCreateRequest(start_revision=start, fragment=fragment)
    create.progress_notify = notify
    record.expect(messages.WatchRequest(create_request=create))
    record.note(messages.WatchResponse(header=HEADER, watch_id=3, created=True))
    assert record.problems == []
    return record


def _events(*revisions: int, header: int = 100, size: int = 0) -> messages.WatchResponse:
    response = messages.WatchResponse(header=messages.ResponseHeader(revision=header), watch_id=3)
    for revision in revisions:
        kv = messages.KeyValue(key=b"k", mod_revision=revision, value=bytes(size))
        response.events.append(messages.Event(kv=kv))
    return response


def test_good_stream() -> None:
    """Events that ascend, whole revisions, and progress behind them are no problem."""
    record = _created(notify=True)
    record.note(_events(11, 11, 12))
    record.note(messages.WatchResponse(header=messages.ResponseHeader(revision=15), watch_id=3))
    record.note(_events(16))
    assert record.problems == []
    assert record.notified == {3: 15}
    assert [item["kv.mod_revision"] for item in record.seen[3][1:]] == [11, 11, 12, 16]


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([_events(10)], "revision 10 split or repeated"),
        ([_events(11), _events(11)], "revision 11 split or repeated"),
        ([_events(12, 11)], "in one answer"),
        ([_events(12, header=11)], "header 11 < 12"),
        ([messages.WatchResponse(header=HEADER, watch_id=3)], "notified unasked"),
        ([messages.WatchResponse(header=HEADER, watch_id=4, created=True)], "created unasked"),
        ([messages.WatchResponse(watch_id=3, canceled=True), _events(11)], "is not there"),
        ([messages.WatchResponse(header=HEADER, watch_id=-1), _events(10)], "repeated"),
    ],
)
def test_broken_promise(answers: list[messages.WatchResponse], problem: str) -> None:
    """What a stream must not do is noticed."""
    record = _created()
    for answer in answers:
        record.note(answer)
    assert any(problem in found for found in record.problems), record.problems


def test_fragments() -> None:
    """A revision may be split where it must be, if that was asked for, and only there."""
    first, second = _events(11, size=LARGE), _events(11, size=LARGE)
    first.fragment = True
    record = _created(fragment=True)
    record.note(first)
    record.note(second)
    assert (record.problems, record.fragments) == ([], 1)
    record = _created()
    record.note(first)
    assert record.problems == ["watch 3: fragments unasked"]
    record = _created(fragment=True)
    record.note(_events(11, 11, size=LARGE))
    assert "in one answer" in record.problems[0]
    small = _events(11)
    small.fragment = True
    record = _created(fragment=True)
    record.note(small)
    record.note(_events(11))
    assert "had room for more" in record.problems[0]
