"""The face of a member: what handlers and frontends may ask of it.

One replica, its driver, the watch hub and the long reads under way. Handlers propose with a
ticket of (caller, call) and are answered through the caller at the end of a turn, all calls of
one connection in one write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, cast

import trio

from trioetcd import errors
from trioetcd.cluster import CLUSTER_VERSION, Connected
from trioetcd.errors import EtcdError, unread
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import WatchHub, WatchSession
from trioetcd.ports import Backend, Clock, Entropy, Sink
from trioetcd.replica import LeaseAsked, Outputs, Replica, TransferRequested
from trioetcd.runtime.cursors import Cursor, Cursors
from trioetcd.runtime.disk_space import SIZE_SECONDS, DiskSpace
from trioetcd.runtime.driver import Driver
from trioetcd.runtime.logins import Logins, LoginSettings
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.progress import tell_progress, with_jitter
from trioetcd.runtime.server_limits import ServerLimits
from trioetcd.runtime.transfers import Transfers
from trioetcd.runtime.waiter import Waiter
from trioetcd.runtime.watch_feed import Pushes, WatchStream, feed
from trioetcd.runtime.writer import BatchWriter, Writer
from trioetcd.schema import fastpath
from trioetcd.statemachine import HEAD, Asker, Outcome, permits, stamp
from trioetcd.transport.streams import InThread, run_in_thread
from trioetcd.values import INT64_MAX, MemberID

__all__ = [
    "STORAGE_VERSION",
    "Answer",
    "Server",
    "ServerLimits",
]

STORAGE_VERSION: Final = CLUSTER_VERSION
"""As etcd tells the version of the data's form; ours has its own (`storage.data_dir`)."""

HAND_OVER_SECONDS: Final = 0.5
"""How long a leader that ends waits for the next one to lead."""

PUBLISH_SECONDS: Final = 1.0
"""How long a member waits until the cluster knows its name; an election takes as long."""

Answer = bytes | list[bytes] | None
"""A response message, its pieces, or nothing yet."""

Ticket = tuple[Sink, int, Callable[[], Answer] | None]
"""Who waits, for which call, and what to read when the store is current (if it is a read)."""


LeaseTicket = tuple[Sink, int, Callable[[int | None], Answer]]
"""Who waits, for which call, and how the answer is made of the seconds that are left."""


