"""Files without names: nobody else sees them, and nothing of them is left."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trioetcd.storage import Spool, SpoolFile


def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    """What was appended and written over is read; behind the end there is nothing."""
    file = Spool(tmp_path).open()
    try:
        file.append(b"0123456789")
        file.append(b"abc")
        assert file.size == 13
        file.write(2, b"xx")
        file.sync()
        assert file.read(0, 100) == b"01xx456789abc"
        assert file.read(8, 3) == b"89a"
        assert file.read(13, 5) == b""
    finally:
        file.close()


def test_it_has_no_name_and_one_owner(tmp_path: Path) -> None:
    """The directory stays empty while files are open, and no mode bit lets others in."""
    spool = Spool(tmp_path)
    files = [spool.open(), spool.open()]
    try:
        assert list(tmp_path.iterdir()) == []
        for file in files:
            status = os.fstat(file._file.fileno())
            assert status.st_nlink == 0
            assert stat.S_IMODE(status.st_mode) == 0o600
            assert status.st_dev == tmp_path.stat().st_dev
    finally:
        for file in files:
            file.close()


def test_what_a_crash_has_left_is_removed(tmp_path: Path) -> None:
    """A file that had its name when the process died goes at the next start; others stay."""
    (tmp_path / "SPOOL-abc").write_bytes(b"")
    (tmp_path / "FORMAT").write_bytes(b"x")
    Spool(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["FORMAT"]


def test_the_room_is_the_volume_s(tmp_path: Path) -> None:
    """The room is what statvfs says is free for this user."""
    volume = os.statvfs(tmp_path)
    assert 0 < Spool(tmp_path).room() <= volume.f_blocks * volume.f_frsize


def test_a_full_disk_is_an_os_error() -> None:
    """Writing where there is no room raises, and says so by its number."""
    with (
        Path("/dev/full").open("r+b", buffering=0) as device,
        pytest.raises(OSError, match="No space left"),
    ):
        SpoolFile(device).append(b"x")
