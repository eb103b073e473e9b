"""Three whole nodes in mock time, one of them with damage that no checksum shows."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio
import trio.testing

from trioetcd.client import EtcdError, Put
from trioetcd.mvcc.layout import META_SIZE, RECORD, RECORD_SIZE, Tables
from trioetcd.node.node import _exit_code
from trioetcd.ports import Row
from trioetcd.replica import recover
from trioetcd.runtime.corruption import DataDiffersError
from trioetcd.schema import messages
from trioetcd.storage import DataDir, open_member_store
from trioetcd.testing import nodes
from trioetcd.testing.node_clients import NodeClients
from trioetcd.testing.node_life import NodeLife
from trioetcd.testing.wires import Wires
from trioetcd.transport.listener import Address

CORRUPT = int(messages.CORRUPT)
KEYS: Final = 700
"""More than one step of a walk through the content."""

Damage = Callable[[Tables, list[Row]], Row]
"""Given the rows of an epoch: the row to write over one of them."""

pytestmark = pytest.mark.slow


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


class Cluster:
    """Three nodes a, b and c.

    Attributes:
        lives: the nodes.
        clients: theirs.
    """

    def __init__(self, lives: list[NodeLife], clients: NodeClients, nursery: trio.Nursery) -> None:
        self.lives = dict(zip(nodes.NAMES, lives, strict=True))
        self.clients = clients
        self._nursery = nursery

    def begin(self, *names: str) -> None:
        """Start nodes."""
        for name in names:
            self._nursery.start_soon(self.lives[name].live)

    async def start(self, *names: str) -> None:
        """Start nodes and wait until they serve."""
        self.begin(*names)
        for name in names:
            await self.clients.settle(nodes.NAMES.index(name))

    async def member_id(self, name: str) -> int:
        async with self.clients.connect() as client:
            (found,) = [each for each in await client.member_list() if each.name == name]
        return found.member_id

    async def lead(self, name: str) -> None:
        """Let a member lead."""
        to = await self.member_id(name)
        while True:
            async with self.clients.connect() as client:
                leader = (await client.status()).leader
                members = await client.member_list()
            if leader == to:
                return
            (url,) = [each.client_urls[0] for each in members if each.member_id == leader]
            await self.clients.hand_over(url, to)

    async def wait_alarms(self) -> list[tuple[int, int]]:
        """Wait until an alarm is raised, in mock time."""
        while not (alarms := await self.clients.alarms(0)):  # noqa: ASYNC110 - a client can only ask
            await trio.sleep(0.5)
        return alarms

    def plant(self, name: str, damage: Damage) -> None:
        """Change a row of a node that does not run, as only a bug or bad memory could."""
        with (
            closing(DataDir.open(self.lives[name].config.data_path)) as data_dir,
            closing(open_member_store(data_dir)) as backend,
        ):
            recovered = recover(backend)
            assert recovered is not None
            tables = Tables(recovered.epoch)
            rows = list(backend.scan(recovered.epoch, bytes((recovered.epoch[0] + 1,))))
            raw, value = damage(tables, rows)
            assert backend.get(raw) not in {None, value}
            backend.prepare({raw: value}).write()

    def told(self, message: str) -> list[dict[str, object]]:
        """Give the fields of all lines of this message, of every node."""
        return [
            fields
            for life in self.lives.values()
            for _, _, said, fields in life.diary.lines
            if message in said
        ]


@asynccontextmanager
async def three_nodes(directory: Path, *flags: str) -> AsyncIterator[Cluster]:
    """Run three nodes that hold `KEYS` keys."""
    plan = nodes.Plan(1, 0, (), 1, 1, 0.001, 0.001, 10_000)
    configs = nodes.configure(directory, plan, *flags)
    async with trio.open_nursery() as outermost:
        wires = Wires(directory, outermost, Random(1), seconds=0.001)
        lives = []
        for config in configs:
            wires.own(
                config.name,
                *(url.port for url in (*config.listen_client_urls, *config.listen_peer_urls)),
            )
            lives.append(NodeLife(config, wires, Random(config.name), sync_seconds=0.001))
        files = directory / "a"

        async def dial(host: str, port: int) -> socket.socket:
            return await wires.connect(nodes.CLIENT, Address(host, port))

        clients = NodeClients(
            [str(config.listen_client_urls[0]) for config in configs],
            (files / "client-ca.crt", files / "clients/root.crt", files / "clients/root.key"),
            dial,
            Random(2),
        )
        async with trio.open_nursery() as alive:
            cluster = Cluster(lives, clients, alive)
            await cluster.start(*nodes.NAMES)
            async with clients.connect() as client:
                for first in range(0, KEYS, 100):
                    numbers = range(first, first + 100)
                    await client.txn(then=[Put(f"key/{at:04}", f"value {at}") for at in numbers])
                await client.put("key/0001", "another value")
            yield cluster
            for life in lives:
                if life.running:
                    await life.stop()
        outermost.cancel_scope.cancel()


def another_value(tables: Tables, rows: list[Row]) -> Row:
    """Change the last letter of a key's current value."""
    raw = tables.current + b"key/0600"
    value = dict(rows)[raw]
    assert value.endswith(b"value 600")
    return raw, value[:-1] + b"x"


