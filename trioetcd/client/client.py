"""A client of an etcd cluster on Trio: `open_client`, and what it gives.

How requests find an endpoint, and which are sent again, is told in `calls`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import trio

from trioetcd import errors
from trioetcd.client import requests
from trioetcd.client.auth import Auth
from trioetcd.client.calls import Calls, Dialling
from trioetcd.client.connection import Connect, Endpoint, client_tls
from trioetcd.client.errors import DisconnectedError, OutcomeUnknownError
from trioetcd.client.lease_keeper import FAREWELL_SECONDS, kept_alive
from trioetcd.client.lock import Lock
from trioetcd.client.requests import Compare, Data, Delete, Get, Operation, Put, Sort, Txn
from trioetcd.client.results import (
    DeleteResult,
    KeyValue,
    Lease,
    LeaseStatus,
    Member,
    PutResult,
    RangeResult,
    Status,
    TxnResult,
)
from trioetcd.client.watch import Watch, open_watch
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = ["Client", "open_client"]

REQUEST_SECONDS: Final = 10.0

Filter = Literal["put", "delete"]


class Client:
    """What `open_client` gives; lives as long as its block.

    Attributes:
        auth: users, roles and permissions.
    """

    def __init__(self, calls: Calls, nursery: trio.Nursery) -> None:
        self.auth = Auth(calls)
        self._calls = calls
        self._nursery = nursery

    # -- keys ---------------------------------------------------------------------------------

    async def get(
        self, key: Data, *, revision: int = 0, serializable: bool = False
    ) -> KeyValue | None:
        """Read one key; None if it does not exist.

        Raises:
            EtcdError: the server refuses, for instance because `revision` is compacted.
            DisconnectedError: no endpoint answered.
        """
        found = await self._range(Get(key, revision=revision, serializable=serializable))
        return found.kvs[0] if found.kvs else None

    async def range(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        limit: int = 0,
        revision: int = 0,
        sort: Sort = "key",
        descending: bool = False,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> RangeResult:
        """Read several keys; the arguments are those of `Get`, as are the errors of `get`."""
        return await self._range(
            Get(
                key,
                end,
                prefix=prefix,
                limit=limit,
                revision=revision,
                sort=sort,
                descending=descending,
                serializable=serializable,
                keys_only=keys_only,
                count_only=count_only,
            ),
        )

    async def _range(self, request: Get) -> RangeResult:
        parse = messages.RangeResponse.FromString
        return RangeResult.read(await self._calls.read("KV/Range", request.message(), parse))

    async def put(
        self,
        key: Data,
        value: Data,
        *,
        lease: int | Lease = 0,
        prev_kv: bool = False,
    ) -> PutResult:
        """Write one key.

        Raises:
            EtcdError: the server refuses; nothing was written.
            DisconnectedError: no endpoint could be reached; nothing was written.
            OutcomeUnknownError: no answer came, or none that is clear; it may or may not have
                been written.
        """
        number = lease.lease_id if isinstance(lease, Lease) else lease
        request = Put(key, value, lease=number, prev_kv=prev_kv).message()
        return PutResult.read(
            await self._calls.write("KV/Put", request, messages.PutResponse.FromString),
        )

    async def delete(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        prev_kv: bool = False,
    ) -> DeleteResult:
        """Delete a key, an interval, or all keys with a prefix; errors as with `put`."""
        request = Delete(key, end, prefix=prefix, prev_kv=prev_kv).message()
        parse = messages.DeleteRangeResponse.FromString
        return DeleteResult.read(await self._calls.write("KV/DeleteRange", request, parse))

    async def txn(
        self,
        *,
        when: Sequence[Compare] = (),
        then: Sequence[Operation] = (),
        otherwise: Sequence[Operation] = (),
    ) -> TxnResult:
        """Do `then` if every condition holds, else `otherwise`; errors as with `put`."""
        request = Txn(when, then, otherwise).message()
        return TxnResult.read(
            await self._calls.write("KV/Txn", request, messages.TxnResponse.FromString),
        )

    async def compact(self, revision: int, *, physical: bool = False) -> int:
        """Forget what was superseded before `revision`; give the store's revision.

        With `physical` the answer comes when the disk has forgotten too. Errors as with `put`.
        """
        request = messages.CompactionRequest(revision=revision, physical=physical)
        parse = messages.CompactionResponse.FromString
        return (await self._calls.write("KV/Compact", request, parse)).header.revision

    # -- watching -----------------------------------------------------------------------------

    def watch(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: Sequence[Filter] = (),
    ) -> AbstractAsyncContextManager[Watch]:
        """Watch a key, an interval, or all keys with a prefix.

        ``async with client.watch("k") as events: async for event in events: ...``; when the
        block begins, the server has taken the watch on. `start_revision` 0 is from now on.

        Raises:
            EtcdError: on entering, the server refuses.
            DisconnectedError: on entering, no endpoint could be reached.
        """
        first = requests.encode(key)
        filters = {
            "put": messages.WatchCreateRequest.NOPUT,
            "delete": messages.WatchCreateRequest.NODELETE,
        }
        create = messages.WatchCreateRequest(
            key=requests.start_of(first, prefix=prefix),
            range_end=requests.end_of(first, end, prefix=prefix),
            start_revision=start_revision,
            prev_kv=prev_kv,
            filters=[filters[kind] for kind in without],
            progress_notify=True,
        )
        return open_watch(self._calls, create)

    # -- leases -------------------------------------------------------------------------------

    async def lease_grant(self, ttl: int, *, lease_id: int = 0) -> Lease:
        """Get a lease of `ttl` seconds; the server may give more. Errors as with `put`."""
        request = messages.LeaseGrantRequest(TTL=ttl, ID=lease_id)
        parse = messages.LeaseGrantResponse.FromString
        granted = await self._calls.write("Lease/LeaseGrant", request, parse)
        return Lease(granted.ID, granted.TTL)

    async def lease_revoke(self, lease: int | Lease) -> None:
        """End a lease and delete its keys, at one revision. Errors as with `put`."""
        request = messages.LeaseRevokeRequest(ID=_lease_id(lease))
        await self._calls.write(
            "Lease/LeaseRevoke", request, messages.LeaseRevokeResponse.FromString
        )

    async def lease_time_to_live(self, lease: int | Lease, *, keys: bool = False) -> LeaseStatus:
        """Ask how a lease stands, and for its keys. Errors as with `get`."""
        request = messages.LeaseTimeToLiveRequest(ID=_lease_id(lease), keys=keys)
        parse = messages.LeaseTimeToLiveResponse.FromString
        return LeaseStatus.read(await self._calls.read("Lease/LeaseTimeToLive", request, parse))

    async def leases(self) -> tuple[int, ...]:
        """List the leases there are. Errors as with `get`."""
        parse = messages.LeaseLeasesResponse.FromString
        found = await self._calls.read("Lease/LeaseLeases", messages.LeaseLeasesRequest(), parse)
        return tuple(status.ID for status in found.leases)

    async def lease_refresh(self, lease: int | Lease) -> int:
        """Give a lease its full time again, once; give that time in seconds.

        Raises:
            EtcdError: there is no such lease (any more).
            DisconnectedError: no endpoint answered; the lease may live on.
        """
        request = messages.LeaseKeepAliveRequest(ID=_lease_id(lease))
        parse = messages.LeaseKeepAliveResponse.FromString
        answer = await self._calls.read("Lease/LeaseKeepAlive", request, parse)
        if answer.TTL <= 0:
            raise EtcdError(errors.LEASE_NOT_FOUND)
        return answer.TTL

    @asynccontextmanager
    async def lease_kept_alive(self, ttl: int) -> AsyncIterator[Lease]:
        """Hold a lease for the length of a block: granted before, kept alive, revoked after.

        If the lease is lost meanwhile, the block is cancelled and `EtcdError` raised.
        """
        lease = await self.lease_grant(ttl)
        async with kept_alive(
            lease,
            nursery=self._nursery,
            refresh=self.lease_refresh,
            revoke=self.lease_revoke,
        ):
            yield lease

    # -- locks --------------------------------------------------------------------------------

    @asynccontextmanager
    async def lock(self, name: Data, *, lease: int | Lease) -> AsyncIterator[Lock]:
        """Hold a lock for the length of a block; waits for it as long as it takes.

        It is lost with its lease, perhaps without a sign in the block: what the block writes
        should have `Lock.held` among its conditions.

        Raises:
            EtcdError: on entering, the lease has ended or the server refuses.
            DisconnectedError: on entering, no endpoint could be reached.
            OutcomeUnknownError: on entering, the connection ended. Whoever tries again with the
                same lease has its place in the queue, or the next one.
        """
        request = messages.LockRequest(name=requests.encode(name), lease=_lease_id(lease))
        parse = messages.LockResponse.FromString
        path = "/v3lockpb.Lock/Lock"
        key = (await self._calls.ask(path, request, parse, seconds=math.inf)).key
        held: list[Compare] = []
        try:
            found = await self.get(key)
            if found is None:
                raise EtcdError(errors.SESSION_EXPIRED)
            lock = Lock(key, found.create_revision)
            held.append(lock.held)
            yield lock
        finally:
            with (
                trio.move_on_after(FAREWELL_SECONDS, shield=True),
                suppress(EtcdError, DisconnectedError, OutcomeUnknownError),
            ):
                await self.txn(when=held, then=[Delete(key)])

    # -- the cluster --------------------------------------------------------------------------

    async def member_list(self) -> tuple[Member, ...]:
        """List the members. Errors as with `get`."""
        request = messages.MemberListRequest(linearizable=True)
        parse = messages.MemberListResponse.FromString
        found = await self._calls.read("Cluster/MemberList", request, parse)
        return tuple(Member.read(member) for member in found.members)

    async def status(self) -> Status:
        """Ask the member at the other end how it does. Errors as with `get`."""
        parse = messages.StatusResponse.FromString
        return Status.read(
            await self._calls.read("Maintenance/Status", messages.StatusRequest(), parse)
        )


def _lease_id(lease: int | Lease) -> int:
    return lease.lease_id if isinstance(lease, Lease) else lease


def open_client(
    endpoints: str | Sequence[str],
    *,
    cacert: Path | str | None = None,
    cert: Path | str | None = None,
    key: Path | str | None = None,
    user: str = "",
    password: str = "",
    request_seconds: float = REQUEST_SECONDS,
    connect: Connect = trio.open_tcp_stream,
) -> AbstractAsyncContextManager[Client]:
    """Open a client for the length of an `async with` block; it dials when it is first used.

    Args:
        endpoints: `https://host:port`, one or several of the same cluster.
        cacert: the file of the authority that signed the members' certificates.
        cert: the file of the client's certificate.
        key: the file of its key.
        user: who logs in, before the first request; without it the certificate may name a user.
        password: the user's.
        request_seconds: how long an answer may take.
        connect: makes the connections beneath TLS, given host and port; a tunnel, for instance.

    Raises:
        ValueError: an endpoint is not one, or of user and password one is missing.
        OSError: a file cannot be read (`ssl.SSLError` if it is not what it should be).
    """
    urls = endpoints.split(",") if isinstance(endpoints, str) else endpoints
    parsed = [Endpoint.parse(url.strip()) for url in urls]
    if not parsed:
        raise ValueError("a client needs an endpoint")
    if bool(user) != bool(password):
        raise ValueError("a client that logs in needs a user and a password")
    secure = any(endpoint.secure for endpoint in parsed)
    tls = client_tls(cacert=cacert, cert=cert, key=key) if secure else None

    def calls(nursery: trio.Nursery) -> Calls:
        dialling = Dialling(parsed, tls, nursery, connect)
        return Calls(dialling, user, password, request_seconds=request_seconds)

    return _Opening(calls)


class _Opening:
    """The block of a client. What the block raises passes as it is, not in a group."""

    def __init__(self, calls: Callable[[trio.Nursery], Calls]) -> None:
        self._calls = calls
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Client:
        self._nursery = await self._manager.__aenter__()
        return Client(self._calls(self._nursery), self._nursery)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)
