"""The loop around one replica: inputs in, outputs carried out, answers upwards.

A *turn* takes everything that has come in since the last one, steps the replica once, hands its
batch (if any) to the writer's thread, gives the answers to the connections and lets each
connection write once. Turns go on while a batch is being written. A lone call's batch goes to the
disk first, for the caller waits for it; that of many goes last, for the thread would take the GIL
between any two writes to connections, and a core from those who are to read them. Where nobody
could notice that the loop stands still, a lone call's batch needs no thread (docs/adr/0013).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final, cast

import trio

from trioetcd.ports import Backend, Clock
from trioetcd.replica import (
    BarrierRequested,
    Input,
    Outputs,
    Persist,
    Persisted,
    Proposal,
    Proposed,
    ReadRequested,
    Received,
    Replica,
    Stopped,
    Tick,
)
from trioetcd.runtime.writer import BatchWriter, Writer
from trioetcd.statemachine import MEMBER, stamp

__all__ = ["Driver"]

TURN_SECONDS: Final = 0.002
"""How long a turn applies entries, or forgets compacted history, before others have theirs."""

CALM_CALLS: Final = 1
"""With no more calls than this in the last turn that had any, nobody is waited for."""

LONE_CALLS: Final = 16
"""After so many calls, each in a turn of its own and with nothing between, a caller is alone."""

QUICK_SECONDS: Final = 0.002
"""After a batch that took longer nobody is alone: the loop waits for quick disks only."""

QUICK_BYTES: Final = 65_536
"""The loop waits for no larger batch."""

STOP_SECONDS: Final = 1.0
"""How long the last batches may take; what is not written then is in the log and comes again."""

TICK_SECONDS: Final = 0.1
"""Ticks come at least so often, and with every heartbeat; this is etcd's heartbeat interval."""


def _never() -> bool:
    return False


