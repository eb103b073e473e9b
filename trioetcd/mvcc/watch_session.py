"""One watch stream as a value: requests in, serialised responses out.

The session holds what is to be sent, up to a bound. While whoever sends takes nothing, the bound
is reached, and watchers that match become lagging: they cost a number each. They catch up from
the history in bounded steps as soon as there is room again. Nothing here waits; `wake` tells the
sender that there is something to take.

Who may watch what is asked through `permit`, and again when that may have changed; the header
comes through `header`, because cluster, member and term are not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.history import Event, HistoryReader
from trioetcd.mvcc.interest import Interests
from trioetcd.mvcc.watch import (
    ENDED,
    LAGGING,
    NO_DELETE,
    NO_PUT,
    SYNCED,
    WAITING,
    WITH_PREVIOUS,
    Batch,
    Group,
    Watcher,
    WatchHub,
)
from trioetcd.schema import messages
from trioetcd.schema.fastpath import watch_control

__all__ = ["FRAGMENT_BYTES", "SESSION_BYTES", "STEP_ROWS", "WatchSession"]

SESSION_BYTES: Final = 1 << 20
"""What a session holds ready to be sent; more is not kept but read again."""

FRAGMENT_BYTES: Final = 1_572_864 + 512 * 1024
"""From this size on a response is split, if the client asked for it (etcd's defaults)."""

STEP_ROWS: Final = 1000
"""Events read in one step of catching up: about 3 ms from the disk, less from memory."""

PAGE_BYTES_MIN: Final = 4096
"""A step reads so many bytes even for very many watchers."""

PROGRESS_SECONDS: Final = 600.0
"""How long a quiet watch waits for a progress notification (etcd)."""

ANY_WATCH: Final = -1
"""The watch_id of what concerns no watch, or all of a stream."""

RANGE_EMPTY: Final = "mvcc: watcher range is empty"
DUPLICATE_ID: Final = "mvcc: duplicate watch ID provided on the WatchStream"


class WatchSession:
    """The watches of one stream.

    Args:
        hub: the member's hub.
        header: makes the header field of a response from a revision.
        wake: called when there is something to take, at most once until the next `take`.
        permit: gives the error with which watching an interval is refused, or None.
        fragment_bytes: the size from which responses are split if asked for.
        size_max: the bound on what is held ready.
        progress_seconds: the time between progress notifications; the caller adds jitter.
    """

    def __init__(
        self,
        hub: WatchHub,
        header: Callable[[int], bytes],
        *,
        wake: Callable[[], None],
        permit: Callable[[KeyRange], EtcdError | None] | None = None,
        fragment_bytes: int = FRAGMENT_BYTES,
        size_max: int = SESSION_BYTES,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        self._hub = hub
        self._header = header
        self._wake = wake
        self._permit = permit
        self._fragment_bytes = fragment_bytes
        self._size_max = size_max
        self._progress_seconds = progress_seconds
        self._outbox: list[bytes] = []
        self._size = 0
        self._woken = False
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._lagging: dict[int, Watcher] = {}
        self._index: Interests[dict[int, Watcher]] = Interests(dict)
        self._reader: HistoryReader | None = None
        self._progress_due: float | None = None
        self._progress_asked = False
        self._tick = 1
        hub.sessions[self] = None

    # -- the sender's side -------------------------------------------------------------------

    @property
    def watchers(self) -> int:
        """The watches of this stream."""
        return len(self._watchers)

    @property
    def lagging(self) -> int:
        """Those of them that are behind."""
        return len(self._lagging)

    @property
    def more(self) -> bool:
        """Whether `take` would give something, now or after some more steps."""
        return bool(self._outbox or self._lagging)

    @property
    def waiting_bytes(self) -> int:
        """What waits to be sent."""
        return self._size

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that no more requests should be read."""
        return self._size >= self._size_max

    def take(self, size: int) -> list[bytes]:
        """Give serialised responses of about `size` bytes in all, in order.

        Catches up by one bounded step if there is room; an empty list while `more` is set means
        that the next call will go on.
        """
        self._woken = False
        if self._lagging and self._size < size:
            self.step(STEP_ROWS)
        outbox = self._outbox
        if self._size <= size:
            self._outbox = []
            self._size = 0
            return outbox
        number = given = 0
        for message in outbox:
            given += len(message)
            number += 1
            if given >= size:
                break
        self._outbox = outbox[number:]
        self._size -= given
        return outbox[:number]

    def close(self) -> None:
        """End all watches of the stream."""
        for watcher in self._watchers.values():
            if watcher.state == SYNCED:
                self._hub.leave(watcher)
            waiting = watcher.state == WAITING
            watcher.state = ENDED
            if waiting:
                self._hub.forget_waiting()
        self._watchers = {}
        self._lagging = {}
        self._index = Interests(dict)
        self._reader = None
        self._hub.sessions.pop(self, None)

    def _send(self, message: bytes) -> None:
        self._outbox.append(message)
        self._size += len(message)
        if not self._woken:
            self._woken = True
            self._wake()

    # -- the client's side -------------------------------------------------------------------

    def handle(self, request: messages.WatchRequest) -> None:
        """Take a request of the client's; one without content is ignored."""
        which = request.WhichOneof("request_union")
        if which == "create_request":
            self._create(request.create_request)
        elif which == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif which == "progress_request":
            self._progress_asked = True
            self._answer_progress()

    def _refuse(self, reason: str) -> None:
        header = self._header(self._hub.revision)
        self._send(
            watch_control(header, ANY_WATCH, created=True, canceled=True, cancel_reason=reason)
        )

    def _create(self, request: messages.WatchCreateRequest) -> None:
        start = request.start_revision
        if start < 0:
            self._refuse(errors.COMPACTED.text)
            return
        keys = KeyRange.from_wire(request.key or b"\0", request.range_end)
        if self._permit is not None:
            error = self._permit(keys)
            if error is not None:
                self._refuse(_in_full(error))
                return
        if keys.empty:
            self._refuse(RANGE_EMPTY)
            return
        watch_id = request.watch_id
        if watch_id == 0:
            while self._next_id in self._watchers:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        elif watch_id in self._watchers:
            self._refuse(DUPLICATE_ID)
            return
        kind = WITH_PREVIOUS if request.prev_kv else 0
        for wanted in request.filters:
            if wanted in {0, 1}:
                kind |= NO_DELETE if wanted else NO_PUT
        watcher = Watcher(
            self,
            watch_id,
            keys,
            start,
            kind=kind,
            fragment=request.fragment,
            progress=request.progress_notify,
        )
        self._watchers[watch_id] = watcher
        self._send(watch_control(self._header(self._hub.revision), watch_id, created=True))
        if not self._hub.enter(watcher):
            self.lag(watcher, start)

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.get(watch_id)
        if watcher is None:
            return
        self._end(watcher)
        header = self._header(self._hub.revision)
        self._send(watch_control(header, watch_id, canceled=True))
        self._answer_progress()

    def _end(self, watcher: Watcher) -> None:
        del self._watchers[watcher.id]
        if watcher.state == SYNCED:
            self._hub.leave(watcher)
        elif watcher.state == LAGGING:
            self._unlag(watcher)
        waiting = watcher.state == WAITING
        watcher.state = ENDED
        if waiting:
            self._hub.forget_waiting()

    def recheck(self) -> None:
        """End the watches that are not permitted any more, with the reason."""
        if self._permit is None:
            return
        for watcher in list(self._watchers.values()):
            error = None if watcher.state == ENDED else self._permit(watcher.keys)
            if error is not None:
                self._end(watcher)
                header = self._header(self._hub.revision)
                reason = _in_full(error)
                self._send(watch_control(header, watcher.id, canceled=True, cancel_reason=reason))

    # -- progress ----------------------------------------------------------------------------

    def _answer_progress(self) -> None:
        """Answer a progress request as soon as nothing is lagging.

        A watch that waits for its start revision has made no progress: then there is no answer.
        """
        if not self._progress_asked or self._lagging:
            return
        self._progress_asked = False
        watchers = [watcher for watcher in self._watchers.values() if watcher.state != ENDED]
        if not watchers or any(self._is_early(watcher) for watcher in watchers):
            return
        self._send(watch_control(self._header(self._hub.revision), ANY_WATCH))

    def _is_early(self, watcher: Watcher) -> bool:
        return watcher.state == WAITING or self._hub.revision < watcher.start

    def tick(self, now: float) -> None:
        """Send progress notifications that are due: to synced watches quiet since the last."""
        due = self._progress_due
        if due is None:
            self._progress_due = now + self._progress_seconds
            return
        if now < due:
            return
        self._progress_due = now + self._progress_seconds
        hub = self._hub
        for watcher in self._watchers.values():
            if self.congested:
                break  # who does not read what there is need not be told that there was no more
            if not watcher.progress or watcher.state != SYNCED or self._is_early(watcher):
                continue
            group = hub.group_of(watcher)
            # What is sent to one kind of watch need not concern the others of its interval.
            if len(group.kinds) > 1 or self._tick not in {watcher.tick, group.tick}:
                self._send(watch_control(self._header(hub.revision), watcher.id))
        self._tick += 1

    # -- events, as they happen --------------------------------------------------------------

    def deliver(self, revision: int, group: Group, batch: Batch, late: list[Watcher]) -> None:
        """Queue the events of a revision for synced watchers of this session.

        Those for which there is no room are added to `late`.
        """
        header = self._header(revision)
        sent = False
        for kind, watchers in group.kinds.items():
            blob = batch.joined(kind)
            if not blob:
                continue
            sent = True
            number = len(watchers)
            each = len(header) + len(blob) + 2
            if self._size + each * (number - 1) < self._size_max:
                self._outbox += [header + field + blob for field in watchers.values()]
                self._size += each * number
                continue
            for watch_id, field in watchers.items():
                if self._size < self._size_max:
                    self._outbox.append(header + field + blob)
                    self._size += each
                else:
                    late.append(self._watchers[watch_id])
        if sent:
            group.tick = self._tick
            if not self._woken:
                self._woken = True
                self._wake()
        for watcher in group.split.values():
            fields = batch.fields(watcher.kind)
            if not fields:
                continue
            if self._size < self._size_max:
                self._emit(watcher, header, fields)
            else:
                late.append(watcher)

    def _emit(self, watcher: Watcher, header: bytes, fields: list[bytes]) -> None:
        watcher.tick = self._tick
        head = header + watcher.field
        if watcher.fragment and len(fields) > 1:
            limit = self._fragment_bytes
            size = len(head) + sum(map(len, fields))
            if size >= limit:
                self._emit_fragments(head, fields, limit)
                return
        self._send(head + (fields[0] if len(fields) == 1 else b"".join(fields)))

    def _emit_fragments(self, head: bytes, fields: list[bytes], limit: int) -> None:
        # Field 7 says that more of the same response follows.
        opening = len(head) + len(_FRAGMENT)
        piece: list[bytes] = []
        size = opening
        for field in fields:
            if piece and size + len(field) >= limit:
                self._send(b"".join((head, _FRAGMENT, *piece)))
                piece = []
                size = opening
            piece.append(field)
            size += len(field)
        self._send(b"".join((head, *piece)))

    # -- events, afterwards ------------------------------------------------------------------

    def lag(self, watcher: Watcher, revision: int) -> None:
        """Let a watcher catch up from `revision` on; it is not synced (any more)."""
        watcher.state = LAGGING
        watcher.next = revision
        self._lagging[watcher.id] = watcher
        self._index.obtain(watcher.keys)[watcher.id] = watcher
        if not self._woken:
            self._woken = True
            self._wake()

    def _unlag(self, watcher: Watcher) -> None:
        del self._lagging[watcher.id]
        others = self._index.obtain(watcher.keys)
        del others[watcher.id]
        if not others:
            self._index.drop(watcher.keys)

    def step(self, rows: int) -> None:
        """Catch up by about `rows` events, if there is room for what they make."""
        if not self._lagging or self._size >= self._size_max:
            return
        hub = self._hub
        store = hub.store
        self._cancel_compacted(store.compact_revision)
        if not self._lagging:
            self._answer_progress()
            return
        lowest = min(watcher.next for watcher in self._lagging.values())
        reader = self._reader
        if reader is None or reader.position > lowest:
            reader = self._reader = store.reader(lowest)
        room = (self._size_max - self._size) // len(self._lagging)
        last = hub.revision
        page = reader.step(last, rows, max(room, PAGE_BYTES_MIN), store.compact_revision)
        pending: dict[int, list[Event]] = {}
        at = self._index.at
        for revision, events in page:
            for event in events:
                for others in at(event[0]):
                    for watch_id, watcher in others.items():
                        if watcher.next <= revision:
                            pending.setdefault(watch_id, []).append(event)
        self._hand_out(pending, reader.position, last)
        if not self._lagging:
            self._reader = None
        self._answer_progress()

    def _hand_out(self, pending: dict[int, list[Event]], position: int, last: int) -> None:
        header = self._header(last)
        batches: dict[tuple[int, int], Batch] = {}
        caught_up: list[Watcher] = []
        for watcher in self._lagging.values():
            events = pending.get(watcher.id)
            if events is not None:
                if self._size >= self._size_max:
                    continue  # reads the same page again when there is room
                # Watchers of one interval that saw the same share one batch of bytes.
                name = (id(self._index.obtain(watcher.keys)), len(events))
                batch = batches.get(name)
                if batch is None:
                    batch = batches[name] = Batch(events)
                fields = batch.fields(watcher.kind)
                if fields:
                    self._emit(watcher, header, fields)
            watcher.next = max(watcher.next, position)
            if watcher.next > last:
                caught_up.append(watcher)
        for watcher in caught_up:
            self._unlag(watcher)
            self._hub.join(watcher)

    def _cancel_compacted(self, compacted: int) -> None:
        for watcher in [each for each in self._lagging.values() if each.next < compacted]:
            self._unlag(watcher)
            # The number stays taken until the client cancels it, as with etcd.
            watcher.state = ENDED
            self._send(
                watch_control(
                    self._header(0), watcher.id, canceled=True, compact_revision=compacted
                )
            )

    def reload(self, missed: int) -> None:
        """Go on after a snapshot: what was synced reads on from `missed`."""
        self._reader = None
        hub = self._hub
        for watcher in self._watchers.values():
            if watcher.state == SYNCED:
                hub.leave(watcher)
                self.lag(watcher, missed)
            elif watcher.state == WAITING and watcher.start <= hub.revision:
                self.lag(watcher, watcher.start)


def _in_full(error: EtcdError) -> str:
    """Give the whole of what gRPC would print: so a client is told why it may not watch (etcd)."""
    name = error.code.name.title().replace("_", "")
    return f"rpc error: code = {name} desc = {error.text}"


_FRAGMENT: Final = b"8\x01"
