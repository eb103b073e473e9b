"""The bbolt writer: what it writes, a reader that believes nothing and the real bbolt read back."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bbolt_reader import PAGE, Database, Rows
from trioetcd.schema.bbolt import BboltWriter


def write(buckets: dict[bytes, Rows], *, take_each: int = 0) -> bytes:
    """Write a database, taking pieces out after every so many rows (0: at the end)."""
    writer = BboltWriter()
    taken = []
    for name, rows in buckets.items():
        writer.begin(name)
        for number, row in enumerate(rows):
            writer.put(*row)
            if take_each and number % take_each == 0:
                assert writer.waiting % PAGE == 0
                taken.append(writer.take())
                assert writer.waiting == 0
        writer.end()
    head = writer.finish()
    waiting = writer.waiting
    taken.append(writer.take())
    assert waiting == len(taken[-1])
    data = b"".join(taken)
    assert len(head) == 2 * PAGE
    return head + data[len(head) :]


rows_of_any_size = st.dictionaries(
    st.binary(max_size=40) | st.integers(1, 3).map(lambda at: b"k" * at * 1_500),
    st.binary(max_size=40) | st.integers(0, 5).map(lambda at: b"v" * at * 1_700),
    max_size=60,
).map(lambda rows: sorted(rows.items()))


@given(st.dictionaries(st.binary(min_size=1, max_size=9), rows_of_any_size, max_size=4))
def test_what_is_written_is_read(buckets: dict[bytes, Rows]) -> None:
    """Any buckets with any rows are read back; no page is lost or used twice."""
    assert Database(write(buckets)).buckets == dict(sorted(buckets.items()))


def many(count: int, key_bytes: int, value_bytes: int) -> Rows:
    return [(at.to_bytes(key_bytes, "big"), b"v" * value_bytes) for at in range(count)]


# A leaf holds 117 rows of a key of 17 bytes and 2 more, a branch 123 such keys.
SHAPES = [
    many(count, 17, 2) for count in (0, 1, 116, 117, 118, 123 * 116, 123 * 116 + 1, 40_000)
] + [
    many(count, key, value)
    for key in (1, 900, 1_500, 2_100, 5_000)
    for value in (0, 2_000, 5_000)
    for count in (2, 3, 4, 5, 6, 7, 8, 9, 30, 200)
    if count < 256**key
]


@pytest.mark.parametrize("take_each", [0, 7])
def test_every_shape_of_tree(take_each: int) -> None:
    """Trees whose last pages are nearly empty, just full or longer than a page are whole."""
    for rows in SHAPES:
        assert Database(write({b"key": rows}, take_each=take_each)).buckets == {b"key": rows}


def test_what_is_held_does_not_grow() -> None:
    """With pieces taken out as they come, the writer holds a page for each level."""
    writer = BboltWriter()
    writer.begin(b"key")
    for at in range(100_000):
        writer.put(at.to_bytes(17, "big"), b"")
        writer.take()
        if at % 1_000 == 0:
            assert len(writer._rows) <= 130
            assert len(writer._levels) <= 3
            assert all(len(level.children) <= 130 for level in writer._levels)


@pytest.mark.interop
@pytest.mark.slow
def test_the_real_bbolt_takes_every_shape(etcdutl: Path, tmp_path: Path) -> None:
    """Bbolt's own check, which etcdutl runs, finds every shape in order."""
    path = tmp_path / "db"
    for rows in SHAPES[::3]:
        data = write({b"rows": rows, b"meta": [], b"auth": rows[:3]})
        path.write_bytes(data + sha256(data).digest())
        done = subprocess.run(
            [str(etcdutl), "snapshot", "status", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr)
        assert f" {len(rows) + len(rows[:3])}," in done.stdout
