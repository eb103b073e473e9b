"""Watchers that hold a member to etcd's promises, one response after the other.

Ordered, unique, reliable, atomic: the events of each revision come once, all together, in order,
and none is left out. Resumable: after its member is gone a watcher goes on elsewhere behind the
last revision it knows to be complete. Bookmarkable: a progress notification with a revision means
that everything up to it has been delivered. And prev_kv is what the key was.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from trioetcd.mvcc import WatchHub, WatchSession
from trioetcd.schema import messages
from trioetcd.schema.fastpath import header_field
from trioetcd.testing.model import Change, Model, key_value
from trioetcd.testing.violation import require

__all__ = ["Interest", "Watching"]

TAKE_BYTES = 64 * 1024


class Interest(NamedTuple):
    """What a watcher wants: an interval, and how events come."""

    key: bytes
    end: bytes
    prev_kv: bool
    fragment: bool
    progress: bool


INTERESTS = (
    Interest(b"\0", b"\0", prev_kv=True, fragment=False, progress=True),
    Interest(b"k", b"l", prev_kv=False, fragment=True, progress=False),
    Interest(b"k00", b"", prev_kv=True, fragment=False, progress=True),
    Interest(b"r", b"t", prev_kv=True, fragment=True, progress=False),
)


class Watching:
    """One watcher's life across many members.

    Attributes:
        number: which watcher this is.
        interest: what it wants.
        position: the first revision not known to be complete.
        place: which member it is connected to; None while to none.
        events: how many events it has seen.
        reconnects: how often it went on elsewhere.

    Args:
        number: see above.
        model: the truth.
        random: chance.
    """

    def __init__(self, number: int, model: Model, random: Random) -> None:
        self.number = number
        self.interest = INTERESTS[number % len(INTERESTS)]
        self.position = 0
        self.place: int | None = None
        self.events = 0
        self.reconnects = 0
        self._model = model
        self._random = random
        self._session: WatchSession | None = None
        self._created = False
        self._fragments: list[messages.Event] = []
        self._partial = 0

    def connect(self, place: int, hub: WatchHub) -> None:
        """Begin to watch at a member, from where it was."""
        self.place = place
        self._created = False
        self._fragments = []
        interest = self.interest
        small = self._random.random() < 0.5
        self._session = WatchSession(
            hub,
            lambda revision: header_field(b"", revision, 1),
            wake=_nobody,
            size_max=2_000 if small else 1 << 20,
            fragment_bytes=500 if small else 1 << 20,
            progress_seconds=2.0,
        )
        create = messages.WatchCreateRequest(
            key=interest.key,
            range_end=interest.end,
            start_revision=self.position,
            prev_kv=interest.prev_kv,
            fragment=interest.fragment,
            progress_notify=interest.progress,
        )
        self._session.handle(messages.WatchRequest(create_request=create))
        if not self.position:
            # From now on: what the member has published by now is not promised.
            self.position = hub.revision + 1

    def disconnect(self) -> None:
        """The member is gone, or the connection to it."""
        if self._session is not None:
            self._session.close()
            self._session = None
            self.reconnects += 1
        self.place = None

    def ask_progress(self) -> None:
        """Ask how far the watch has come."""
        if self._session is not None:
            self._session.handle(
                messages.WatchRequest(progress_request=messages.WatchProgressRequest())
            )

    def take(self, now: float) -> None:
        """Read what there is, as much as fits, and judge it.

        Args:
            now: the member's clock.
        """
        session = self._session
        if session is None:
            return
        session.tick(now)
        for response in session.take(TAKE_BYTES):
            self._judge(messages.WatchResponse.FromString(response))
            if self._session is not session:
                return

    def take_all(self, now: float) -> None:
        """Read until there is no more."""
        session = self._session
        while session is not None and session is self._session:
            self.take(now)
            if not session.more:
                return

    def _judge(self, response: messages.WatchResponse) -> None:
        revision = response.header.revision
        if response.created:
            require(not self._created, "created twice")
            require(not response.canceled, "a watch was refused: {}", response.cancel_reason)
            self._created = True
            return
        if response.canceled:
            compacted = response.compact_revision
            require(compacted > 0, "cancelled for no reason")
            require(
                self.position < compacted <= self._model.compacted,
                "a watch at {} was cancelled for compaction at {}",
                self.position,
                compacted,
            )
            self.disconnect()
            self.position = compacted
            return
        require(self._created, "events before the watch was created")
        if not response.events and not response.fragment:
            require(revision <= self._model.revision, "progress to {}, which is to come", revision)
            if response.watch_id < 0 or self._has_come(revision):
                self._complete(revision)
            return
        self._fragments.extend(response.events)
        if response.fragment:
            return
        events, self._fragments = self._fragments, []
        self.events += len(events)
        self._match(events)

    def _has_come(self, revision: int) -> bool:
        return revision >= self.position - 1

    def _match(self, events: list[messages.Event]) -> None:
        """Compare the events of one response with what the model says comes next."""
        interest = self.interest
        last = events[-1].kv.mod_revision
        require(last <= self._model.revision, "an event of revision {} to come", last)
        wanted: list[Change] = []
        for revision in range(self.position, last + 1):
            wanted += self._model.events(revision, interest.key, interest.end)
        require(
            len(wanted) == len(events),
            "from {} to {}: {} events, not {}",
            self.position,
            last,
            len(events),
            len(wanted),
        )
        for event, change in zip(events, wanted, strict=True):
            self._compare(event, change)
        self.position = last + 1

    def _compare(self, event: messages.Event, change: Change) -> None:
        if change.now is None:
            require(event.type == messages.Event.DELETE, "{} came as a put", change)
            require(event.kv.key == change.key, "{} came as {}", change, event)
        else:
            require(event.type == messages.Event.PUT, "{} came as a deletion", change)
            require(event.kv == key_value(change.now), "{} came as {}", change, event)
        if not self.interest.prev_kv:
            require(not event.HasField("prev_kv"), "prev_kv without having been asked for")
            return
        if change.before is None:
            require(not event.HasField("prev_kv"), "{} has a prev_kv: {}", change, event)
        elif event.HasField("prev_kv"):
            require(event.prev_kv == key_value(change.before), "{} came as {}", change, event)
        else:
            # What was before is forgotten once it is compacted.
            compacted = self._model.compacted
            require(event.kv.mod_revision <= compacted, "{} came without prev_kv", change)

    def _complete(self, revision: int) -> None:
        """Check a bookmark: nothing up to it is missing."""
        interest = self.interest
        for each in range(self.position, revision + 1):
            missed = self._model.events(each, interest.key, interest.end)
            require(not missed, "progress to {}, but {} never came", revision, missed)
        self.position = max(self.position, revision + 1)


def _nobody() -> None:
    """Wake nobody: the simulator looks from time to time."""
