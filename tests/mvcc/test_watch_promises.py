"""What etcd promises of watches, one test for each, through the state machine and the streams.

Commands of every kind are applied as the log has them, with compactions, with snapshots that put
other state in their place, for clients that read, do not read, and come back. What each watch was
given is held to each promise by itself, so that a name says what was broken; with the promise stand
the ways in which it has been broken in etcd, by the number of the issue, each as it was then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioetcd.auth import AuthStore
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store, WatchHub, WatchSession
from trioetcd.mvcc.watch_session import SESSION_BYTES
from trioetcd.schema import messages
from trioetcd.schema.fastpath import header_field
from trioetcd.statemachine import Alarms, Applier, CommandKind, Outcome
from trioetcd.testing.space import DictSpace

Response = messages.WatchResponse
Event = messages.Event
KEYS = (b"a", b"b", b"ba", b"c")
LEASE = 7


class Nobody:
    """There are no members."""

    def apply(self, _kind: int, _payload: bytes, /) -> Outcome:
        raise AssertionError("no such command is applied here")


class Member:
    """A state machine and its hub.

    Attributes:
        happened: the events of each revision, each with the key as it was before.
        compacted: up to where history is gone; of what was before it nobody can tell.
    """

    def __init__(self) -> None:
        self.space = DictSpace()
        self.store = Store(
            self.space, epoch=b"\x80", revision=1, compact_revision=-1, history_bytes=500
        )
        self.lessor = Lessor(self.space, epoch=b"\x80")
        self.applier = Applier(
            space=self.space,
            store=self.store,
            lessor=self.lessor,
            alarms=Alarms(self.space, epoch=b"\x80"),
            membership=Nobody(),
            auth=AuthStore(self.space, epoch=b"\x80"),
        )
        self.hub = WatchHub(self.store)
        self.happened: dict[int, list[Event]] = {}
        self.published = True

    @property
    def compacted(self) -> int:
        return self.store.compact_revision

    def apply(self, kind: int, request: messages.Message) -> None:
        outcome = self.applier.apply(kind, request.SerializeToString())
        if not isinstance(outcome, (tuple, Exception)):
            for _ in outcome:
                pass
        for revision, events in self.applier.published:
            self.happened[revision] = [
                Event.FromString(message + (before or b"")) for _, message, before in events
            ]
            if self.published:
                self.hub.publish(revision, events)
        self.applier.published.clear()

    def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> None:
        self.apply(CommandKind.PUT, messages.PutRequest(key=key, value=value, lease=lease))

    def delete(self, key: bytes, end: bytes = b"") -> None:
        self.apply(CommandKind.DELETE_RANGE, messages.DeleteRangeRequest(key=key, range_end=end))

    def txn(self, *puts: bytes, gone: bytes = b"") -> None:
        request = messages.TxnRequest()
        for key in puts:
            request.success.add().request_put.key = key
        if gone and gone not in puts:
            request.success.add().request_delete_range.key = gone
        self.apply(CommandKind.TXN, request)

    def compact(self, revision: int) -> None:
        self.apply(CommandKind.COMPACT, messages.CompactionRequest(revision=revision))
        while self.store.compact_step(2):
            pass

    def end_lease(self) -> None:
        """Let a lease end whose keys were put since the last time."""
        self.apply(CommandKind.LEASE_REVOKE, messages.LeaseRevokeRequest(ID=LEASE))
        self.apply(CommandKind.LEASE_GRANT, messages.LeaseGrantRequest(ID=LEASE, TTL=60))

    def install(self) -> None:
        """Go on with what was applied without anybody's hearing of it, as with a snapshot."""
        store = self.store
        store.load(epoch=b"\x80", revision=store.revision, compact_revision=store.compact_revision)
        self.lessor.load(epoch=b"\x80")
        self.hub.reload()
        self.published = True


