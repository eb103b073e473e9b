"""What every oracle raises: a promise was broken, and the sentence says which."""

from __future__ import annotations

__all__ = ["Violation", "require"]


class Violation(Exception):  # noqa: N818 - it says what has happened, and no program failed
    """A promise was broken."""


def require(holds: bool, sentence: str, *facts: object) -> None:  # noqa: FBT001 - as with assert
    """Raise unless something holds.

    Args:
        holds: what must hold.
        sentence: what is wrong if it does not, with ``{}`` for each fact.
        facts: filled in only then, because this is asked very often.

    Raises:
        Violation: it does not hold.
    """
    if not holds:
        raise Violation(sentence.format(*facts))
