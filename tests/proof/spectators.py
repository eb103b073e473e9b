"""Watchers of a cluster that note every response: one collector per member, and others that roam.

They speak the watch protocol over the client's bare connection, because what the client makes of
the responses is not what is under test.
"""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from tests.proof.history import Event, History, Response, Row, Stream
from trioetcd.client.connection import Call, Connection, Endpoint
from trioetcd.client.errors import DisconnectedError
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = ["Collector", "Spectators", "event_of", "row_of"]

PATH: Final = "/etcdserverpb.Watch/Watch"
DIAL_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.1
PROGRESS_SECONDS: Final = 0.2
LIFE_SECONDS: Final = (0.2, 2.0)
EVERYTHING: Final = (b"\0", b"\0")


@dataclass(slots=True)
class Collector:
    """Who sees everything at one member.

    Attributes:
        position: up to which revision.
        moved: set, and replaced, whenever it gets on.
    """

    position: int
    moved: trio.Event


class Spectators:
    """All watchers of one run.

    Args:
        endpoints: the members' client addresses.
        tls: for the connections.
        history: where what they see is noted.
        seed: decides what the roaming ones watch.

    Attributes:
        collectors: one per member.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], tls: ssl.SSLContext, history: History, seed: int
    ) -> None:
        self.collectors = [Collector(0, trio.Event()) for _ in endpoints]
        self._endpoints = endpoints
        self._tls = tls
        self._history = history
        self._seed = seed

    @property
    def position(self) -> int:
        """The revision up to which everybody has seen everything."""
        return min(collector.position for collector in self.collectors)

    async def reach(self, revision: int) -> None:
        """Wait until every collector has seen everything up to a revision."""
        for collector in self.collectors:
            while collector.position < revision:
                await collector.moved.wait()

    async def collect(self, place: int) -> None:
        """See everything at one member, however often it goes, until cancelled."""
        collector = self.collectors[place]
        generation = 0
        while True:
            generation += 1
            stream = Stream(
                who=f"collector {generation} of member {place}",
                key=EVERYTHING[0],
                end=EVERYTHING[1],
                start=max(collector.position + 1, 1),
                prev_kv=True,
            )
            self._history.collectors.append(stream)
            await self._follow(place, stream, collector)
            await trio.sleep(RETRY_SECONDS)

    async def roam(self, number: int, keys: Sequence[bytes]) -> None:
        """Watch this and that, here and there, going on where one was, until cancelled."""
        chance = random.Random(f"{self._seed} spectator {number}")
        position = -1
        key, end = EVERYTHING
        while True:
            place = chance.randrange(len(self._endpoints))
            pick = chance.random()
            if position < 0 or pick < 0.3:
                key, end = self._interest(chance, keys)
                position = chance.choice([-1, 0, self.position // 2, self.position])
            stream = Stream(
                who=f"spectator {number} of member {place}",
                key=key,
                end=end,
                start=position + 1,
                prev_kv=chance.random() < 0.5,
            )
            with trio.move_on_after(chance.uniform(*LIFE_SECONDS)):
                await self._follow(place, stream, None)
            position = stream.position if stream.start else -1
            await trio.sleep(RETRY_SECONDS)

    def _interest(self, chance: random.Random, keys: Sequence[bytes]) -> tuple[bytes, bytes]:
        key = chance.choice(keys)
        return chance.choice([EVERYTHING, (key, b""), (key, b"\0"), (keys[0], key)])

    async def _follow(self, place: int, stream: Stream, collector: Collector | None) -> None:
        """Watch on one connection until it ends."""
        self._history.streams.append(stream)
        with contextlib.suppress(DisconnectedError, EtcdError):
            connection = None
            with trio.move_on_after(DIAL_SECONDS):
                connection = await Connection.open(self._endpoints[place], self._tls)
            if connection is None:
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run)
                try:
                    await self._watch(connection, nursery, stream, collector)
                except (DisconnectedError, EtcdError):
                    pass
                finally:
                    nursery.cancel_scope.cancel()

    async def _watch(
        self,
        connection: Connection,
        nursery: trio.Nursery,
        stream: Stream,
        collector: Collector | None,
    ) -> None:
        call = connection.call(PATH)
        create = messages.WatchCreateRequest(
            key=stream.key,
            range_end=stream.end,
            start_revision=stream.start,
            prev_kv=stream.prev_kv,
            progress_notify=True,
        )
        call.send(messages.WatchRequest(create_request=create).SerializeToString())
        created = await _receive(call)
        if created is None or created.canceled:
            return
        if not stream.start:
            stream.start = created.header.revision + 1
        nursery.start_soon(_ask_progress, call)
        while True:
            response = await _receive(call)
            if response is None or response.canceled:
                return
            events = tuple(event_of(event) for event in response.events)
            stream.responses.append(Response(response.header.revision, events))
            if collector is not None:
                collector.position = max(collector.position, stream.position)
                collector.moved.set()
                collector.moved = trio.Event()


async def _receive(call: Call) -> messages.WatchResponse | None:
    message = await call.receive()
    return None if message is None else messages.WatchResponse.FromString(message)


async def _ask_progress(call: Call) -> None:
    request = messages.WatchRequest(progress_request=messages.WatchProgressRequest())
    data = request.SerializeToString()
    with contextlib.suppress(DisconnectedError):
        while True:
            await trio.sleep(PROGRESS_SECONDS)
            call.send(data)


def event_of(event: messages.Event) -> Event:
    """Take over a change from a message."""
    deleted = event.type == messages.Event.DELETE
    return Event(
        key=event.kv.key,
        revision=event.kv.mod_revision,
        now=None if deleted else row_of(event.kv),
        before=row_of(event.prev_kv) if event.HasField("prev_kv") else None,
    )


def row_of(kv: messages.KeyValue) -> Row:
    """Take over a key from a message."""
    return Row(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)
