"""Entries that are committed and durable become state, one after the other, in bounded slices.

Every entry counts, empty and failed ones too: applied moves past it when it is whole, and never
before. While a long entry is under way nothing of it is visible, no other is begun, and batches
that are cut meanwhile hold what was whole before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd.cluster import CONF_CHANGES
from trioetcd.errors import EtcdError
from trioetcd.raft import Raft
from trioetcd.replica.inputs import Ticket
from trioetcd.replica.outputs import Outputs
from trioetcd.statemachine import COMMAND_FORMAT, HEAD, HEAD_SIZE, KIND_BITS, Applier, Steps
from trioetcd.values import Index

__all__ = ["APPLY_CHUNK", "Applying"]

APPLY_CHUNK: Final = 64
"""Entries between two looks at the time: about half a millisecond."""

STEP_ENTRIES_MAX: Final = 512
"""Entries one step applies at most, for drivers that give no measure of time."""

_unpack_head = HEAD.unpack_from


class Applying:
    """Feeds the applier from the log.

    Attributes:
        effect_bytes: roughly the bytes that what was applied added to the overlay; whoever cuts
            a batch sets it back.

    Args:
        raft: whose log is applied.
        applier: who knows what entries mean.
        waiting: the tickets of this boot by count; an entry takes its ticket from it.
        boot: which entries are this boot's.
        slices: how many slices of a long entry one step does.
        on_empty: called when an empty entry, the first of some leader's term, has been applied.
        on_conf_change: called when an entry has been applied that may have changed who votes.
    """

    def __init__(
        self,
        raft: Raft,
        applier: Applier,
        waiting: dict[int, Ticket],
        *,
        boot: int,
        slices: int,
        on_empty: Callable[[], None],
        on_conf_change: Callable[[], None],
    ) -> None:
        self.effect_bytes = 0
        self._raft = raft
        self._log = raft.log
        self._applier = applier
        self._waiting = waiting
        self._boot = boot
        self._slices = slices
        self._on_empty = on_empty
        self._on_conf_change = on_conf_change
        self._steps: tuple[Steps, Ticket] | None = None

    @property
    def busy(self) -> bool:
        """Whether an entry is half applied."""
        return self._steps is not None

    def drop(self) -> Ticket:
        """Forget an entry that is half applied, because all state is another; gives its ticket."""
        if self._steps is None:
            return None
        steps, ticket = self._steps
        steps.close()
        self._steps = None
        self.effect_bytes = 0
        return ticket

    def run(self, outputs: Outputs, overdue: Callable[[], bool]) -> None:
        """Apply what there is, until it is done or time is up."""
        log = self._log
        left = STEP_ENTRIES_MAX
        # Neither mark moves while entries are applied.
        upto = min(log.commit, log.stable)
        while self._steps is None or self._resume(outputs, overdue):
            if log.applied >= upto or left <= 0:
                break
            datas = self._raft.committed()
            self._apply(datas, outputs)
            left -= len(datas)
            if overdue():
                break
        published = self._applier.published
        if published:
            outputs.published.extend(published)
            published.clear()
        if self._steps is not None or log.applied < upto:
            outputs.more = True

    def _apply(self, datas: list[bytes], outputs: Outputs) -> None:
        """Apply entries in order; stops early at one that takes more than one slice."""
        apply = self._applier.apply
        boot = self._boot
        take = self._waiting.pop
        resolve = outputs.resolved.append
        start = self._log.applied
        done = size_done = 0
        for data in datas:
            done += 1
            if not data:
                self._raft.advance(Index(start + done))
                self._on_empty()
                continue
            form, kind, _, origin, counter = _unpack_head(data)
            assert form == COMMAND_FORMAT, "an entry of a later version"
            ticket = take(counter, None) if origin == boot else None
            outcome = apply(kind, data[HEAD_SIZE:], answer=ticket is not None)
            if not isinstance(outcome, (tuple, EtcdError)):
                done -= 1
                self._steps = (outcome, ticket)
                break
            if kind & KIND_BITS in CONF_CHANGES:
                self._on_conf_change()
            if ticket is not None:
                resolve((ticket, outcome))
            size_done += len(data)
        # A put leaves its value once in the current table and its predecessor in the old one.
        self.effect_bytes += 2 * size_done
        self._raft.advance(Index(start + done))

    def _resume(self, outputs: Outputs, overdue: Callable[[], bool]) -> bool:
        """Go on with a long entry; True when it is whole, and only then applied moves."""
        assert self._steps is not None
        steps, ticket = self._steps
        for _ in range(self._slices):
            try:
                next(steps)
            except StopIteration as whole:
                self._steps = None
                self._raft.advance(Index(self._log.applied + 1))
                if ticket is not None:
                    outputs.resolved.append((ticket, whole.value))
                return True
            if overdue():
                break
        return False
