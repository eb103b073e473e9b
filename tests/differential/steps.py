"""The steps of a sequence as values: made by the generator, sent by the campaign, kept as lines.

A sequence is written one step a line (`encode`), so that what a run was shrunk to can be kept in
a file and sent again (`python -m tests.differential.run --replay FILE`).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trioetcd.schema import messages
from trioetcd.schema.messages import Message

__all__ = [
    "KINDS",
    "BriefLease",
    "Call",
    "CloseStream",
    "Flush",
    "KeepAlive",
    "Quiet",
    "Raced",
    "Step",
    "Watch",
    "decode",
    "describe",
    "encode",
    "load",
    "save",
]


@dataclass(frozen=True, slots=True)
class Call:
    """One unary request.

    Attributes:
        rpc: service and method, such as `KV/Range`.
        request: the request.
        at: the place of the member that is asked; it is taken modulo the number of members.
    """

    rpc: str
    request: Message
    at: int = 0


@dataclass(frozen=True, slots=True)
class BriefLease:
    """Grant with a TTL so short that it could expire within the run, and revoke at once."""

    request: Message
    at: int = 0


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Keep-alives for these leases on one stream."""

    leases: tuple[int, ...]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """One request on a watch stream; the stream's number says which member it goes to."""

    stream: int
    request: Message


@dataclass(frozen=True, slots=True)
class Raced:
    """A watch of the past, and a compaction right behind it: either may be first."""

    stream: int
    create: Message
    compact: Message


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End a watch stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Wait until every watch that asked for progress notifications has got one."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Write the sentinel key and compare what the watches have seen up to it."""


Step = Call | BriefLease | KeepAlive | Watch | Raced | CloseStream | Quiet | Flush

KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (Call, BriefLease, KeepAlive, Watch, Raced, CloseStream, Quiet, Flush)
}

TEXT_SHOWN: Final = 3000


def describe(step: Step) -> str:
    """Write a step for a reader, on one line."""
    parts = []
    for each in dataclasses.fields(step):
        value = getattr(step, each.name)
        if isinstance(value, Message):
            parts.append(f"{{{_text(value)}}}")
        elif each.name != "at" or value:
            parts.append(value if isinstance(value, str) else f"{each.name} {value}")
    return " ".join((type(step).__name__, *parts))


def _text(message: Message) -> str:
    text = " ".join(str(message).split())
    half = TEXT_SHOWN // 2
    return text if len(text) < TEXT_SHOWN else f"{text[:half]} ... {text[-half:]}"


def encode(step: Step) -> str:
    """Write a step as one line of JSON; messages are their bytes in hexadecimal."""
    line: dict[str, object] = {"step": type(step).__name__}
    for each in dataclasses.fields(step):
        value = getattr(step, each.name)
        if isinstance(value, Message):
            value = {type(value).DESCRIPTOR.name: value.SerializeToString().hex()}
        line[each.name] = value
    return json.dumps(line)


def decode(line: str) -> Step:
    """Read what `encode` wrote.

    Raises:
        KeyError: there is no such step, or no such message.
    """
    fields = json.loads(line)
    kind = KINDS[fields.pop("step")]
    for name, value in fields.items():
        if isinstance(value, dict):
            ((message, raw),) = value.items()
            fields[name] = getattr(messages, message).FromString(bytes.fromhex(raw))
        elif isinstance(value, list):
            fields[name] = tuple(value)
    step: Step = kind(**fields)
    return step


def save(steps: list[Step], path: Path) -> None:
    """Keep a sequence in a file."""
    path.write_text("".join(f"{encode(step)}\n" for step in steps), encoding="utf-8")


def load(path: Path) -> list[Step]:
    """Read a sequence from a file."""
    return [decode(line) for line in path.read_text(encoding="utf-8").splitlines()]
