"""A member run by hand: one replica over a backend in memory, no task, no clock, no thread.

For tests of everything that needs a living replica and no I/O. Batches reach the backend when
`persist` is called, so a crash between any two of them is one line.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from trioetcd.cluster import Member, cluster_id, member_id
from trioetcd.errors import EtcdError
from trioetcd.ports import Backend
from trioetcd.replica import (
    Input,
    Outputs,
    Persist,
    Persisted,
    Proposal,
    Proposed,
    Replica,
    ReplicaConfig,
    Tick,
    bootstrap,
    recover,
)
from trioetcd.statemachine import Outcome

__all__ = ["PEER_URL", "Dice", "Synchronous", "new_rows"]

PEER_URL = "https://localhost:2380"
_NAME = "default"


class Dice:
    """Chance that repeats itself: a linear congruence from a seed."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def bits(self, count: int, /) -> int:
        """Give the next number of `count` bits."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        return self._state >> (64 - count)


def new_rows() -> Mapping[bytes, bytes | None]:
    """Make the first batch of a cluster of one."""
    me = member_id([PEER_URL], "etcd-cluster")
    return bootstrap(
        cluster_id=cluster_id([me]),
        member_id=me,
        members=[Member(id=me, name=_NAME, peer_urls=(PEER_URL,))],
    )


class Synchronous:
    """One member and its disk.

    Attributes:
        replica: the member.
        backend: its disk.
        outputs: what the latest step asked for.
        waiting: the batch that has been cut and is not on the disk yet.
        now: the time, moved by hand.
        resolved: every outcome so far by its ticket.
        published: every revision published so far.
        freed: every stretch given back so far.

    Args:
        backend: an empty backend, which is bootstrapped, or one left by an earlier member.
        config: settings.
        boot: see `Replica`.
        now: the time at the start.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        config: ReplicaConfig | None = None,
        boot: int = 1,
        now: float = 0.0,
    ) -> None:
        self.backend = backend
        recovered = recover(backend)
        if recovered is None:
            backend.prepare(new_rows()).write()
            recovered = recover(backend)
            assert recovered is not None
        self.recovered = recovered
        self.now = now
        self.replica = Replica(
            backend=backend,
            recovered=recovered,
            config=config or ReplicaConfig(name=_NAME),
            boot=boot,
            entropy=Dice(boot),
            now=now,
        )
        self.waiting: Persist | None = None
        self.resolved: dict[object, Outcome] = {}
        self.readable: list[object] = []
        self.reached: list[object] = []
        self.published: list[int] = []
        self.freed: list[tuple[bytes, bytes]] = []
        self.outputs = Outputs()

    def step(self, *inputs: Input) -> Outputs:
        """Step once and note what comes out; the batch, if any, waits for `persist`."""
        outputs = self.outputs = self.replica.step(inputs, self.now)
        if outputs.persist is not None:
            assert self.waiting is None, "one batch at a time"
            self.waiting = outputs.persist
        for ticket, outcome in outputs.resolved:
            assert ticket not in self.resolved, "resolved twice"
            self.resolved[ticket] = outcome
        for revision, _ in outputs.published:
            assert not self.published or revision > self.published[-1], "revisions went back"
            self.published.append(revision)
        self.readable += outputs.readable
        self.reached += outputs.reached
        self.freed += outputs.freed
        return outputs

    def write(self) -> int:
        """Write the waiting batch to the disk, without telling the replica."""
        assert self.waiting is not None
        number, rows, _ = self.waiting
        self.backend.prepare(rows).write()
        self.waiting = None
        return number

    def persist(self, *inputs: Input) -> Outputs:
        """Write the waiting batch and step with the news, before `inputs`."""
        return self.step(Persisted(self.write()), *inputs)

    def settle(self) -> None:
        """Go on until nothing waits for the disk or for another step; time stands still."""
        while True:
            if self.waiting is not None:
                self.persist()
            elif self.outputs.more:
                self.step()
            else:
                return

    def pass_time(self, seconds: float) -> None:
        """Let time pass in one go, tick, and settle."""
        self.now += seconds
        self.step(Tick(self.now))
        self.settle()

    def start(self) -> Synchronous:
        """Take the member to where it serves."""
        self.step()
        self.settle()
        assert self.replica.ready
        return self

    def propose(self, *proposals: Proposal) -> Outputs:
        """Step with proposals."""
        return self.step(Proposed(list(proposals)))

    def do(self, kind: int, request: Message) -> Outcome:
        """Propose one request and settle; give its outcome."""
        ticket = object()
        self.propose((ticket, kind, request.SerializeToString()))
        self.settle()
        return self.resolved[ticket]

    def done(self, kind: int, request: Message) -> tuple[int, bytes]:
        """Do one request that must succeed."""
        outcome = self.do(kind, request)
        assert not isinstance(outcome, EtcdError), outcome
        return outcome
