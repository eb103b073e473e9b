"""Many who want one lock, on three nodes in mock time, with leases that end and networks that part.

Each holder writes under its fence. Of what was written the fences must never go back, and whoever
is given the lock must have the oldest key there is, unless its key is gone by then.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from tests.node.three import Three, ask, begin, three_nodes
from trioetcd.client import DisconnectedError
from trioetcd.client.connection import Connection
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

LOCK = "/v3lockpb.Lock/"
KV = "/etcdserverpb.KV/"
GRANT = "/etcdserverpb.Lease/LeaseGrant"

CALLERS = 6
ROUNDS = 8
ASK_SECONDS = 10.0

TEMPORARY = {Code.UNAVAILABLE, Code.UNKNOWN, Code.NOT_FOUND}
"""With Unknown come all errors of Lock, a lost lease among them."""


class Contest:
    """The callers, and what came of their writes."""

    def __init__(self, three: Three, random: Random) -> None:
        self.random = random
        self.outcomes: Counter[str] = Counter()
        self.journal: list[tuple[int, int]] = []
        self._three = three
        self._done = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._trouble)
            async with trio.open_nursery() as callers:
                for _ in range(CALLERS):
                    callers.start_soon(self._call)
            self._done.set()

    async def _trouble(self) -> None:
        """Move the leader about, and part nodes from each other for a while."""
        while not self._done.is_set():
            with trio.move_on_after(self.random.uniform(1, 4)):
                await self._done.wait()
            if self.random.random() < 0.5:
                await self._three.clients.move_leader()
            else:
                self._three.wires.part(*self.random.sample("abc", 2))
                with trio.move_on_after(self.random.uniform(0.5, 3)):
                    await self._done.wait()
                self._three.wires.heal()

    async def _call(self) -> None:
        for _ in range(ROUNDS):
            try:
                connection = await self._three.connect(self.random.randrange(3))
                await self._round(connection)
            except DisconnectedError:
                self.outcomes["disconnected"] += 1
            except EtcdError as error:
                if error.code not in TEMPORARY:
                    raise
                self.outcomes[error.text] += 1
            await trio.sleep(self.random.uniform(0, 1))

    async def _ask(self, connection: Connection, path: str, request: Message) -> bytes:
        with trio.move_on_after(ASK_SECONDS):
            return await ask(connection, path, request)
        raise DisconnectedError("it does not answer")

    async def _round(self, connection: Connection) -> None:
        seconds = self.random.randint(2, 6)
        granted = await self._ask(connection, GRANT, messages.LeaseGrantRequest(TTL=seconds))
        lease = messages.LeaseGrantResponse.FromString(granted).ID
        request = messages.LockRequest(name=b"l", lease=lease)
        call = begin(connection, LOCK + "Lock", request)
        patience = self.random.choice([self.random.uniform(0, 3), ASK_SECONDS])
        answer = None
        with trio.move_on_after(patience):
            answer = await call.receive()
        call.cancel()
        if answer is None:
            self.outcomes["cancelled"] += 1
            return
        key = messages.LockResponse.FromString(answer).key
        fence = await self._look(connection, key)
        while fence and self.random.random() < 0.8:
            if not await self._write(connection, key, fence):
                return
            await trio.sleep(self.random.uniform(0, 3))
        if self.random.random() < 0.5:
            await self._ask(connection, LOCK + "Unlock", messages.UnlockRequest(key=key))
            self.outcomes["unlocked"] += 1

    async def _look(self, connection: Connection, key: bytes) -> int:
        """Give the fence of a lock that was given; 0 if it is lost already."""
        request = messages.RangeRequest(
            key=b"l/", range_end=b"l0", sort_order=1, sort_target=2, keys_only=True
        )
        found = messages.RangeResponse.FromString(
            await self._ask(connection, KV + "Range", request)
        )
        fences = {kv.key: kv.create_revision for kv in found.kvs}
        if key in fences:
            assert fences[key] == min(fences.values()), "an older key stands"
        return fences.get(key, 0)

    async def _write(self, connection: Connection, key: bytes, fence: int) -> bool:
        request = messages.TxnRequest()
        request.compare.add(key=key, target=1, result=0, create_revision=fence)
        request.success.add().request_put.key = b"journal"
        found = messages.TxnResponse.FromString(await self._ask(connection, KV + "Txn", request))
        self.outcomes["written" if found.succeeded else "refused"] += 1
        if found.succeeded:
            self.journal.append((found.header.revision, fence))
        return found.succeeded


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, None])
async def test_of_those_who_believe_to_hold_a_lock_one_can_write(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, seed: int | None
) -> None:
    """Whatever befalls callers and members, fences of what is written never go back."""
    drawn = Random().getrandbits(32) if seed is None else seed
    print(f"seed {drawn}")
    async with three_nodes(tmp_path, seconds=600) as three:
        contest = Contest(three, Random(drawn))
        await contest.run()
        three.wires.heal()
        for number in range(3):
            await three.clients.settle(number)
        print(contest.outcomes)
        fences = [fence for _, fence in sorted(contest.journal)]
        assert fences == sorted(fences)
        assert fences
        connection = await three.connect(0)
        request = messages.RangeRequest(key=b"l/", range_end=b"l0", count_only=True)
        while messages.RangeResponse.FromString(await ask(connection, KV + "Range", request)).count:
            pass  # the last leases end; asking takes mock time