@dataclass
class Watch:
    """A client's watch on a stream of its own; it comes back behind what it was given.

    Attributes:
        given: what came, responses in order, of all its streams.
        came: the revision its first stream began at.
        position: the next revision it wants.
        lost: the revisions it was told are gone.
    """

    member: Member
    request: messages.WatchCreateRequest
    size: int = SESSION_BYTES
    fragment_bytes: int = 1 << 20
    given: list[Response] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    position: int = 0

    def __post_init__(self) -> None:
        self.came = self.position = self.request.start_revision or self.member.hub.revision + 1
        self.session = self.open()

    @property
    def keys(self) -> KeyRange:
        return KeyRange.from_wire(self.request.key, self.request.range_end)

    def open(self) -> WatchSession:
        session = WatchSession(
            self.member.hub,
            lambda revision: header_field(b"", revision, 0),
            wake=lambda: None,
            size_max=self.size,
            fragment_bytes=self.fragment_bytes,
            progress_seconds=10.0,
        )
        create = messages.WatchCreateRequest()
        create.CopyFrom(self.request)
        create.start_revision = self.position
        session.handle(messages.WatchRequest(create_request=create))
        return session

    def read(self, size: int = 1 << 20) -> list[Response]:
        """Read about so many bytes."""
        fresh = [Response.FromString(data) for data in self.session.take(size)]
        fresh = [each for each in fresh if not each.created]
        self.given += fresh
        for each in fresh:
            if each.canceled:
                self.lost |= set(range(self.position, each.compact_revision))
                self.position = each.compact_revision
                self.come_back()
                break
            if each.events and not each.fragment:
                self.position = each.events[-1].kv.mod_revision + 1
            elif not each.events:
                self.position = max(self.position, each.header.revision + 1)
        return fresh

    def read_all(self) -> list[Response]:
        """Read until there is no more."""
        found = self.read()
        while self.session.more:
            found += self.read()
        return found

    def come_back(self) -> None:
        """Lose the connection, and what was on its way, and go on behind what has come."""
        self.session.close()
        # A response in fragments of which the last has not come is begun anew.
        while self.given and self.given[-1].fragment:
            self.given.pop()
        self.session = self.open()

    def ask_progress(self) -> None:
        self.session.handle(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))

    @property
    def events(self) -> list[Event]:
        return [event for each in self.given for event in each.events]

    def wanted(self, first: int, last: int) -> list[Event]:
        """Give what it should be given of some revisions."""
        refused = {1 - kind for kind in self.request.filters}
        return [
            event
            for revision in range(first, last + 1)
            for event in self.member.happened.get(revision, ())
            if event.kv.key in self.keys and 1 - event.type not in refused
        ]


def bare(event: Event) -> Event:
    copy = Event()
    copy.CopyFrom(event)
    copy.ClearField("prev_kv")
    return copy


# -- any life --------------------------------------------------------------------------------

ACTS = ("put", "put", "put", "lease", "txn", "delete", "delete all", "end lease", "compact")
TROUBLE = ("read", "read a little", "come back", "progress", "time", "snapshot", "installed")
scripts = st.lists(
    st.tuples(st.sampled_from(ACTS + TROUBLE), st.sampled_from(KEYS), st.integers(0, 5)),
    max_size=60,
)
requests = st.builds(
    messages.WatchCreateRequest,
    key=st.sampled_from([b"\0", b"a", b"b"]),
    range_end=st.sampled_from([b"", b"\0", b"c"]),
    start_revision=st.sampled_from([0, 0, 1, 3, 9]),
    filters=st.sampled_from([[], [], [messages.WatchCreateRequest.NOPUT], [1]]),
    prev_kv=st.booleans(),
    fragment=st.booleans(),
    progress_notify=st.booleans(),
)


def live(script: list[tuple[str, bytes, int]], request: messages.WatchCreateRequest) -> Watch:
    """Let all of it happen to one watch, and let it read what there is in the end."""
    member = Member()
    member.end_lease()
    watch = Watch(member, request, size=300, fragment_bytes=100)
    now = 0.0
    for act, key, number in script:
        match act:
            case "put":
                member.put(key, b"x" * 10 * number)
            case "lease":
                member.put(key, lease=LEASE)
            case "txn":
                member.txn(*KEYS[number % 4 :], gone=key)
            case "delete":
                member.delete(key)
            case "delete all":
                member.delete(b"\0", b"\0")
            case "end lease":
                member.end_lease()
            case "compact":
                member.compact(max(1, member.store.revision - number))
            case "read":
                watch.read_all()
            case "read a little":
                watch.read(50)
            case "come back" if member.published:
                watch.come_back()
            case "progress":
                watch.ask_progress()
            case "time":
                now += 11.0
                watch.session.tick(now)
            case "snapshot":
                member.published = False
            case "installed" if not member.published:
                member.install()
            case _:
                pass
    if not member.published:
        member.install()
    watch.read_all()
    return watch


lives = st.builds(live, scripts, requests)
promise = settings(max_examples=60, deadline=None, derandomize=True)


