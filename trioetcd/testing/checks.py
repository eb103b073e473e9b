"""Conformance suites: what a real thing and its twin both must pass, so that no test mocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from random import Random

from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend, BackendError, ReadView, Row

__all__ = ["check_backend"]

_ENDS: dict[bytes, bytes | None] = {FIRST_ROW: b"first", LAST_ROW: b"last"}


def check_backend(
    make: Callable[[], Backend],
    *,
    reopen: Callable[[], Backend] | None = None,
    seed: int = 1,
) -> None:
    """Check that what `make` gives is a `ports.Backend`.

    Args:
        make: gives a new, empty backend at every call.
        reopen: opens the backend made last again, after it was closed; None if it does not last.
        seed: for the comparison of random operations with a dict.

    Raises:
        AssertionError: it is not; the failed line says in what.
    """
    for check in (
        _check_empty,
        _check_single_rows,
        _check_ranges,
        _check_missing_sentinels,
        _check_snapshots,
        _check_scan_isolation,
        _check_batches,
        _check_abandoned_scans,
        _check_maintenance,
    ):
        with closing(make()) as backend:
            check(backend)
    with closing(make()) as backend:
        _check_against_dict(backend, Random(seed))  # noqa: S311 - a test's seed, no secret
    if reopen is not None:
        _check_reopening(make, reopen)


def _write(backend: Backend, rows: Mapping[bytes, bytes | None]) -> None:
    backend.prepare(rows).write()


def _fill(backend: Backend, *keys: bytes) -> list[Row]:
    rows = [(key, b"value of " + key) for key in keys]
    _write(backend, _ENDS | dict(rows))
    return rows


@contextmanager
def _raises(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def _check_empty(backend: Backend) -> None:
    assert backend.get(b"a") is None
    assert list(backend.scan(b"b", b"a")) == []
    assert list(backend.scan(b"a", b"a")) == []
    assert list(backend.scan_back(b"b", b"a")) == []
    assert backend.size() >= 0
    _write(backend, {})
    assert backend.get(FIRST_ROW) is None


def _check_single_rows(backend: Backend) -> None:
    _write(backend, _ENDS | {b"a": b"1", b"empty": b""})
    assert backend.get(b"a") == b"1"
    assert backend.get(b"empty") == b""
    assert backend.get(b"aa") is None
    _write(backend, {b"a": b"2", b"never there": None})
    assert backend.get(b"a") == b"2"
    _write(backend, {b"a": None})
    assert backend.get(b"a") is None
    every_byte = bytes(range(256))
    _write(backend, {b"m" + every_byte: every_byte})
    assert backend.get(b"m" + every_byte) == every_byte


def _check_ranges(backend: Backend) -> None:
    rows = _fill(backend, b"a", b"a\x00", b"a\xff", b"b", b"c\xff\xff", b"d", b"\xff\xff\xff\xfe")
    for view in (backend, backend.snapshot()):
        assert list(view.scan(b"\x01", LAST_ROW)) == rows
        assert list(view.scan(FIRST_ROW, LAST_ROW)) == [(FIRST_ROW, b"first"), *rows]
        assert list(view.scan_back(b"\x01", LAST_ROW)) == rows[::-1]
        assert list(view.scan(b"a", b"b")) == rows[:3]
        assert list(view.scan_back(b"a", b"b")) == rows[2::-1]
        assert list(view.scan(b"a\x01", b"b\x00")) == rows[2:4]
        assert list(view.scan_back(b"a\x01", b"b\x00")) == rows[3:1:-1]
        assert list(view.scan(b"e", b"f")) == []
        assert list(view.scan_back(b"e", b"f")) == []
        assert list(view.scan(b"a", b"a\x00")) == rows[:1]
        assert list(view.scan_back(b"\x01", b"a\x00")) == rows[:1]
        assert list(view.scan_back(b"\xff", LAST_ROW)) == rows[-1:]


def _check_missing_sentinels(backend: Backend) -> None:
    """A scan that runs out of rows has not seen its end, and says so."""
    _write(backend, {b"a": b"1", b"b": b"2"})
    with _raises(BackendError):
        list(backend.scan(b"a", b"c"))
    with _raises(BackendError):
        list(backend.scan_back(b"\x01", b"c"))
    assert list(backend.scan(b"a", b"b")) == [(b"a", b"1")]
    assert list(backend.scan_back(b"b", b"c")) == [(b"b", b"2")]


def _check_snapshots(backend: Backend) -> None:
    rows = _fill(backend, b"a", b"b", b"c")
    first = backend.snapshot()
    _write(backend, {b"a": b"new", b"b": None, b"d": b"added"})
    second = backend.snapshot()
    _write(backend, {b"d": None})
    changed = [(b"a", b"new"), rows[2]]
    expectations: list[tuple[ReadView, list[Row]]] = [
        (first, rows),
        (second, [*changed, (b"d", b"added")]),
        (backend, changed),
    ]
    for view, expected in expectations:
        assert list(view.scan(b"\x01", LAST_ROW)) == expected
        assert list(view.scan_back(b"\x01", LAST_ROW)) == expected[::-1]
        assert [(key, view.get(key)) for key, _ in expected] == expected
    assert first.get(b"d") is None
    assert second.get(b"b") is None
    first.close()
    first.close()
    with _raises(RuntimeError):
        first.get(b"a")
    assert list(second.scan(b"a", b"b")) == [(b"a", b"new")]
    second.close()


def _check_scan_isolation(backend: Backend) -> None:
    """Whoever has begun to read a range sees it as it stood then."""
    rows = _fill(backend, b"a", b"b", b"c")
    ahead, back = backend.scan(b"a", b"d"), backend.scan_back(b"a", b"d")
    assert (next(ahead), next(back)) == (rows[0], rows[2])
    _write(backend, {b"a": None, b"b": b"new", b"bb": b"added", b"c": None})
    assert list(ahead) == rows[1:]
    assert list(back) == rows[1::-1]
    assert list(backend.scan(b"a", b"d")) == [(b"b", b"new"), (b"bb", b"added")]


def _check_batches(backend: Backend) -> None:
    """A batch is fixed when it is prepared, and visible only when it is written."""
    _fill(backend, b"a")
    rows: dict[bytes, bytes | None] = {b"a": None, b"b": b"1", b"c": b"2"}
    batch = backend.prepare(rows)
    rows[b"d"] = b"too late"
    assert list(backend.scan(b"\x01", LAST_ROW)) == [(b"a", b"value of a")]
    _write(backend, {b"b": b"earlier", b"e": b"stays"})
    batch.write()
    assert list(backend.scan(b"\x01", LAST_ROW)) == [(b"b", b"1"), (b"c", b"2"), (b"e", b"stays")]


def _check_abandoned_scans(backend: Backend) -> None:
    """A scan left half-way neither pins the backend nor keeps it from closing."""
    rows = _fill(backend, b"a", b"b", b"c")
    closed = backend.scan(b"a", b"d")
    assert next(closed) == rows[0]
    assert isinstance(closed, Iterator)
    del closed
    left = backend.scan_back(b"a", b"d")
    assert next(left) == rows[2]
    backend.close()
    with _raises(RuntimeError):
        backend.get(b"a")
    del left


def _check_maintenance(backend: Backend) -> None:
    _write(backend, _ENDS | {b"k%04d" % number: bytes(100) for number in range(1000)})
    _write(backend, {b"k%04d" % number: None for number in range(500)})
    backend.compact_range(b"k", b"l")
    assert sum(1 for _ in backend.scan(b"k", b"l")) == 500
    assert backend.size() > 0


def _check_against_dict(backend: Backend, random: Random) -> None:
    """Whatever is done, the rows are those of a dict to which the same was done."""
    model: dict[bytes, bytes] = {key: value for key, value in _ENDS.items() if value is not None}
    _write(backend, _ENDS)
    alphabet = (b"\x01", b"a", b"b", b"\xfe")
    for _ in range(200):
        rows: dict[bytes, bytes | None] = {}
        for _ in range(random.randrange(4)):
            key = b"".join(random.choices(alphabet, k=random.randrange(1, 4)))
            rows[key] = random.randbytes(5) if random.random() < 0.6 else None
        _write(backend, rows)
        model.update({key: value for key, value in rows.items() if value is not None})
        for key in (key for key, value in rows.items() if value is None):
            model.pop(key, None)
        start, stop = sorted(b"".join(random.choices(alphabet, k=2)) for _ in range(2))
        expected = sorted(row for row in model.items() if start <= row[0] < stop)
        assert list(backend.scan(start, stop)) == expected
        assert list(backend.scan_back(start, stop)) == expected[::-1]
        assert backend.get(start) == model.get(start)


def _check_reopening(make: Callable[[], Backend], reopen: Callable[[], Backend]) -> None:
    make().close()
    with closing(reopen()) as backend:
        assert backend.get(FIRST_ROW) is None
        rows = _fill(backend, b"a", b"b")
    for number in range(3):
        with closing(reopen()) as backend:
            assert list(backend.scan(b"\x01", LAST_ROW)) == rows
            rows.append((b"c%d" % number, b"more"))
            _write(backend, dict(rows))
