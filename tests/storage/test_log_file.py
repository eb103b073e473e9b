"""The judge of LevelDB's log files."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.ports import FIRST_ROW, LAST_ROW
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.storage.log_file import (
    BLOCK_BYTES,
    DamageKind,
    _is_one_bit,
    crc32c,
    judge_log,
    judge_store,
)


def write_log(path: Path, sizes: list[int]) -> bytes:
    """Let LevelDB write a log with one batch per value of these sizes; give its bytes."""
    random = Random(1)
    backend = open_leveldb(path, create=True)
    backend.prepare({FIRST_ROW: b"", LAST_ROW: b""}).write()
    for number, size in enumerate(sizes):
        backend.prepare({b"k%d" % number: random.randbytes(size)}).write()
    backend.close()
    (log,) = path.glob("*.log")
    return log.read_bytes()


def verdict(path: Path, data: bytes, *, verify: bool) -> tuple[DamageKind | None, int]:
    """Judge these bytes: the kind of damage and the number of whole records."""
    (path / "log").write_bytes(data)
    report = judge_log(path / "log", verify=verify)
    return (report.damage.kind if report.damage else None), len(report.records)


def refuse(what: str) -> Exception:
    """Make the exception the judge raises."""
    return ValueError(what)


def test_checksum_is_castagnoli() -> None:
    """The checksum is RFC 3720's: its own examples, and the usual check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(data=st.binary(min_size=1, max_size=60), draw=st.data())
def test_one_flipped_bit_is_recognised(data: bytes, draw: st.DataObject) -> None:
    """A wrong checksum is explained by one flipped bit if and only if one bit was flipped."""
    crc = crc32c(data)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    bits = draw.draw(
        st.lists(st.integers(0, 8 * len(data) - 1), min_size=1, max_size=2, unique=True)
    )
    flipped = bytearray(data)
    for bit in bits:
        flipped[bit // 8] ^= 1 << bit % 8
    assert _is_one_bit(crc32c(bytes(flipped)), masked, len(data)) is (len(bits) == 1)
    in_checksum = draw.draw(st.integers(0, 31))
    assert _is_one_bit(crc, masked ^ (1 << in_checksum), len(data))


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [[], [0, 1, 100], [40_000, 5, 100_000, 7], [32_700 - number for number in range(30)]],
)
def test_whole_logs_are_whole(tmp_path: Path, sizes: list[int], *, verify: bool) -> None:
    """What LevelDB has written is found whole, whatever lies across the borders of blocks."""
    data = write_log(tmp_path / "db", sizes)
    assert verdict(tmp_path, data, verify=verify) == (None, len(sizes) + 1)


def test_any_cut_is_torn(tmp_path: Path) -> None:
    """A log cut anywhere is whole (between records) or torn, never broken."""
    data = write_log(tmp_path / "db", [50, 0, 33_000, 200])
    last = len(data)
    ends = [
        *range(0, 400, 9),
        *range(BLOCK_BYTES - 9, BLOCK_BYTES + 20),
        *range(last - 300, last, 7),
    ]
    for end in ends:
        kind, _ = verdict(tmp_path, data[:end], verify=False)
        assert kind in {None, DamageKind.TORN}, end


def test_any_zeroed_end_is_torn(tmp_path: Path) -> None:
    """A log whose end was zeroed from anywhere is torn, unless that changed one bit or none."""
    data = write_log(tmp_path / "db", [50, 0, 33_000, 200])
    last = len(data)
    for start in [
        *range(BLOCK_BYTES - 3, BLOCK_BYTES + 12, 2),
        *range(last - 300, last, 9),
        last - 1,
    ]:
        changed = sum(byte.bit_count() for byte in data[start:])
        kind, _ = verdict(tmp_path, data[:start] + bytes(len(data) - start), verify=True)
        assert (kind is DamageKind.TORN) is (changed > 1), start
        more = data[:start] + bytes(last - start + 100_000)
        assert (verdict(tmp_path, more, verify=True)[0] is DamageKind.TORN) is (changed != 1), start


def test_any_flipped_bit_of_the_last_record_is_broken(tmp_path: Path) -> None:
    """No single flipped bit in the last record, its length least of all, is taken for a tear."""
    data = write_log(tmp_path / "db", [200])
    whole = verdict(tmp_path, data, verify=True)
    start = len(data) - 200 - 30
    for bit in range(8 * start, 8 * len(data), 1):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert whole[0] is None
        assert verdict(tmp_path, bytes(flipped), verify=True)[0] is DamageKind.BROKEN, bit


def test_zeroes_in_the_middle_are_broken(tmp_path: Path) -> None:
    """LevelDB passes over a zeroed header to the next block without a word; the judge does not."""
    data = bytearray(write_log(tmp_path / "db", [50, 40_000, 50]))
    data[0:64] = bytes(64)
    assert verdict(tmp_path, bytes(data), verify=False)[0] is DamageKind.BROKEN


def test_missing_middle_of_a_record_is_broken(tmp_path: Path) -> None:
    """A block that is gone out of the middle of a record is noticed."""
    data = write_log(tmp_path / "db", [50, 100_000, 50])
    without = data[:BLOCK_BYTES] + data[-(len(data) % BLOCK_BYTES) :]
    assert verdict(tmp_path, without, verify=True)[0] is None  # each piece by itself is sound
    doubled = data[:BLOCK_BYTES] + data
    assert verdict(tmp_path, doubled, verify=True)[0] is DamageKind.BROKEN


