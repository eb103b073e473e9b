"""A task that waits for what is otherwise the answer of a call."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["Waiter"]


class Waiter:
    """Stands where a connection would (`ports.Sink`), for one answer."""

    def __init__(self) -> None:
        self._arrived = trio.Event()
        self._answer = b""
        self._error: Exception | None = None
        self._afterwards: Callable[[bytes | Exception], object] | None = None
        self._open = True

    async def wait(self) -> bytes:
        """Wait for the answer, and give it.

        Raises:
            EtcdError: what came instead of one.
        """
        try:
            await self._arrived.wait()
        finally:
            self._open = False
        if self._error is not None:
            raise self._error
        return self._answer

    def afterwards(self, do: Callable[[bytes | Exception], object]) -> None:
        """Give the answer or error to `do`, at once or when it comes; for what no task waits for.

        So a task that was cancelled can have undone what was under way, and need not live on.
        """
        if self._arrived.is_set():
            do(self._answer if self._error is None else self._error)
        else:
            self._afterwards = do

    def answer(self, _call: int, response: bytes, /) -> None:
        """Take the answer."""
        self._answer = response
        self._arrive(response)

    def answer_pieces(self, call: int, pieces: list[bytes], /) -> None:
        """Take a large answer."""
        self.answer(call, b"".join(pieces))

    def fail(self, _call: int, error: Exception, /) -> None:
        """Take an error."""
        self._error = error
        self._arrive(error)

    def _arrive(self, outcome: bytes | Exception) -> None:
        self._arrived.set()
        if self._afterwards is not None:
            self._afterwards(outcome)

    def is_open(self, _call: int, /) -> bool:
        """Say whether somebody waits."""
        return self._open

    def is_full(self) -> bool:
        """Say that there is room."""
        return False

    def flush(self) -> None:
        """Do nothing: whoever waits has been woken."""
