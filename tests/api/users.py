"""A member with users, and callers who are told what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.api.metadata import Metadata, NoMetadata, certified
from tests.runtime.member import Caller, Disk, running
from trioetcd.api.router import Router
from trioetcd.errors import EtcdError
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.logins import LoginSettings
from trioetcd.runtime.server import Server
from trioetcd.schema import messages as m
from trioetcd.schema.services import METHODS
from trioetcd.statemachine import CommandKind

__all__ = ["COST", "PASSWORDS", "SETUP", "Stream", "Users", "path_of", "with_users"]

COST = 4
"""bcrypt's least."""

PASSWORDS = {
    "root": "of root",
    "stranger": "of stranger",
    "reader": "of reader",
    "writer": "of writer",
    "both": "of both",
}

_PACKAGES = {"Lock": "v3lockpb", "Election": "v3electionpb", "Health": "grpc.health.v1"}


def path_of(rpc: str) -> str:
    """Give the path of ``KV/Put``."""
    service, _, name = rpc.partition("/")
    return f"/{_PACKAGES.get(service, 'etcdserverpb')}.{service}/{name}"


def grant(role: str, kind: int, key: bytes = b"k", range_end: bytes = b"l") -> m.Message:
    """Make the request that lets a role do something with the keys from k to l."""
    perm = m.Permission(permType=kind, key=key, range_end=range_end)
    return m.AuthRoleGrantPermissionRequest(name=role, perm=perm)


SETUP: list[tuple[str, m.Message]] = [
    *(
        ("Auth/UserAdd", m.AuthUserAddRequest(name=name, password=password))
        for name, password in PASSWORDS.items()
    ),
    *(("Auth/RoleAdd", m.AuthRoleAddRequest(name=name)) for name in ("root", "read", "write")),
    ("Auth/RoleGrantPermission", grant("read", m.Permission.READ)),
    ("Auth/RoleGrantPermission", grant("write", m.Permission.WRITE)),
    *(
        ("Auth/UserGrantRole", m.AuthUserGrantRoleRequest(user=user, role=role))
        for user, role in (
            ("root", "root"),
            ("reader", "read"),
            ("writer", "write"),
            ("both", "read"),
            ("both", "write"),
        )
    ),
    ("Auth/AuthEnable", m.AuthEnableRequest()),
]


@dataclass
class Stream:
    """A stream's client: it sends its requests, and ends the call after some answers.

    Attributes:
        requests: what it sends, in order.
        enough: after so many answers it has seen enough.
        sent: the answers.
    """

    requests: list[bytes]
    enough: int = 1
    sent: list[bytes] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    changed: trio.Event = field(default_factory=trio.Event)
    ends: bool = True

    async def receive(self) -> bytes | None:
        """Give the next request; the end if there is none, or nothing any more."""
        if self.requests:
            return self.requests.pop(0)
        if not self.ends:
            await trio.sleep_forever()
        return None

    async def send(self, answers: list[bytes], /) -> None:
        """Take answers."""
        self.sent += answers
        self.changed.set()
        self.changed = trio.Event()
        if len(self.sent) >= self.enough:
            self.scope.cancel()
        await trio.lowlevel.checkpoint()

    async def wait_sent(self, count: int) -> None:
        """Wait for so many answers."""
        while len(self.sent) < count:
            await self.changed.wait()


class Users:
    """Callers of one member."""

    def __init__(self, server: Server, backups: Backups | None = None) -> None:
        self.server = server
        self.router = Router.of(server, backups)

    async def call(self, who: Metadata, rpc: str, request: m.Message) -> m.Message:
        """Call, and give the answer; of a stream the first one.

        Raises:
            EtcdError: what was told instead.
        """
        path = path_of(rpc)
        method = METHODS[path]
        message = request.SerializeToString()
        found: bytes | list[bytes] | EtcdError | None
        if path in self.router.unary:
            caller = Caller()
            found = self.router.unary[path](caller, 1, who, message)
            if found is None:
                self.server.driver.wake()
                found = await caller.wait(1)
        elif path in self.router.waiting:
            found = await self.router.waiting[path](who, message)
        else:
            stream = Stream([message], ends=False)
            with stream.scope:
                await self.router.streams[path](who, stream)
            found = stream.sent[0] if stream.sent else b""
        if isinstance(found, EtcdError):
            raise found
        whole = found if isinstance(found, bytes) else b"".join(found)
        return method.response.FromString(whole)

    async def said(self, who: Metadata, rpc: str, request: m.Message) -> str:
        """Call, and give the error's text; "" if there was none."""
        try:
            answer = await self.call(who, rpc, request)
        except EtcdError as error:
            return error.text
        if isinstance(answer, m.WatchResponse) and answer.canceled:
            return answer.cancel_reason.rpartition("desc = ")[2]
        return ""

    async def as_root(self, rpc: str, request: m.Message) -> m.Message:
        """Call as root."""
        return await self.call(certified("root"), rpc, request)

    async def own(self, kind: CommandKind, request: m.Message) -> None:
        """Have a command carried out that no user asks for, whatever comes of it."""
        try:
            await self.server.ask_own(kind, request.SerializeToString())
        except EtcdError:
            return

    async def login(self, user: str) -> str:
        """Log in, and give the token."""
        request = m.AuthenticateRequest(name=user, password=PASSWORDS[user])
        answer = await self.call(NoMetadata(), "Auth/Authenticate", request)
        assert isinstance(answer, m.AuthenticateResponse)
        return answer.token


@asynccontextmanager
async def with_users(
    settings: LoginSettings | None = None, *, enable: bool = True, disk: Disk | None = None
) -> AsyncIterator[Users]:
    """Run a member with the users of `PASSWORDS`."""
    async with running(disk, logins=settings or LoginSettings(bcrypt_cost=COST)) as server:
        users = Users(server)
        for rpc, request in SETUP if enable else SETUP[:-1]:
            await users.call(NoMetadata(), rpc, request)
        yield users
