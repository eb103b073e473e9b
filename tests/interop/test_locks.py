"""Lock and Election answer as the real etcd does, and so do etcdctl's own recipes against a member.

Two new clusters are asked the same, one request after the other, through grpcio; every answer is
compared, field by field. A request that waits is compared when it is answered.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from random import Random
from threading import Thread
from typing import Any, Final

import grpc
import pytest

from tests.differential.comparison import Fields, flatten
from trioetcd.schema import messages
from trioetcd.schema.messages import Message
from trioetcd.schema.services import METHODS
from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

Pair = tuple[ServerProcess, ServerProcess]

SECONDS: Final = 20.0
LOCK: Final = "/v3lockpb.Lock/"
ELECTION: Final = "/v3electionpb.Election/"
LEASE: Final = "/etcdserverpb.Lease/"
KV: Final = "/etcdserverpb.KV/"


class Side:
    """One server, asked through grpcio."""

    def __init__(self, server: ServerProcess) -> None:
        credentials = grpc.ssl_channel_credentials(
            server.cacert.read_bytes(), server.key.read_bytes(), server.cert.read_bytes()
        )
        self.channel = grpc.secure_channel(server.host_port, credentials)

    def begin(self, path: str, request: Message) -> Any:
        """Begin a unary call; gives grpcio's future."""
        return self.channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=METHODS[path].response.FromString,
        ).future(request, timeout=SECONDS)

    def observe(self, name: bytes) -> tuple[Any, Queue[Fields]]:
        """Begin to observe an election; gives grpcio's call and what is told."""
        path = ELECTION + "Observe"
        call = self.channel.unary_stream(
            path,
            request_serializer=messages.LeaderRequest.SerializeToString,
            response_deserializer=METHODS[path].response.FromString,
        )(messages.LeaderRequest(name=name), timeout=SECONDS)
        told: Queue[Fields] = Queue()

        def read() -> None:
            try:
                for answer in call:
                    told.put(flatten(answer))
            except grpc.RpcError as error:
                told.put({"error": error.code().name})

        Thread(target=read, daemon=True).start()
        return call, told


def outcome(future: Any) -> Fields:
    """Wait for an answer, and give its fields."""
    try:
        return flatten(future.result(SECONDS))
    except grpc.FutureCancelledError:
        return {"error": "CANCELLED"}
    except grpc.RpcError as error:
        return {"error": f"{error.code().name}: {error.details()}"}


class Both:
    """Both servers, asked the same."""

    def __init__(self, ours: Side, real: Side) -> None:
        self.ours = ours
        self.real = real

    def begin(self, path: str, request: Message) -> tuple[Any, Any]:
        return self.ours.begin(path, request), self.real.begin(path, request)

    def same(self, path: str, request: Message) -> Fields:
        """Ask both, assert that they say the same, and give that."""
        return agree(self.begin(path, request), f"{path} {request}")

    def grant(self, *leases: int) -> None:
        for lease in leases:
            self.same(LEASE + "LeaseGrant", messages.LeaseGrantRequest(TTL=600, ID=lease))

    def wait_keys(self, **counts: int) -> None:
        """Wait until so many keys stand in each queue, on both sides; compare the queues."""
        for name, count in counts.items():
            for side in (self.ours, self.real):
                keys(side, name.encode(), count)
        for name in counts:
            self.same(KV + "Range", everybody(name.encode()))


def everybody(name: bytes) -> messages.RangeRequest:
    """Ask for the keys of a queue, oldest first."""
    return messages.RangeRequest(
        key=name + b"/", range_end=name + b"0", sort_order=1, sort_target=2
    )


def keys(side: Side, name: bytes, count: int) -> list[bytes]:
    """Wait until so many stand in the queue; give their keys, oldest first."""
    while True:
        found = side.begin(KV + "Range", everybody(name)).result(SECONDS)
        if found.count == count:
            return [kv.key for kv in found.kvs]


def agree(futures: tuple[Any, Any], what: str) -> Fields:
    ours, real = map(outcome, futures)
    assert ours == real, what
    return ours


@pytest.fixture
def both(pair: Pair) -> Iterator[Both]:
    """Give two new servers."""
    ours, real = map(Side, pair)
    yield Both(ours, real)
    for side in (ours, real):
        side.channel.close()