class Server:
    """One member, as handlers and frontends see it.

    Attributes:
        auth: the users, and what they may do.
        logins: who says that it is which user.
        transfers: those who wait for another leader.
        disk: how much of it is taken, and what is given back.
        also_turned: given the outputs of each turn: before anybody is answered if there are
            entries for the peers, whose disks should begin, and after that otherwise.
        connected: gives the other members that this one is connected to, and for how many
            seconds it has been; nobody, until whoever keeps the connections says otherwise.
        wall: gives the seconds since 1970.

    Args:
        replica: the deterministic member.
        backend: its rows.
        clock: time.
        entropy: chance, for lease ids.
        limits: what a user may set.
        logins: what a user may set about logging in.
        metrics: where everything is counted.
        open_writer: makes what writes the batches.
        in_thread: runs what blocks.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        backend: Backend,
        clock: Clock,
        entropy: Entropy,
        limits: ServerLimits,
        metrics: Metrics,
        logins: LoginSettings | None = None,
        open_writer: Callable[[], Writer] = BatchWriter,
        in_thread: InThread = run_in_thread,
    ) -> None:
        self.replica = replica
        self.store = replica.store
        self.lessor = replica.lessor
        self.applier = replica.applier
        self.membership = replica.membership
        self.auth = replica.auth
        self.alarms = replica.alarms
        self.auth = replica.auth
        self.limits = limits
        self.metrics = metrics
        self.hub = WatchHub(self.store)
        self.cursors = Cursors()
        self.now = clock.monotonic
        self.wall = clock.wall
        self.connected: Callable[[], Connected] = dict
        self._entropy = entropy
        self._header = fastpath.header_prefix(replica.cluster_id, replica.member_id)
        self.also_turned: Callable[[Outputs], None] = _nothing_asked
        self._pushes = Pushes()
        self._stopping = False
        self._stopped = trio.Event()
        self.driver = Driver(
            replica,
            backend,
            clock,
            turned=self._turned,
            written=metrics.disk_wal_fsync_duration_seconds.observe,
            open_writer=open_writer,
            alone=self.is_alone,
        )
        self.logins = Logins(
            replica.auth,
            logins or LoginSettings(),
            clock=clock,
            entropy=entropy,
            announce=self.ask_own,
            applied=lambda: replica.applied_index,
            in_thread=in_thread,
        )
        self._auth_changes = replica.auth.changes
        self.disk = DiskSpace(
            backend=backend,
            replica=replica,
            driver=self.driver,
            quota_bytes=limits.quota_bytes,
            in_thread=in_thread,
        )
        self.transfers = Transfers(
            me=replica.member_id,
            membership=replica.membership,
            seconds=replica.config.request_seconds,
            request=lambda to: self.driver.put_in(TransferRequested(to)),
        )

    # What everybody asks

    def header(self, revision: int | None = None) -> bytes:
        """Make the header field of a response: at `revision`, or at the store's."""
        if revision is None:
            revision = self.store.revision
        return fastpath.header_field(self._header, revision, self.replica.term)

    def propose(
        self, caller: Sink, call: int, kind: int, payload: bytes, asker: Asker | None
    ) -> None:
        """Propose a command; its outcome is the answer of `call`.

        The caller asks for a turn when it has proposed all it has (`Driver.flush_later`).

        Args:
            caller: who waits.
            call: for which call.
            kind: a `CommandKind`.
            payload: the request.
            asker: which user asks, as `api.guard` knows; None for nobody.

        Raises:
            EtcdError: the command is too large, the user must not ask for it, or this member
                cannot take it now.
        """
        self._check_open(payload)
        if self.auth.enabled:
            row = permits.refusal(self.auth, self.lessor, kind, payload, asker)
            if row is not None:
                raise EtcdError(row)
            if asker is not None:
                kind, payload = stamp(kind, payload, asker)
        self.driver.propose((caller, call, None), kind, payload)

    def _check_open(self, payload: bytes) -> None:
        if len(payload) + HEAD.size > self.limits.request_bytes_max:
            raise EtcdError(errors.REQUEST_TOO_LARGE)
        if self._stopping:
            raise EtcdError(errors.STOPPED)

    async def ask(self, kind: int, payload: bytes, asker: Asker | None) -> bytes:
        """Propose a command and wait for its answer; for tasks."""
        waiter = Waiter()
        self.propose(waiter, 0, kind, payload, asker)
        self.driver.wake()
        return await waiter.wait()

    async def ask_own(self, kind: int, payload: bytes) -> bytes:
        """Likewise for a command of the member's own, for which no user asks."""
        self._check_open(payload)
        waiter = Waiter()
        self.driver.propose_own((waiter, 0, None), kind, payload)
        self.driver.wake()
        return await waiter.wait()

    @property
    def is_learner(self) -> bool:
        """Whether this member only learns; one that the cluster does not know does not."""
        me = self.membership.get(self.replica.member_id)
        return me is not None and me.is_learner

    def refuse_learner(self) -> None:
        """Refuse, if this member is a learner, what it could answer but must not (etcd).

        Writes and linearizable reads are refused by the replica.

        Raises:
            EtcdError: NotSupportedForLearner.
        """
        if self.is_learner:
            raise EtcdError(errors.NOT_SUPPORTED_FOR_LEARNER)

    def is_current(self) -> bool:
        """Whether a linearizable read may be answered from the store as it stands."""
        return self.replica.is_current

    def answer_when_current(self, caller: Sink, call: int, read: Callable[[], Answer]) -> Answer:
        """Read now if the store is current; otherwise later, as the answer of `call`.

        In that case the caller asks for a turn (`Driver.flush_later`).
        """
        if self.replica.is_current:
            return read()
        self.driver.read((caller, call, read))
        return None

    async def wait_current(self) -> None:
        """Wait until the store is current: what this task reads next is linearizable.

        Raises:
            EtcdError: nobody confirmed it in time, or this member must not answer.
        """
        if not self.replica.is_current:
            waiter = Waiter()
            self.driver.read((waiter, 0, lambda: b""))
            self.driver.wake()
            await waiter.wait()

    # Long reads

    def read_later(self, caller: Sink, call: int, read: Callable[[], Answer]) -> None:
        """Begin a long read, as the answer of `call`, when one of those under way has ended."""

        def begin() -> None:
            if not caller.is_open(call):
                return
            if caller.is_full():
                caller.fail(call, unread())
            else:
                self.deliver(caller, call, read)
            caller.flush()

        self.cursors.queue(begin)

    def read_on(self, caller: Sink, call: int, cursor: Cursor, make: Callable[[], Answer]) -> None:
        """Go on with a long read in steps; in the end `make` its answer, that of `call`."""

        def done() -> None:
            self.deliver(caller, call, make)
            caller.flush()

        self.cursors.add(cursor, done, lambda: caller.is_open(call))

    # Leases

    def draw_lease_id(self) -> int:
        """Draw an id that no lease has."""
        while True:
            lease = self._entropy.bits(63)
            if 0 < lease <= INT64_MAX and lease not in self.lessor:
                return lease

    def ask_leader(
        self,
        caller: Sink,
        call: int,
        lease: int,
        make: Callable[[int | None], Answer],
        *,
        renew: bool,
    ) -> None:
        """Ask who leads, the leader itself too, how long a lease lives.

        Args:
            caller: who waits.
            call: for which call.
            lease: the lease.
            make: given the seconds that are left, or None for no such lease; makes the answer.
            renew: whether the lease is to have its full time again first.

        Raises:
            EtcdError: this member stops.
        """
        if self._stopping:
            raise EtcdError(errors.STOPPED)
        self.driver.put_in(LeaseAsked((caller, call, make), lease, renew))

    # Watches

    async def watch(
        self, stream: WatchStream, permit: Callable[[KeyRange], EtcdError | None]
    ) -> None:
        """Serve one watch stream to its end.

        Args:
            stream: the client's end.
            permit: says why an interval must not be watched (any more), None if it may.

        Raises:
            EtcdError: NotSupportedForLearner.
        """
        self.refuse_learner()

        def make(wake: Callable[[], None]) -> WatchSession:
            return WatchSession(
                self.hub,
                self.header,
                wake=wake,
                permit=permit,
                fragment_bytes=self.limits.request_bytes_max + 512 * 1024,
                progress_seconds=with_jitter(self.limits.progress_seconds, self._entropy.bits),
            )

        await feed(stream, make, self._pushes)

    def complaints(self) -> list[str]:
        """Say what is wrong with this member, as Status lists it."""
        found = [] if self.replica.leader else [errors.NO_LEADER.text]
        return found + self.alarms.complaints()

    # Running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the member until cancelled; `started` once it may serve.

        By then the cluster knows this member's name and client URLs, so that whoever waited for
        the member finds it in the list (as with etcd); but nobody is kept waiting if that fails.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.driver.run)
            nursery.start_soon(self.cursors.run)
            nursery.start_soon(self.disk.run)
            nursery.start_soon(self._housekeeping)
            nursery.start_soon(tell_progress, self.hub, self.now, self.limits.progress_seconds)
            while not self.replica.ready:
                await self.driver.wait_turn()
            with trio.move_on_after(PUBLISH_SECONDS):
                while not self._is_published():
                    await self.driver.wait_turn()
            task_status.started()

    def _is_published(self) -> bool:
        me = self.membership.get(self.replica.member_id)
        config = self.replica.config
        return me is not None and (me.name, me.client_urls) == (config.name, config.client_urls)

    async def _housekeeping(self) -> None:
        while True:
            await trio.sleep(SIZE_SECONDS)
            self.disk.look()

    async def wait_stopped(self) -> None:
        """Wait until the member stops serving."""
        await self._stopped.wait()

    async def hand_over(self) -> MemberID:
        """Let another voter lead, if this member leads others, and wait for it, but not long.

        Requests are taken meanwhile; what cannot be done here goes on to the one that leads next.

        Returns:
            Who leads now; this member if it leads nobody else, or nobody else could; 0 if nobody
            is known to.
        """
        replica = self.replica
        me = replica.member_id
        if replica.leader == me and self.membership.voters() != (me,):
            self.driver.put_in(TransferRequested(MemberID(0), frozenset(self.connected())))
            with trio.move_on_after(HAND_OVER_SECONDS):
                while replica.leader in {me, MemberID(0)}:
                    await self.driver.wait_turn()
        return replica.leader

    def is_alone(self) -> bool:
        """Say whether there is nothing here that could wait but the calls of one connection.

        A lease counts: its keep-alives must be heard in time.
        """
        return (
            self.metrics.trioetcd_connections.value <= 1
            and len(self.membership) == 1
            and not (self.hub.sessions or len(self.lessor) or len(self.cursors))
        )

    def stop_serving(self) -> None:
        """Take no more proposals; streams that wait for the end see it."""
        self._stopping = True
        self._stopped.set()
        self.transfers.stop()

    # What the driver says

    def _turned(self, outputs: Outputs) -> None:
        """Deliver a turn's outcomes: each connection that has answers writes once."""
        entries_first = outputs.persist is not None
        if entries_first:
            self.also_turned(outputs)
        if outputs.reloaded:  # before what came after the snapshot, of which all miss the beginning
            self.hub.reload()
        if self.auth.changes != self._auth_changes:  # before what they must not see any more
            self._auth_changes = self.auth.changes
            self.hub.recheck()
        if outputs.published:
            self._pushes.begin()
            for revision, events in outputs.published:
                self.hub.publish(revision, events)
            self._pushes.end()
        for start, stop in outputs.freed:
            self.disk.give_back(start, stop)
        if outputs.resolved or outputs.readable or outputs.leases:
            self._answer(outputs)
        if not entries_first:
            self.also_turned(outputs)
        if self.transfers.waiting:
            self.transfers.turned(leader=self.replica.leader, now=self.now())
        if self.disk.waiting:
            self.disk.turned()

    def _answer(self, outputs: Outputs) -> None:
        sinks: dict[int, Sink] = {}
        prefix = self._header
        term = self.replica.term
        header_field = fastpath.header_field
        for ticket, outcome in cast("list[tuple[Ticket | None, Outcome]]", outputs.resolved):
            if ticket is None:
                continue
            caller, call, _ = ticket
            if isinstance(outcome, tuple):
                caller.answer(call, header_field(prefix, outcome[0], term) + outcome[1])
            else:
                caller.fail(call, outcome)
            sinks[id(caller)] = caller
        for reader in outputs.readable:
            caller, call, read = cast("Ticket", reader)
            assert read is not None
            self.deliver(caller, call, read)
            sinks[id(caller)] = caller
        for asker, seconds in outputs.leases:
            caller, call, make = cast("LeaseTicket", asker)
            self.deliver(caller, call, partial(make, seconds))
            sinks[id(caller)] = caller
        for caller in sinks.values():
            caller.flush()

    @staticmethod
    def deliver(caller: Sink, call: int, read: Callable[[], Answer]) -> None:
        """Do a read and give what it says as the answer of `call`."""
        try:
            answer = read()
        except EtcdError as error:
            caller.fail(call, error)
            return
        if isinstance(answer, bytes):
            caller.answer(call, answer)
        elif answer is not None:
            caller.answer_pieces(call, answer)


def _nothing_asked(outputs: Outputs) -> None:
    """A member without peers."""
