"""Comparing the members' data, on by default: before a member serves, and for as long as it leads.

Three checks, of which each can do what the others cannot. Every minute the leader compares the
chain of changes, which costs next to nothing. Every half day it compares the content, for which
every member reads all its rows. And a member that starts compares its chain before it serves
clients, so that one that was damaged while it was down, or is the one to blame, does not.

A revision holds the same at every healthy member, whoever leads and whatever was compacted, so two
hashes of one revision that differ are never a matter of time. Who cannot be reached, lags behind,
or has compacted that revision says nothing; there is a next time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trioetcd.cluster import Standing, corrupt_members, standing
from trioetcd.errors import EtcdError
from trioetcd.questions import Hashed
from trioetcd.runtime.hashing import Hashes, ask_hash
from trioetcd.runtime.peers import Peers
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.transport.peer_dial import DialError
from trioetcd.values import MemberID
from trioetcd.wire.peer import Purpose

__all__ = ["CHAIN_SECONDS", "START_SECONDS", "CorruptionChecks", "DataDiffersError"]

CHAIN_SECONDS: Final = 7.0
"""For the chains of all members: dialled, and a member that lags waited for."""

START_SECONDS: Final = 5.0
"""How long a member that starts waits for others to tell their hashes."""

_NAMES: Final = {Purpose.CHAIN_HASH: "chain", Purpose.CONTENT_HASH: "content"}


class DataDiffersError(Exception):
    """This member's data is not the others', so it must not serve; the sentence says what to do."""


class CorruptionChecks:
    """The checks that one member makes.

    Args:
        server: the member.
        peers: knows the way to the others.
        hashes: this member's own.
    """

    def __init__(self, server: Server, peers: Peers, hashes: Hashes) -> None:
        self._server = server
        self._peers = peers
        self._hashes = hashes
        self._log = peers.log
        self._me = peers.local.id

    # -- before it serves ---------------------------------------------------------------------

    async def check_start(self) -> None:
        """Compare this member's chain with the others', until a majority agrees or time is up.

        Raises:
            DataDiffersError: some other member holds something else as of the same revision, and
                no majority holds what this one does.
        """
        members = self._members()
        revision = self._server.store.revision
        if len(members) == 1 or revision <= 1:
            return  # nobody to compare with, or nothing

        def vouched(told: dict[MemberID, Hashed]) -> bool:
            return self._standing(told) is Standing.VOUCHED

        told = await self._gather(Purpose.CHAIN_HASH, revision, START_SECONDS, enough=vouched)
        found = self._standing(told)
        if found is Standing.DOUBTED:
            others = [f"{member:x}" for member in told if told[member].hash != told[self._me].hash]
            raise DataDiffersError(
                f"this member's data is not that of {', '.join(others)} as of revision {revision}, "
                "and no majority holds what it does, so it must not serve: remove it from the "
                "cluster and let it join anew with an empty data directory, unless the others are "
                "the damaged ones (docs/corruption.md)"
            )
        self._log.info(
            "compared this member's data with the others' before it serves",
            revision=revision,
            compared=len(told) - 1,
            standing=found.name.lower(),
        )

    def _standing(self, told: dict[MemberID, Hashed]) -> Standing:
        if self._me not in told:
            return Standing.UNKNOWN
        hashes = {member: hashed.hash for member, hashed in told.items()}
        return standing(self._me, self._members(), hashes)

    # -- while it leads -----------------------------------------------------------------------

    async def run(self, *, chain_seconds: float, content_seconds: float) -> None:
        """Check for ever.

        Args:
            chain_seconds: time between two comparisons of the chain; 0 for none.
            content_seconds: time between two comparisons of the content; 0 for none.
        """
        async with trio.open_nursery() as nursery:
            if chain_seconds:
                nursery.start_soon(self._repeat, Purpose.CHAIN_HASH, chain_seconds, CHAIN_SECONDS)
            if content_seconds:
                nursery.start_soon(
                    self._repeat, Purpose.CONTENT_HASH, content_seconds, content_seconds
                )

    async def _repeat(self, purpose: Purpose, pause: float, patience: float) -> None:
        """Compare after each pause, if this member leads others then (as etcd does)."""
        while True:
            await trio.sleep(pause)
            if self._server.replica.leader == self._me and len(self._members()) > 1:
                await self._compare(purpose, patience)

    async def _compare(self, purpose: Purpose, patience: float) -> None:
        revision = self._server.store.revision
        began = trio.current_time()
        told = await self._gather(purpose, revision, patience)
        members = self._members()
        corrupt = corrupt_members(members, {member: hashed.hash for member, hashed in told.items()})
        fields = {
            "check": _NAMES[purpose],
            "revision": revision,
            "compared": len(told),
            "members": len(members),
            "took": f"{trio.current_time() - began:.3f}s",
        }
        if not corrupt:
            say = self._log.debug if purpose is Purpose.CHAIN_HASH else self._log.info
            say("compared the members' data", **fields)
            return
        self._log.error(
            "members hold different data; those that differ from the majority are corrupt, "
            "without a majority nobody knows which (0): see docs/corruption.md",
            **fields,
            corrupt=[f"{member:x}" for member in corrupt],
            hashes={f"{member:x}": f"{hashed.hash:x}" for member, hashed in told.items()},
        )
        for member in corrupt:
            self._complain(member)

    def _complain(self, member: MemberID) -> None:
        """Raise the alarm through the log, unless it is raised; the next check does it again."""
        server = self._server
        if (messages.CORRUPT, member) in server.alarms.get(messages.CORRUPT):
            return
        request = messages.AlarmRequest(
            action=messages.AlarmRequest.ACTIVATE, memberID=member, alarm=messages.CORRUPT
        )
        server.driver.propose_own(None, CommandKind.ALARM, request.SerializeToString())
        server.driver.wake()

    # -- asking -------------------------------------------------------------------------------

    def _members(self) -> list[MemberID]:
        return [member.id for member in self._server.membership.members()]

    async def _gather(
        self,
        purpose: Purpose,
        revision: int,
        patience: float,
        *,
        enough: Callable[[dict[MemberID, Hashed]], bool] = lambda _: False,
    ) -> dict[MemberID, Hashed]:
        """Ask all members at once, this one too; give what they told in time."""
        told: dict[MemberID, Hashed] = {}

        async def ask(member: MemberID, scope: trio.CancelScope) -> None:
            try:
                if member == self._me:
                    told[member] = await self._hashes.tell(purpose, revision)
                else:
                    told[member] = await ask_hash(self._peers, member, purpose, revision)
            except (EtcdError, DialError) as error:
                self._log.debug(
                    "a member's data could not be compared",
                    **{"peer-id": f"{member:x}", "check": _NAMES[purpose], "error": str(error)},
                )
            if enough(told):
                scope.cancel()

        with trio.move_on_after(patience):
            async with trio.open_nursery() as nursery:
                for member in self._members():
                    nursery.start_soon(ask, member, nursery.cancel_scope)
        return told
