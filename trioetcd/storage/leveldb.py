"""`Backend` over LevelDB: the one module that imports plyvel.

Every read verifies checksums and the database is opened with paranoid checks, because without
them a damaged block is answered from, or copied into a new table under a fresh checksum.

LevelDB's iterators skip a block they cannot read and go on with the next; plyvel asks for the
error before it hands out a row, but not when the rows have come to an end. Therefore no iterator
here is given a bound: a scan ends only when it has *seen* a row outside its range. `FIRST_ROW`
and `LAST_ROW` make sure that there is one, and running out of rows is an error of the disk.

Options (measured, docs/adr/0002): write buffer 16 MiB, tables of 2 MiB, cache 32 MiB, no
compression, Bloom filters of ten bits, which make the get of a missing key three times cheaper.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import plyvel

from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend, BackendError, PreparedBatch, Row, Snapshot

__all__ = ["BLOOM_FILTER_BITS", "CACHE_BYTES", "WRITE_BUFFER_BYTES", "DamagedError", "open_leveldb"]

WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""LevelDB's memtable: also, about, the log that is read again after a crash."""

CACHE_BYTES: Final = 32 * 1024 * 1024
"""Uncompressed blocks kept in memory."""

BLOOM_FILTER_BITS: Final = 10
"""Filter bits per key: one per cent of the gets of missing keys still reads a block."""

_OUT_OF_ROWS: Final = (
    "the database ran out of rows before the end of a scan: a block is damaged or a sentinel gone"
)


class DamagedError(BackendError):
    """What is stored is not what was written, as far as LevelDB can tell."""


class _Rows(Protocol):
    """What we use of plyvel's iterator."""

    def __iter__(self) -> Iterator[Row]: ...

    def close(self) -> None: ...


class _Readable(Protocol):
    """What we use of plyvel's database and snapshot alike."""

    def get(self, key: bytes, /, *, verify_checksums: bool) -> bytes | None: ...

    def iterator(
        self,
        *,
        verify_checksums: bool,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
    ) -> _Rows: ...


class _Pinned(_Readable, Protocol):
    """What we use of plyvel's snapshot."""

    def close(self) -> None: ...


class _Batch(Protocol):
    """What we use of plyvel's write batch."""

    def put(self, key: bytes, value: bytes, /) -> None: ...

    def delete(self, key: bytes, /) -> None: ...

    def write(self) -> None: ...


class _RawRows(Protocol):
    """What we use of plyvel's raw iterator."""

    def seek_to_first(self) -> None: ...

    def valid(self) -> bool: ...

    def close(self) -> None: ...


class _Database(_Readable, Protocol):
    """What we use of plyvel's database."""

    def snapshot(self) -> _Pinned: ...

    def write_batch(self, *, sync: bool) -> _Batch: ...

    def compact_range(self, *, start: bytes, stop: bytes) -> None: ...

    def raw_iterator(self, *, verify_checksums: bool) -> _RawRows: ...

    def close(self) -> None: ...


def _failure(what: str, error: Exception) -> BackendError:
    """Put an exception of plyvel into one sentence."""
    damaged = isinstance(error, plyvel.CorruptionError)
    return (DamagedError if damaged else BackendError)(f"{what} failed: {_text(error)}")


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else type(error).__name__
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _scan(source: _Readable, start: bytes, stop: bytes) -> Iterator[Row]:
    if start >= stop:
        return
    assert stop <= LAST_ROW, "a scan beyond the last row cannot tell its end from damage"
    try:
        rows = source.iterator(start=start, verify_checksums=True)
        try:
            for row in rows:
                if row[0] >= stop:
                    return
                yield row
        finally:
            rows.close()
    except plyvel.Error as error:
        raise _failure("reading a range", error) from error
    raise DamagedError(_OUT_OF_ROWS)


def _scan_back(source: _Readable, start: bytes, stop: bytes) -> Iterator[Row]:
    if start >= stop:
        return
    assert start > FIRST_ROW, "a scan from the first row back cannot tell its end from damage"
    try:
        # `stop` is where a backward iterator begins; its end, plyvel's `start`, is not given.
        rows = source.iterator(stop=stop, reverse=True, verify_checksums=True)
        try:
            for row in rows:
                if row[0] < start:
                    return
                yield row
        finally:
            rows.close()
    except plyvel.Error as error:
        raise _failure("reading a range backwards", error) from error
    raise DamagedError(_OUT_OF_ROWS)


