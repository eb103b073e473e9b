"""A whole cluster in one thread, in simulated time, all chance from one seed.

A run has eras. While there are faults nothing may go wrong, whatever else does; then all is healed,
and within bounded time there must be a leader, a write must succeed, and all members must have come
as far as it. After the last era clients end, and all members must be equal. Equal scenarios give
equal runs, event by event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, NamedTuple, TextIO

from trioetcd.cluster import Member, cluster_id, member_id
from trioetcd.replica import Envelope, bootstrap
from trioetcd.replica.rows import CorruptLog, bootstrap_joiner
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.testing.answers import Answers
from trioetcd.testing.faults import DRIFT, Faults
from trioetcd.testing.member_changes import MemberChanges, peer_url
from trioetcd.testing.network import LinkFaults, Network
from trioetcd.testing.operation import Ask, Operation, Pause, Propose, Read, Result, Status, plain
from trioetcd.testing.oracles import Oracles
from trioetcd.testing.scenario import SNAPSHOTS, Scenario, stream
from trioetcd.testing.schedule import Schedule, Trace
from trioetcd.testing.settled import check_equal
from trioetcd.testing.sim_member import SimMember
from trioetcd.testing.transfers import Transfers
from trioetcd.testing.violation import Violation, require
from trioetcd.testing.watching import Watching
from trioetcd.testing.workload import Script, Workload
from trioetcd.values import ClusterID, MemberID

__all__ = ["Report", "Simulator"]

_MICROS: Final = 1_000_000

WRITE_MICROS: Final = 10 * _MICROS
"""After all is healed a write must succeed within this time (beyond two elections of slack)."""

EQUAL_MICROS: Final = 15 * _MICROS
"""And after that all members must be equal within this time."""

CLUSTER: Final = "simulation"


class Report(NamedTuple):
    """What came of a run.

    Attributes:
        scenario: what was run.
        violation: the broken promise with what led to it; None if all were kept.
        operations: results by status.
        terms: how many terms had a leader.
        faults: how often each fault struck.
        revision, entries: how far the cluster came.
        events: simulated events.
        simulated: simulated seconds.
        digest: the trace's hash.
    """

    scenario: Scenario
    violation: str | None
    operations: dict[str, int]
    terms: int
    faults: dict[str, int]
    revision: int
    entries: int
    events: int
    simulated: float
    digest: str


class Simulator:
    """One run.

    Attributes:
        scenario, schedule, trace, oracles, network, members, faults: its parts.

    Args:
        scenario: what to run.
        file: where the trace is written, if anywhere.
    """

    def __init__(self, scenario: Scenario, *, file: TextIO | None = None) -> None:
        self.scenario = scenario
        self.schedule = Schedule()
        self.trace = Trace(self.schedule, file)
        ids = [member_id([peer_url(place)], CLUSTER) for place in range(scenario.members)]
        self.cluster_id: ClusterID = cluster_id(ids)
        self.oracles = Oracles(
            first=scenario.members + 1, ttl_min=scenario.ttl_min, applied=self._applied
        )
        self.answers = Answers(
            self.oracles.truth, drift=1 + DRIFT if scenario.has("drift") else 1.0
        )
        self.network = Network(LinkFaults(), stream(scenario.seed, "network"))
        self.workload = Workload(
            keys=scenario.keys, mix=scenario.mix, now=lambda: self.schedule.now
        )
        self.members: list[SimMember] = []
        self._places: dict[MemberID, int] = {}
        cluster = [
            Member(id=id_, name=f"m{place}", peer_urls=(peer_url(place),))
            for place, id_ in enumerate(ids)
        ]
        for place, id_ in enumerate(ids):
            rows = bootstrap(cluster_id=self.cluster_id, member_id=id_, members=cluster)
            self._add(place, id_, rows)
        self.changes = MemberChanges(self, ids, joining=SNAPSHOTS)
        self.faults = Faults(self, scenario)
        self.transfers = Transfers(self, stream(scenario.seed, "transfers"))
        self.watching = [
            Watching(number, self.oracles.truth.model, stream(scenario.seed, f"watch/{number}"))
            for number in range(scenario.watchers)
        ]
        self._operations = 0
        self._outstanding: dict[Operation, None] = {}
        self._healed = False
        self._clients_on = True

    def _add(self, place: int, id_: MemberID, rows: dict[bytes, bytes | None]) -> SimMember:
        member = SimMember(self, place, id_, self.scenario.config(f"m{place}"), rows)
        self.members.append(member)
        self._places[id_] = place
        self.oracles.watch(id_, rows)
        return member

    # -- the run -----------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end, or to the first broken promise."""
        violation = None
        try:
            self._run()
        except Violation as broken:
            violation = str(broken)
        except CorruptLog as broken:
            violation = f"a member refuses what it wrote itself: {broken}"
        except AssertionError as broken:
            violation = f"an assertion failed: {broken!r} in {_where(broken)}"
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as broken:
            violation = f"an exception nobody handled: {broken!r} in {_where(broken)}"
        truth = self.oracles.truth
        return Report(
            scenario=self.scenario,
            violation=violation,
            operations={status.value: count for status, count in self.answers.results.items()},
            terms=len(self.oracles.leaders),
            faults=self.faults.counts,
            revision=truth.model.revision,
            entries=len(truth.entries),
            events=self.trace.events,
            simulated=self.schedule.now / _MICROS,
            digest=self.trace.digest(),
        )

    def _run(self) -> None:
        scenario = self.scenario
        schedule = self.schedule
        for member in self.members:
            member.start()
        for number in range(scenario.clients):
            self._client(stream(scenario.seed, f"client/{number}"), number)
        for watching in self.watching:
            self._watcher(watching)
        for _ in range(scenario.eras):
            self._calm(calm=False)
            self.faults.begin()
            schedule.run(schedule.now + int(scenario.seconds / scenario.eras * _MICROS))
            self._heal()
            self._expect_write()
            self._expect(partial(self._lagging, self.oracles.truth.last))
        self._clients_on = False
        self._expect(self._unsettled)
        self._check_end()

    def _expect(self, reason: Callable[[], str | None]) -> None:
        """Go on until there is no reason to wait any more, which must be in time."""
        schedule = self.schedule
        deadline = schedule.now + EQUAL_MICROS
        while (why := reason()) is not None:
            require(schedule.now < deadline, "not settled long after all was healed: {}", why)
            schedule.run(schedule.now + 200_000)

    def _calm(self, *, calm: bool) -> None:
        self._healed = self.workload.calm = calm

    def _heal(self) -> None:
        self.trace.event("heal")
        self._calm(calm=True)
        self.faults.heal()
        for member in self.members:
            self._start(member.place)
            member.pause(0)

    def _expect_write(self) -> None:
        """A write must succeed in time, and so show that there is a leader."""
        election = self.scenario.election_millis * 1000
        deadline = self.schedule.now + WRITE_MICROS + 2 * election
        random = stream(self.scenario.seed, f"last/{self.schedule.now}")
        succeeded: list[Result] = []

        def done(result: Result) -> None:
            if result.status == Status.DONE:
                succeeded.append(result)
            else:
                self.schedule.after(100_000, attempt)

        def attempt() -> None:
            self.ask(self._put(), random.randrange(len(self.members)), done)

        attempt()
        self.schedule.run(deadline, enough=lambda: bool(succeeded))
        require(bool(succeeded), "no write succeeded in time after all was healed")

    def _put(self) -> Propose:
        put = messages.PutRequest(key=b"last", value=self.workload.value())
        return Propose(CommandKind.PUT, put.SerializeToString())

    def press(self, place: int, *, write: bool) -> None:
        """Ask a member for something, whatever comes of it."""
        ask = self._put() if write else Read(messages.RangeRequest(key=b"last"))
        self.ask(ask, place, lambda _: None)

    def _lagging(self, last: int) -> str | None:
        """Say which member has not come as far as an index; None if all have."""
        for member in self.members:
            if self._is_gone(member):
                continue
            if member.replica is None:
                return f"member {member.place} is down"
            if member.replica.applied_index < last:
                return f"member {member.place} is at {member.replica.applied_index} of {last}"
        return None

    def _unsettled(self) -> str | None:
        """Say why the cluster is not yet at rest and equal; None if it is."""
        if self._outstanding:
            return f"unanswered: {next(iter(self._outstanding))}"
        lagging = self._lagging(self.oracles.truth.last)
        if lagging is not None:
            return lagging
        for member in self.members:
            replica = member.replica
            if replica is not None and replica.store.compaction.pending:
                return f"member {member.place} is still compacting"
        for number, watching in enumerate(self.watching):
            if watching.place is not None and self._is_gone(self.members[watching.place]):
                # A member that was removed and has not heard of it tells its watchers nothing.
                watching.disconnect()
            if watching.place is not None:
                # This may end it: what it still wants may have been compacted.
                watching.take_all(self.members[watching.place].clock())
            if watching.place is None:
                return f"watcher {number} is not connected"
        return None

    def _check_end(self) -> None:
        """Compare everything with everything."""
        model = self.oracles.truth.model
        replicas = [member.replica for member in self.members if not self._is_gone(member)]
        check_equal([replica for replica in replicas if replica is not None], model)
        for number, watching in enumerate(self.watching):
            assert watching.place is not None
            watching.take_all(self.members[watching.place].clock())
            for revision in range(watching.position, model.revision + 1):
                missed = model.events(revision, watching.interest.key, watching.interest.end)
                require(not missed, "watcher {} was never given {}", number, missed)

        def read(key: bytes) -> bytes | None:
            kv = model.get(key)
            return None if kv is None else kv.value

        self.workload.check(read)

    # -- what members know of the world ------------------------------------------------------

    def send(self, place: int, envelopes: list[Envelope]) -> None:
        """Put messages on the network: those to one peer travel together."""
        packets: dict[MemberID, list[Envelope]] = {}
        for envelope in envelopes:
            packets.setdefault(envelope.to, []).append(envelope)
        network = self.network
        schedule = self.schedule
        for peer, packet in packets.items():
            to = self._places.get(peer)
            if to is None:
                continue
            epoch = network.epoch(place, to)
            for arrival in network.send(place, to, schedule.now):
                schedule.at(arrival, self._delivery(place, to, epoch, packet))

    def _delivery(
        self, sender: int, to: int, epoch: int, packet: list[Envelope]
    ) -> Callable[[], None]:
        def deliver() -> None:
            if not self.network.passes(sender, to, epoch):
                return
            replica = self.members[to].replica
            if replica is not None and replica.membership.is_removed(self.members[sender].id):
                # Who does not belong any more is turned away, and so learns it.
                self.members[sender].crash(seconds=None, why="turned away")
            else:
                self.members[to].receive(packet)

        return deliver

    def send_snapshot(self, place: int, peer: MemberID) -> None:
        """Send a member's state to a peer."""
        self.transfers.begin(place, self._places[peer])

    def snapshot_answered(self, place: int, *, ok: bool) -> None:
        """Take a member's answer to a snapshot that was offered to it."""
        self.transfers.answered(place, ok=ok)

    def break_link(self, one: int, other: int) -> None:
        """Break the connections between two members; both are told."""
        self.trace.event("reset", one, other)
        self.network.reset(one, other)
        self.members[one].unreachable(self.members[other].id)
        self.members[other].unreachable(self.members[one].id)
        self.members[one].reachable(self.members[other].id)
        self.members[other].reachable(self.members[one].id)

    def ended(self, place: int, *, seconds: float | None) -> None:
        """A member's life has ended: its connections break, and it comes back in a while."""
        self.transfers.ended(place)
        for watching in self.watching:
            if watching.place == place:
                watching.disconnect()
        for other in range(len(self.members)):
            if other != place:
                self.network.reset(place, other)
                self.members[other].unreachable(self.members[place].id)
        if seconds is not None:
            self.schedule.after(int(seconds * _MICROS) + 1, lambda: self._start(place))

    def _start(self, place: int) -> None:
        member = self.members[place]
        if member.replica is None and not self.changes.is_removed(member.id):
            member.start()
            for other in self.members:
                if other is not member:
                    other.reachable(member.id)

    def answered(self, operation: Operation, result: Result) -> None:
        """Judge a result and give it to its client."""
        self._outstanding.pop(operation)
        self.trace.event(
            "answer", operation.number, result.status.value, result.revision, result.error
        )
        self.answers.end(operation, result)
        operation.done(result)

    def _applied(self, index: int, kind: int, payload: bytes, data: bytes) -> None:
        self.changes.applied(kind, payload)
        self.answers.applied(index, kind, payload, self.oracles.first_seen.get(data))

    # -- membership --------------------------------------------------------------------------

    def _is_gone(self, member: SimMember) -> bool:
        return not self.changes.is_member(member.id)

    def change_members(self, random: Random) -> bool:
        """Begin a change of the membership."""
        return self.changes.change(random)

    def join(self, number: MemberID) -> None:
        """Start the process of a new member, whose disk is empty."""
        if number in self._places:
            return
        place = len(self.members)
        rows = bootstrap_joiner(cluster_id=self.cluster_id, member_id=number)
        self.trace.event("join", place, number)
        self._add(place, number, rows)
        self.faults.equip(place)
        self.members[place].start()

    # -- clients and watchers ----------------------------------------------------------------

    def ask(self, ask: Ask, place: int, done: Callable[[Result], None]) -> None:
        """Ask a member; if nobody is there the client is told so at once."""
        self._operations += 1
        operation = Operation(self._operations, ask, place, self.schedule.now, done)
        operation.committed = self.oracles.committed
        self.answers.begin(operation)
        self._outstanding[operation] = None
        self.trace.event("ask", operation.number, place, plain(ask))
        if not self.members[place].submit(operation):
            self.answered(operation, Result(Status.REFUSED, error="nobody"))

    def _client(self, random: Random, number: int) -> None:
        """Let a client live: one script after the other."""
        schedule = self.schedule
        think = self.scenario.think_millis * 1000
        place = number % len(self.members)

        def begin() -> None:
            nonlocal place
            if not self._clients_on:
                return
            if random.random() < 0.2:
                place = random.randrange(len(self.members))
            script = self.workload.script(random)
            step(script, next(script))

        def step(script: Script, ask: Ask) -> None:
            def done(result: Result) -> None:
                nonlocal place
                if result.status != Status.DONE:
                    place = random.randrange(len(self.members))
                proceed(script, result)

            match ask:
                case Pause(micros):
                    schedule.after(micros, lambda: proceed(script, Result(Status.DONE)))
                case _:
                    self.ask(ask, place, done)

        def proceed(script: Script, result: Result) -> None:
            try:
                ask = script.send(result)
            except StopIteration:
                schedule.after(int(random.expovariate(1.0) * think) + 1, begin)
                return
            if isinstance(ask, Pause):
                step(script, ask)
            else:
                schedule.after(random.randrange(1, 2000), lambda: step(script, ask))

        schedule.after(random.randrange(1, think + 1), begin)

    def _watcher(self, watching: Watching) -> None:
        """Let a watcher look from time to time, at times after a long while."""
        random = stream(self.scenario.seed, f"watcher/{watching.number}")

        def look() -> None:
            if watching.place is None:
                member = random.choice(self.members)
                replica = member.replica
                alive = member.is_up and not (self._healed and self._is_gone(member))
                if alive and replica is not None and replica.ready and member.hub:
                    watching.connect(member.place, member.hub)
            else:
                member = self.members[watching.place]
                if self.schedule.now >= member.paused_until:
                    if random.random() < 0.1:
                        watching.ask_progress()
                    watching.take(member.clock())
            slow = not self._healed and random.random() < 0.05
            self.schedule.after(random.randrange(3_000_000 if slow else 200_000) + 1, look)

        look()


def _where(broken: BaseException) -> str:
    """Name the innermost frame of an exception."""
    frame = broken.__traceback__
    assert frame is not None
    while frame.tb_next is not None:
        frame = frame.tb_next
    code = frame.tb_frame.f_code
    return f"{code.co_qualname}, line {frame.tb_lineno}"
