"""The overlay against a naive twin: one dict, as if every row were written at once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from trioetcd.ports import FIRST_ROW, LAST_ROW, Row
from trioetcd.replica import Overlay
from trioetcd.replica.overlay import OverlaySnapshot
from trioetcd.storage.memory import MemoryBackend

keys = st.binary(min_size=1, max_size=2).map(lambda tail: b"k" + tail)
bounds = st.binary(max_size=2).map(lambda tail: b"k" + tail)
values = st.binary(max_size=3)


def between(rows: dict[bytes, bytes], start: bytes, stop: bytes) -> list[Row]:
    """Scan a dict, naively."""
    return sorted((key, value) for key, value in rows.items() if start <= key < stop)


class OverlayTwin(RuleBasedStateMachine):
    """Every operation on the overlay and on a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend()
        self.rows: dict[bytes, bytes] = {}
        self.cut: dict[bytes, bytes | None] | None = None
        self.open: list[tuple[OverlaySnapshot, dict[bytes, bytes]]] = []

    @initialize(rows=st.dictionaries(keys, values, max_size=8))
    def begin(self, rows: dict[bytes, bytes]) -> None:
        self.backend.prepare({FIRST_ROW: b"", LAST_ROW: b"", **rows}).write()
        self.rows = dict(rows)
        self.overlay = Overlay(self.backend)

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(key, value)
        self.rows[key] = value

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.rows.pop(key, None)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.rows.get(key) == self.overlay.get(key)

    @rule(start=bounds, stop=bounds)
    def scan(self, start: bytes, stop: bytes) -> None:
        expected = between(self.rows, start, stop)
        assert expected == list(self.overlay.scan(start, stop))
        assert expected[::-1] == list(self.overlay.scan_back(start, stop))

    @rule(start=bounds, stop=bounds, skip=st.integers(0, 2), key=keys, value=values)
    def scan_while_changing(
        self, start: bytes, stop: bytes, skip: int, key: bytes, value: bytes
    ) -> None:
        expected = between(self.rows, start, stop)
        up, down = self.overlay.scan(start, stop), self.overlay.scan_back(start, stop)
        seen_up = [row for row, _ in zip(up, range(skip), strict=False)]
        seen_down = [row for row, _ in zip(down, range(skip), strict=False)]
        # zip takes one row more from the scan than it gives; begin again past what was seen.
        self.put(key, value)
        rest_up, rest_down = list(up), list(down)
        assert seen_up == expected[: len(seen_up)]
        assert seen_down == expected[::-1][: len(seen_down)]
        assert rest_up == expected[len(expected) - len(rest_up) :]
        assert rest_down == expected[::-1][len(expected) - len(rest_down) :]

    @precondition(lambda self: self.cut is None)
    @rule(extra=st.dictionaries(keys, values, max_size=2))
    def rotate(self, extra: dict[bytes, bytes]) -> None:
        self.cut = self.overlay.rotate()
        for key, value in extra.items():
            self.cut[key] = value
            self.rows[key] = value

    @precondition(lambda self: self.cut is not None)
    @rule()
    def write(self) -> None:
        assert self.cut is not None
        self.backend.prepare(self.cut).write()

    @precondition(lambda self: self.cut is not None)
    @rule()
    def persisted(self) -> None:
        self.write()
        self.overlay.persisted()
        self.cut = None

    @rule(start=bounds, stop=bounds)
    def pin(self, start: bytes, stop: bytes) -> None:
        self.open.append(
            (self.overlay.snapshot(start, stop), dict(between(self.rows, start, stop)))
        )

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data())
    def look_at_pinned(self, data: st.DataObject) -> None:
        snapshot, rows = data.draw(st.sampled_from(self.open))
        if not rows:
            return
        low, high = min(rows), max(rows)
        for key in (low, high):
            assert rows[key] == snapshot.get(key)
        expected = between(rows, low, high)
        assert expected == list(snapshot.scan(low, high))
        assert expected[::-1] == list(snapshot.scan_back(low, high))

    @precondition(lambda self: bool(self.open))
    @rule()
    def unpin(self) -> None:
        self.open.pop(0)[0].close()


TestOverlayTwin = OverlayTwin.TestCase
TestOverlayTwin.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_rotated_generation_is_seen_until_it_is_persisted() -> None:
    """Between the cut and the disk a row is in neither the backend nor the new generation."""
    backend = MemoryBackend()
    backend.prepare({FIRST_ROW: b"", LAST_ROW: b"", b"k": b"0"}).write()
    overlay = Overlay(backend)
    overlay.put(b"k", b"1")
    rows = overlay.rotate()
    assert (overlay.get(b"k"), overlay.gathering, rows) == (b"1", {}, {b"k": b"1"})
    overlay.delete(b"k")
    assert overlay.get(b"k") is None
    backend.prepare(rows).write()
    overlay.persisted()
    assert overlay.get(b"k") is None
    assert list(overlay.scan(b"a", b"z")) == []


def test_a_snapshot_shows_overlay_and_disk_as_they_were() -> None:
    """Rows of either generation, of the disk, and deleted ones, whatever is done later."""
    backend = MemoryBackend()
    backend.prepare({FIRST_ROW: b"", LAST_ROW: b"", b"a": b"0", b"b": b"0", b"c": b"0"}).write()
    overlay = Overlay(backend)
    overlay.put(b"b", b"1")
    overlay.rotate()
    overlay.delete(b"c")
    overlay.put(b"d", b"2")
    snapshot = overlay.snapshot(b"a", b"z")
    for key in (b"a", b"b", b"c", b"d"):
        overlay.put(key, b"later")
    assert [snapshot.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"0", b"1", None, b"2"]
    assert list(snapshot.scan(b"a", b"z")) == [(b"a", b"0"), (b"b", b"1"), (b"d", b"2")]
    snapshot.close()


def test_many_new_keys_are_sorted_in() -> None:
    """However many keys have come since the last scan, the next one is in order."""
    backend = MemoryBackend()
    backend.prepare({FIRST_ROW: b"", LAST_ROW: b""}).write()
    overlay = Overlay(backend)
    expected: list[Row] = []
    for step in (1, 16, 17, 200):
        for number in range(step):
            key = b"k%d" % (number * 7919 % 1009 * 1000 + step)
            overlay.put(key, b"")
            expected.append((key, b""))
        assert sorted(expected) == list(overlay.scan(b"k", b"l"))