def test_store_with_whole_files(tmp_path: Path) -> None:
    """A store that was closed or killed between batches has nothing torn."""
    write_log(tmp_path / "db", [10, 10])
    assert judge_store(tmp_path / "db", verify=True, refuse=refuse) is None


def test_torn_log_before_an_empty_one(tmp_path: Path) -> None:
    """A crash while a torn log is being recovered leaves an empty log behind it: still a tear."""
    write_log(tmp_path / "db", [10, 100])
    (log,) = (tmp_path / "db").glob("*.log")
    log.write_bytes(log.read_bytes()[:-20])
    (tmp_path / "db" / "000099.log").touch()
    assert judge_store(tmp_path / "db", verify=False, refuse=refuse) == log
    (tmp_path / "db" / "000099.log").write_bytes(b"\x01")
    with pytest.raises(ValueError, match="goes on"):
        judge_store(tmp_path / "db", verify=False, refuse=refuse)


def test_gap_between_logs(tmp_path: Path) -> None:
    """Rows missing between two logs or two records are noticed by their numbers."""
    data = write_log(tmp_path / "db", [10, 10, 10])
    (log,) = (tmp_path / "db").glob("*.log")
    _, length = struct.unpack_from("<IH", data)
    second = 7 + length
    _, length = struct.unpack_from("<IH", data, second)
    third = second + 7 + length
    log.write_bytes(data[:second] + data[third:])
    with pytest.raises(ValueError, match="a batch is missing"):
        judge_store(tmp_path / "db", verify=True, refuse=refuse)
    log.write_bytes(data[:second])
    (tmp_path / "db" / "000099.log").write_bytes(data[third:])
    with pytest.raises(ValueError, match="a batch is missing"):
        judge_store(tmp_path / "db", verify=True, refuse=refuse)


def test_lost_log_file(tmp_path: Path) -> None:
    """LevelDB does not miss the log its MANIFEST speaks of; the judge does."""
    write_log(tmp_path / "db", [10])
    shutil.copytree(tmp_path / "db", tmp_path / "copy")
    (log,) = (tmp_path / "copy").glob("*.log")
    log.unlink()
    with pytest.raises(ValueError, match="is not there"):
        judge_store(tmp_path / "copy", verify=False, refuse=refuse)
    backend = open_leveldb(tmp_path / "copy", create=False)
    assert backend.get(FIRST_ROW) is None
    backend.close()


def test_old_logs_do_not_matter(tmp_path: Path) -> None:
    """A log that is older than the MANIFEST says, left by a crash, is not judged."""
    write_log(tmp_path / "db", [10])
    (tmp_path / "db" / "000001.log").write_bytes(b"rubbish")
    assert judge_store(tmp_path / "db", verify=False, refuse=refuse) is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "does not name"),
        (b"MANIFEST-000004", "does not name"),
        (b"MANIFEST-000777\n", "which is not there"),
        (b"MANIFEST-/../x\n", "does not name"),
    ],
)
def test_current_file(tmp_path: Path, content: bytes, match: str) -> None:
    """CURRENT must name a MANIFEST that is there."""
    write_log(tmp_path / "db", [10])
    (tmp_path / "db" / "CURRENT").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        judge_store(tmp_path / "db", verify=False, refuse=refuse)


def test_manifest_with_a_lying_length(tmp_path: Path) -> None:
    """LevelDB forgets the last edits of a MANIFEST with a wrong length; the judge refuses it."""
    write_log(tmp_path / "db", [10])
    name = (tmp_path / "db" / "CURRENT").read_text().strip()
    data = bytearray((tmp_path / "db" / name).read_bytes())
    first = 7 + struct.unpack_from("<H", data, 4)[0]
    data[first + 5] ^= 0x40
    (tmp_path / "db" / name).write_bytes(data)
    with pytest.raises(ValueError, match="length"):
        judge_store(tmp_path / "db", verify=False, refuse=refuse)


def record(payload: bytes) -> bytes:
    """Make a whole record by hand."""
    crc = crc32c(b"\x01" + payload)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<IHB", masked, len(payload), 1) + payload


def test_zeroes_from_within_a_header_near_the_end_of_a_block(tmp_path: Path) -> None:
    """A header zeroed half-way that points beyond its block is a tear if only zeroes follow."""
    data = record(bytes(BLOCK_BYTES - 7 - 20)) + record(b"x" * 200)[:5]
    assert verdict(tmp_path, data + bytes(40_000), verify=True) == (DamageKind.TORN, 1)
    more = data + bytes(40_000) + b"\x01"
    assert verdict(tmp_path, more, verify=True) == (DamageKind.BROKEN, 1)


def test_a_whole_block_of_zeroes_is_broken(tmp_path: Path) -> None:
    """A lost block with something after it is a hole."""
    data = write_log(tmp_path / "db", [50, 100_000, 50])
    without = bytes(BLOCK_BYTES) + data[BLOCK_BYTES:]
    assert verdict(tmp_path, without, verify=False)[0] is DamageKind.BROKEN


def test_record_that_is_no_batch(tmp_path: Path) -> None:
    """A sound record too short for a batch, which LevelDB would drop, is refused."""
    write_log(tmp_path / "db", [10])
    (log,) = (tmp_path / "db").glob("*.log")
    log.write_bytes(record(b"short"))
    with pytest.raises(ValueError, match="too short"):
        judge_store(tmp_path / "db", verify=True, refuse=refuse)