def lock(name: bytes, lease: int) -> messages.LockRequest:
    return messages.LockRequest(name=name, lease=lease)


def campaign(lease: int, value: bytes) -> messages.CampaignRequest:
    return messages.CampaignRequest(name=b"e", lease=lease, value=value)


def test_answers_at_once(both: Both) -> None:
    """Whatever needs no wait is answered alike: new and old places, and every mistake."""
    both.grant(0x1234)
    key = messages.LeaderKey(name=b"e", key=b"e/1234", rev=5, lease=0x1234)
    stale = messages.LeaderKey(name=b"e", key=b"e/1234", rev=1, lease=0x1234)
    unleased = messages.LeaderKey(name=b"e", key=b"e/1234", rev=5, lease=77)
    script: list[tuple[str, Message]] = [
        (LOCK + "Lock", lock(b"a", 77)),
        (LOCK + "Lock", lock(b"a", -77)),
        (LOCK + "Lock", lock(b"", 0x1234)),
        (LOCK + "Lock", lock(b"a", 0x1234)),
        (LOCK + "Lock", lock(b"a", 0x1234)),
        (LOCK + "Unlock", messages.UnlockRequest()),
        (LOCK + "Unlock", messages.UnlockRequest(key=b"nothing")),
        (LOCK + "Unlock", messages.UnlockRequest(key=b"/1234")),
        (ELECTION + "Campaign", campaign(99, b"v")),
        (ELECTION + "Leader", messages.LeaderRequest(name=b"e")),
        (ELECTION + "Leader", messages.LeaderRequest()),
        (ELECTION + "Proclaim", messages.ProclaimRequest(value=b"v")),
        (ELECTION + "Proclaim", messages.ProclaimRequest(leader=messages.LeaderKey())),
        (ELECTION + "Resign", messages.ResignRequest()),
        (ELECTION + "Resign", messages.ResignRequest(leader=messages.LeaderKey(lease=1))),
        (ELECTION + "Campaign", campaign(0x1234, b"v")),
        (ELECTION + "Campaign", campaign(0x1234, b"v")),
        (ELECTION + "Campaign", campaign(0x1234, b"w")),
        (ELECTION + "Leader", messages.LeaderRequest(name=b"e")),
        (ELECTION + "Proclaim", messages.ProclaimRequest(leader=stale, value=b"x")),
        (ELECTION + "Proclaim", messages.ProclaimRequest(leader=unleased, value=b"x")),
        (ELECTION + "Proclaim", messages.ProclaimRequest(leader=key, value=b"x")),
        (ELECTION + "Leader", messages.LeaderRequest(name=b"e")),
        (ELECTION + "Resign", messages.ResignRequest(leader=stale)),
        (ELECTION + "Resign", messages.ResignRequest(leader=key)),
        (ELECTION + "Resign", messages.ResignRequest(leader=key)),
        (ELECTION + "Proclaim", messages.ProclaimRequest(leader=key, value=b"x")),
    ]
    for path, request in script:
        found = both.same(path, request)
        if path.endswith("Campaign") and "error" not in found:
            assert found["leader.rev"] == key.rev


def test_a_lock_without_a_lease(both: Both) -> None:
    """Both make one of a minute, name the key by it, and leave it alone afterwards."""
    sides = [both.ours, both.real]
    for side in sides:
        key = side.begin(LOCK + "Lock", lock(b"l", 0)).result().key
        name, _, lease = key.rpartition(b"/")
        request = messages.LeaseTimeToLiveRequest(ID=int(lease, 16), keys=True)
        status = side.begin(LEASE + "LeaseTimeToLive", request).result()
        assert (name, status.grantedTTL, list(status.keys)) == (b"l", 60, [key])


