"""The alarms that are raised: which member complains of what, in table ``a``.

An alarm is raised and cleared through the log, so every member knows the same ones; what they
forbid is decided in `gates`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from trioetcd.ports import ReadView, Space
from trioetcd.schema import messages

__all__ = [
    "ALARM_CORRUPT",
    "ALARM_KINDS",
    "ALARM_NONE",
    "ALARM_NO_SPACE",
    "Alarm",
    "Alarms",
    "read_alarms",
]

ALARM_NONE: Final = 0
ALARM_NO_SPACE: Final = 1
ALARM_CORRUPT: Final = 2

ALARM_KINDS: Final = frozenset({ALARM_NO_SPACE, ALARM_CORRUPT})
"""What can be raised; a client may name any number."""

Alarm = tuple[int, int]
"""A kind of alarm and the member that complains."""

_TABLE: Final = b"a"
_ROW: Final = Struct(">BQ")


def read_alarms(view: ReadView, epoch: bytes) -> list[Alarm]:
    """Read table ``a`` of an epoch."""
    prefix = epoch + _TABLE
    stop = epoch + bytes((_TABLE[0] + 1,))
    found: list[Alarm] = []
    for raw, _ in view.scan(prefix, stop):
        kind, member = _ROW.unpack_from(raw, len(prefix))
        found.append((kind, member))
    return found


class Alarms:
    """The alarms of one epoch.

    Attributes:
        no_space: whether some member is over its quota.
        corrupt: whether some member's state differs.
        raised: whether there is any alarm at all.
    """

    def __init__(self, space: Space, *, epoch: bytes) -> None:
        self._space = space
        self.load(epoch=epoch)

    def load(self, *, epoch: bytes) -> None:
        """Start again from the rows of an epoch."""
        self._prefix = epoch + _TABLE
        self._alarms = dict.fromkeys(read_alarms(self._space, epoch))
        self._update()

    def _update(self) -> None:
        self.raised = bool(self._alarms)
        self.no_space = any(kind == ALARM_NO_SPACE for kind, _ in self._alarms)
        self.corrupt = any(kind == ALARM_CORRUPT for kind, _ in self._alarms)

    def get(self, kind: int = ALARM_NONE) -> list[Alarm]:
        """Give the alarms of a kind (NONE: of every kind), in order."""
        return sorted(alarm for alarm in self._alarms if kind in {ALARM_NONE, alarm[0]})

    def complaints(self) -> list[str]:
        """Give every alarm in the words of a Status (etcd's)."""
        return [
            f"{f'memberID:{member} ' if member else ''}alarm:{messages.AlarmType.Name(kind)} "
            for kind, member in self.get()
        ]

    def activate(self, kind: int, member: int) -> None:
        """Raise an alarm; it may be raised already."""
        if (kind, member) not in self._alarms:
            self._alarms[kind, member] = None
            self._space.put(self._prefix + _ROW.pack(kind, member), b"")
            self._update()

    def deactivate(self, kind: int, member: int) -> bool:
        """Clear an alarm; whether there was one."""
        if (kind, member) not in self._alarms:
            return False
        del self._alarms[kind, member]
        self._space.delete(self._prefix + _ROW.pack(kind, member))
        self._update()
        return True