@promise
@given(lives)
def test_ordered(watch: Watch) -> None:
    """Ordered: events come by revision, over all its connections."""
    revisions = [event.kv.mod_revision for event in watch.events]
    assert revisions == sorted(revisions)
    assert all(revision >= watch.came for revision in revisions)


@promise
@given(lives)
def test_unique(watch: Watch) -> None:
    """Unique: no event comes twice."""
    names = [(event.kv.mod_revision, event.kv.key, event.type) for event in watch.events]
    assert len(names) == len(set(names))


@promise
@given(lives)
def test_reliable(watch: Watch) -> None:
    """Reliable: none is left out but of revisions that it was told are compacted."""
    expected = [
        bare(event)
        for event in watch.wanted(watch.came, watch.member.hub.revision)
        if event.kv.mod_revision not in watch.lost
    ]
    assert expected == [bare(event) for event in watch.events]


@promise
@given(lives)
def test_atomic(watch: Watch) -> None:
    """Atomic: the events of one revision come in one response, or its fragments if asked for."""
    last = 0
    for response in watch.given:
        assert not response.fragment or watch.request.fragment
        if response.events:
            assert response.events[0].kv.mod_revision > last
        if not response.fragment and response.events:
            last = response.events[-1].kv.mod_revision


@promise
@given(lives)
def test_resumable(watch: Watch) -> None:
    """Resumable: a new watch from the last revision and one sees just what the old one would."""
    watch.member.put(b"a")
    watch.member.txn(*KEYS)
    watch.position = min(watch.position, watch.member.hub.revision - 1)
    watch.come_back()
    first = watch.position
    found = [bare(event) for each in watch.read_all() for event in each.events]
    wanted = [bare(event) for event in watch.wanted(first, watch.member.hub.revision)]
    assert wanted == found or watch.lost


@promise
@given(lives)
def test_bookmarkable(watch: Watch) -> None:
    """Bookmarkable: progress at a revision comes after everything up to it."""
    position = watch.came
    for response in watch.given:
        if response.canceled:
            position = max(position, response.compact_revision)
        elif response.events:
            position = max(position, response.events[-1].kv.mod_revision + 1)
        elif not response.fragment:
            assert response.header.revision >= watch.came
            assert not watch.wanted(position, response.header.revision)
            position = max(position, response.header.revision + 1)


@promise
@given(lives)
def test_prev_kv(watch: Watch) -> None:
    """PrevKV: what the key was just before, if asked for; nothing where that is compacted."""
    happened = {
        (event.kv.mod_revision, event.kv.key): event
        for events in watch.member.happened.values()
        for event in events
    }
    for event in watch.events:
        right = happened[event.kv.mod_revision, event.kv.key]
        if not watch.request.prev_kv:
            assert not event.HasField("prev_kv")
        elif event.HasField("prev_kv") or event.kv.mod_revision > watch.member.compacted:
            assert event.prev_kv == right.prev_kv
            assert event.HasField("prev_kv") == right.HasField("prev_kv")


@promise
@given(lives)
def test_is_create(watch: Watch) -> None:
    """IsCreate: a put says that it made its key if and only if there was none before it."""
    there: set[bytes] = set()
    made: dict[tuple[int, bytes], bool] = {}
    for revision, events in sorted(watch.member.happened.items()):
        for event in events:
            key = event.kv.key
            made[revision, key] = key not in there
            (there.discard if event.type == Event.DELETE else there.add)(key)
    for event in watch.events:
        kv = event.kv
        if event.type == Event.PUT:
            assert (kv.create_revision == kv.mod_revision) == made[kv.mod_revision, kv.key]
            assert (kv.version == 1) == made[kv.mod_revision, kv.key]


@promise
@given(lives)
def test_filter(watch: Watch) -> None:
    """Filter: nothing outside the interval, and nothing of a kind that was not wanted."""
    refused = {1 - kind for kind in watch.request.filters}
    for event in watch.events:
        assert event.kv.key in watch.keys
        assert 1 - event.type not in refused


# -- as it was in etcd -----------------------------------------------------------------------


def every(member: Member, *, start: int = 0, size: int = SESSION_BYTES) -> Watch:
    """Watch every key."""
    request = messages.WatchCreateRequest(
        key=b"\0", range_end=b"\0", start_revision=start, prev_kv=True, progress_notify=True
    )
    return Watch(member, request, size=size)


def revisions(watch: Watch) -> list[int]:
    return [event.kv.mod_revision for event in watch.events]