def test_observers(both: Both) -> None:
    """What is told of leaders, their words and their successors is the same, in the same order."""
    both.grant(1, 2)
    watches = [side.observe(b"e") for side in (both.ours, both.real)]
    seen: list[Fields] = []

    def told() -> Fields:
        ours, real = (queue.get(timeout=SECONDS) for _, queue in watches)
        assert ours == real
        seen.append(ours)
        return ours

    # One who observes is not known to have begun before it has been told something.
    leader = agree(both.begin(ELECTION + "Campaign", campaign(1, b"one")), "campaign")
    told()
    key = messages.LeaderKey(name=b"e", key=b"e/1", rev=int(str(leader["leader.rev"])), lease=1)
    both.same(ELECTION + "Proclaim", messages.ProclaimRequest(leader=key, value=b"more"))
    told()
    second = both.begin(ELECTION + "Campaign", campaign(2, b"two"))
    both.wait_keys(e=2)
    both.same(ELECTION + "Resign", messages.ResignRequest(leader=key))
    agree(second, "the second campaign")
    told()
    both.same(LEASE + "LeaseRevoke", messages.LeaseRevokeRequest(ID=2))
    both.same(ELECTION + "Campaign", campaign(1, b"again"))
    told()
    assert [fields["kv.value"] for fields in seen] == [b"one", b"more", b"two", b"again"]
    for call, queue in watches:
        call.cancel()
        assert queue.get(timeout=SECONDS) == {"error": "CANCELLED"}


class Script:
    """Random callers of one lock and one election, alike on both sides."""

    def __init__(self, both: Both, random: Random) -> None:
        self.both = both
        self.random = random
        self.waiting: dict[bytes, tuple[Any, Any]] = {}
        self.queues: dict[bytes, list[bytes]] = {b"l": [], b"e": []}
        self.leases = itertools.count(0x100)

    def come(self) -> None:
        lease = next(self.leases)
        self.both.grant(lease)
        name = self.random.choice([b"l", b"e"])
        key = b"%b/%x" % (name, lease)
        request = lock(name, lease) if name == b"l" else campaign(lease, b"%x" % lease)
        path = LOCK + "Lock" if name == b"l" else ELECTION + "Campaign"
        self.waiting[key] = self.both.begin(path, request)
        self.queues[name].append(key)

    def go(self) -> None:
        """Let one who waits cancel."""
        queue = self.queues[self.random.choice([b"l", b"e"])]
        if len(queue) > 1:
            key = self.random.choice(queue[1:])
            queue.remove(key)
            for future in self.waiting.pop(key):
                future.cancel()

    def finish(self) -> None:
        """Let an owner give up, by its own hand or by its lease."""
        queue = self.queues[self.random.choice([b"l", b"e"])]
        if queue:
            key = queue.pop(0)
            if self.random.random() < 0.5:
                request = messages.LeaseRevokeRequest(ID=int(key.rpartition(b"/")[2], 16))
                self.both.same(LEASE + "LeaseRevoke", request)
            else:
                self.both.same(LOCK + "Unlock", messages.UnlockRequest(key=key))

    def settle(self) -> None:
        """Wait until both have done what was asked; compare the queues and what was answered."""
        counts = {name.decode(): len(queue) for name, queue in self.queues.items()}
        self.both.wait_keys(**counts)
        for name, queue in self.queues.items():
            assert keys(self.both.ours, name, len(queue)) == queue
            if queue and queue[0] in self.waiting:
                agree(self.waiting.pop(queue[0]), f"the turn of {queue[0]!r}")
        assert not any(future.done() for futures in self.waiting.values() for future in futures)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, None])
def test_random_callers(both: Both, seed: int | None) -> None:
    """Whoever comes, goes and is dropped: queues, turns and answers are the same at every step."""
    drawn = Random().getrandbits(32) if seed is None else seed
    print(f"seed {drawn}")
    random = Random(drawn)
    script = Script(both, random)
    steps: list[Callable[[], None]] = [script.come, script.come, script.go, script.finish]
    for _ in range(40):
        random.choice(steps)()
        script.settle()
    while any(script.queues.values()):
        script.finish()
        script.settle()


