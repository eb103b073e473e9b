"""Alarms: raised, cleared, found again."""

from __future__ import annotations

import pytest

from tests.mvcc.twin import Member
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, CommandKind
from trioetcd.statemachine.alarms import ALARM_CORRUPT, ALARM_NO_SPACE
from trioetcd.testing.space import DictSpace

ACTIVATE, DEACTIVATE = messages.AlarmRequest.ACTIVATE, messages.AlarmRequest.DEACTIVATE


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
        assert each.complaints()[1:] == [
            "memberID:18446744073709551615 alarm:NOSPACE ",
            "memberID:7 alarm:CORRUPT ",
        ]
    assert not again.deactivate(ALARM_CORRUPT, 8)
    assert again.deactivate(ALARM_CORRUPT, 7)
    assert (again.no_space, again.corrupt) == (True, False)
    assert again.deactivate(ALARM_NO_SPACE, 7)
    assert again.no_space
    assert again.deactivate(ALARM_NO_SPACE, 2**64 - 1)
    assert not again.raised
    assert space.rows == {}


def test_nobody_in_particular_can_be_corrupt() -> None:
    """Member 0 is all of them: raised, told without a number as etcd tells it, and cleared."""
    alarms = Alarms(DictSpace(), epoch=b"\x80")
    alarms.activate(ALARM_CORRUPT, 0)

    assert alarms.corrupt
    assert ["alarm:CORRUPT "] == alarms.complaints()
    assert alarms.deactivate(ALARM_CORRUPT, 0)
    assert not alarms.corrupt


@pytest.mark.parametrize("kind", [3, 255, 256, 2**31 - 1, -1])
def test_an_alarm_that_does_not_exist_is_not_raised(kind: int) -> None:
    """Whatever number a client sends, the members go on, and nothing is raised."""
    member = Member()
    for action in (ACTIVATE, DEACTIVATE, messages.AlarmRequest.GET):
        request = messages.AlarmRequest(action=action, memberID=7, alarm=kind)
        assert (1, b"") == member.apply(CommandKind.ALARM, request.SerializeToString())
