"""A task that waits for what is otherwise the answer of a call."""

from __future__ import annotations

import trio

__all__ = ["Waiter"]


class Waiter:
    """Stands where a connection would (`ports.Sink`), for one answer."""

    def __init__(self) -> None:
        self._arrived = trio.Event()
        self._error: Exception | None = None

    async def wait(self) -> None:
        """Wait for the answer.

        Raises:
            EtcdError: what came instead of one.
        """
        await self._arrived.wait()
        if self._error is not None:
            raise self._error

    def answer(self, _call: int, _response: bytes, /) -> None:
        """Take the answer: that it came is all that counts."""
        self._arrived.set()

    def answer_pieces(self, _call: int, _pieces: list[bytes], /) -> None:
        """Take a large answer."""
        self._arrived.set()

    def fail(self, _call: int, error: Exception, /) -> None:
        """Take an error."""
        self._error = error
        self._arrived.set()

    def is_open(self, _call: int, /) -> bool:
        """Say that somebody waits."""
        return True

    def is_full(self) -> bool:
        """Say that there is room."""
        return False

    def flush(self) -> None:
        """Do nothing: whoever waits has been woken."""
