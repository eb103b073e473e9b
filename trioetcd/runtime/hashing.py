"""What this member's data hashes to, told to others, and what theirs does, asked of them.

The chain is at hand. For the content every row is read, in steps that share a turn with the other
long reads and with pauses that leave nearly all the time to others; one such walk at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioetcd.mvcc import ContentHash, Store
from trioetcd.questions import Hashed
from trioetcd.runtime.cursors import Cursors
from trioetcd.runtime.peers import Peers
from trioetcd.transport.peer_dial import DialError
from trioetcd.transport.peer_link import ask, connect
from trioetcd.values import MemberID
from trioetcd.wire.peer import HashAsked, PeerDialler, Purpose

__all__ = ["LAG_SECONDS", "Hashes", "ask_hash"]

LAG_SECONDS: Final = 3.0
"""How long a member that has not come to a revision yet waits for it before it says so."""

BUSY_SHARE: Final = 0.02
"""Of the loop's time, for walking through the content: a million keys take about a minute."""

PAUSE_SECONDS_MIN: Final = 0.01
"""Between two steps, however quick they were."""


class Hashes:
    """The hashes of one member.

    Args:
        store: its key space.
        cursors: step what takes long.
        wait_turn: waits until something may have been applied.
        took: told how many seconds each hash of the content took.
    """

    def __init__(
        self,
        store: Store,
        cursors: Cursors,
        *,
        wait_turn: Callable[[], Awaitable[None]],
        took: Callable[[float], None],
    ) -> None:
        self._store = store
        self._cursors = cursors
        self._wait_turn = wait_turn
        self._took = took
        self._walking = trio.Lock()

    async def tell(self, purpose: Purpose, revision: int) -> Hashed:
        """Give a hash as of a revision, which may come soon.

        Args:
            purpose: which hash.
            revision: which revision; 0 is the last one.

        Raises:
            EtcdError: COMPACTED, or FUTURE_REVISION after `LAG_SECONDS`.
        """
        store = self._store
        with trio.move_on_after(LAG_SECONDS):
            while store.revision < revision:
                await self._wait_turn()
        if purpose is Purpose.CONTENT_HASH:
            async with self._walking:
                value = await self._walk(store.content_hash(revision))
        else:
            value, _, _ = store.hash_kv(revision)
        return Hashed(value, store.revision, max(store.compact_revision, 0))

    async def _walk(self, content: ContentHash) -> int:
        began = trio.current_time()
        try:
            while not await self._step(content):
                pass
        finally:
            content.close()
        self._took(trio.current_time() - began)
        return content.value

    async def _step(self, content: ContentHash) -> bool:
        """Do one step in its turn and rest in proportion to what it took; True if all is done."""
        step = _Step(content)
        try:
            self._cursors.add(step, step.done.set, lambda: step.wanted)
            await step.done.wait()
            if not step.last:
                await trio.sleep(max(PAUSE_SECONDS_MIN, step.seconds / BUSY_SHARE))
        finally:
            step.wanted = False
        return step.last


class _Step:
    """One step of a walk, as something that `Cursors` runs to its end.

    Attributes:
        wanted: whether the walk still goes on.
        done: set after the step.
        last: whether it was the last one.
        seconds: how long it took.
    """

    def __init__(self, content: ContentHash) -> None:
        self.wanted = True
        self.done = trio.Event()
        self.last = False
        self.seconds = 0.0
        self._content = content

    def step(self, rows: int, size: int) -> bool:
        """Do it."""
        began = trio.current_time()
        self.last = self._content.step(rows, size)
        self.seconds = trio.current_time() - began
        return True

    def close(self) -> None:
        """The walk's own end lets go of what it pins."""


async def ask_hash(peers: Peers, member: MemberID, purpose: Purpose, revision: int) -> Hashed:
    """Ask a member what its data hashes to; the time it takes is the caller's to bound.

    Args:
        peers: knows where the member is.
        member: which member.
        purpose: which hash.
        revision: as of which revision.

    Raises:
        PeerRefusedError: with COMPACTED or FUTURE of `trioetcd.wire.peer.Refusal`, or because the
            member does not want this one.
        DialError: it cannot be reached, or the connection broke.
    """
    unreachable = DialError("it has told no address")
    for address in peers.addresses(member):
        dialler = PeerDialler(peers.local.hello(purpose, member), limits=peers.limits)
        try:
            stream = await connect(peers.dial, dialler, address)
        except DialError as error:
            unreachable = error
            continue
        try:
            dialler.ask_hash(HashAsked(revision))
            answer = await ask(stream, dialler, address)
        finally:
            stream.close()
        assert isinstance(answer, Hashed), "nothing else has a place there"
        return answer
    raise unreachable
