"""What the players asked and were told: the judge reads nothing else."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from tests.proof.history import Event, Row, Stream

__all__ = ["Claim", "Compaction", "Grant", "Page", "Record", "Snapshot", "Write", "now"]


def now() -> int:
    """Give the harness's clock, in nanoseconds."""
    return time.monotonic_ns()


@dataclass(slots=True)
class Write:
    """One try to write or delete one object.

    Attributes:
        who: the apiserver.
        key: of the object.
        value: what it is to be, unlike any other; None: no object.
        expected: the revision at which it must have been changed last; 0: it must not exist.
        invoked: when, in nanoseconds.
        lease: what it is attached to.
        returned: when the answer came; None if none came that tells whether it was done.
        done: whether it was done, says the answer.
        revision: of the answer's header.
        found: what the object is instead, if it was not done and asked for that.
        asked: whether it asked for that.
    """

    who: str
    key: bytes
    value: bytes | None
    expected: int
    invoked: int
    lease: int = 0
    returned: int | None = None
    done: bool = False
    revision: int = 0
    found: Row | None = None
    asked: bool = True


@dataclass(slots=True)
class Claim:
    """One try to claim the next compaction; as a `Write`, but for the version it expects.

    Attributes:
        who: the apiserver.
        value: the revision it will compact to.
        expected: the version that the key must have.
        invoked: when.
        returned: when the answer came; None if none came.
        done: whether it may compact.
        revision: of the answer's header.
        version: what the key's version is, if it may not.
    """

    who: str
    value: bytes
    expected: int
    invoked: int
    returned: int | None = None
    done: bool = False
    revision: int = 0
    version: int = 0


@dataclass(slots=True)
class Compaction:
    """One compaction that was asked for.

    Attributes:
        revision: up to which.
        invoked: when.
        returned: when it was acknowledged; None if it was not.
        refused: the server's sentence.
    """

    revision: int
    invoked: int
    returned: int | None = None
    refused: str = ""


@dataclass(slots=True)
class Page:
    """One answered read: an object, a page of a list, a stream, keys or a count.

    Attributes:
        who: the reader, and what it read.
        key: where it begins.
        end: where it ends, as etcd writes it; empty: the one key.
        at: the revision it asked for; 0: the newest.
        limit: how many at most; 0: all.
        invoked: when.
        returned: when the answer was whole.
        revision: of the answer's header; of a stream's last piece.
        rows: what it found; None if it asked for none.
        count: how many there are, says the answer.
        more: whether the limit left out some, says the answer.
        values: whether it asked for more than the keys.
        refused: the server's sentence; then nothing of the answer is there.
    """

    who: str
    key: bytes
    end: bytes
    at: int
    limit: int
    invoked: int
    returned: int = 0
    revision: int = 0
    rows: tuple[Row, ...] | None = ()
    count: int = 0
    more: bool = False
    values: bool = True
    refused: str = ""


@dataclass(slots=True)
class Snapshot:
    """What a watch cache held at a moment.

    Attributes:
        who: whose.
        prefix: of the resource.
        wanted: the revision it had to reach before.
        revision: the one it had reached.
        rows: its objects, in order of their keys.
    """

    who: str
    prefix: bytes
    wanted: int
    revision: int
    rows: tuple[Row, ...]


@dataclass(slots=True)
class Grant:
    """A lease that was granted.

    Attributes:
        seconds: how long it lives at least.
        invoked: when it was asked for.
    """

    seconds: int
    invoked: int


@dataclass(slots=True)
class Record:
    """Everything of one run.

    Attributes:
        writes: in the order in which they were asked.
        claims: of compactions.
        compactions: asked for.
        pages: of reads that were answered.
        snapshots: of watch caches.
        grants: per lease.
        streams: all watches, one for each time that a server was asked for it.
        collectors: those that together saw everything.
        refusals: how watches were ended: who, from which revision, the compact revision (0: it
            was something else) and the reason.
        flaws: one sentence for each thing that the players saw at once that cannot be.
        latencies: seconds, per kind of request.
        failures: how often a kind of request got no answer.
        arrivals: when a live watch told a revision, for each that did.
        first: when a revision was first told by a collector.
        counts: whatever else is counted.
    """

    writes: list[Write] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    compactions: list[Compaction] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    grants: dict[int, Grant] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)
    collectors: list[Stream] = field(default_factory=list)
    refusals: list[tuple[str, int, int, str]] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _rows: dict[Row, Row] = field(default_factory=dict)

    def keep(self, row: Row) -> Row:
        """Give the row of the same content that is kept already, so that it is kept once."""
        return self._rows.setdefault(row, row)

    def keep_event(self, event: Event) -> Event:
        """Keep an event's rows once."""
        before = None if event.before is None else self.keep(event.before)
        current = None if event.now is None else self.keep(event.now)
        return event._replace(now=current, before=before)
