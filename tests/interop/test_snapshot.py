"""The real etcdctl saves a backup of a member, and the real etcd starts from it.

A member gets a life at random: keys put, overwritten and deleted, alone and in transactions, on
leases, with a compaction in the middle. What etcd 3.5.1 says after ``etcdutl snapshot restore``
must be what the member says, now and at every revision that can be asked for.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from tests.bbolt_reader import Database
from trioetcd.client import Client, Delete, EtcdError, Put, WatchEvent, open_client
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member

pytestmark = [pytest.mark.interop, pytest.mark.slow]

SECONDS: Final = 60.0
STEPS: Final = 400
VALUE_BYTES: Final = (0, 1, 30, 300, 2_000, 9_000)


def run(program: Path, *arguments: str, server: ServerProcess | None = None) -> str:
    done = subprocess.run(
        [str(program), *arguments],
        env=None if server is None else server.environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def client_of(server: ServerProcess) -> AsyncIterator[Client]:
    with trio.fail_after(SECONDS):
        async with open_client(
            server.endpoint, cacert=server.cacert, cert=server.cert, key=server.key
        ) as client:
            yield client


async def live(client: Client, random: Random, leases: list[int]) -> None:
    """Change this and that."""

    def key() -> bytes:
        return b"%c/%02d\0" % (random.choice(b"ab\xff"), random.randrange(40))

    def lease() -> int:
        return random.choice(leases) if random.random() < 0.3 else 0

    for _ in range(STEPS):
        kind = random.random()
        value = random.randbytes(random.choice(VALUE_BYTES))
        if kind < 0.7:
            await client.put(key(), value, lease=lease())
        elif kind < 0.8:
            await client.delete(key())
        elif kind < 0.85:
            start = key()
            await client.delete(start, start[:-2] + b"~")
        else:
            names = sorted({key() for _ in range(5)})
            await client.txn(
                then=[
                    Put(name, value, lease=lease()) if random.random() < 0.7 else Delete(name)
                    for name in names
                ]
            )


async def everything(client: Client, revision: int = 0) -> object:
    """Give all keys and their number as of a revision, or the error."""
    try:
        found = await client.range(b"\0", b"\0", revision=revision)
    except EtcdError as error:
        return error.text
    return found.kvs, found.count


async def history(client: Client, first: int, last: int) -> list[WatchEvent]:
    """Give all events from one revision to another."""
    events: list[WatchEvent] = []
    async with client.watch(b"\0", b"\0", start_revision=first, prev_kv=True) as watch:
        async for event in watch:
            if event.kv.mod_revision > last:
                break
            events.append(event)
    return events


async def leases_of(client: Client) -> object:
    """Give what is told of all leases but how long they still live."""
    found = []
    for lease in sorted(await client.leases()):
        status = await client.lease_time_to_live(lease, keys=True)
        found.append((status.lease_id, status.granted, sorted(status.keys)))
    return found


async def make_life(member: ServerProcess, seed: int, *, compact: bool) -> int:
    """Give a member something to save; gives the oldest revision that can be asked for."""
    random = Random(seed)
    async with client_of(member) as client:
        leases = [(await client.lease_grant(ttl)).lease_id for ttl in (1000, 2000, 3000)]
        await live(client, random, leases)
        middle = (await client.status()).header.revision
        await live(client, random, leases)
        if compact:
            await client.compact(middle)
        await client.lease_revoke(leases.pop())
        complaint = messages.AlarmRequest(
            action=messages.AlarmRequest.ACTIVATE, memberID=0xABC, alarm=messages.NOSPACE
        )
        await client._calls.write("Maintenance/Alarm", complaint, messages.AlarmResponse.FromString)
        return middle if compact else 2


async def compare(member: ServerProcess, etcd: ServerProcess, oldest: int) -> int:
    """Compare whatever can be asked for; gives the revision."""
    async with client_of(member) as ours, client_of(etcd) as real:
        last = (await ours.status()).header.revision
        assert (await real.status()).header.revision == last
        assert await everything(ours) == await everything(real)
        for revision in {1, 2, oldest - 1, *range(oldest, last + 2, 23), last - 1, last, last + 1}:
            expected = await everything(ours, revision)
            assert (revision, expected) == (revision, await everything(real, revision))
        assert await leases_of(ours) == await leases_of(real)
        for client in (ours, real):  # what ends the watch; the alarm forbids it until then
            request = messages.AlarmRequest(
                action=messages.AlarmRequest.DEACTIVATE, memberID=0xABC, alarm=messages.NOSPACE
            )
            answer = await client._calls.write(
                "Maintenance/Alarm", request, messages.AlarmResponse.FromString
            )
            assert [(0xABC, messages.NOSPACE)] == [(a.memberID, a.alarm) for a in answer.alarms]
            await client.put(b"after", b"that")
        assert await history(ours, oldest, last) == await history(real, oldest, last)
        return last


def save(etcdctl: Path, member: ServerProcess, path: Path) -> Database:
    """Save a backup with etcdctl, and read it with our own reader too."""
    run(etcdctl, "snapshot", "save", str(path), server=member)
    data = path.read_bytes()
    assert sha256(data[:-32]).digest() == data[-32:]
    return Database(data[:-32])


@pytest.mark.parametrize("compact", [True, False])
def test_the_real_etcd_starts_from_a_backup(
    etcdctl: Path, etcdutl: Path, tmp_path: Path, *, compact: bool
) -> None:
    """Keys, versions, leases, history, compact revision and alarms are the member's."""
    seed = Random().randrange(2**32)
    print("seed", seed)
    saved = tmp_path / "saved.db"
    with running_member(tmp_path / "ours") as member:
        oldest = trio.run(partial(make_life, member, seed, compact=compact))
        database = save(etcdctl, member, saved)
        told = run(etcdutl, "snapshot", "status", str(saved), "-w", "json")
        assert run(etcdctl, "snapshot", "status", str(saved), "-w", "json") == told
        status = json.loads(told)
        run(
            etcdutl,
            "snapshot",
            "restore",
            str(saved),
            f"--data-dir={tmp_path}/real/etcd",
            "--name=default",
            "--initial-cluster=default=https://127.0.0.1:1",
            "--initial-advertise-peer-urls=https://127.0.0.1:1",
        )
        with running_etcd(tmp_path / "real") as etcd:
            last = trio.run(compare, member, etcd, oldest)
    assert status["revision"] == last
    assert status["totalKey"] == sum(map(len, database.buckets.values()))
    assert status["totalSize"] == saved.stat().st_size - 32
