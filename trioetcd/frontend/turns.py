"""The driver of a member as its connections know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Turns"]


class Turns(Protocol):
    """When the member takes in what was proposed, as a connection sees it."""

    @property
    def crowded(self) -> bool:
        """Whether many are served, so that turns come all the time."""

    def flush_later(self, flush: Callable[[], None], /) -> None:
        """Let a turn come, and call `flush` when it has handed its batch to the disk."""

    def not_alone(self) -> None:
        """Note that more was done than one call that waits."""
