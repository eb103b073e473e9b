"""One stream: what is sent when, how much is held, and what a slow reader costs."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.mvcc import Store, WatchHub, WatchSession
from trioetcd.mvcc.watch_session import SESSION_BYTES
from trioetcd.schema import messages
from trioetcd.schema.fastpath import header_field
from trioetcd.testing.space import DictSpace


class Stream:
    """A hub, a session, and what came of it."""

    def __init__(self, *, history_bytes: int = 1 << 20, fragment_bytes: int = 1 << 20) -> None:
        self.store = Store(
            DictSpace(), epoch=b"\x80", revision=1, compact_revision=-1, history_bytes=history_bytes
        )
        self.hub = WatchHub(self.store)
        self.woken = 0
        self.fragment_bytes = fragment_bytes
        self.refused: EtcdError | None = None
        self.session = self.open()

    def open(self) -> WatchSession:
        return WatchSession(
            self.hub,
            lambda revision: header_field(b"", revision, 0),
            wake=self.wake,
            permit=lambda _: self.refused,
            fragment_bytes=self.fragment_bytes,
            progress_seconds=10.0,
        )

    def wake(self) -> None:
        self.woken += 1

    def put(self, key: bytes, value: bytes = b"v") -> None:
        events = self.store.put(key, value, 0, self.store.current(key))
        self.hub.publish(self.store.revision, events)

    def create(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        watch_id: int = 0,
        progress_notify: bool = False,
        fragment: bool = False,
    ) -> None:
        self.session.handle(
            messages.WatchRequest(
                create_request=messages.WatchCreateRequest(
                    key=key,
                    range_end=range_end,
                    start_revision=start_revision,
                    watch_id=watch_id,
                    progress_notify=progress_notify,
                    fragment=fragment,
                )
            )
        )

    def ask_progress(self) -> None:
        self.session.handle(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))

    def taken(self, size: int = 1 << 20) -> list[messages.WatchResponse]:
        return [messages.WatchResponse.FromString(data) for data in self.session.take(size)]


def test_empty_key_is_every_key_from_zero() -> None:
    """An empty key watches the zero key, and everything with a range end of zero (etcd)."""
    stream = Stream()
    stream.create(b"", b"\0")
    stream.put(b"a")
    created, event = stream.taken()
    assert created.created
    assert [each.kv.key for each in event.events] == [b"a"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            errors.PERMISSION_DENIED,
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
        (
            errors.INVALID_AUTH_TOKEN,
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
        (
            errors.AUTH_OLD_REVISION,
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
        ),
    ],
)
def test_refused(row: errors.ErrorRow, reason: str) -> None:
    """A watch that is not permitted is created and canceled at once, with gRPC's whole text."""
    stream = Stream()
    stream.refused = EtcdError(row)
    stream.create(b"a")
    expected = messages.WatchResponse(
        watch_id=-1, created=True, canceled=True, cancel_reason=reason
    )
    expected.header.revision = 1
    assert [expected] == stream.taken()


def test_numbers() -> None:
    """Chosen numbers are kept, given ones count from 0 and step over chosen ones (etcd)."""
    stream = Stream()
    stream.create(b"a")
    stream.create(b"a", watch_id=2)
    stream.create(b"a")
    stream.create(b"a")
    stream.create(b"a", watch_id=2)
    stream.create(b"a", watch_id=0)
    assert [response.watch_id for response in stream.taken()] == [0, 2, 1, 3, -1, 4]


def test_woken_once() -> None:
    """However much happens, the sender is woken once between two takes."""
    stream = Stream()
    stream.create(b"a")
    for _ in range(5):
        stream.put(b"a")
    assert stream.woken == 1
    assert len(stream.taken()) == 6
    assert not stream.session.more
    assert stream.taken() == []
    stream.put(b"b")
    assert stream.woken == 1
    stream.put(b"a")
    assert stream.woken == 2


def test_stalled() -> None:
    """A session nobody takes from holds a bounded amount; its watches lag, and miss nothing."""
    stream = Stream(history_bytes=1)
    stream.create(b"a", b"b")
    stream.create(b"other")
    value = b"x" * 100_000
    for _ in range(30):
        stream.put(b"a", value)
    assert stream.session.congested
    assert stream.session._size < SESSION_BYTES + 2 * len(value)
    assert stream.session.lagging == 1
    assert stream.hub.lagging == 1
    assert stream.hub.watchers == 2
    seen: list[int] = []
    while stream.session.more:
        for response in stream.taken(200_000):
            seen.extend(event.kv.mod_revision for event in response.events)
    assert list(range(2, 32)) == seen
    assert stream.session.lagging == 0
    stream.put(b"a", b"again")
    assert [event.kv.mod_revision for each in stream.taken() for event in each.events] == [32]


def test_many_watches_of_one_key_are_bounded() -> None:
    """A large event for very many watches of one stream is not made for all of them at once."""
    stream = Stream()
    for _ in range(100):
        stream.create(b"a")
    stream.taken()
    stream.put(b"a", b"x" * 100_000)
    assert stream.session._size < SESSION_BYTES + 200_000
    got: list[int] = []
    while stream.session.more:
        got.extend(response.watch_id for response in stream.taken())
    assert list(range(100)) == sorted(got)


def test_one_take_is_bounded() -> None:
    """What is taken is about as much as was asked for, and the rest stays in order."""
    stream = Stream()
    stream.create(b"a")
    for _ in range(10):
        stream.put(b"a", b"x" * 100)
    first = stream.session.take(300)
    assert 300 <= sum(map(len, first)) < 600
    rest = stream.session.take(1 << 20)
    revisions = [
        event.kv.mod_revision
        for data in first + rest
        for event in messages.WatchResponse.FromString(data).events
    ]
    assert list(range(2, 12)) == revisions


