"""Judges LevelDB's log files before LevelDB opens them: whole, torn at the end, or damaged.

LevelDB recovers from what it takes for a torn tail without a word, paranoid or not: a length that
points beyond the end of the file, a record of zeroes in the middle of a block, a log file that is
gone. A flipped bit can look like each of these, and then acknowledged batches vanish. So the
structure is read here first (not the checksums: LevelDB does that itself, and says so).

The format (LevelDB's doc/log_format.md): blocks of 32 KiB; records
``checksum 4 | length 2 | type 1 | payload``, little-endian; checksum = masked CRC-32C of type and
payload; type 1 full, 2 first, 3 middle, 4 last. A batch's payload begins with the sequence number
of its first row (8 bytes) and its number of rows (4 bytes), without gaps. MANIFEST is such a file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["BLOCK_BYTES", "Damage", "DamageKind", "LogReport", "crc32c", "judge_log", "judge_store"]

BLOCK_BYTES: Final = 32 * 1024
_HEADER: Final = struct.Struct("<IHB")
_HEAD: Final = struct.Struct("<QI")
_FULL, _FIRST, _MIDDLE, _LAST = range(1, 5)
_POLYNOMIAL: Final = 0x82F63B78
_MASK_DELTA: Final = 0xA282EAD8
_ALL: Final = 2**32 - 1


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _make_table()


def crc32c(data: bytes | memoryview) -> int:
    """Give the CRC-32C (Castagnoli, RFC 3720) of `data`; slow, for single records only."""
    register = _ALL
    table = _TABLE
    for byte in data:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
    return register ^ _ALL


def _unmask(masked: int) -> int:
    rotated = (masked - _MASK_DELTA) & _ALL
    return ((rotated >> 17) | (rotated << 15)) & _ALL


class DamageKind(Enum):
    """What a log file's damage looks like."""

    TORN = "torn"
    """The end is missing or zero: what a crash during a write leaves; it was never answered."""
    BROKEN = "broken"
    """Anything else: rows that were answered may be behind it."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a log file stops being whole.

    Attributes:
        kind: torn or broken.
        offset: where the damaged record begins.
        what: the finding, in words.
    """

    kind: DamageKind
    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a log file holds.

    Attributes:
        records: the first bytes of every whole record.
        damage: what is wrong, or None.
    """

    records: list[bytes]
    damage: Damage | None


class _Walk:
    """One pass over a log file."""

    def __init__(self, file: BinaryIO, *, verify: bool, take: int | None) -> None:
        self._file = file
        self._verify = verify
        self._take = take
        self._records: list[bytes] = []
        self._pieces: list[bytes] | None = None
        self._record_offset = 0
        self._block_offset = 0

    def run(self) -> LogReport:
        damage = None
        while damage is None and (block := self._file.read(BLOCK_BYTES)):
            damage = self._block(block)
            self._block_offset += len(block)
        if damage is None and self._pieces is not None:
            damage = self._damage(DamageKind.TORN, self._record_offset, "the last record is cut")
        return LogReport(self._records, damage)

    def _block(self, block: bytes) -> Damage | None:
        at = 0
        size = len(block)
        while size - at >= _HEADER.size:
            checksum, length, kind = _HEADER.unpack_from(block, at)
            end = at + _HEADER.size + length
            offset = self._block_offset + at
            if self._pieces is None:
                self._record_offset = offset
            if kind == 0 and length == 0:
                if self._zero_from(block, at + 4):
                    return self._damage(DamageKind.TORN, self._record_offset, "the end is zero")
                return self._damage(DamageKind.BROKEN, offset, "a record is zero")
            if end > size:
                return self._overrun(block, at, end, checksum)
            if not _FULL <= kind <= _LAST or (
                self._verify and crc32c(memoryview(block)[at + 6 : end]) != _unmask(checksum)
            ):
                return self._garbled(block, at, end, checksum)
            if (kind in {_FULL, _FIRST}) is (self._pieces is not None):
                return self._damage(DamageKind.BROKEN, offset, "a part of a record is missing")
            self._piece(block[at + _HEADER.size : end], kind)
            at = end
        if at < size < BLOCK_BYTES:
            if self._pieces is None:
                self._record_offset = self._block_offset + at
            return self._damage(DamageKind.TORN, self._record_offset, "the last header is cut")
        return None

    def _piece(self, payload: bytes, kind: int) -> None:
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = []
        if self._take is None or len(pieces) < 2:
            # A first piece may be shorter than what is wanted of a record; two never are.
            pieces.append(payload)
        if kind in {_FULL, _LAST}:
            self._records.append(b"".join(pieces)[: self._take])
            self._pieces = None

    def _overrun(self, block: bytes, at: int, end: int, checksum: int) -> Damage:
        """Judge a record that goes beyond the block: cut by the end of the file, or mislabelled."""
        offset = self._block_offset + at
        if block[at + 6] == 0 and self._zero_from(block, at + 6):
            return self._damage(DamageKind.TORN, self._record_offset, "the end is zero-filled")
        if end > BLOCK_BYTES:
            return self._damage(DamageKind.BROKEN, offset, "a length cannot be true")
        if _any_prefix_matches(memoryview(block)[at + 6 :], _unmask(checksum)):
            # The whole record is here; so it is its length that lies, not its end that is missing.
            return self._damage(DamageKind.BROKEN, offset, "a length is damaged")
        return self._damage(DamageKind.TORN, self._record_offset, "the last record is cut")

    def _garbled(self, block: bytes, at: int, end: int, checksum: int) -> Damage:
        """Judge a record with a wrong checksum or type: zero-filled at the end, or damaged."""
        offset = self._block_offset + at
        covered = memoryview(block)[at + 6 : end]
        torn = (
            block[end - 1] == 0
            and self._zero_from(block, end)
            and not _is_one_bit(crc32c(covered), checksum, len(covered))
        )
        if torn:
            return self._damage(DamageKind.TORN, self._record_offset, "the end is zero-filled")
        return self._damage(DamageKind.BROKEN, offset, "a record is damaged")

    def _zero_from(self, block: bytes, at: int) -> bool:
        if block.count(0, at) != len(block) - at:
            return False
        while more := self._file.read(BLOCK_BYTES):
            if more.count(0) != len(more):
                return False
        return True

    @staticmethod
    def _damage(kind: DamageKind, offset: int, what: str) -> Damage:
        return Damage(kind, offset, what)


def _any_prefix_matches(data: memoryview, wanted: int) -> bool:
    register = _ALL
    table = _TABLE
    wanted ^= _ALL
    for byte in data:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
        if register == wanted:
            return True
    return False


def _is_one_bit(actual: int, masked: int, size: int) -> bool:
    """Say whether one flipped bit explains why a checksum does not hold.

    A CRC is linear: the error in the sum depends on where the flipped bit is, not on the data. So
    all places are tried by stepping the error of the last bit backwards through the polynomial.
    """
    if any(_unmask(masked ^ (1 << bit)) == actual for bit in range(32)):
        return True
    error = actual ^ _unmask(masked)
    step = _POLYNOMIAL
    for _ in range(8 * size):
        if step == error:
            return True
        step = (step >> 1) ^ (_POLYNOMIAL if step & 1 else 0)
    return False


def judge_log(path: Path, *, verify: bool, take: int | None = _HEAD.size) -> LogReport:
    """Read the structure of one log file.

    Args:
        path: the file.
        verify: compute the checksums too (an eighth of a second per MB).
        take: how many bytes of each record are wanted; None for all.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _Walk(file, verify=verify, take=take).run()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _log_number(edits: list[bytes]) -> int:
    """Give the number of the oldest log file that a MANIFEST's edits leave in use.

    The fields of an edit, by tag: 1 comparator (bytes); 2 log, 3 next file, 4 last sequence, 9
    previous log (numbers); 5 level, key; 6 level, file; 7 level, file, size, key, key.

    Raises:
        IndexError: an edit ends too early.
        KeyError: an edit has a field that LevelDB 1.22 does not know.
    """
    shapes: dict[int, str] = {1: "b", 2: "n", 3: "n", 4: "n", 9: "n", 5: "nb", 6: "nn", 7: "nnnbb"}
    number = 0
    for edit in edits:
        at = 0
        while at < len(edit):
            tag, at = _varint(edit, at)
            for shape in shapes[tag]:
                value, at = _varint(edit, at)
                if shape == "b":
                    at += value
                elif tag == 2:
                    number = value
    return number


