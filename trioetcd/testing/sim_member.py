"""One simulated member: a disk that stays, and lives of a replica that come and go.

What the driver of a real member does is done here in simulated time: inputs are gathered, the
replica is stepped, and what it asks for is carried out. Its clock may run fast or slow, it may
stand still, and it may end at any moment; only what the disk has kept comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from trioetcd.mvcc import WatchHub
from trioetcd.replica import (
    Envelope,
    Input,
    LeaseAsked,
    Outputs,
    Persisted,
    Proposal,
    Proposed,
    Reachable,
    ReadRequested,
    Received,
    Replica,
    ReplicaConfig,
    Stopped,
    Tick,
    TransferRequested,
    Unreachable,
    recover,
)
from trioetcd.replica.rows import META_ROW
from trioetcd.statemachine.txn import query_of
from trioetcd.testing.disk import SimDisk
from trioetcd.testing.operation import (
    KeepAlive,
    Operation,
    Propose,
    Read,
    Result,
    Status,
    result_of,
)
from trioetcd.testing.oracles import Oracles, word_of
from trioetcd.testing.ranges import read_range
from trioetcd.testing.scenario import Scenario, stream
from trioetcd.testing.schedule import Schedule, Trace
from trioetcd.testing.violation import require
from trioetcd.values import MemberID

__all__ = ["SimMember", "World"]

_MICROS: Final = 1_000_000


class World(Protocol):
    """What a member knows of everything else."""

    schedule: Schedule
    trace: Trace
    oracles: Oracles
    scenario: Scenario

    def send(self, place: int, envelopes: list[Envelope], /) -> None:
        """Put messages on the network."""

    def send_snapshot(self, place: int, peer: MemberID, /) -> None:
        """Send a member's state to a peer."""

    def snapshot_answered(self, place: int, /, *, ok: bool) -> None:
        """Take a member's answer to a snapshot that was offered to it."""

    def answered(self, operation: Operation, result: Result, /) -> None:
        """Give a client its result."""

    def ended(self, place: int, /, *, seconds: float | None) -> None:
        """A member's life has ended; it is to come back after so long (None: never)."""


