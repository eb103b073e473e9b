"""Who needs which certificate: usages and lifetimes, one row per role.

Lifetimes may be changed by a profile file (`Profile.read`); usages may not, since they keep a
client's certificate from being a member's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

__all__ = ["BACKDATE", "PkiError", "Profile", "Role", "renewal_due"]

BACKDATE: Final = timedelta(minutes=5)
"""A certificate begins a little before it is made, for clocks that lag behind."""

_RENEWAL_SHARE: Final = 2 / 3
_DAYS_MAX: Final = 20 * 366


class PkiError(Exception):
    """A certificate, key or set of them cannot be used; the message is one clear sentence."""


class Role(Enum):
    """What a certificate is for; the value is its name in files and messages."""

    SERVER = "server"
    PEER = "peer"
    CLIENT = "client"

    @property
    def serves(self) -> bool:
        """Whether it must be usable by the side that is dialled."""
        return self is not Role.CLIENT

    @property
    def dials(self) -> bool:
        """Whether it must be usable by the side that dials."""
        return self is not Role.SERVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Lifetimes of what is made.

    Attributes:
        authority_days: of a CA.
        server_days: of the client listener's certificate.
        peer_days: of a member's certificate among its peers.
        client_days: of a client's certificate.
    """

    authority_days: int = 3650
    server_days: int = 365
    peer_days: int = 90
    client_days: int = 365

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Profile:
        """Take lifetimes from the contents of a profile file.

        Raises:
            PkiError: an unknown name, or no sensible number of days.
        """
        known = {field.name for field in fields(cls)}
        days: dict[str, int] = {}
        for name, value in values.items():
            if name not in known:
                raise PkiError(f"the profile has {name!r}, which is none of {sorted(known)}")
            if not isinstance(value, int) or not 1 <= value <= _DAYS_MAX:
                raise PkiError(f"the profile's {name} is no number of days from 1 to {_DAYS_MAX}")
            days[name] = value
        return cls(**days)

    def lifetime(self, role: Role) -> timedelta:
        """Give how long a certificate of `role` lasts."""
        match role:
            case Role.SERVER:
                return timedelta(days=self.server_days)
            case Role.PEER:
                return timedelta(days=self.peer_days)
            case Role.CLIENT:
                return timedelta(days=self.client_days)


def renewal_due(*, not_before: datetime, not_after: datetime, now: datetime) -> bool:
    """Say whether two thirds of a certificate's lifetime have passed."""
    return now >= not_before + (not_after - not_before) * _RENEWAL_SHARE