def another_create_revision(tables: Tables, rows: list[Row]) -> Row:
    """Change what the head of a row says, and nothing that a Range shows."""
    raw = tables.current + b"key/0600"
    value = dict(rows)[raw]
    return raw, bytes(8) + value[8:META_SIZE] + value[META_SIZE:]


def another_chain(tables: Tables, rows: list[Row]) -> Row:
    """Change the chain hash of the last revision."""
    raw, value = max(row for row in rows if row[0].startswith(tables.revisions))
    kind, previous, chain, old_bytes = RECORD.unpack_from(value)
    return raw, RECORD.pack(kind, previous, chain ^ 1, old_bytes) + value[RECORD_SIZE:]


@pytest.mark.parametrize("damage", [another_value, another_create_revision])
@pytest.mark.parametrize("leads", [False, True], ids=["follows", "leads"])
async def test_damage_behind_the_chain_is_found(
    tmp_path: Path, clock: trio.testing.MockClock, damage: Damage, *, leads: bool
) -> None:
    """A row written wrongly at one member, with good checksums, is found within the period.

    The member is named whether it follows or leads. Writes are refused then and reads are not;
    an alarm that is cleared while the damage is there comes again.
    """
    del clock
    async with three_nodes(tmp_path, "--corrupt-check-time=5s") as cluster:
        await cluster.lives["b"].stop()
        cluster.plant("b", damage)
        await cluster.start("b")
        if leads:
            await cluster.lead("b")
        corrupt = await cluster.member_id("b")
        began = trio.current_time()

        assert [(CORRUPT, corrupt)] == await cluster.wait_alarms()
        assert trio.current_time() - began < 5 + 5
        assert not [
            each for each in cluster.told("hold different data") if each["check"] == "chain"
        ]
        async with cluster.clients.connect() as client:
            with pytest.raises(EtcdError, match="corrupt cluster"):
                await client.put("k", "v")
            assert await client.get("key/0600") is not None
            assert [f"memberID:{corrupt} alarm:CORRUPT "] == list((await client.status()).errors)
            assert [] == await cluster.clients.alarms(0, disarm=True)
            await client.put("k", "v")
        assert [(CORRUPT, corrupt)] == await cluster.wait_alarms()


async def test_another_history_is_found_by_the_leader(
    tmp_path: Path, clock: trio.testing.MockClock
) -> None:
    """A member whose chain differs is named by the frequent check, though its content is right."""
    del clock
    gate = "--feature-gates=InitialCorruptCheck=false"
    async with three_nodes(tmp_path, gate, "--corrupt-check-time=0s") as cluster:
        await cluster.lives["c"].stop()
        cluster.plant("c", another_chain)
        corrupt = await cluster.member_id("c")
        cluster.begin("c")

        assert [(CORRUPT, corrupt)] == await cluster.wait_alarms()


async def test_a_member_with_another_history_does_not_serve(
    tmp_path: Path, clock: trio.testing.MockClock
) -> None:
    """It ends before it serves anybody, with a sentence and an exit code; the healthy ones start.

    A healthy member is not ended by the one that differs.
    """
    del clock
    async with three_nodes(tmp_path, "--compact-hash-check-time=10m") as cluster:
        await cluster.lives["c"].stop()
        cluster.plant("c", another_chain)
        with pytest.raises(BaseExceptionGroup) as caught:
            await cluster.lives["c"].live()
        known, others = caught.value.split(DataDiffersError)
        failure: BaseException | None = known
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]

        assert others is None
        assert isinstance(failure, DataDiffersError)
        assert "must not serve" in str(failure)
        assert _exit_code(failure) == 80
        await cluster.lives["a"].stop()
        await cluster.start("a")
        assert cluster.told("before it serves")[-1]["standing"] == "vouched"
        assert [] == await cluster.clients.alarms(0)


async def test_checks_can_be_switched_off(tmp_path: Path, clock: trio.testing.MockClock) -> None:
    """With the flags' word nobody compares anything, and damage stays where it is."""
    del clock
    flags = (
        "--feature-gates=InitialCorruptCheck=false,CompactHashCheck=false",
        "--corrupt-check-time=0s",
    )
    async with three_nodes(tmp_path, *flags) as cluster:
        await cluster.lives["b"].stop()
        cluster.plant("b", another_chain)
        await cluster.start("b")
        await trio.sleep(20)

        assert [] == await cluster.clients.alarms(0)
        assert not cluster.told("compared")
