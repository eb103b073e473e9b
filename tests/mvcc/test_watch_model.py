"""Watch streams against a naive twin: every watch sees every event it asked for, once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store, WatchHub, WatchSession, WriteTxn
from trioetcd.schema import messages
from trioetcd.schema.fastpath import header_field
from trioetcd.testing.space import DictSpace

KEYS = [b"a", b"ab", b"b", b"c", b"c\0"]
keys = st.sampled_from(KEYS)
ends = st.sampled_from([b"", b"", b"\0", b"b", b"c", b"d", b"a"])


@dataclass
class Wanted:
    """What the twin knows of a watch."""

    keys: KeyRange
    start: int
    request: messages.WatchCreateRequest
    at: int  # the first revision it must still be given
    got: list[messages.Event] = field(default_factory=list)
    compacted: bool = False
    partial: bool = False


class Watches(RuleBasedStateMachine):
    """One session among puts and deletions, with little room and small steps."""

    @initialize(size=st.sampled_from([150, 600, 100_000]), history=st.sampled_from([1, 100_000]))
    def start(self, size: int, history: int) -> None:
        self.space = DictSpace()
        self.store = Store(
            self.space, epoch=b"\x80", revision=1, compact_revision=-1, history_bytes=history
        )
        self.lessor = Lessor(self.space, epoch=b"\x80")
        self.hub = WatchHub(self.store)
        self.woken = 0
        self.session = WatchSession(
            self.hub, self.header, wake=self.wake, fragment_bytes=120, size_max=size
        )
        self.wanted: dict[int, Wanted] = {}
        self.happened: dict[int, list[messages.Event]] = {}
        self.announced: set[int] = set()
        self.progress = 0
        self.created = 0

    def header(self, revision: int) -> bytes:
        return header_field(b"", revision, 0)

    def wake(self) -> None:
        self.woken += 1

    def happens(self, change: WriteTxn) -> None:
        events = change.commit()
        if events:
            self.happened[self.store.revision] = [
                messages.Event.FromString(message + (before or b""))
                for _, message, before in events
            ]
            self.hub.publish(self.store.revision, events)

    @rule(key=keys, value=st.sampled_from([b"", b"x" * 50]))
    def put(self, key: bytes, value: bytes) -> None:
        """Something happens to one key."""
        change = WriteTxn(self.store, self.lessor)
        change.put(key, value, 0)
        self.happens(change)

    @rule(names=st.lists(keys, unique=True, max_size=4), gone=keys)
    def put_many(self, names: list[bytes], gone: bytes) -> None:
        """Something happens to several keys at once."""
        change = WriteTxn(self.store, self.lessor)
        row = change.current(gone)
        if row is not None:
            change.delete(gone, row)
        for key in names:
            if key != gone:
                change.put(key, b"many", 0)
        self.happens(change)

    @rule()
    def compact(self) -> None:
        """History up to the middle of what there is goes away."""
        revision = (self.store.compact_revision + self.store.revision + 1) // 2
        if revision > self.store.compact_revision:
            self.store.compact(revision)
            while self.store.compact_step(3):
                pass

    @rule(
        key=keys,
        end=ends,
        back=st.integers(-3, 12),
        from_now=st.booleans(),
        number=st.integers(0, 4),
        filters=st.lists(st.integers(0, 1), max_size=2),
        prev_kv=st.booleans(),
        fragment=st.booleans(),
    )
    def create(
        self,
        key: bytes,
        end: bytes,
        *,
        back: int,
        from_now: bool,
        number: int,
        filters: list[int],
        prev_kv: bool,
        fragment: bool,
    ) -> None:
        """A watch from any revision is created, or refused with etcd's reason."""
        self.drain()
        start = 0 if from_now else max(self.hub.revision + 1 - back, -1)
        request = messages.WatchCreateRequest(
            key=key,
            range_end=end,
            start_revision=start,
            watch_id=number,
            prev_kv=prev_kv,
            fragment=fragment,
        )
        request.filters.extend(filters)
        self.session.handle(messages.WatchRequest(create_request=request))
        response = messages.WatchResponse.FromString(self.session.take(1)[0])
        expected = messages.WatchResponse(created=True)
        expected.header.revision = self.hub.revision
        interval = KeyRange.from_wire(key, end)
        if start < 0:
            expected.cancel_reason = "etcdserver: mvcc: required revision has been compacted"
        elif interval.empty:
            expected.cancel_reason = "mvcc: watcher range is empty"
        elif number and number in self.wanted:
            expected.cancel_reason = "mvcc: duplicate watch ID provided on the WatchStream"
        if expected.cancel_reason:
            expected.canceled = True
            expected.watch_id = -1
            assert expected == response
            return
        if number == 0:
            number = response.watch_id
            assert number not in self.wanted
        expected.watch_id = number
        assert expected == response
        self.wanted[number] = Wanted(interval, start, request, start or self.hub.revision + 1)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A canceled watch is answered once and gets nothing more."""
        number = data.draw(st.sampled_from(sorted(self.wanted)))
        self.drain()
        del self.wanted[number]
        self.session.handle(
            messages.WatchRequest(cancel_request=messages.WatchCancelRequest(watch_id=number))
        )
        response = messages.WatchResponse.FromString(self.session.take(1)[0])
        expected = messages.WatchResponse(watch_id=number, canceled=True)
        expected.header.revision = self.hub.revision
        assert expected == response

    @rule()
    def ask_progress(self) -> None:
        """A progress request is answered when nothing lags, after all events before it."""
        self.drain()
        self.session.handle(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))
        alive = [wanted for wanted in self.wanted.values() if not wanted.compacted]
        answers = bool(alive) and all(each.start <= self.hub.revision for each in alive)
        before = self.progress
        self.drain()
        assert before + answers == self.progress

    @rule(size=st.integers(1, 300))
    def take(self, size: int) -> None:
        """The sender takes a little."""
        self.receive(self.session.take(size))

    @rule()
    def drain(self) -> None:
        """Once everything is taken, every watch has been given all it asked for."""
        while self.session.more:
            self.receive(self.session.take(200))
        for wanted in self.wanted.values():
            assert not wanted.partial
            if wanted.compacted:
                continue
            expected = self.expected(wanted)
            for event in wanted.got:
                # Whether it was read before or after the compaction is not the twin's business.
                if event.kv.mod_revision <= self.store.compact_revision:
                    event.ClearField("prev_kv")
            assert expected == wanted.got
            wanted.got = []
            wanted.at = max(wanted.at, self.hub.revision + 1)

    def expected(self, wanted: Wanted) -> list[messages.Event]:
        events = []
        for revision in range(wanted.at, self.hub.revision + 1):
            for event in self.happened.get(revision, []):
                kept = messages.Event.FromString(event.SerializeToString())
                refused = [1 - kind for kind in wanted.request.filters]
                if kept.kv.key not in wanted.keys or (1 - kept.type) in refused:
                    continue
                if not wanted.request.prev_kv or revision <= self.store.compact_revision:
                    kept.ClearField("prev_kv")
                events.append(kept)
        return events

    def receive(self, taken: list[bytes]) -> None:
        for data in taken:
            response = messages.WatchResponse.FromString(data)
            if response.watch_id == -1:
                assert not response.events
                self.progress += 1
                continue
            wanted = self.wanted[response.watch_id]
            if response.canceled:
                assert self.store.compact_revision == response.compact_revision
                assert wanted.at + 0 < response.compact_revision
                wanted.compacted = True
                wanted.got = []
                continue
            assert response.events
            assert response.header.revision >= response.events[-1].kv.mod_revision
            assert not response.fragment or wanted.request.fragment
            if wanted.request.fragment and len(response.events) > 1:
                assert len(data) < 120 + 4
            wanted.partial = response.fragment
            wanted.got.extend(response.events)

    def teardown(self) -> None:
        """Closing lets go of everything."""
        if not hasattr(self, "session"):
            return
        self.drain()
        self.session.close()
        assert not self.hub.sessions
        assert len(self.hub._interests) == 0
        assert self.hub._interests._bounds == [b""]


Watches.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True
)
TestWatches = Watches.TestCase
