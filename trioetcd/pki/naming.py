"""Which of a certificate's names is the user's: what ``--cert-identity`` says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from trioetcd.pki.identity import Identity

__all__ = ["common_name", "parse_naming"]

_PLACE: Final = "*"

_PART: Final = {"uri": "[^/]+", "dns": "[^.]+"}
"""What the star stands for: one segment of a path, or one label."""


def common_name(identity: Identity) -> str:
    """Take the subject's common name for the user, as etcd does."""
    return identity.common_name


def parse_naming(text: str) -> Callable[[Identity], str]:
    """Read ``--cert-identity``: ``cn``, or ``uri:`` or ``dns:`` and a pattern with one star.

    The star stands for the user's name: with ``uri:spiffe://example.org/user/*`` the user of
    ``spiffe://example.org/user/anna`` is ``anna``.

    Returns:
        What gives the user that a certificate names, "" for none. One that names several users
        names none.

    Raises:
        ValueError: one sentence that says what is wrong with it.
    """
    kind, colon, pattern = text.partition(":")
    if text == "cn":
        return common_name
    if kind not in _PART or not colon:
        raise ValueError(
            f"--cert-identity={text!r} is none of cn, uri:PATTERN and dns:PATTERN, such as "
            f"uri:spiffe://example.org/user/*"
        )
    if pattern.count(_PLACE) != 1:
        raise ValueError(f"--cert-identity={text!r} must have one *, which stands for the user")
    before, _, after = pattern.partition(_PLACE)
    match = re.compile(f"{re.escape(before)}({_PART[kind]}){re.escape(after)}").fullmatch

    def user_of(identity: Identity) -> str:
        names = identity.uris if kind == "uri" else identity.dns
        users = {found[1] for found in map(match, names) if found is not None}
        return users.pop() if len(users) == 1 else ""

    return user_of