def test_ordered_behind_a_snapshot_15271() -> None:
    """A member that was behind installs a snapshot: its watches do not travel back in time.

    etcd took them for new ones, and sent again what they had been sent before.
    """
    member = Member()
    watch = every(member)
    for _ in range(5):
        member.put(b"a")
    watch.read_all()
    member.published = False
    for _ in range(5):
        member.put(b"a")
    member.install()
    member.put(b"a")
    watch.read_all()
    assert revisions(watch) == list(range(2, 13))


def test_unique_behind_a_stall_and_a_snapshot_15274() -> None:
    """A watch that lagged and caught up does not begin anew where it had begun to lag.

    etcd kept the revision at which a watch had once fallen behind, and went back to it.
    """
    member = Member()
    watch = every(member, size=100)
    for _ in range(20):
        member.put(b"a", b"x" * 50)
    assert watch.session.lagging
    watch.read_all()
    assert not watch.session.lagging
    member.put(b"a")
    watch.read_all()
    member.install()
    member.put(b"a")
    watch.read_all()
    assert revisions(watch) == list(range(2, 24))


def test_unique_in_a_txn_17247() -> None:
    """What a transaction has changed comes once, though it compares, reads and nests.

    etcd, in development, handed out the buffer of one transaction with that of another.
    """
    member = Member()
    watch = every(member)
    inner = messages.TxnRequest()
    inner.success.add().request_put.key = b"inner"
    request = messages.TxnRequest()
    request.success.add().request_put.key = b"a"
    request.success.add().request_range.key = b"a"
    request.success.add().request_txn.CopyFrom(inner)
    request.success.add().request_put.key = b"b"
    for _ in range(3):
        member.apply(CommandKind.TXN, request)
        member.put(b"c")
    watch.read_all()
    names = [(event.kv.mod_revision, event.kv.key) for event in watch.events]
    txn = [b"a", b"inner", b"b"]
    assert names == [
        (revision, key)
        for revision in range(2, 8)
        for key in (txn if revision % 2 == 0 else [b"c"])
    ]


def test_reliable_for_those_who_starve_17529() -> None:
    """A watch whose client does not read is told that it has lost events, or loses none.

    etcd's came back in step, without what had been compacted meanwhile.
    """
    member = Member()
    starving = every(member, size=100)
    for _ in range(30):
        member.put(b"a", b"x" * 50)
    member.compact(25)
    member.put(b"a")
    starving.read_all()
    assert [each.compact_revision for each in starving.given if each.canceled] == [25]
    before = [revision for revision in revisions(starving) if revision < 25]
    assert before == list(range(2, len(before) + 2))
    assert revisions(starving)[len(before) :] == list(range(25, 33))


@pytest.mark.parametrize("stalled", [False, True])
def test_reliable_for_a_deletion_at_the_compact_revision_18089(*, stalled: bool) -> None:
    """A watch from the revision that history is compacted to is given what that one deleted.

    etcd forgot tombstones at the compact revision itself.
    """
    member = Member()
    member.put(b"a")
    watch = every(member, size=1 if stalled else SESSION_BYTES)
    member.delete(b"a")
    member.compact(3)
    member.put(b"b")
    late = every(member, start=3)
    for each in (watch, late):
        each.read_all()
        found = [(event.kv.mod_revision, event.type) for event in each.events]
        assert found == [(3, Event.DELETE), (4, Event.PUT)]


def test_reliable_for_a_watch_opened_while_that_is_compacted_19179() -> None:
    """It does not matter how much of the history has gone by the time the watch begins."""
    member = Member()
    for key in KEYS:
        member.put(key)
    member.delete(b"\0", b"\0")
    revision = member.store.revision
    member.put(b"a")
    member.apply(CommandKind.COMPACT, messages.CompactionRequest(revision=revision))
    watches = [every(member, start=revision)]
    while member.store.compact_step(1):
        watches.append(every(member, start=revision))
    watches.append(every(member, start=revision))
    assert len(watches) > 3
    for watch in watches:
        watch.read_all()
        assert revisions(watch) == [revision] * len(KEYS) + [revision + 1]


def test_bookmarkable_while_events_wait_15220() -> None:
    """Progress that is asked for comes behind the events that wait to be sent.

    etcd answered at once, with the store's revision.
    """
    member = Member()
    watch = every(member, size=200)
    for _ in range(20):
        member.put(b"a", b"x" * 50)
    assert watch.session.lagging
    watch.ask_progress()
    watch.read_all()
    progress = [at for at, each in enumerate(watch.given) if not each.events]
    assert progress == [len(watch.given) - 1]
    assert watch.given[-1].header.revision == member.store.revision
    assert revisions(watch) == list(range(2, 22))


