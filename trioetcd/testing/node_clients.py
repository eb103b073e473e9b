"""Clients of whole nodes: they write keys of their own, read them back, watch, and keep a ledger.

Each key is written once, so that what is known of it is simple: the revision of its answer, or
nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from random import Random
from typing import Final

import trio

from trioetcd.client import (
    Client,
    DisconnectedError,
    EtcdError,
    OutcomeUnknownError,
    open_client,
)
from trioetcd.client.connection import Connection, Endpoint, client_tls
from trioetcd.errors import Code
from trioetcd.schema import messages
from trioetcd.testing.violation import require

__all__ = ["Ledger", "NodeClients"]

PREFIX: Final = "k/"
REQUEST_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.1
READ_EVERY: Final = 5

TEMPORARY: Final = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED})
"""What a member may answer that is in trouble, and nothing else."""

REFUSALS: Final = (DisconnectedError, OutcomeUnknownError, EtcdError)

Dial = Callable[[str, int], Awaitable[socket.socket]]


class Ledger:
    """What the clients were told.

    Attributes:
        acknowledged: key to the revision that its put was answered with.
        unknown: how many puts got no answer, or one that says nothing about their outcome.
        watched: key to the revision of its event, in the order of the events.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, int] = {}
        self.unknown = 0
        self.watched: dict[bytes, int] = {}
        self._changed = trio.Event()

    def watch(self, key: bytes, revision: int) -> None:
        """Note an event."""
        self.watched[key] = revision
        self._changed.set()
        self._changed = trio.Event()

    async def wait_watched(self, count: int) -> None:
        """Wait until there have been so many events."""
        while len(self.watched) < count:
            await self._changed.wait()

    def check(self, found: dict[bytes, int], whose: str) -> None:
        """Compare with the keys and revisions that a member has.

        Raises:
            Violation: something that was acknowledged is not there.
        """
        for key, revision in self.acknowledged.items():
            require(
                found.get(key) == revision,
                "{} was acknowledged at revision {}; {} has it at {}",
                key,
                revision,
                whose,
                found.get(key),
            )


class NodeClients:
    """All clients of one run.

    Args:
        urls: where members serve clients.
        certificates: cacert, cert and key.
        dial: connects to a host and port.
        random: chance.
    """

    def __init__(
        self,
        urls: Sequence[str],
        certificates: tuple[Path, Path, Path],
        dial: Dial,
        random: Random,
    ) -> None:
        self.ledger = Ledger()
        self._urls = list(urls)
        self._certificates = certificates
        self._dial = dial
        self._random = random

    def connect(self, first: int = 0, *, only: bool = False) -> AbstractAsyncContextManager[Client]:
        """Open a client that begins with the member of this number, or asks only that one."""
        urls = self._urls[first:] + self._urls[:first]
        cacert, cert, key = self._certificates
        return open_client(
            urls[:1] if only else urls,
            cacert=cacert,
            cert=cert,
            key=key,
            request_seconds=REQUEST_SECONDS,
            connect=self._stream,
        )

    async def _stream(self, host: str, port: int) -> trio.abc.Stream:
        sock = await self._dial(host, port)
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def write(self, number: int) -> None:
        """Write for ever, and at times read what was acknowledged before."""
        async with self.connect(number % len(self._urls)) as client:
            count = 0
            while True:
                count += 1
                key = f"{PREFIX}{number}/{count}".encode()
                try:
                    result = await client.put(key, str(count))
                    self.ledger.acknowledged[key] = result.header.revision
                    if count % READ_EVERY == 0:
                        await self._read_back(client)
                except DisconnectedError:
                    pass  # nobody was there
                except OutcomeUnknownError:
                    self.ledger.unknown += 1
                except EtcdError as error:
                    require(error.code in TEMPORARY, "a client was told {}", error)
                    self.ledger.unknown += 1
                await trio.sleep(PAUSE_SECONDS * self._random.expovariate(1))

    async def _read_back(self, client: Client) -> None:
        key = self._random.choice(list(self.ledger.acknowledged))
        expected = self.ledger.acknowledged[key]
        found = await client.get(key)
        require(
            found is not None and found.mod_revision == expected,
            "{} was acknowledged at {}, and a later read gives {}",
            key,
            expected,
            found,
        )

    async def watch(self) -> None:
        """Follow all writes for ever, and check that each comes once and in order."""
        last = 0
        async with self.connect(len(self._urls) - 1) as client:
            while True:
                try:
                    async with client.watch(PREFIX, prefix=True, start_revision=last + 1) as events:
                        async for event in events:
                            require(
                                event.revision > last,
                                "a watch saw revision {} after {}",
                                event.revision,
                                last,
                            )
                            last = event.revision
                            self.ledger.watch(event.kv.key, last)
                except DisconnectedError:
                    pass
                except EtcdError as error:
                    require(error.code in TEMPORARY, "a watch was told {}", error)
                await trio.sleep(PAUSE_SECONDS)

    async def move_leader(self) -> None:
        """Ask whoever leads to hand over to another member; the answer may be anything."""
        with suppress(*REFUSALS):
            async with self.connect(self._random.randrange(len(self._urls))) as client:
                leader = (await client.status()).leader
                members = await client.member_list()
            urls = [url for each in members if each.member_id == leader for url in each.client_urls]
            others = [each.member_id for each in members if each.member_id != leader]
            if urls and others:
                await self.hand_over(urls[0], self._random.choice(others))

    async def hand_over(self, url: str, to: int) -> None:
        """Ask the member at `url` to let another one lead, whatever it answers."""
        request = messages.MoveLeaderRequest(targetID=to)
        with trio.move_on_after(REQUEST_SECONDS), suppress(*REFUSALS):
            await self._maintain(url, "MoveLeader", request.SerializeToString())

    async def alarms(self, number: int, *, disarm: bool = False) -> list[tuple[int, int]]:
        """Give kind and member of the alarms that are raised; clear them first if told to.

        Raises:
            EtcdError: the member that is asked has not heard of a majority in time.
        """

        async def ask(**fields: int) -> list[tuple[int, int]]:
            request = messages.AlarmRequest(**fields).SerializeToString()
            found = await self._maintain(self._urls[number], "Alarm", request)
            alarms = messages.AlarmResponse.FromString(found).alarms
            return [(alarm.alarm, alarm.memberID) for alarm in alarms]

        alarms = await ask()
        if not disarm:
            return alarms
        for kind, member in alarms:
            await ask(action=messages.AlarmRequest.DEACTIVATE, alarm=kind, memberID=member)
        return await ask()

    async def _maintain(self, url: str, name: str, request: bytes) -> bytes:
        """Make a call of Maintenance that the client has no words for."""
        cacert, cert, key = self._certificates
        tls = client_tls(cacert=cacert, cert=cert, key=key)
        connection = await Connection.open(Endpoint.parse(url), tls, self._stream)
        answer: bytes | None = None
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            call = connection.call(f"/etcdserverpb.Maintenance/{name}")
            call.send(request, end=True)
            try:
                answer = await call.receive()
            except REFUSALS as refusal:
                failure = refusal  # not in the nursery, which would make a group of it
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return answer or b""

    async def settle(self, number: int) -> dict[bytes, int]:
        """Write through one member until it is done, then give all keys it has, with revisions."""
        async with self.connect(number, only=True) as client:
            while True:
                try:
                    await client.put(f"settled/{number}", "")
                    found = await client.range(PREFIX, prefix=True)
                except REFUSALS:
                    await trio.sleep(PAUSE_SECONDS)
                else:
                    return {kv.key: kv.mod_revision for kv in found.kvs}
