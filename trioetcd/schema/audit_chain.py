r"""The form of an audit log: lines of JSON, each bound to the one before by its hash.

A line is ``{"seq":N,"prev":"HASH",...,"hash":"HASH"}``. *hash* is the SHA-256 of the line up to
``,"hash":``; *prev* is the hash of the line before, and *seq* is one more than its number. So a
line that is changed, removed, added or moved is found (`AuditCheck`), but for lines cut off at the
end: whoever wants to know of those keeps a number and its hash elsewhere (docs/audit.md).

Four kinds of lines are the chain's own, told by *event*: ``begin`` is its first line, ``continue``
the first of the next file of the same chain, ``open`` follows a restart, ``end`` an orderly stop
or the last line of a file. What a crash has left half written stays, and the line after it tells
its size and hash (*torn*): nothing that was written is ever taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

__all__ = [
    "AUDIT_FORMAT",
    "NO_HASH",
    "AuditChain",
    "AuditCheck",
    "AuditLine",
    "Break",
    "ChainEnd",
    "DamagedAuditError",
    "Torn",
    "find_end",
    "read_line",
    "told_torn",
]

AUDIT_FORMAT: Final = 1
"""The only form so far; told in the lines that open a file."""

NO_HASH: Final = "0" * 64
"""What the first line of a chain has as the hash of the line before."""

OPENING: Final = frozenset({"begin", "continue", "open"})
"""Events that may follow what a crash has left half written, and tell of it."""

_SEAL: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}\Z')
_BEGINNING: Final = b'{"seq":0,'


class DamagedAuditError(Exception):
    """A file cannot be gone on with: it is no audit log, or somebody has changed its end."""


class AuditLine(NamedTuple):
    """A line whose own hash is right."""

    sequence: int
    previous: str
    hash: str
    fields: dict[str, Any]

    @property
    def event(self) -> str:
        """What the line says of the chain itself; empty for a record."""
        event = self.fields.get("event", "")
        return event if isinstance(event, str) else ""


def read_line(line: bytes) -> AuditLine | None:
    """Read a line, with or without its newline; None if its own hash does not say that it is one.

    What cannot have been written by an `AuditChain` is none, whatever its hash.
    """
    text = line.removesuffix(b"\n")
    seal = _SEAL.search(text)
    if seal is None or sha256(text[: seal.start()]).hexdigest().encode() != seal[1]:
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    assert isinstance(fields, dict), "JSON that ends with a brace"
    sequence, previous = fields.get("seq"), fields.get("prev")
    if type(sequence) is not int or not isinstance(previous, str):
        return None
    return AuditLine(sequence, previous, seal[1].decode(), fields)


class AuditChain:
    """The writing end of a chain.

    Attributes:
        sequence: the number of the last line; -1 before the first.
        hash: its hash.
    """

    def __init__(self, sequence: int = -1, last_hash: str = NO_HASH) -> None:
        self.sequence = sequence
        self.hash = last_hash

    def seal(self, fields: str) -> bytes:
        """Make the next line.

        Args:
            fields: JSON without the braces around it, in one line of ASCII.
        """
        self.sequence += 1
        text = f'{{"seq":{self.sequence},"prev":"{self.hash}",{fields}'.encode("ascii")
        self.hash = sha256(text).hexdigest()
        return b'%b,"hash":"%b"}\n' % (text, self.hash.encode())


def told_torn(torn: bytes) -> str:
    """Give what the line after it says of what a crash has left."""
    return f'{{"bytes":{len(torn)},"sha256":"{sha256(torn).hexdigest()}"}}'


class ChainEnd(NamedTuple):
    """How a file ends that is to be gone on with.

    Attributes:
        last: the last whole line; None if there is none.
        unterminated: whether only that line's newline is missing.
        torn: what stands after it, half written.
    """

    last: AuditLine | None
    unterminated: bool
    torn: bytes


def find_end(tail: bytes, *, whole: bool) -> ChainEnd | None:
    """Find the last line of a file, given the file or enough of its end.

    Args:
        tail: the file's last bytes.
        whole: whether they are the whole file.

    Returns:
        The end; or None if more of the file is needed.

    Raises:
        DamagedAuditError: it is no audit log, or a line there was changed.
    """
    lines = tail.split(b"\n")
    first = 0 if whole else 1  # of which the beginning may be missing
    for at in range(len(lines) - 1, first - 1, -1):
        found = read_line(lines[at])
        if found is not None:
            if at == len(lines) - 1:
                return ChainEnd(found, unterminated=True, torn=b"")
            return ChainEnd(found, unterminated=False, torn=b"\n".join(lines[at + 1 :]))
        if _SEAL.search(lines[at]):
            raise DamagedAuditError("a line at its end was changed after it was written")
    if not whole:
        return None
    begins = lines[0][: len(_BEGINNING)]
    if tail and not (begins and _BEGINNING.startswith(begins)):
        raise DamagedAuditError("it is no audit log")
    return ChainEnd(None, unterminated=False, torn=tail)


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the chain does not hold.

    Attributes:
        file: the file's name.
        line: the line, from 1.
        expected: what should be there.
        found: what is there.
    """

    file: str
    line: int
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Torn:
    """What a crash has left half written, and a restart has told of.

    Attributes:
        file: the file's name.
        line: its first line, from 1.
        size: its bytes.
    """

    file: str
    line: int
    size: int