def test_compacted() -> None:
    """A start below the compact revision is canceled with it, header empty; at it, served."""
    stream = Stream()
    for _ in range(8):
        stream.put(b"a")
    stream.store.compact(5)
    stream.create(b"a", start_revision=4)
    stream.create(b"a", start_revision=5)
    created, also, canceled, *rest = stream.taken()
    assert (created.watch_id, also.watch_id) == (0, 1)
    expected = messages.WatchResponse(watch_id=0, canceled=True, compact_revision=5)
    expected.header.SetInParent()
    assert expected == canceled
    assert [event.kv.mod_revision for each in rest for event in each.events] == [5, 6, 7, 8, 9]
    assert [each.header.revision for each in rest] == [9]
    stream.create(b"a", watch_id=1)
    assert [each.watch_id for each in stream.taken()] == [-1]


def test_catching_up_together() -> None:
    """Watches of one key that start at different revisions are each given theirs, no others."""
    stream = Stream(history_bytes=1)
    for _ in range(8):
        stream.put(b"a")
    for start in (6, 2, 9):
        stream.create(b"a", start_revision=start)
    got: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for response in stream.taken():
        got[response.watch_id] += [event.kv.mod_revision for event in response.events]
    assert got == {0: [6, 7, 8, 9], 1: list(range(2, 10)), 2: [9]}


def test_synced_is_safe_from_compaction() -> None:
    """A watch that was quiet for long is not canceled by a compaction."""
    stream = Stream()
    stream.create(b"quiet")
    stream.taken()
    for _ in range(8):
        stream.put(b"a")
    stream.store.compact(9)
    stream.put(b"quiet")
    assert [event.kv.mod_revision for each in stream.taken() for event in each.events] == [10]


def test_future_start() -> None:
    """A watch from a revision to come is silent until then, and delays no progress but its own."""
    stream = Stream()
    stream.create(b"a", start_revision=4)
    stream.ask_progress()
    stream.put(b"a")
    stream.put(b"a")
    assert len(stream.taken()) == 1
    stream.put(b"a")
    stream.ask_progress()
    event, progress = stream.taken()
    assert [each.kv.mod_revision for each in event.events] == [4]
    assert (progress.watch_id, progress.header.revision) == (-1, 4)


def test_forgotten_future_starts() -> None:
    """Watches from far away revisions leave nothing behind when they end."""
    stream = Stream()
    for number in range(1, 40):
        stream.create(b"a", start_revision=2**62, watch_id=number)
    for number in range(1, 40):
        stream.session.handle(
            messages.WatchRequest(cancel_request=messages.WatchCancelRequest(watch_id=number))
        )
    stream.session.close()
    assert stream.hub._waiting == []


def test_progress_waits_for_the_lagging() -> None:
    """A progress request is answered once, after all that happened before it."""
    stream = Stream()
    for _ in range(5):
        stream.put(b"a")
    stream.create(b"a", start_revision=2)
    stream.ask_progress()
    stream.ask_progress()
    created, events, progress = stream.taken()
    assert created.created
    assert len(events.events) == 5
    expected = messages.WatchResponse(watch_id=-1)
    expected.header.revision = 6
    assert expected == progress


def test_no_watches_no_progress() -> None:
    """A progress request on a stream without watches is not answered (etcd)."""
    stream = Stream()
    stream.ask_progress()
    assert stream.taken() == []


def test_progress_notify() -> None:
    """A watch that asked is told of progress when it was quiet since the last time."""
    stream = Stream()
    stream.create(b"a", progress_notify=True)
    stream.create(b"b")
    stream.taken()
    stream.session.tick(100.0)
    stream.session.tick(109.0)
    assert stream.taken() == []
    stream.put(b"b")
    stream.taken()
    stream.session.tick(110.0)
    (progress,) = stream.taken()
    assert (progress.watch_id, progress.header.revision) == (0, 2)
    stream.put(b"a")
    stream.taken()
    stream.session.tick(120.0)
    assert stream.taken() == []
    stream.session.tick(130.0)
    assert [each.watch_id for each in stream.taken()] == [0]


def test_fragments() -> None:
    """Only a watch that asked gets a large revision in pieces, the last one marked as whole."""
    stream = Stream(fragment_bytes=200)
    for number in range(6):
        stream.put(b"k%d" % number, b"x" * 50)
    stream.create(b"k", b"l", start_revision=2)
    stream.create(b"k", b"l", start_revision=2, fragment=True)
    whole, *pieces = [each for each in stream.taken() if not each.created]
    assert (whole.watch_id, len(whole.events), whole.fragment) == (0, 6, False)
    assert len(pieces) > 1
    assert [True] * (len(pieces) - 1) + [False] == [each.fragment for each in pieces]
    assert list(whole.events) == [event for each in pieces for event in each.events]


def test_reload() -> None:
    """After a snapshot, watches go on from where they were, or are canceled with its compaction."""
    stream = Stream()
    stream.put(b"a")
    stream.create(b"a")
    stream.create(b"a", start_revision=50)
    stream.taken()
    other = Stream()
    for number in range(8):
        other.put(b"a", b"%d" % number)
    stream.store.space = other.store.space
    stream.store.load(epoch=b"\x80", revision=9, compact_revision=-1)
    stream.hub.reload()
    responses = stream.taken()
    assert list(range(3, 10)) == [
        event.kv.mod_revision for each in responses for event in each.events
    ]
    other.put(b"a")
    other.put(b"a")
    other.store.compact(11)
    stream.store.load(epoch=b"\x80", revision=11, compact_revision=11)
    stream.hub.reload()
    (canceled,) = stream.taken()
    assert (canceled.watch_id, canceled.compact_revision) == (0, 11)
