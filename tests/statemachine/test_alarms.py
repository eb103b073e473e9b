"""Alarms: raised, cleared, found again."""

from __future__ import annotations

from trioetcd.statemachine import Alarms
from trioetcd.statemachine.alarms import ALARM_CORRUPT, ALARM_NO_SPACE
from trioetcd.testing.space import DictSpace


def test_alarms() -> None:
    """An alarm is there from its raising to its clearing, also for who reads the rows."""
    space = DictSpace()
    alarms = Alarms(space, epoch=b"\x80")
    assert not alarms.raised
    alarms.activate(ALARM_CORRUPT, 7)
    alarms.activate(ALARM_NO_SPACE, 2**64 - 1)
    alarms.activate(ALARM_NO_SPACE, 7)
    alarms.activate(ALARM_NO_SPACE, 7)
    again = Alarms(space, epoch=b"\x80")
    for each in (alarms, again):
        assert (each.raised, each.no_space, each.corrupt) == (True, True, True)
        assert each.get(ALARM_NO_SPACE) == [(1, 7), (1, 2**64 - 1)]
        assert each.get() == [(1, 7), (1, 2**64 - 1), (2, 7)]
    assert not again.deactivate(ALARM_CORRUPT, 8)
    assert again.deactivate(ALARM_CORRUPT, 7)
    assert (again.no_space, again.corrupt) == (True, False)
    assert again.deactivate(ALARM_NO_SPACE, 7)
    assert again.no_space
    assert again.deactivate(ALARM_NO_SPACE, 2**64 - 1)
    assert not again.raised
    assert space.rows == {}