def judge_store(
    store: Path,
    *,
    verify: bool,
    refuse: Callable[[str], Exception],
) -> Path | None:
    """Judge the files of a LevelDB that LevelDB itself would believe: MANIFEST and live logs.

    Args:
        store: LevelDB's directory.
        verify: compute the logs' checksums too.
        refuse: makes the exception to raise from a sentence.

    Returns:
        The newest log file with rows, if its end is torn and the rest is whole; else None.

    Raises:
        OSError: a file cannot be read.
    """
    current = (store / "CURRENT").read_bytes()
    name = current[:-1].decode("ascii", errors="replace")
    if current[-1:] != b"\n" or not name.startswith("MANIFEST-") or "/" in name:
        raise refuse("CURRENT does not name a MANIFEST")
    if not (store / name).is_file():
        raise refuse(f"CURRENT names {name!r}, which is not there")
    manifest = judge_log(store / name, verify=False, take=None)
    if manifest.damage is not None and manifest.damage.kind is DamageKind.BROKEN:
        raise refuse(f"{name}: {manifest.damage.what} at offset {manifest.damage.offset}")
    try:
        oldest = _log_number(manifest.records)
    except (IndexError, KeyError) as error:
        raise refuse(f"{name} holds something that is no edit") from error
    logs = sorted(
        (number, path)
        for path in store.glob("*.log")
        if path.stem.isdigit() and (number := int(path.stem)) >= oldest
    )
    if oldest and (not logs or logs[0][0] != oldest):
        raise refuse(f"the log file {oldest:06d}.log is not there")
    return _judge_logs([path for _, path in logs], verify=verify, refuse=refuse)


def _judge_logs(
    logs: list[Path],
    *,
    verify: bool,
    refuse: Callable[[str], Exception],
) -> Path | None:
    expected: int | None = None
    torn: Path | None = None
    for path in logs:
        report = judge_log(path, verify=verify)
        damage = report.damage
        if damage is not None and damage.kind is DamageKind.BROKEN:
            raise refuse(f"{path.name}: {damage.what} at offset {damage.offset}")
        if torn is not None and (damage is not None or report.records):
            # An empty log file behind the torn one is what a crash while opening leaves.
            raise refuse(f"{torn.name} is cut, but {path.name} goes on")
        for record in report.records:
            if len(record) < _HEAD.size:
                raise refuse(f"{path.name}: a record is too short to be a batch")
            sequence, rows = _HEAD.unpack(record)
            if expected is not None and sequence != expected:
                raise refuse(f"{path.name}: a batch is missing before row {sequence}")
            expected = sequence + rows
        if damage is not None:
            torn = path
    return torn
