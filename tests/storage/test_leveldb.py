"""LevelDB behind the port: the conformance suite, options and errors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend, BackendError, Row
from trioetcd.storage.leveldb import DamagedError, open_leveldb
from trioetcd.testing.checks import check_backend

ENDS: dict[bytes, bytes | None] = {FIRST_ROW: b"", LAST_ROW: b""}


def fill(path: Path, rows: int) -> None:
    """Write rows and push them into tables."""
    backend = open_leveldb(path, create=True)
    backend.prepare(ENDS).write()
    for number in range(0, rows, 1000):
        backend.prepare({b"k%08d" % (number + n): b"v" * 100 for n in range(1000)}).write()
    backend.compact_range(FIRST_ROW, LAST_ROW)
    backend.close()


def makers(parent: Path) -> tuple[Callable[[], Backend], Callable[[], Backend]]:
    """Give what makes a new database, and what opens the last one again."""
    paths: list[Path] = []

    def make() -> Backend:
        paths.append(parent / f"db{len(paths)}")
        return open_leveldb(paths[-1], create=True)

    def reopen() -> Backend:
        return open_leveldb(paths[-1], create=False)

    return make, reopen


def test_conformance(tmp_path: Path) -> None:
    """LevelDB passes the same checks as its twin in memory, and its rows last."""
    make, reopen = makers(tmp_path)
    check_backend(make, reopen=reopen)


def test_missing_database_is_not_made_by_the_way(tmp_path: Path) -> None:
    """Only `create` makes a database."""
    with pytest.raises(BackendError, match="opening the database"):
        open_leveldb(tmp_path / "db", create=False)


def test_lost_current_is_damage_not_a_new_database(tmp_path: Path) -> None:
    """A database whose CURRENT file is gone is refused even where one may be made."""
    fill(tmp_path / "db", 1000)
    (tmp_path / "db" / "CURRENT").unlink()
    with pytest.raises(DamagedError, match="CURRENT"):
        open_leveldb(tmp_path / "db", create=True)


def test_second_open_is_refused(tmp_path: Path) -> None:
    """One database is open once."""
    backend = open_leveldb(tmp_path / "db", create=True)
    with pytest.raises(BackendError, match="opening the database"):
        open_leveldb(tmp_path / "db", create=False)
    backend.close()


def test_unmakeable_directory(tmp_path: Path) -> None:
    """A path that cannot be a directory is refused in one sentence."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BackendError, match="cannot be created"):
        open_leveldb(tmp_path / "file" / "db", create=True)


@pytest.mark.parametrize("missing", [FIRST_ROW, LAST_ROW])
def test_rows_without_a_sentinel_are_refused(tmp_path: Path, missing: bytes) -> None:
    """A database that has rows has both its first and its last row."""
    backend = open_leveldb(tmp_path / "db", create=True)
    backend.prepare({**ENDS, b"a": b"1"}).write()
    backend.prepare({missing: None}).write()
    backend.close()
    with pytest.raises(DamagedError, match="first and its last row"):
        open_leveldb(tmp_path / "db", create=False)


def test_damaged_block_never_ends_a_scan_early(tmp_path: Path) -> None:
    """Whatever block of a table is damaged, a scan raises and gives no wrong row before it does."""
    fill(tmp_path / "db", 5000)
    (table,) = sorted((tmp_path / "db").glob("*.ldb"), key=lambda file: -file.stat().st_size)[:1]
    whole = table.read_bytes()
    for offset in range(len(whole) // 23, len(whole) * 9 // 10, len(whole) // 23):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        table.write_bytes(damaged)
        backend = open_leveldb(tmp_path / "db", create=False)
        seen: list[Row] = []
        with pytest.raises(BackendError):
            seen.extend(backend.scan(b"k", b"l"))
        with pytest.raises(BackendError):
            seen.extend(backend.scan_back(b"k", b"l"))
        snapshot = backend.snapshot()
        keys = map(b"k%08d".__mod__, range(5000))
        with pytest.raises(BackendError):
            seen.extend((key, snapshot.get(key) or b"") for key in keys)
        assert all(value == b"v" * 100 for _, value in seen)
        backend.close()


def test_failed_write_is_the_last(tmp_path: Path) -> None:
    """After one write has failed, no later one is tried, whatever LevelDB would say to it."""
    backend = open_leveldb(tmp_path / "db", create=True)
    backend.prepare(ENDS).write()
    backend.close()
    # A subprocess, because a limit on file sizes stays with the process.
    script = f"""
import resource, signal
from pathlib import Path
from trioetcd.ports import BackendError, Row
from trioetcd.storage.leveldb import open_leveldb
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
backend = open_leveldb(Path({str(tmp_path / "db")!r}), create=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    for number in range(100):
        backend.prepare({{b"k%d" % number: bytes(10_000)}}).write()
except BackendError as error:
    assert "writing a batch failed" in str(error), error
    assert number == 9, number
else:
    raise AssertionError
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    backend.prepare({{b"small": b"row"}}).write()
except BackendError as error:
    assert "earlier write failed" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    backend = open_leveldb(tmp_path / "db", create=False)
    assert sum(1 for _ in backend.scan(b"k", b"l")) == 9
    assert backend.get(b"small") is None
    backend.close()


def test_size_is_that_of_the_files(tmp_path: Path) -> None:
    """The size is what the files take, and a directory that is gone is an error."""
    backend = open_leveldb(tmp_path / "db", create=True)
    backend.prepare({**ENDS, b"a": bytes(100_000)}).write()
    expected = sum(file.stat().st_size for file in (tmp_path / "db").iterdir())
    assert backend.size() == expected
    assert expected > 100_000
    shutil.rmtree(tmp_path / "db")
    with pytest.raises(BackendError, match="size"):
        backend.size()
    backend.close()