class Driver:
    """Drives one replica.

    Args:
        replica: the member.
        backend: where its batches go.
        clock: monotonic seconds.
        turned: given the outputs of each turn: outcomes to deliver, events to publish.
        written: told of each batch's seconds on the disk.
        open_writer: makes what writes the batches.
        alone: whether nothing goes on here beside the calls of one client.
    """

    def __init__(
        self,
        replica: Replica,
        backend: Backend,
        clock: Clock,
        *,
        turned: Callable[[Outputs], None],
        written: Callable[[float], None],
        open_writer: Callable[[], Writer] = BatchWriter,
        alone: Callable[[], bool] = _never,
    ) -> None:
        self._replica = replica
        self._backend = backend
        self._tick_seconds = min(TICK_SECONDS, replica.config.heartbeat_seconds)
        self._monotonic = clock.monotonic
        self._turned = turned
        self._on_written = written
        self._open_writer = open_writer
        self._alone = alone
        self._proposals: list[Proposal] = []
        self._reads: list[object] = []
        self._flushes: list[Callable[[], None]] = []
        self._inputs: list[Input] = []
        self._event = trio.Event()
        self._more = False
        self._writing = False
        self._crowd = 0
        self._lone_calls = 0
        self._failure: BaseException | None = None
        self._turned_event: trio.Event | None = None
        self._writer: Writer | None = None

    def propose(self, ticket: object, kind: int, payload: bytes) -> None:
        """Put a command into the next turn's proposals; `flush_later` or `wake` makes it come."""
        self._proposals.append((ticket, kind, payload))

    def propose_own(self, ticket: object, kind: int, payload: bytes) -> None:
        """Likewise, on the member's own behalf: no user asks for it, and none is asked about."""
        if self._replica.auth.enabled:
            kind, payload = stamp(kind, payload, MEMBER)
        self._proposals.append((ticket, kind, payload))

    def read(self, ticket: object) -> None:
        """Ask to be told when a linearizable read may be answered from the store.

        `flush_later` or `wake` makes the turn come that asks.
        """
        self._reads.append(ticket)

    def wake(self) -> None:
        """Let the next turn come soon."""
        self._event.set()

    def put_in(self, entry: Input) -> None:
        """Give the replica an input with the next turn."""
        self._inputs.append(entry)
        self._event.set()

    def hear(self, received: Received) -> None:
        """Give the replica what peers say, at once while there is little to do.

        What changes nothing that anybody waits for has its turn with the next input; a tick is one.
        To be called by a task of its own, never within a turn.
        """
        self._inputs.append(received)
        if self._replica.is_old_news(received):
            return
        if self.crowded or self._writer is None:
            self._event.set()
        else:
            self._turn()

    @property
    def crowded(self) -> bool:
        """Whether the last turn that had any had many calls: whoever comes waits for the others."""
        return self._crowd > CALM_CALLS

    def flush_later(self, flush: Callable[[], None]) -> None:
        """Call `flush` in the next turn.

        While there is little to do the turn is now: a lone client need not wait for others that
        are not there. Under load it comes when everybody who can be read has been.
        """
        self._flushes.append(flush)
        if self._writing or self.crowded:
            self._event.set()
        else:
            self._turn()

    async def wait_flushed(self) -> None:
        """Wait until everything applied so far is on the disk."""
        reached = trio.Event()
        self.put_in(BarrierRequested(reached))
        await reached.wait()

    def not_alone(self) -> None:
        """Note that more was done for clients than one call that waits: others want the loop."""
        self._lone_calls = 0

    async def wait_turn(self) -> None:
        """Wait until the end of the next turn."""
        if self._turned_event is None:
            self._turned_event = trio.Event()
        await self._turned_event.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive until cancelled; then write what is still gathered.

        Raises:
            ExceptionGroup: with a BackendError: the disk failed; nothing may be answered any more.
                With anything else: a turn did, whoever's task it ran in.
        """
        writer = self._writer = self._open_writer()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, writer)
                nursery.start_soon(self._tick)
                task_status.started()
                await self._turns()
        finally:
            try:
                if self._failure is None:
                    with trio.move_on_after(STOP_SECONDS, shield=True):
                        await self._finish(writer)
            finally:
                self._writer = None
                writer.stop()

    async def _turns(self) -> None:
        self._turn()
        while True:
            await self._event.wait()
            self._event = trio.Event()
            if self._failure is not None:
                raise self._failure
            if self._more or self._inputs or self._proposals or self._reads or self._flushes:
                self._turn()

    async def _finish(self, writer: Writer) -> None:
        """Tell those who wait, and write what is gathered."""
        self.put_in(Stopped())
        self._turn()
        while self._replica.statistics().overlay_rows:
            await self._take_written(writer)

    async def _tick(self) -> None:
        """Let time pass: with a tick, effects that found no batch to ride in get their own."""
        while True:
            await trio.sleep(self._tick_seconds)
            self.put_in(Tick(self._monotonic()))

    async def _hear(self, writer: Writer) -> None:
        while True:
            await self._take_written(writer)

    async def _take_written(self, writer: Writer) -> None:
        """Take batches that are on the disk, and let their entries be applied and answered."""
        for number, seconds, error in await writer.wait_written():
            if error is not None:
                self._failure = error
                raise error
            self._note_written(number, seconds)
            self._turn()

    def _note_written(self, number: int, seconds: float) -> None:
        self._writing = False
        if seconds > QUICK_SECONDS:
            self._lone_calls = 0
        self._on_written(seconds)
        self._inputs.insert(0, Persisted(number))

    def _turn(self) -> None:
        if self._failure is not None:
            return  # the member ends, and what a turn left half done is not gone on with
        try:
            while self._step():
                pass
        except BaseException as failure:
            # Whoever's task this is may take it for trouble of its own: it is the member's.
            self._failure = failure
            self._event.set()
            raise

    def _step(self) -> bool:
        """Take one step; True if its batch is on the disk at the end, so that another is due."""
        inputs = self._inputs
        self._inputs = []
        lone = False
        if self._proposals or self._reads:
            self._crowd = len(self._proposals) + len(self._reads)
            self._lone_calls = 0 if self.crowded else self._lone_calls + 1
            lone = self._lone_calls > LONE_CALLS and not self._reads
        if self._proposals:
            inputs.append(Proposed(self._proposals))
            self._proposals = []
        if self._reads:
            inputs.append(ReadRequested(self._reads))
            self._reads = []
        deadline = perf_counter() + TURN_SECONDS
        outputs = self._replica.step(inputs, self._monotonic(), lambda: perf_counter() > deadline)
        persist = outputs.persist
        here = lone and persist is not None and not outputs.more and self._may_wait_for(persist)
        if persist is not None:
            self._writing = True
            if not (here or self.crowded):
                self._write(persist)
        # First what the peers' disks wait for, and answers; with those leaves what else there is.
        self._turned(outputs)
        if self._flushes and not here:
            flushes, self._flushes = self._flushes, []
            for flush in flushes:
                flush()
        self._more = outputs.more
        if outputs.more:
            self._event.set()
        for reached in outputs.reached:
            cast("trio.Event", reached).set()
        if self._turned_event is not None:
            self._turned_event.set()
            self._turned_event = None
        if persist is not None and here:
            self._write_here(persist)
        elif persist is not None and self.crowded:
            self._write(persist)
        return here

    def _write(self, batch: Persist) -> None:
        writer = self._writer
        assert writer is not None
        writer.write(batch.number, self._backend.prepare(batch.rows))

    def _may_wait_for(self, batch: Persist) -> bool:
        """Whether nobody could notice that the loop stands still while this batch is written."""
        return batch.size < QUICK_BYTES and self._alone()

    def _write_here(self, batch: Persist) -> None:
        """Write a batch and wait for the disk, where two threads' waking each other costs more."""
        prepared = self._backend.prepare(batch.rows)
        started = perf_counter()
        prepared.write()
        self._note_written(batch.number, perf_counter() - started)