@dataclass(slots=True)
class AuditCheck:
    """Goes through the files of one chain, in order, and notes what is wrong with it.

    Attributes:
        lines: lines whose own hash is right.
        records: those of them that tell of a change.
        first: the first line.
        last: the last line, whose hash stands for all before.
        breaks: where the chain does not hold.
        torn: what crashes have left.
        crashes: how often the member came again without an orderly stop before.
        hashes: the hashes of the lines whose numbers were in it as keys; "" until they are seen.
    """

    lines: int = 0
    records: int = 0
    first: AuditLine | None = None
    last: AuditLine | None = None
    breaks: list[Break] = field(default_factory=list)
    torn: list[Torn] = field(default_factory=list)
    crashes: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    _file: str = ""
    _number: int = 0
    _loose: bytearray = field(default_factory=bytearray)

    def read(self, file: str, lines: Iterable[bytes]) -> None:
        """Go through a file.

        Args:
            file: its name, for what is found.
            lines: its lines, each with its newline.
        """
        self._file = file
        self._number = 0
        for text in lines:
            self._number += 1
            line = read_line(text) if text.endswith(b"\n") else None
            if line is None:
                self._loose += text
            else:
                self._take(line)
        if self._loose:
            self._number += 1
            self._note_loose()

    def _take(self, line: AuditLine) -> None:
        loose = bytes(self._loose)
        self._check_link(line, after=loose)
        self._loose.clear()
        if self.first is None:
            self.first = line
        if line.event == "open" and (self.last is None or self.last.event != "end"):
            self.crashes += 1
        self.lines += 1
        self.records += not line.event
        self.last = line
        if line.sequence in self.hashes:
            self.hashes[line.sequence] = line.hash

    def _check_link(self, line: AuditLine, *, after: bytes) -> None:
        if after and not self._tells_of(line, after[:-1]):
            self._note_loose()
        version = line.fields.get("format", AUDIT_FORMAT)
        if version != AUDIT_FORMAT:
            self._note(f"an audit log of format {AUDIT_FORMAT}", f"format {version}")
        before = self.last
        if before is None:
            if line.event not in {"begin", "continue"} or (
                line.event == "begin" and (line.sequence, line.previous) != (0, NO_HASH)
            ):
                self._note(
                    "the first line of a chain (begin), or of a later file of it (continue)",
                    f"line {line.sequence} of a chain",
                )
            return
        if line.sequence != before.sequence + 1:
            self._note(f'"seq":{before.sequence + 1}', f'"seq":{line.sequence}')
        elif line.previous != before.hash:
            self._note(f'"prev":"{before.hash}"', f'"prev":"{line.previous}"')

    def _tells_of(self, line: AuditLine, loose: bytes) -> bool:
        """Say whether a line is the restart's that has found these bytes, and note them if so."""
        told = line.fields.get("torn")
        wanted = {"bytes": len(loose), "sha256": sha256(loose).hexdigest()}
        if line.event not in OPENING or told != wanted:
            return False
        self.torn.append(Torn(self._file, self._loose_line(), len(loose)))
        return True

    def _loose_line(self) -> int:
        """Give the number of the first line that is none; the one being read is not among them."""
        lines = self._loose.count(b"\n") + (not self._loose.endswith(b"\n"))
        return self._number - lines

    def _note_loose(self) -> None:
        first = bytes(self._loose).split(b"\n")[0]
        number = self._loose_line()
        seal = _SEAL.search(first)
        if seal is not None:
            expected = f'"hash":"{sha256(first[: seal.start()]).hexdigest()}"'
            if f'"hash":"{seal[1].decode()}"' == expected:
                expected, found = "a line with its newline, and fields of an audit log", "another"
            else:
                found = f'"hash":"{seal[1].decode()}"'
        else:
            expected = "a line that ends with its hash"
            found = f"{len(first)} bytes that do not"
        self.breaks.append(Break(self._file, number, expected, found))
        self._loose.clear()

    def _note(self, expected: str, found: str) -> None:
        self.breaks.append(Break(self._file, self._number, expected, found))
