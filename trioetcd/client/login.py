"""Who a client says that it is: a user and password, and the token it was given for them.

The rules are those of etcd's own client: it logs in before its first request, and again when the
server no longer knows the token, or has changed users or roles since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioetcd.errors import (
    AUTH_NOT_ENABLED,
    AUTH_OLD_REVISION,
    INVALID_AUTH_TOKEN,
    USER_EMPTY,
    EtcdError,
)

__all__ = ["Login", "Shown"]

Shown = tuple[tuple[str, str], ...]
"""The metadata of a call that says who calls."""

Authenticate = Callable[[str, str], Awaitable[str]]
"""Gives a token for a user and password."""

_WORN: Final = frozenset({USER_EMPTY, INVALID_AUTH_TOKEN, AUTH_OLD_REVISION})
"""Errors by which nothing was done, and which another token, or another attempt, may end."""


class Login:
    """The login of one client, shared by all of its connections.

    Args:
        user: who; empty for nobody, or whom the certificate names.
        password: the user's.
        authenticate: asks the server.
    """

    def __init__(self, user: str, password: str, authenticate: Authenticate) -> None:
        self._user = user
        self._password = password
        self._authenticate = authenticate
        self._shown: Shown | None = None
        self._asking = trio.Lock()

    async def show(self) -> Shown:
        """Give what a call says of who calls; logs in first if that has not been done.

        Raises:
            EtcdError: the server does not believe it.
            DisconnectedError: no endpoint answered.
        """
        if not self._user:
            return ()
        async with self._asking:
            if self._shown is None:
                self._shown = await self._log_in()
            return self._shown

    async def mend(self, error: EtcdError, shown: Shown) -> bool:
        """Say whether a call that was refused with `error` should be asked again; logs in for it.

        Args:
            error: why it was refused.
            shown: what it said of who calls.

        Raises:
            EtcdError: the server does not let this user in any more.
            DisconnectedError: no endpoint answered.
        """
        if error.row not in _WORN:
            return False
        if not self._user:
            # Users were changed while a certificate's call was on its way: once more will do.
            return error.row == AUTH_OLD_REVISION
        async with self._asking:
            if self._shown == shown:  # else another call has logged in meanwhile
                self._shown = await self._log_in()
        return True

    async def _log_in(self) -> Shown:
        try:
            return (("token", await self._authenticate(self._user, self._password)),)
        except EtcdError as error:
            if error.row == AUTH_NOT_ENABLED:
                return ()  # nobody need say who they are
            raise