def test_who_lost_its_place_waits_on_in_etcd(both: Both) -> None:
    """A candidate or waiter whose lease ended is told at once here, and by etcd when it has a turn.

    etcd elects the candidate all the same; a member says that it does not lead.
    """
    both.grant(1, 2)
    both.same(LOCK + "Lock", lock(b"l", 1))
    both.same(ELECTION + "Campaign", campaign(1, b"one"))
    locks = both.begin(LOCK + "Lock", lock(b"l", 2))
    campaigns = both.begin(ELECTION + "Campaign", campaign(2, b"two"))
    both.wait_keys(l=2, e=2)
    both.same(LEASE + "LeaseRevoke", messages.LeaseRevokeRequest(ID=2))
    assert outcome(locks[0]) == {"error": "UNKNOWN: mutex: session is expired"}
    assert outcome(campaigns[0]) == {"error": "UNKNOWN: election: not leader"}
    assert not locks[1].done()
    assert not campaigns[1].done()
    both.same(LEASE + "LeaseRevoke", messages.LeaseRevokeRequest(ID=1))
    assert outcome(locks[1]) == {"error": "UNKNOWN: mutex: session is expired"}
    assert outcome(campaigns[1])["leader.key"] == b"e/2"


# -- etcdctl ----------------------------------------------------------------------------------


@contextmanager
def etcdctl_running(
    etcdctl: Path, server: ServerProcess, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command of etcdctl that holds something until it is interrupted."""
    with subprocess.Popen(
        [str(etcdctl), *arguments],
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_etcdctl_lock(etcdctl: Path, server: ServerProcess) -> None:
    """`etcdctl lock` waits for its turn, behind another of its kind and behind our own Lock."""
    side = Side(server)
    name = f"ctl-{etcdctl.stat().st_size}"
    queue = name.encode()
    with etcdctl_running(etcdctl, server, "lock", name) as first:
        (held,) = lines(first, 1)
        assert keys(side, queue, 1) == [held.encode()]
        waiting = side.begin(LOCK + "Lock", messages.LockRequest(name=queue))
        mine = keys(side, queue, 2)[1]
        with etcdctl_running(etcdctl, server, "lock", name) as second:
            behind = keys(side, queue, 3)[2]
            assert not waiting.done()
            first.send_signal(signal.SIGINT)
            assert waiting.result(SECONDS).key == mine
            side.begin(LOCK + "Unlock", messages.UnlockRequest(key=mine)).result(SECONDS)
            assert lines(second, 1) == [behind.decode()]
    assert keys(side, queue, 0) == []
    side.channel.close()


def test_etcdctl_lock_runs_a_command(
    etcdctl: Path, member: ServerProcess, etcd: ServerProcess
) -> None:
    """With a command it holds the lock while that runs, tells it the key, and ends as it does."""
    name = f"command-{etcdctl.stat().st_size}"
    for shell in ("echo ${ETCD_LOCK_KEY%/*}", "exit 7"):
        seen = []
        for server in (member, etcd):
            done = subprocess.run(
                [str(etcdctl), "lock", name, "--", "sh", "-c", shell],
                env=server.environment(),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            seen.append((done.returncode, done.stdout, done.stderr))
            side = Side(server)
            assert keys(side, name.encode(), 0) == []
            side.channel.close()
        assert seen[0] == seen[1]
        assert (seen[0][0] == 0, name in seen[0][1]) == ("exit" not in shell, "exit" not in shell)


def test_etcdctl_elect(etcdctl: Path, server: ServerProcess) -> None:
    """`etcdctl elect` leads, is seen by `elect --listen` and by Leader, and the next follows."""
    side = Side(server)
    name = f"elect-{etcdctl.stat().st_size}"
    queue = name.encode()
    with etcdctl_running(etcdctl, server, "elect", name, "one") as first:
        led = lines(first, 2)
        assert led[1] == "one"
        assert keys(side, queue, 1) == [led[0].encode()]
        leader = side.begin(ELECTION + "Leader", messages.LeaderRequest(name=queue)).result(SECONDS)
        assert (leader.kv.key, leader.kv.value) == (led[0].encode(), b"one")
        with etcdctl_running(etcdctl, server, "elect", "--listen", name) as listening:
            assert lines(listening, 2) == led
            with etcdctl_running(etcdctl, server, "elect", name, "two") as second:
                behind = keys(side, queue, 2)[1]
                first.send_signal(signal.SIGINT)
                assert lines(second, 2) == [behind.decode(), "two"]
                assert lines(listening, 2) == [behind.decode(), "two"]
    assert keys(side, queue, 0) == []
    side.channel.close()
