"""Who calls, and whether it may: the same for every procedure and on every path.

Who calls is said by a token in the metadata, or else by the client's certificate. Whether it may
is a rule in the table of procedures (`schema.services`): for some it is enough to know the user;
those that concern keys ask here about each interval at the moment they read it, or propose a
command, which is checked by `statemachine.permits` there and then, and once more when it is
applied. While auth is off everybody may do everything.

A member that lags may not know yet what was granted, or who has logged in: before it refuses for
that reason it makes sure that it is current (`may_be_stale`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd.api.context import (
    MessageStream,
    Metadata,
    StreamHandler,
    UnaryHandler,
    WaitingHandler,
)
from trioetcd.auth import KeySet, Rights
from trioetcd.errors import (
    INVALID_AUTH_TOKEN,
    PERMISSION_DENIED,
    USER_EMPTY,
    ErrorRow,
    EtcdError,
)
from trioetcd.keyrange import KeyRange
from trioetcd.ports import Sink
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import messages
from trioetcd.schema.services import METHODS, Access
from trioetcd.statemachine import Asker, permits

__all__ = ["Guard", "Permit"]

Permit = Callable[[KeyRange], EtcdError | None]
"""Says why an interval must not be watched (any more), None if it may."""

_STALE: Final = frozenset({PERMISSION_DENIED, INVALID_AUTH_TOKEN})


class Guard:
    """Asks about the callers of one member.

    Args:
        server: the member.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._auth = server.auth
        self._logins = server.logins
        self._lessor = server.lessor

    # -- who calls ---------------------------------------------------------------------------

    def asker(self, metadata: Metadata) -> Asker | None:
        """Give who calls; None for nobody, and while auth is off.

        Raises:
            EtcdError: INVALID_AUTH_TOKEN.
        """
        if not self._auth.enabled:
            return None
        token = metadata.get("token")
        if token is None:
            token = metadata.get("authorization")
            if token is None:
                return self._logins.certified(metadata.origin)
        return self._logins.bearer(token)

    def require(self, metadata: Metadata) -> Asker:
        """Give who calls, while auth is on.

        Raises:
            EtcdError: USER_EMPTY for nobody, INVALID_AUTH_TOKEN.
        """
        asker = self.asker(metadata)
        if asker is None:
            raise EtcdError(USER_EMPTY)
        return asker

    # -- whether it may ----------------------------------------------------------------------

    def admit(self, access: Access, metadata: Metadata) -> None:
        """Let a call come in as its rule has it.

        Raises:
            EtcdError: it must not.
        """
        if not self._auth.enabled or access in {Access.OPEN, Access.KEYS}:
            return
        user = self.require(metadata).user
        known = self._auth.get_user(user)
        if known is None or (access is Access.ROOT and not known.is_root):
            raise EtcdError(PERMISSION_DENIED)

    def is_root(self, metadata: Metadata) -> bool:
        """Whether the caller may do everything; everybody may while auth is off."""
        return not self._auth.enabled or self._auth.is_root(self.require(metadata).user)

    def check_read(self, metadata: Metadata, keys: KeyRange) -> None:
        """Refuse, unless the caller may read an interval; to be asked when it is read.

        Raises:
            EtcdError: it must not.
        """
        if self._auth.enabled:
            _refuse(permits.read_refusal(self._auth, self.require(metadata), keys))

    def check_txn(self, metadata: Metadata, request: messages.TxnRequest) -> None:
        """Likewise for a txn that only reads."""
        if self._auth.enabled:
            asker = self.require(metadata)
            _refuse(permits.txn_refusal(self._auth, self._lessor, request, asker))

    def check_lease_read(self, metadata: Metadata, lease: int) -> None:
        """Refuse, unless the caller may read every key of a lease."""
        self._check_lease(metadata, lease, _reading)

    def check_lease_write(self, metadata: Metadata, lease: int) -> None:
        """Refuse, unless the caller may write every key of a lease."""
        self._check_lease(metadata, lease, _writing)

    def _check_lease(
        self, metadata: Metadata, lease: int, keys_of: Callable[[Rights], KeySet]
    ) -> None:
        auth = self._auth
        if not auth.enabled:
            return
        asker = self.require(metadata)
        _refuse(permits.may_ask(auth, asker))
        if not auth.is_root(asker.user) and not permits.covers_keys(
            self._lessor, lease, keys_of(auth.rights(asker.user))
        ):
            raise EtcdError(PERMISSION_DENIED)

    def permit(self, metadata: Metadata) -> Permit:
        """Give what says, now and later, why a caller must not watch an interval, or None.

        Whoever has been let in once stays the same: a token that ends by itself ends no watch.
        """
        auth = self._auth
        known: Asker | None = None

        def permit(keys: KeyRange) -> EtcdError | None:
            nonlocal known
            if not auth.enabled:
                return None
            try:
                if known is None:
                    known = self.require(metadata)
                    _refuse(permits.may_ask(auth, known))
                row = None if auth.may_read(known.user, keys) else PERMISSION_DENIED
                return None if row is None else EtcdError(row)
            except EtcdError as error:
                known = None
                return error

        return permit

    # -- a member that lags ------------------------------------------------------------------

    def may_be_stale(self, error: EtcdError) -> bool:
        """Whether a caller may be refused only because this member lags."""
        return error.row in _STALE and self._auth.enabled and not self._server.is_current()

    def ask_again(
        self, handler: UnaryHandler, caller: Sink, call: int, metadata: Metadata, message: bytes
    ) -> Answer:
        """Have a call answered once more, when this member is current."""

        def read() -> Answer:
            answer = handler(caller, call, metadata, message)
            self._server.driver.wake()  # it may have proposed something
            return answer

        return self._server.answer_when_current(caller, call, read)

    async def settle(self, metadata: Metadata) -> None:
        """See that this member knows who calls, if anybody does; to be asked by streams.

        Raises:
            EtcdError: INVALID_AUTH_TOKEN.
        """
        try:
            self.asker(metadata)
        except EtcdError as error:
            if not self.may_be_stale(error):
                raise
            await self._server.wait_current()
            self.asker(metadata)

    async def settle_watch(self, metadata: Metadata, request: messages.WatchRequest) -> None:
        """See that this member knows whether the caller may watch, before it is refused."""
        if not self._auth.enabled or request.WhichOneof("request_union") != "create_request":
            return
        create = request.create_request
        try:
            self.check_read(metadata, KeyRange.from_wire(create.key or b"\0", create.range_end))
        except EtcdError as error:
            if self.may_be_stale(error):
                await self._server.wait_current()

    async def settle_lease(self, metadata: Metadata, lease: int) -> None:
        """Refuse, unless the caller may write every key of a lease, as this member knows for sure.

        Raises:
            EtcdError: it must not.
        """
        try:
            self.check_lease_write(metadata, lease)
        except EtcdError as error:
            if not self.may_be_stale(error):
                raise
            await self._server.wait_current()
            self.check_lease_write(metadata, lease)

    # -- procedures --------------------------------------------------------------------------

    def unary(self, path: str, handler: UnaryHandler) -> UnaryHandler:
        """Give a handler that lets in whom the table of procedures does."""
        access = METHODS[path].access
        if access in {Access.OPEN, Access.KEYS}:
            return handler

        def guarded(caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
            self.admit(access, metadata)
            return handler(caller, call, metadata, message)

        return guarded

    def stream(self, path: str, handler: StreamHandler) -> StreamHandler:
        """Likewise for a handler of streams."""
        access = METHODS[path].access
        if access is Access.OPEN:
            return handler

        async def guarded(metadata: Metadata, stream: MessageStream) -> None:
            await self.settle(metadata)
            self.admit(access, metadata)
            await handler(metadata, stream)

        return guarded

    def waiting(self, path: str, handler: WaitingHandler) -> WaitingHandler:
        """Likewise for a handler that waits."""
        access = METHODS[path].access
        if access is Access.OPEN:
            return handler

        async def guarded(metadata: Metadata, message: bytes) -> bytes:
            await self.settle(metadata)
            self.admit(access, metadata)
            return await handler(metadata, message)

        return guarded


def _refuse(row: ErrorRow | None) -> None:
    if row is not None:
        raise EtcdError(row)


def _reading(rights: Rights) -> KeySet:
    return rights.reading


def _writing(rights: Rights) -> KeySet:
    return rights.writing