class Chance:
    """`ports.Entropy` from a stream."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def bits(self, count: int, /) -> int:
        """Give a number of `count` bits."""
        return self._random.getrandbits(count)


class SimMember:
    """One member.

    Attributes:
        place: its number in the cluster, from 0.
        id: its number as a member.
        disk: what stays.
        replica: what lives now; None while it is down.
        hub: its watches.
        boots: how many lives it has had.
        paused_until: while it stands still, until when.
        rate: how fast its clock runs.
        slow, failing: probabilities that a batch takes long, or fails.

    Args:
        world: everything else.
        place: see above.
        member: its number as a member.
        config: settings.
        rows: what its disk begins with.
    """

    def __init__(
        self,
        world: World,
        place: int,
        member: MemberID,
        config: ReplicaConfig,
        rows: dict[bytes, bytes | None],
    ) -> None:
        scenario = world.scenario
        self.place = place
        self.id = member
        self.disk = SimDisk()
        self.disk.apply(rows)
        self.replica: Replica | None = None
        self.hub: WatchHub | None = None
        self.boots = 0
        self.paused_until = 0
        self._deaf = False
        self.rate = 1.0
        self.slow = 0.0
        self.failing = 0.0
        self.torn = scenario.has("torn")
        self.hurry = scenario.has("hurry")
        self.crowd_micros = 0
        self._world = world
        self._config = config
        self._disk_random = stream(scenario.seed, f"disk/{place}")
        self._boot_random = stream(scenario.seed, f"boot/{place}")
        self._hurry_random = stream(scenario.seed, f"hurry/{place}")
        self._disk_micros = scenario.disk_micros
        self._operations: dict[Operation, None] = {}
        self._clear()

    def _clear(self) -> None:
        self._persisted: int | None = None
        self._received: list[Envelope] = []
        self._proposals: list[Proposal] = []
        self._reads: list[object] = []
        self._others: list[Input] = []
        self._ticking = False
        self._due = False
        self._flush_due = False
        self._stopping = False

    # -- lives -------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether it lives and takes requests."""
        return self.replica is not None and not self._stopping

    @property
    def leads(self) -> bool:
        """Whether it thinks that it leads."""
        return self.replica is not None and self.replica.leader == self.id

    def clock(self) -> float:
        """Give the member's own time in seconds."""
        return 1.0 + self._world.schedule.now * self.rate / _MICROS

    def start(self) -> None:
        """Begin a life from what is on the disk."""
        assert self.replica is None
        world = self._world
        self.boots += 1
        recovered = recover(self.disk)
        assert recovered is not None
        world.oracles.booted(self.id, recovered)
        boot = self._boot_random.getrandbits(64)
        world.trace.event("start", self.place, recovered.batch, recovered.last)
        self._clear()
        self.replica = Replica(
            backend=self.disk,
            recovered=recovered,
            config=self._config,
            boot=boot,
            entropy=Chance(self._boot_random),
            now=self.clock(),
        )
        self.hub = WatchHub(self.replica.store)
        self._tick_later(self.boots)
        self._ask_step()

    def crash(self, *, seconds: float | None, why: str = "crash") -> None:
        """End this life at once; what was not synced is left to the disk."""
        if self.replica is None:
            return
        world = self._world
        kept = self.disk.crash(self._disk_random, torn=self.torn)
        world.trace.event(why, self.place, kept)
        world.oracles.crashed(self.id, kept=kept)
        self._end(seconds)

    def stop(self, *, seconds: float) -> None:
        """Ask this life to end in order."""
        if self.replica is None or self._stopping:
            return
        self._world.trace.event("stop", self.place)
        self._stopping = True
        self._others.append(Stopped())
        boot = self.boots
        self._ask_step()

        def look(rounds: int) -> None:
            replica = self.replica
            if replica is None or self.boots != boot:
                return
            idle = self.disk.in_flight is None and self._persisted is None
            if (idle and not replica.statistics().overlay_rows) or not rounds:
                self.crash(seconds=seconds, why="stopped")
            else:
                self._ask_step()
                self._world.schedule.after(20_000, lambda: look(rounds - 1))

        self._world.schedule.after(20_000, lambda: look(50))

    def _end(self, seconds: float | None) -> None:
        self.replica = None
        self.hub = None
        self._clear()
        operations, self._operations = self._operations, {}
        for operation in operations:
            self._world.answered(operation, Result(Status.UNKNOWN, error="gone"))
        self._world.ended(self.place, seconds=seconds)

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._world.schedule.now < self.paused_until

    def pause(self, micros: int, *, deaf: bool = False) -> None:
        """Stand still for a while: what arrives waits, the clock goes on.

        Args:
            micros: for how long.
            deaf: whether what peers send meanwhile is lost, because they gave up on the
                connection; then clients are heard first when it goes on.
        """
        schedule = self._world.schedule
        self.paused_until = schedule.now + micros
        self._deaf = deaf
        self._world.trace.event("pause", self.place, micros)
        schedule.at(self.paused_until, self._resume)

    def _resume(self) -> None:
        if self._world.schedule.now >= self.paused_until and self._due:
            self._step()

    # -- what arrives ------------------------------------------------------------------------

    def submit(self, operation: Operation) -> bool:
        """Take a client's request; False if nobody is there to take it."""
        replica = self.replica
        if replica is None or self._stopping or not replica.ready:
            return False
        self._operations[operation] = None
        match operation.ask:
            case Propose(kind, payload):
                self._proposals.append((operation, kind, payload))
                self._ask_step()
            case Read(_, serializable):
                if serializable:
                    self._read(operation)
                else:
                    self._reads.append(operation)
                    self._ask_step()
            case KeepAlive(lease):
                self.put_in(LeaseAsked(operation, lease, renew=True))
            case _:
                raise AssertionError(operation)
        return True

    def receive(self, envelopes: list[Envelope]) -> None:
        """Take what a peer has sent."""
        if self._deaf and self._world.schedule.now < self.paused_until:
            return
        if self.replica is not None:
            self._received += envelopes
            self._ask_step()

    def put_in(self, entry: Input) -> None:
        """Take anything else."""
        if self.replica is not None:
            self._others.append(entry)
            self._ask_step()

    def unreachable(self, peer: MemberID) -> None:
        """The connection to a peer broke."""
        self.put_in(Unreachable(peer))

    def reachable(self, peer: MemberID) -> None:
        """There is a connection to a peer again; that is heard with whatever comes next."""
        if self.replica is not None:
            self._others.append(Reachable(peer))

    def transfer(self, to: MemberID) -> None:
        """Let another member lead."""
        self._world.trace.event("transfer", self.place, to)
        self.put_in(TransferRequested(to))

    def _tick_later(self, boot: int) -> None:
        micros = int(self._config.heartbeat_seconds * _MICROS / self.rate)

        def tick() -> None:
            if self.boots != boot or self.replica is None:
                return
            self._ticking = True
            if not self._due:
                self._step_if_awake()
            self._tick_later(boot)

        self._world.schedule.after(micros, tick)

    # -- steps -------------------------------------------------------------------------------

    def _ask_step(self) -> None:
        """Step soon: now, or when a crowd has gathered."""
        if self._due:
            return
        self._due = True
        boot = self.boots

        def step() -> None:
            if self.boots == boot and self._due and self.replica is not None:
                self._step_if_awake()

        self._world.schedule.after(self.crowd_micros, step)

    def _step_if_awake(self) -> None:
        if self._world.schedule.now < self.paused_until:
            self._due = True
        else:
            self._step()

    def _inputs(self) -> list[Input]:
        persisted, self._persisted = self._persisted, None
        inputs: list[Input] = [] if persisted is None else [Persisted(persisted)]
        inputs += self._others
        if self._received:
            inputs.append(Received(self._received))
        if self._proposals:
            inputs.append(Proposed(self._proposals))
        if self._reads:
            inputs.append(ReadRequested(self._reads))
        if self._ticking:
            inputs.append(Tick(self.clock()))
        self._others, self._received, self._proposals, self._reads = [], [], [], []
        self._ticking = False
        return inputs

    def _overdue(self) -> bool:
        return self._hurry_random.random() < 0.5

    def _step(self) -> None:
        replica = self.replica
        assert replica is not None
        world = self._world
        self._due = False
        inputs = self._inputs()
        now = self.clock()
        outputs = (
            replica.step(inputs, now, self._overdue) if self.hurry else replica.step(inputs, now)
        )
        world.oracles.stepped(self.id, word_of(replica))
        world.trace.event(
            "step",
            self.place,
            len(inputs),
            replica.term,
            replica.leader,
            replica.commit_index,
            replica.applied_index,
            len(outputs.sends),
        )
        self._carry_out(replica, outputs)

    def _carry_out(self, replica: Replica, outputs: Outputs) -> None:
        world = self._world
        boot = self.boots
        persist = outputs.persist
        if persist is not None:
            world.oracles.cut(self.id, persist.rows, world.schedule.now)
            world.trace.event("batch", self.place, persist.number, persist.rows[META_ROW])
            self._write(persist.number, persist.rows)
        hub = self.hub
        assert hub is not None
        if outputs.reloaded:
            hub.reload()
        for revision, events in outputs.published:
            hub.publish(revision, events)
        for peer in outputs.snapshots:
            world.send_snapshot(self.place, peer)
        if outputs.accepting is not None:
            world.snapshot_answered(self.place, ok=outputs.accepting)
        if outputs.sends:
            world.oracles.sent(self.id, outputs.sends)
            world.send(self.place, outputs.sends)
        for ticket, outcome in outputs.resolved:
            self._answer(ticket, result_of(outcome))
        for ticket in outputs.readable:
            assert isinstance(ticket, Operation)
            self._read(ticket)
        for ticket, seconds in outputs.leases:
            self._answer(ticket, Result(Status.DONE if seconds else Status.ERROR, seconds or 0))
        if self.boots != boot or self.replica is None:
            return
        if outputs.expelled:
            self.crash(seconds=None, why="expelled")
        elif outputs.more:
            self._ask_step()
        elif replica.wants_flush and not self._flush_due:
            self._flush_due = True
            self._flush_later(boot)

    def _flush_later(self, boot: int) -> None:
        def flush() -> None:
            if self.boots == boot and self.replica is not None:
                self._flush_due = False
                self._ticking = True
                self._ask_step()

        micros = int(self._config.flush_seconds * _MICROS / self.rate) + 1
        self._world.schedule.after(micros, flush)

    def _answer(self, ticket: object, result: Result) -> None:
        assert isinstance(ticket, Operation)
        # Answered twice, or answered after its life: the pop fails, as it must.
        self._operations.pop(ticket)
        self._world.answered(ticket, result)

    # -- reads -------------------------------------------------------------------------------

    def _read(self, operation: Operation) -> None:
        """Answer from the store as it stands."""
        replica = self.replica
        assert replica is not None
        match operation.ask:
            case Read(_, serializable=True):
                pass
            case _:
                # Who leads has asked a majority since, and leaders know what others committed.
                require(
                    replica.applied_index >= operation.committed,
                    "{}: answered at {}, and {} had been committed when it was asked for",
                    operation,
                    replica.applied_index,
                    operation.committed,
                )
        match operation.ask:
            case Read(request, _):
                result = read_range(replica, query_of(request))
            case _:
                raise AssertionError(operation)
        self._answer(operation, result)

    # -- the disk ----------------------------------------------------------------------------

    def _write(self, number: int, rows: dict[bytes, bytes | None]) -> None:
        random = self._disk_random
        schedule = self._world.schedule
        self.disk.begin(number, rows)
        micros = 50 + int(random.expovariate(1.0) * self._disk_micros)
        if self.slow and random.random() < self.slow:
            micros += random.randrange(100_000, 3_000_000)
        fails = bool(self.failing) and random.random() < self.failing
        boot = self.boots

        def alive(act: Callable[[], None]) -> Callable[[], None]:
            def guarded() -> None:
                if self.boots == boot and self.replica is not None:
                    act()

            return guarded

        if self.torn and random.random() < 0.3:
            schedule.after(micros // 2, alive(self.disk.write))
        schedule.after(micros, alive(self._failed if fails else self._synced))

    def _synced(self) -> None:
        self._persisted = self.disk.sync()
        self._world.oracles.synced(self.id)
        self._ask_step()

    def _failed(self) -> None:
        """The disk has failed: the member must end, and says nothing more."""
        self.crash(seconds=1.0, why="disk error")
