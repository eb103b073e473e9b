"""An apiserver's storage: optimistic writes, lists in pages or as a stream, leases, features.

Source: Kubernetes' `apiserver/pkg/storage/etcd3/store.go` and `lease_manager.go`, and
`storage/feature/feature_support_checker.go`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

import trio

from tests.proof.history import Row
from tests.proof.kube import requests
from tests.proof.kube.channel import Channel, UnansweredError
from tests.proof.kube.record import Grant, Page, Record, Write, now
from tests.proof.spectators import row_of
from trioetcd import errors
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages

__all__ = ["Features", "Leases", "Listing", "Result", "Storage"]

STREAM_AGAIN_SECONDS: Final = 20.0
"""When to try a stream again that the server did not know; Kubernetes waits ten minutes."""
REUSE_SECONDS: Final = 60
REUSE_SHARE: Final = 0.05
REUSE_OBJECTS: Final = 1000
CONFLICTS_MAX: Final = 50
PASSING: Final = frozenset({errors.LEASE_NOT_FOUND, errors.TOO_MANY_REQUESTS})
"""Refusals of a write that another try need not get."""

Mint = Callable[[], bytes]
"""Gives the next value of an object, unlike any other."""


class Result(Enum):
    """What became of a write."""

    DONE = "done"
    EXISTS = "exists"
    MISSING = "missing"


class Features:
    """What the servers can do.

    Attributes:
        progress: whether they may be asked for progress.
    """

    def __init__(self) -> None:
        self.progress = False
        self._stream_failed = -STREAM_AGAIN_SECONDS

    def judge(self, versions: list[str]) -> None:
        """Draw conclusions from the versions of all servers.

        A progress answer could overtake events before 3.4.31 and 3.5.13 (etcd issues 15220 and
        17507), so Kubernetes does not ask for it there.
        """
        numbers = [tuple(int(part) for part in version.split(".")[:3]) for version in versions]
        self.progress = all(
            number >= (3, 5, 13) or (3, 4, 31) <= number < (3, 5, 0) for number in numbers
        )

    @property
    def streams(self) -> bool:
        """Whether to try a RangeStream."""
        return time.monotonic() - self._stream_failed >= STREAM_AGAIN_SECONDS

    def no_streams(self) -> None:
        """Note that a server does not know them."""
        self._stream_failed = time.monotonic()


class Leases:
    """Gives leases of a certain age, the same one for a while; none is ever kept alive."""

    def __init__(self, channel: Channel, record: Record) -> None:
        self._channel = channel
        self._record = record
        self._lock = trio.Lock()
        self._lease = 0
        self._ends = 0.0
        self._objects = 0

    async def get(self, seconds: int) -> int:
        """Give a lease that lives at least so long, and hardly longer.

        Raises:
            EtcdError: it was refused.
            UnansweredError: no answer.
        """
        began = time.monotonic()
        async with self._lock:
            reuse = min(int(REUSE_SHARE * seconds), REUSE_SECONDS)
            valid = began + seconds < self._ends
            sufficient = began + seconds + reuse > self._ends
            self._objects += 1
            if valid and sufficient and self._objects <= REUSE_OBJECTS:
                self._record.counts["leases used again"] += 1
                return self._lease
            invoked = now()
            answer = await self._channel.ask(
                "lease grant",
                messages.LeaseGrantRequest(TTL=seconds + reuse),
                messages.LeaseGrantResponse,
            )
            if answer.TTL < seconds + reuse:
                self._record.flaws.append(f"a lease of {seconds + reuse} s has {answer.TTL} s")
            self._record.grants[answer.ID] = Grant(answer.TTL, invoked)
            self._lease = answer.ID
            self._ends = began + seconds + reuse
            self._objects = 1
            return self._lease


class Listing:
    """A list that was read: its revision and its objects."""

    def __init__(self) -> None:
        self.revision = 0
        self.rows: list[Row] = []


class Storage:
    """What one apiserver reads and writes.

    Args:
        name: the apiserver's.
        channel: its etcd client.
        record: where everything is noted.
        features: what the servers can do.
        chance: decides about pauses.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        record: Record,
        features: Features,
        chance: random.Random,
    ) -> None:
        self.name = name
        self.channel = channel
        self.features = features
        self.record = record
        self._chance = chance
        self._leases: dict[bytes, Leases] = {}

    # -- reads -----------------------------------------------------------------------------

    async def _read(self, label: str, request: messages.RangeRequest) -> Page:
        """Ask for a page and note what came.

        Raises:
            EtcdError: refused.
            UnansweredError: no answer.
        """
        page = self._page(label, request)
        try:
            answer = await self.channel.ask(label, request, messages.RangeResponse)
        except EtcdError as error:
            self._refused(page, error)
            raise
        page.returned = now()
        page.revision = answer.header.revision
        page.count, page.more = answer.count, answer.more
        if request.count_only:
            page.rows = None
            if answer.kvs:
                self.record.flaws.append(f"{page.who} got keys where it asked for their number")
        else:
            page.rows = tuple(self.record.keep(row_of(kv)) for kv in answer.kvs)
        self.record.pages.append(page)
        return page

    def _page(self, label: str, request: messages.RangeRequest) -> Page:
        return Page(
            f"{label} by {self.name}",
            request.key,
            request.range_end,
            request.revision,
            request.limit,
            now(),
            values=not request.keys_only,
        )

    def _refused(self, page: Page, error: EtcdError) -> None:
        page.returned = now()
        page.refused = str(error)
        page.rows = None
        self.record.pages.append(page)

    async def get(self, key: bytes, revision: int = 0) -> Page:
        """Read one object; the errors are those of `_read`."""
        return await self._read("get", requests.get(key, revision))

    async def revision(self, prefix: bytes) -> int:
        """Ask for the newest revision, by reading what does not exist."""
        return (await self._read("get revision", requests.get(prefix.rstrip(b"/")))).revision

    async def list(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, pages: int = 0
    ) -> Listing:
        """List a resource, as a stream where the server knows that.

        Args:
            prefix: of the resource.
            limit: how many a page has at first; 0: all in one.
            revision: what to read at; 0: the newest.
            pages: how many to read at most; 0: all.

        Raises:
            EtcdError: refused.
            UnansweredError: no answer.
        """
        if self.features.streams:
            listing = await self.stream(prefix, limit=limit, revision=revision)
            if listing is not None:
                return listing
            self.features.no_streams()
            self.record.counts["lists that fell back to pages"] += 1
        return await self.pages(prefix, limit=limit, revision=revision, pages=pages)

    async def stream(self, prefix: bytes, *, limit: int = 0, revision: int = 0) -> Listing | None:
        """List by RangeStream; None if the server does not know it."""
        request = requests.page(prefix, limit=limit, revision=revision)
        page = self._page("list stream", request)
        try:
            pieces = await self.channel.stream("list stream", request)
        except EtcdError as error:
            if error.code is Code.UNIMPLEMENTED:
                return None
            self._refused(page, error)
            raise
        page.returned = now()
        rows = [self.record.keep(row_of(kv)) for piece in pieces for kv in piece.kvs]
        page.rows = tuple(rows)
        headers = [piece.header.revision for piece in pieces if piece.HasField("header")]
        if not pieces or headers != [pieces[-1].header.revision]:
            self.record.flaws.append(f"{page.who}: headers {headers} in {len(pieces)} pieces")
            return Listing()
        page.revision = headers[0]
        page.count, page.more = pieces[-1].count, pieces[-1].more
        self.record.pages.append(page)
        listing = Listing()
        listing.revision = revision or page.revision
        listing.rows = rows
        self.record.counts["pieces of list streams"] += len(pieces)
        return listing

    async def pages(
        self,
        prefix: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        pages: int = 0,
        pause: float = 0,
    ) -> Listing:
        """List page by page, each at the first one's revision, with twice its limit.

        Args:
            prefix: of the resource.
            limit: how many the first page has; 0: all in one.
            revision: what to read at; 0: the newest.
            pages: how many to read at most; 0: all.
            pause: seconds between pages, for a list that a user turns over.

        Raises:
            EtcdError: refused.
            UnansweredError: no answer.
        """
        listing = Listing()
        start = b""
        while True:
            request = requests.page(prefix, limit=limit, revision=revision, start=start)
            page = await self._read("list", request)
            rows = page.rows or ()
            listing.rows += rows
            revision = listing.revision = revision or page.revision
            pages -= 1
            if len(rows) >= page.count or not rows or pages == 0:
                return listing
            start = rows[-1].key + b"\0"
            limit = min(limit * 2, requests.LIMIT_MAX)
            if pause:
                await trio.sleep(self._chance.uniform(0, pause))

    async def count(self, prefix: bytes) -> int:
        """Count the objects of a resource."""
        return (await self._read("count", requests.count(prefix))).count

    async def keys(self, prefix: bytes) -> int:
        """List the keys of a resource; give their number."""
        return len((await self._read("keys", requests.keys(prefix))).rows or ())

    async def compact_state(self) -> tuple[int, int]:
        """Give the revision that was compacted to last, and the newest."""
        page = await self._read("get compact_rev_key", requests.plain(requests.COMPACT_KEY))
        return (int(page.rows[0].value) if page.rows else 0), page.revision

    async def health(self, seconds: float) -> bool:
        """Tell whether a read is answered in time."""
        request = requests.plain(requests.HEALTH_KEY)
        try:
            await self.channel.ask("health", request, messages.RangeResponse, seconds=seconds)
        except (EtcdError, UnansweredError):
            return False
        return True

    # -- writes ----------------------------------------------------------------------------

    async def create(self, key: bytes, mint: Mint, *, seconds: int = 0) -> Result:
        """Write an object that does not exist, for so many seconds (0: for ever).

        Raises:
            EtcdError: refused.
            UnansweredError: it was not written.
            OutcomeUnknownError: it may be there or not.
        """
        lease = await self._lease(key, seconds)
        write = self._write(key, mint(), 0, lease)
        write.asked = False
        await self._commit("create", write)
        return Result.DONE if write.done else Result.EXISTS

    async def update(
        self, key: bytes, mint: Mint, *, cached: Row | None = None, seconds: int = 0,
        missing: bool = False,
    ) -> Result:  # fmt: skip
        """Write an object that exists, as often as it takes until nobody else has been faster.

        Args:
            key: of the object.
            mint: gives its next value.
            cached: what it is, as far as is known; if it is not, it is read.
            seconds: how long it lives; 0: for ever.
            missing: whether it may not exist yet.

        Raises:
            EtcdError: refused.
            UnansweredError: it was not written.
            OutcomeUnknownError: it may be written or not.
        """
        state = cached or await self._current(key)
        for _ in range(CONFLICTS_MAX):
            if state is None and not missing:
                return Result.MISSING
            expected = 0 if state is None else state.mod
            lease = await self._lease(key, seconds)
            write = self._write(key, mint(), expected, lease)
            await self._commit("update", write)
            if write.done:
                return Result.DONE
            self.record.counts["conflicts"] += 1
            state = write.found
        raise AssertionError(f"{key!r}: {CONFLICTS_MAX} conflicts one after the other")

    async def delete(self, key: bytes, *, cached: Row | None = None) -> Result:
        """Delete an object as it is known; the errors are those of `update`."""
        state = cached or await self._current(key)
        while state is not None:
            write = self._write(key, None, state.mod, 0)
            await self._commit("delete", write)
            if write.done:
                return Result.DONE
            self.record.counts["conflicts"] += 1
            state = write.found
        return Result.MISSING

    async def _current(self, key: bytes) -> Row | None:
        page = await self.get(key)
        return page.rows[0] if page.rows else None

    async def _lease(self, key: bytes, seconds: int) -> int:
        if not seconds:
            return 0
        prefix = b"/".join(key.split(b"/")[:3])
        if prefix not in self._leases:
            self._leases[prefix] = Leases(self.channel, self.record)
        return await self._leases[prefix].get(seconds)

    def _write(self, key: bytes, value: bytes | None, expected: int, lease: int) -> Write:
        return Write(self.name, key, value, expected, now(), lease)

    async def _commit(self, label: str, write: Write) -> None:
        """Do a write as far as it is possible, and note what came of it."""
        request = (
            requests.optimistic_delete(write.key, write.expected)
            if write.value is None
            else requests.optimistic_put(
                write.key,
                write.value,
                write.expected,
                lease=write.lease,
                get_on_failure=write.asked,
            )
        )
        self.record.writes.append(write)
        write.invoked = now()
        try:
            answer = await self.channel.ask(label, request, messages.TxnResponse, repeatable=False)
        except UnansweredError:
            self.record.writes.remove(write)
            raise
        except EtcdError as error:
            self.record.writes.remove(write)
            self.record.counts[f"writes refused: {error}"] += 1
            if error.row in PASSING:
                raise UnansweredError(str(error)) from error
            raise
        write.returned = now()
        write.done = answer.succeeded
        write.revision = answer.header.revision
        self._check_shape(write, answer)

    def _check_shape(self, write: Write, answer: messages.TxnResponse) -> None:
        """Check that an answer has the responses that were asked for, and take what it found."""
        kinds = [response.WhichOneof("response") for response in answer.responses]
        done = "response_delete_range" if write.value is None else "response_put"
        wanted = [done] if write.done else ["response_range"] if write.asked else []
        if kinds != wanted:
            self.record.flaws.append(f"{write} was answered {kinds}")
        elif not write.done and write.asked:
            found = answer.responses[0].response_range
            if found.kvs:
                write.found = self.record.keep(row_of(found.kvs[0]))
            if (found.count, found.more) != (len(found.kvs), False):
                self.record.flaws.append(f"{write} found {found.count}, more: {found.more}")
        elif write.value is None and answer.responses[0].response_delete_range.deleted != 1:
            self.record.flaws.append(f"{write} deleted not one")
