"""Compaction that nobody has to ask for: ``--auto-compaction-mode`` and its retention.

A rule says when to compact and to which revision; it is pure, and etcd's to the letter
(``server/etcdserver/api/v3compactor``). The task around it looks at the store as often as the rule
wants and, on the member that leads, proposes what the rule says. Every member keeps its rule going,
so that one which comes to lead knows what the revision was a while ago.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import trio

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind

__all__ = ["KeepRevisions", "KeepSeconds", "Rule", "compact_by"]

INTERVAL_SECONDS_MAX: Final = 3600.0
"""However long history is kept, it is compacted so often."""

PER_INTERVAL: Final = 10
"""So often in an interval the revision is noted, and a compaction that failed tried again."""

REVISIONS_SECONDS: Final = 300.0
"""Where revisions are counted, it is compacted so often."""

_HAIR: Final = 1e-6
"""Sums of fractions may miss an interval by less than this."""


class Rule(Protocol):
    """When to compact, and to which revision.

    Attributes:
        mode: etcd's name of it.
        seconds: how often it wants to be asked.
    """

    mode: str
    seconds: float

    def note(self, revision: int, /) -> None:
        """Take in what the revision is, before each wait of `seconds`."""

    def due(self, revision: int, now: float, /) -> int | None:
        """Give the revision to compact to, after a wait, or None; `revision` is the present."""

    def done(self, revision: int, now: float, /) -> None:
        """Take in that it is compacted to `revision`."""


class KeepSeconds:
    """Keeps the history of a time (``periodic``).

    The first compaction comes when that time has passed, the next ones after it again, or after an
    hour if that is less. A tenth of this is the wait between two looks, of which the oldest within
    the time tells the revision.

    Args:
        kept: the seconds.
        now: the time; seconds that never go back.
    """

    def __init__(self, kept: float, now: float) -> None:
        self.mode = "periodic"
        interval = min(kept, INTERVAL_SECONDS_MAX)
        self.seconds = interval / PER_INTERVAL
        self._interval = interval
        self._looks: deque[int] = deque(maxlen=int(kept / interval * PER_INTERVAL + _HAIR) + 1)
        self._next = now + kept
        self._compacted = 0

    def note(self, revision: int) -> None:
        """Take in what the revision is."""
        self._looks.append(revision)

    def due(self, _revision: int, now: float) -> int | None:
        """Give the revision of so long ago, if it is time and it is another than the last."""
        revision = self._looks[0]
        return revision if now >= self._next - _HAIR and revision != self._compacted else None

    def done(self, revision: int, now: float) -> None:
        """Wait for the interval from now on."""
        self._compacted = revision
        self._next = now + self._interval


class KeepRevisions:
    """Keeps the last so many revisions (``revision``), looking every five minutes.

    Args:
        kept: how many.
    """

    def __init__(self, kept: int) -> None:
        self.mode = "revision"
        self.seconds = REVISIONS_SECONDS
        self._kept = kept
        self._compacted = 0

    def note(self, revision: int) -> None:
        """Remember nothing: the present revision is enough."""

    def due(self, revision: int, _now: float) -> int | None:
        """Give the revision so many below the present one, if it is another than the last."""
        wanted = revision - self._kept
        return wanted if wanted > 0 and wanted != self._compacted else None

    def done(self, revision: int, _now: float) -> None:
        """Remember it."""
        self._compacted = revision


async def compact_by(rule: Rule, server: Server, log: Log) -> None:
    """Compact by a rule until cancelled."""
    replica = server.replica
    starting, failed, completed = (
        f"{word} auto {rule.mode} compaction" for word in ("starting", "failed", "completed")
    )
    while True:
        rule.note(server.store.revision)
        await trio.sleep(rule.seconds)
        if replica.leader != replica.member_id:
            continue
        revision = rule.due(server.store.revision, server.now())
        if revision is None:
            continue
        started = server.now()
        log.info(starting, revision=revision)
        try:
            await _compact(server, revision)
        except EtcdError as error:
            if error.row is not errors.COMPACTED:
                log.warn(failed, revision=revision, error=error.text)
                continue
        now = server.now()
        rule.done(revision, now)
        log.info(completed, revision=revision, took=f"{now - started:.3f}s")


async def _compact(server: Server, revision: int) -> None:
    """Propose a compaction and wait until it is applied.

    Raises:
        EtcdError: what the proposal came to.
    """
    request = messages.CompactionRequest(revision=revision)
    await server.ask_own(CommandKind.COMPACT, request.SerializeToString())
