"""Committed commands, applied: the same commands in the same order give the same state.

Here lives what each request does to keys, leases and alarms, and what is refused before it is
proposed. Nothing here asks for the time (but for what is local to a leader), draws a number,
or knows of the log, of clients and of disks.

Modules: `command` (the envelope in the log), `validation` (checks without state), `gates`
(alarms and quota), `permits` (who may ask for what), `alarms`, `txn` (transactions), `applier`.
"""

from __future__ import annotations

from trioetcd.statemachine import gates, permits, validation
from trioetcd.statemachine.alarms import Alarms, read_alarms
from trioetcd.statemachine.applier import Applier, Outcome, Steps
from trioetcd.statemachine.command import (
    COMMAND_FORMAT,
    HEAD,
    HEAD_SIZE,
    KIND_BITS,
    MEMBER,
    Asker,
    CommandKind,
    decode_command,
    encode_command,
    kind_of,
    request_of,
    stamp,
)

__all__ = [
    "COMMAND_FORMAT",
    "HEAD",
    "HEAD_SIZE",
    "KIND_BITS",
    "MEMBER",
    "Alarms",
    "Applier",
    "Asker",
    "CommandKind",
    "Outcome",
    "Steps",
    "decode_command",
    "encode_command",
    "gates",
    "kind_of",
    "permits",
    "read_alarms",
    "request_of",
    "stamp",
    "validation",
]
