"""Clients that quarrel over ten keys and note what they asked and were told.

The mixes are those of etcd's robustness suite, as far as its clients and ours have the requests:
each client is sequential, tries each write once, and lists the keys after one whose outcome it
does not know.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Literal

import trio

from tests.proof.history import History, Kind, Operation, Row
from trioetcd.client import Client
from trioetcd.client.errors import DisconnectedError, OutcomeUnknownError
from trioetcd.client.requests import Delete, Get, Put, mod_revision
from trioetcd.client.results import DeleteResult, KeyValue, PutResult, RangeResult, TxnResult
from trioetcd.errors import Code, EtcdError

__all__ = ["KEYS", "MIXES", "UNANSWERED", "Agent"]

KEYS: Final = tuple(b"key%02d" % number for number in range(10))
ALL: Final = (b"key", b"kez")
TIMEOUT_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = (0.0, 0.04)
LEASE_SECONDS: Final = 7200
TWINS_MAX: Final = 3
"""So many deletes and revocations at once, which cannot be told apart afterwards."""
TXN_KEYS: Final = 4
PAGE: Final = 4
REFUSED: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.OUT_OF_RANGE,
        Code.FAILED_PRECONDITION,
        Code.RESOURCE_EXHAUSTED,
    }
)
"""The server said no; any other error leaves open whether it was done."""
UNANSWERED: Final = (EtcdError, DisconnectedError, OutcomeUnknownError)

Name = Literal[
    "get", "list", "page", "stale get", "stale list", "past", "put", "txn", "delete",
    "put on lease", "revoke", "swap", "update", "create", "remove",
]  # fmt: skip

MIXES: Final[dict[str, dict[Name, int]]] = {
    "put": {
        "get": 15, "list": 8, "page": 4, "stale get": 10, "stale list": 8, "past": 5, "txn": 10,
        "put": 40,
    },
    "put, delete, lease": {
        "get": 15, "list": 8, "page": 4, "stale get": 10, "stale list": 8, "past": 5, "delete": 5,
        "txn": 10, "put on lease": 5, "revoke": 5, "swap": 5, "put": 20,
    },
    "delete": {"put": 50, "delete": 50, "get": 10, "list": 5},
    "kubernetes": {
        "page": 40, "past": 8, "get": 5, "stale list": 5, "stale get": 2, "update": 50, "create": 5,
        "remove": 5,
    },
    "kubernetes, create, remove": {"page": 20, "get": 10, "create": 40, "remove": 30},
}  # fmt: skip
"""Per traffic: how often a client does what, as weights."""


class Agent:
    """One client.

    Args:
        name: whose operations these are; values it writes begin with it.
        client: how it reaches the cluster.
        history: where it notes what it asks and is told.
        mix: what it does how often.
        chance: decides.
        twins: held by deletes and revocations.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        history: History,
        mix: dict[Name, int],
        chance: random.Random,
        twins: trio.CapacityLimiter,
    ) -> None:
        self._name = name
        self._client = client
        self._history = history
        self._mix = mix
        self._chance = chance
        self._twins = twins
        self._serial = 0
        self._doubt = False
        self._revision = 1
        self._leases: list[int] = []

    async def run(self, stop: trio.Event) -> None:
        """Ask one thing after the other until told to stop."""
        doing: dict[Name, Callable[[], Awaitable[object]]] = {
            "get": lambda: self._range(Kind.RANGE, self._key()),
            "list": lambda: self._range(Kind.RANGE, *ALL),
            "page": lambda: self._range(Kind.RANGE, self._key(), ALL[1], limit=PAGE),
            "stale get": lambda: self._range(Kind.STALE, self._key()),
            "stale list": lambda: self._range(Kind.STALE, *ALL),
            "past": self._past,
            "put": self._put,
            "txn": self._txn,
            "delete": self._delete,
            "put on lease": self._put_on_lease,
            "revoke": self._revoke,
            "swap": self._swap,
            "update": self._swap,
            "create": lambda: self._swap(missing=True),
            "remove": lambda: self._swap(remove=True),
        }
        names = list(self._mix)
        weights = list(self._mix.values())
        while not stop.is_set():
            if self._doubt:
                self._doubt = False
                await self._range(Kind.RANGE, *ALL)
            else:
                await doing[self._chance.choices(names, weights)[0]]()
            await trio.sleep(self._chance.uniform(*PAUSE_SECONDS))

    async def put_at_last(self) -> int:
        """Put until it is done; give the revision."""
        while True:
            await self._put()
            last = self._history.operations[-1]
            if last.client == self._name and last.revision:
                return last.revision

    def _key(self) -> bytes:
        return self._chance.choice(KEYS)

    def _value(self) -> bytes:
        self._serial += 1
        return f"{self._name}.{self._serial}".encode()

    # -- reads -----------------------------------------------------------------------------

    async def _range(
        self, kind: Kind, key: bytes, end: bytes = b"", *, limit: int = 0, at: int = 0
    ) -> RangeResult | None:
        operation = Operation(self._name, kind, _now(), key=key, end=end, at=at, limit=limit)
        answer = await self._ask(
            operation,
            lambda: self._client.range(
                key,
                end or None,
                limit=limit,
                revision=at,
                # a read of the past is told what its member has, whichever way it is asked
                serializable=kind is Kind.STALE,
            ),
        )
        if not isinstance(answer, RangeResult):
            return None
        operation.found = tuple(_row(kv) for kv in answer.kvs)
        return answer

    async def _past(self) -> None:
        at = self._chance.randint(1, max(self._revision, 1))
        await self._range(Kind.PAST, *ALL, at=at)

    # -- writes ----------------------------------------------------------------------------

    async def _put(self, lease: int = 0) -> None:
        key, value = self._key(), self._value()
        operation = Operation(self._name, Kind.PUT, _now(), values={key: value}, lease=lease)
        await self._ask(operation, lambda: self._client.put(key, value, lease=lease))

    async def _txn(self) -> None:
        """Put some keys, unless nothing holds, which everything does."""
        value = self._value()
        keys = self._chance.sample(KEYS, self._chance.randint(2, TXN_KEYS))
        operation = Operation(self._name, Kind.TXN, _now(), values=dict.fromkeys(keys, value))
        await self._ask(operation, lambda: self._client.txn(then=[Put(key, value) for key in keys]))

    async def _delete(self) -> None:
        try:
            self._twins.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            await self._put()
            return
        try:
            key = self._key()
            operation = Operation(self._name, Kind.DELETE, _now(), values={key: None})
            answer = await self._ask(operation, lambda: self._client.delete(key))
            if isinstance(answer, DeleteResult):
                operation.done = answer.deleted > 0
        finally:
            self._twins.release_on_behalf_of(self)

    async def _put_on_lease(self) -> None:
        with suppress(*UNANSWERED), trio.move_on_after(TIMEOUT_SECONDS):
            lease = await self._client.lease_grant(LEASE_SECONDS)
            self._leases.append(lease.lease_id)
            await self._put(lease.lease_id)

    async def _revoke(self) -> None:
        if not self._leases:
            await self._put_on_lease()
            return
        lease = self._leases.pop()
        operation = Operation(self._name, Kind.REVOKE, _now(), lease=lease)
        await self._ask(operation, lambda: self._client.lease_revoke(lease))

    async def _swap(self, *, missing: bool = False, remove: bool = False) -> None:
        """Read a key, then write it or remove it if nobody has changed it meanwhile."""
        key = self._key()
        read = await self._range(Kind.RANGE, key)
        if read is None or bool(read.kvs) == missing or (remove and not read.kvs):
            return
        expected = read.kvs[0].mod_revision if read.kvs else 0
        value = None if remove else self._value()
        operation = Operation(self._name, Kind.SWAP, _now(), values={key: value}, expected=expected)
        change = Delete(key) if value is None else Put(key, value)
        answer = await self._ask(
            operation,
            lambda: self._client.txn(
                when=[mod_revision(key, "=", expected)], then=[change], otherwise=[Get(key)]
            ),
        )
        if isinstance(answer, TxnResult):
            operation.done = answer.succeeded

    async def _ask(self, operation: Operation, call: Callable[[], Awaitable[object]]) -> object:
        """Ask, and note what came of it; give the answer, None if there is none."""
        self._history.operations.append(operation)
        self._doubt = True
        answer: object = None
        try:
            with trio.move_on_after(TIMEOUT_SECONDS) as scope:
                answer = await call()
        except OutcomeUnknownError:
            return None
        except DisconnectedError:
            # the client promises that nothing was done
            self._history.operations.remove(operation)
            await trio.sleep(PAUSE_SECONDS[1])
            return None
        except EtcdError as error:
            if error.code in REFUSED:
                operation.returned = _now()
                operation.refused = str(error)
                self._doubt = False
            return None
        if scope.cancelled_caught:
            return None
        operation.returned = _now()
        self._doubt = False
        if isinstance(answer, PutResult | DeleteResult | TxnResult | RangeResult):
            operation.revision = answer.header.revision
            self._revision = max(self._revision, operation.revision)
        return answer


def _now() -> int:
    return time.monotonic_ns()


def _row(kv: KeyValue) -> Row:
    return Row(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)
