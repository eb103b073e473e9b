"""A lock as its holder knows it: a key, and the condition on which it is held still."""

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.client.requests import Compare, create_revision

__all__ = ["Lock"]


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that was held when it was given.

    Attributes:
        key: the key that stands for it.
        revision: the key's create revision: the fence token, which is greater for each holder
            than for those before.
    """

    key: bytes
    revision: int

    @property
    def held(self) -> Compare:
        """The condition of a transaction that is done only while the lock is held."""
        return create_revision(self.key, "=", self.revision)