@pytest.mark.parametrize("start", [0, 2])
def test_bookmarkable_for_a_watch_that_sees_nothing_17566(start: int) -> None:
    """A quiet watch is told of progress, also one that has caught up without a single event.

    etcd waited for a first event, which never came; so did we, where another watch of the same
    interval on the same stream, with another filter, was given events all the time.
    """
    member = Member()
    for _ in range(3):
        member.put(b"a")
    quiet = Watch(
        member,
        messages.WatchCreateRequest(
            key=b"b", start_revision=start, progress_notify=True, filters=[0]
        ),
    )
    busy = messages.WatchCreateRequest(key=b"b", watch_id=1)
    quiet.session.handle(messages.WatchRequest(create_request=busy))
    quiet.read_all()
    told = []
    for now in (0.0, 11.0, 22.0):
        member.put(b"b")
        quiet.session.tick(now)
        told += [each for each in quiet.read_all() if each.watch_id == 0]
    assert [each.header.revision for each in told] == [6, 7]
    assert not any(each.events for each in told)


@pytest.mark.parametrize("behind", [1, 5])
def test_bookmarkable_for_a_watch_of_the_future_20221(behind: int) -> None:
    """Who watches from a revision to come hears of nothing before it, neither events nor progress.

    It has been told of that revision by another member, and asks one that is behind. etcd told it
    of progress, and then sent it what it had not asked for.
    """
    member = Member()
    member.put(b"a")
    start = member.store.revision + 1 + behind
    watch = every(member, start=start)
    watch.ask_progress()
    for now in (0.0, 11.0, 22.0):
        watch.session.tick(now)
    assert watch.read_all() == []
    member.published = False
    for _ in range(behind):
        member.put(b"a")
    member.install()
    watch.ask_progress()
    watch.session.tick(33.0)
    assert watch.read_all() == []
    member.put(b"a")
    watch.read_all()
    watch.ask_progress()
    watch.read_all()
    assert revisions(watch) == [start]
    assert watch.given[-1].header.revision == start


# -- slow readers ----------------------------------------------------------------------------

WATCHES = 3000


def held(session: WatchSession) -> Iterator[int]:
    """Give the sizes of what waits to be sent."""
    yield from map(len, session._outbox)


def test_a_slow_reader_costs_the_same_however_long_it_is_slow() -> None:
    """Thousands of watches of a client that does not read: bytes and objects stop growing.

    Nor does anybody else pay: once they lag, what happens does not touch them any more.
    """
    member = Member()
    slow = every(member).session
    for number in range(1, WATCHES):
        create = messages.WatchCreateRequest(
            key=b"a", range_end=b"c", watch_id=number, progress_notify=True
        )
        slow.handle(messages.WatchRequest(create_request=create))
    quick = every(member)
    while slow.more:
        slow.take(1 << 20)
    value = b"x" * 500
    costs = []
    for number in range(60):
        member.put(b"a", value)
        slow.tick(number * 11.0)
        assert len(quick.read_all()) == 1
        costs.append((sum(held(slow)), len(list(held(slow))), slow.lagging, len(slow._index)))
    page = 4096
    assert max(size for size, *_ in costs) <= SESSION_BYTES + page
    assert costs[5] == costs[-1]
    assert costs[-1][2:] == (WATCHES, 2)
    watching = {session for entry in member.hub._interests.at(b"a") for session in entry}
    assert watching == {quick.session}


def test_quiet_watches_of_a_slow_reader_cost_nothing() -> None:
    """Progress is not told, time and again, to a client that does not read what it was told."""
    member = Member()
    slow = every(member, size=30_000).session
    for number in range(1, WATCHES):
        create = messages.WatchCreateRequest(key=b"a", watch_id=number, progress_notify=True)
        slow.handle(messages.WatchRequest(create_request=create))
    while slow.more:
        slow.take(1 << 20)
    sizes = []
    for number in range(20):
        slow.tick(number * 11.0)
        sizes.append(sum(held(slow)))
    assert sizes[0] == 0
    assert max(sizes) < 30_000 + 20
    assert sizes[5] == sizes[-1]
    assert slow.congested
    while slow.more:
        slow.take(1 << 20)
    slow.tick(1000.0)
    assert len(list(held(slow))) == WATCHES - 1  # one begins at the next revision
