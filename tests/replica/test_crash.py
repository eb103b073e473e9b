"""Random schedules of proposals, slow disks, ticks and crashes: what a member may never do.

A crash throws away everything that no batch had carried to the disk. After every schedule:

* nothing was answered before its entry was durable, and nothing answered was lost;
* the state is the one of a member that never crashed and was given the surviving entries;
* revisions never went back, not even across a restart, once the member said it was ready;
* the same inputs to the same rows gave the same outputs, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from trioetcd.errors import EtcdError
from trioetcd.ports import FIRST_ROW, LAST_ROW
from trioetcd.raft import decode_group
from trioetcd.replica import (
    Input,
    Outputs,
    Persist,
    Persisted,
    Proposal,
    Proposed,
    ReadRequested,
    Replica,
    ReplicaConfig,
    Tick,
    recover,
)
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, decode_command
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Dice, new_rows

CONFIG = ReplicaConfig(name="default", batch_bytes_max=400, slices_per_step=1, compaction_rows=2)

keys = st.sampled_from([b"a", b"b", b"c", b"d"])
leases = st.integers(1, 3)
commands = st.one_of(
    st.builds(
        lambda key, lease: (CommandKind.PUT, messages.PutRequest(key=key, value=b"?", lease=lease)),
        keys,
        st.sampled_from([0, 0, 0, 1, 2]),
    ),
    st.builds(
        lambda key, end: (
            CommandKind.DELETE_RANGE,
            messages.DeleteRangeRequest(key=key, range_end=end),
        ),
        keys,
        st.sampled_from([b"", b"\0", b"c"]),
    ),
    st.builds(
        lambda revision: (CommandKind.COMPACT, messages.CompactionRequest(revision=revision)),
        st.integers(1, 12),
    ),
    st.builds(
        lambda lease, ttl: (
            CommandKind.LEASE_GRANT,
            messages.LeaseGrantRequest(ID=lease, TTL=ttl),
        ),
        leases,
        st.sampled_from([4, 1000]),
    ),
    st.builds(
        lambda lease: (CommandKind.LEASE_REVOKE, messages.LeaseRevokeRequest(ID=lease)), leases
    ),
)


def make(backend: MemoryBackend, boot: int, now: float) -> Replica:
    """Start a member from its disk."""
    recovered = recover(backend)
    assert recovered is not None
    return Replica(
        backend=backend, recovered=recovered, config=CONFIG, boot=boot, entropy=Dice(boot), now=now
    )


def rows_of(backend: MemoryBackend) -> dict[bytes, bytes]:
    """Copy a disk."""
    first = backend.get(FIRST_ROW)
    assert first is not None
    return {FIRST_ROW: first, **dict(backend.scan(FIRST_ROW + b"\0", LAST_ROW)), LAST_ROW: b""}


def plain(outputs: list[Outputs]) -> list[list[object]]:
    """Give outputs in a form in which equal errors are equal."""
    return [
        [
            [(ticket, getattr(outcome, "row", outcome)) for ticket, outcome in one.resolved],
            *(one.persist, one.published, one.readable, one.reached, one.freed, one.more),
        ]
        for one in outputs
    ]


def never() -> bool:
    """Have all the time there is."""
    return False


def always() -> bool:
    """Have no time at all."""
    return True


class Boot:
    """One life of a member, with all that went in and came out."""

    def __init__(self, rows: dict[bytes, bytes], number: int, now: float) -> None:
        self.rows = rows
        self.number = number
        self.began = now
        self.acts: list[tuple[list[Input], float, Callable[[], bool]] | Persist] = []
        self.outputs: list[Outputs] = []

    def repeat(self) -> list[Outputs]:
        """Live this life again."""
        backend = MemoryBackend()
        backend.prepare(dict(self.rows)).write()
        replica = make(backend, self.number, self.began)
        outputs: list[Outputs] = []
        for act in self.acts:
            if isinstance(act, Persist):
                backend.prepare(act.rows).write()
            else:
                outputs.append(replica.step(*act))
        return outputs


class Life(RuleBasedStateMachine):
    """A member that is driven, slowed and killed."""

    @initialize()
    def begin(self) -> None:
        self.backend = MemoryBackend()
        self.backend.prepare(new_rows()).write()
        self.now = 0.0
        self.count = 0
        self.payloads: dict[object, bytes] = {}
        self.durable: dict[bytes, int] = {}
        self.answered: list[bytes] = []
        self.resolved: set[object] = set()
        self.asked: list[object] = []
        self.readable: list[object] = []
        self.seen_revision = 1
        self.boots: list[Boot] = []
        self.boot()

    def boot(self) -> None:
        self.waiting: Persist | None = None
        self.written: int | None = None
        self.floor = self.seen_revision
        number = len(self.boots) + 1
        self.boots.append(Boot(rows_of(self.backend), number, self.now))
        self.replica = make(self.backend, number, self.now)
        self.asked.clear()
        self.readable.clear()

    def go(self, inputs: list[Input], overdue: Callable[[], bool]) -> None:
        outputs = self.replica.step(inputs, self.now, overdue)
        self.boots[-1].acts.append((list(inputs), self.now, overdue))
        self.boots[-1].outputs.append(outputs)
        if outputs.persist is not None:
            assert self.waiting is None
            assert self.written is None
            self.waiting = outputs.persist
        for ticket, outcome in outputs.resolved:
            assert ticket not in self.resolved, "resolved twice"
            self.resolved.add(ticket)
            if ticket in self.asked:
                self.asked.remove(ticket)
            if ticket in self.payloads and not self.gave_up(outcome):
                assert self.payloads[ticket] in self.durable, "answered before it was durable"
                self.answered.append(self.payloads[ticket])
        self.readable += outputs.readable
        assert self.asked[: len(self.readable)] == self.readable
        replica = self.replica
        assert replica.commit_index >= replica.applied_index
        if replica.ready:
            assert replica.store.revision >= self.floor, "revisions went back"
            self.floor = self.seen_revision = replica.store.revision
        if replica.is_current:
            assert replica.applied_index == replica.commit_index

    @staticmethod
    def gave_up(outcome: object) -> bool:
        """Whether an outcome says nothing of its command: refused, or waited in vain."""
        return isinstance(outcome, EtcdError) and outcome.row.name in {
            "NoLeader",
            "TooManyRequests",
            "Timeout",
        }

    @rule(some=st.lists(commands, min_size=1, max_size=4), hurried=st.booleans())
    def propose(
        self,
        some: list[tuple[CommandKind, messages.PutRequest | messages.CompactionRequest]],
        hurried: bool,  # noqa: FBT001 - drawn by hypothesis
    ) -> None:
        proposals: list[Proposal] = []
        for kind, request in some:
            self.count += 1
            ticket = f"t{self.count}"
            if isinstance(request, messages.PutRequest):
                request.value = b"%d" % self.count
            payload = request.SerializeToString()
            proposals.append((ticket, kind, payload))
            if kind == CommandKind.PUT:
                self.payloads[ticket] = payload
        self.go([Proposed(proposals)], always if hurried else never)

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def write(self) -> None:
        assert self.waiting is not None
        self.boots[-1].acts.append(self.waiting)
        self.backend.prepare(self.waiting.rows).write()
        for key, value in self.waiting.rows.items():
            if key[:1] == b"e" and value is not None:
                for data in decode_group(value).datas:
                    if data:
                        self.durable[decode_command(data)[2]] = self.waiting.number
        self.written = self.waiting.number
        self.waiting = None

    @precondition(lambda self: self.written is not None)
    @rule(hurried=st.booleans())
    def acknowledge(self, hurried: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        assert self.written is not None
        number = self.written
        self.written = None
        self.go([Persisted(number)], always if hurried else never)

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def persist(self) -> None:
        self.write()
        self.acknowledge(hurried=False)

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.02, 0.15, 3.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.go([Tick(self.now)], never)

    @rule()
    def read(self) -> None:
        self.count += 1
        self.asked.append(f"r{self.count}")
        self.go([ReadRequested([f"r{self.count}"])], never)

    @rule()
    def crash(self) -> None:
        self.boot()

    def settle(self) -> None:
        """Go on until nothing waits any more."""
        self.go([], never)
        while True:
            if self.waiting is not None:
                self.persist()
            elif self.written is not None:
                self.acknowledge(hurried=False)
            elif self.boots[-1].outputs[-1].more:
                self.go([], never)
            elif self.replica.wants_flush:
                self.tick(0.02)
            else:
                return

    def teardown(self) -> None:
        if not hasattr(self, "backend"):
            return
        self.settle()
        survivors: list[Proposal] = []
        kept: set[bytes] = set()
        for _, value in self.backend.scan(b"e", b"f"):
            for data in decode_group(value).datas:
                if data:
                    kind, _, payload = decode_command(data)
                    survivors.append((None, kind, payload))
                    kept.add(payload)
        assert all(payload in kept for payload in self.answered), "an answered put was lost"
        twin = Life()
        twin.begin()
        twin.settle()
        for proposal in survivors:
            twin.go([Proposed([proposal])], never)
            twin.settle()
        state, expected = rows_of(self.backend), rows_of(twin.backend)
        tables = [key for key in sorted(state | expected) if key >= b"\x80"]
        assert [expected.get(key) for key in tables] == [state.get(key) for key in tables]
        for boot in self.boots:
            assert plain(boot.outputs) == plain(boot.repeat()), "equal inputs, other outputs"


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