class _LevelSnapshot:
    """`ports.Snapshot`: a version of the database that LevelDB keeps for us until `close`."""

    __slots__ = ("_pinned",)

    def __init__(self, pinned: _Pinned) -> None:
        self._pinned = pinned

    def get(self, key: bytes, /) -> bytes | None:
        try:
            return self._pinned.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _failure("reading a row", error) from error

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return _scan(self._pinned, start, stop)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return _scan_back(self._pinned, start, stop)

    def close(self) -> None:
        self._pinned.close()


class _LevelBatch:
    """`ports.PreparedBatch`: filled already, so that `write` is one call into C."""

    __slots__ = ("_backend", "_batch")

    def __init__(self, backend: _LevelBackend, batch: _Batch) -> None:
        self._backend = backend
        self._batch = batch

    def write(self) -> None:
        if self._backend.failed:
            # LevelDB itself forgets a failed append and would lose the batches after it.
            raise BackendError("nothing is written any more, because an earlier write failed")
        try:
            self._batch.write()
        except plyvel.Error as error:
            self._backend.failed = True
            raise _failure("writing a batch", error) from error


class _LevelBackend:
    """`ports.Backend` over one open LevelDB."""

    __slots__ = ("_database", "_get", "_path", "failed")

    def __init__(self, database: _Database, path: Path) -> None:
        self._database = database
        self._get = database.get
        self._path = path
        self.failed = False

    def get(self, key: bytes, /) -> bytes | None:
        try:
            return self._get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _failure("reading a row", error) from error

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return _scan(self._database, start, stop)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return _scan_back(self._database, start, stop)

    def snapshot(self) -> Snapshot:
        return _LevelSnapshot(self._database.snapshot())

    def prepare(self, rows: Mapping[bytes, bytes | None], /) -> PreparedBatch:
        batch = self._database.write_batch(sync=True)
        put = batch.put
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        return _LevelBatch(self, batch)

    def compact_range(self, start: bytes, stop: bytes, /) -> None:
        # Bounds are always given: without them plyvel passes empty strings, which compacts nothing.
        self._database.compact_range(start=start, stop=stop)

    def size(self) -> int:
        total = 0
        try:
            with os.scandir(self._path) as files:
                for file in files:
                    try:
                        total += file.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # a compaction removed it between listing and asking
        except OSError as error:
            raise BackendError(f"the size of {self._path} cannot be read: {error}") from error
        return total

    def close(self) -> None:
        self._database.close()
        # plyvel's bound method would keep the closed database reachable as a reader.
        self._get = self._database.get

    def check_ends(self) -> None:
        """Raise `BackendError` unless both sentinels are there or there is no row at all."""
        if self.get(FIRST_ROW) is not None and self.get(LAST_ROW) is not None:
            return
        try:
            rows = self._database.raw_iterator(verify_checksums=True)
            try:
                rows.seek_to_first()
                empty = not rows.valid()
            finally:
                rows.close()
        except plyvel.Error as error:
            raise _failure("reading the first row", error) from error
        if not empty:
            raise DamagedError("the database has rows but not both its first and its last row")


def open_leveldb(path: Path, *, create: bool, paranoid: bool = True) -> Backend:
    """Open the LevelDB in the directory `path`.

    Args:
        path: the directory, which nothing but LevelDB may use.
        create: make a database if there is none; a directory that has LevelDB's files but lacks
            the one that names them is damaged, not new.
        paranoid: refuse a damaged log; False only in `storage.recovery`, which knows why.

    Returns:
        The backend; it is empty if the database is new.

    Raises:
        BackendError: the database cannot be opened or is damaged, in one sentence.
    """
    if create and not (path / "CURRENT").exists():
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            if any(file.suffix in {".ldb", ".log", ".sst"} for file in path.iterdir()):
                raise DamagedError(f"{path} holds a database whose CURRENT file is gone")
        except OSError as error:
            raise BackendError(f"{path} cannot be created: {error}") from error
    try:
        database: _Database = plyvel.DB(
            os.fspath(path),
            create_if_missing=create,
            paranoid_checks=paranoid,
            write_buffer_size=WRITE_BUFFER_BYTES,
            lru_cache_size=CACHE_BYTES,
            bloom_filter_bits=BLOOM_FILTER_BITS,
            compression=None,
        )
    except plyvel.Error as error:
        raise _failure(f"opening the database {path}", error) from error
    backend = _LevelBackend(database, path)
    try:
        backend.check_ends()
    except BackendError:
        backend.close()
        raise
    return backend
