"""A data directory whose every batch is known, to be killed, torn or flipped, and judged after.

Batch `n` always holds the same rows, so the whole content follows from the number of the last
batch: after any accident the database is right if it equals `content(last)` for the last batch it
claims, and nothing was lost if that is the last batch that was written.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from trioetcd.cluster import Member
from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend
from trioetcd.replica.rows import (
    META_ROW,
    bootstrap,
    chain_key,
    check_chain,
    decode_link,
    decode_meta,
    encode_link,
    encode_meta,
)
from trioetcd.storage.data_dir import DataDir, DataDirError
from trioetcd.storage.recovery import open_member_store, remember_identity
from trioetcd.values import ClusterID, MemberID

__all__ = ["SampleStore", "content", "read_everything"]

CLUSTER = ClusterID(0xC1)
MEMBER = MemberID(0xA1)


def _rows_of_batch(number: int) -> dict[bytes, bytes | None]:
    random = Random(number)  # noqa: S311 - the batch's number is its content
    rows: dict[bytes, bytes | None] = {}
    for _ in range(random.randrange(1, 4)):
        key = b"\x80c%02d" % random.randrange(40)
        size = random.choice((0, 3, 80, 700))
        rows[key] = None if random.random() < 0.2 else random.randbytes(size)
    if number % 25 == 0:
        rows[b"\x80large"] = random.randbytes(40_000)  # crosses a block of the log
    rows[b"\x80o%06d" % number] = bytes(random.randrange(60))  # ends in zeroes, like many a value
    return rows


def content(last: int) -> dict[bytes, bytes]:
    """Give all state rows as they stand after batch `last`."""
    rows: dict[bytes, bytes] = {}
    for number in range(2, last + 1):
        for key, value in _rows_of_batch(number).items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
    return rows


def read_everything(backend: Backend) -> int:
    """Read the whole database in every way and compare it with what was written.

    Returns:
        The number of the last batch it holds.

    Raises:
        AssertionError: a row is wrong, missing or too much.
        BackendError: a row is damaged.
        CorruptLog: the batch chain is broken.
    """
    last = int(check_chain(backend).batch)
    expected = sorted(content(last).items())
    for key, value in expected:
        assert backend.get(key) == value, f"row {key!r} of batch {last}"
    assert list(backend.scan(b"\x80c", LAST_ROW)) == expected, f"rows of batch {last}"
    assert list(backend.scan_back(b"\x80c", LAST_ROW)) == expected[::-1], f"rows of batch {last}"
    return last


class SampleStore:
    """A member's data directory that is written batch by batch.

    Attributes:
        data_dir: the directory, open and locked.
        backend: the database, open.
        batch: the number of the last batch written.
    """

    def __init__(self, path: Path) -> None:
        self.data_dir = DataDir.open(path)
        try:
            self.backend = open_member_store(
                self.data_dir,
                cluster_id=CLUSTER,
                member_id=MEMBER,
            )
        except DataDirError:
            self.data_dir.close()
            raise
        if self.backend.get(FIRST_ROW) is None:
            member = Member(id=MEMBER, name="sample", peer_urls=("https://127.0.0.1:2380",))
            rows = bootstrap(cluster_id=CLUSTER, member_id=MEMBER, members=[member])
            # The rows of the chain and no others: the content is that of the batches after it.
            kept = (FIRST_ROW, LAST_ROW, META_ROW, chain_key(1))
            self.backend.prepare({key: rows[key] for key in kept}).write()
            remember_identity(self.data_dir, CLUSTER, MEMBER)
        value = self.backend.get(META_ROW)
        assert value is not None
        self._meta = decode_meta(value)
        self.batch = self._meta.batch
        link = self.backend.get(chain_key(self.batch))
        assert link is not None
        self._link = decode_link(link, self.batch)

    def write(self, batches: int = 1) -> None:
        """Write the next batches, each synced."""
        for _ in range(batches):
            number = self.batch + 1
            rows = _rows_of_batch(number)
            position = self._meta.chain_bytes + sum(len(value or b"") for value in rows.values())
            self._meta = self._meta._replace(batch=number, chain_bytes=position)
            meta = encode_meta(self._meta)
            link = encode_link(self._link.crc, meta, number, self._meta.last, position)
            self._link = decode_link(link, number)
            # State rows last, so that the log may end in a value's own zeroes.
            self.backend.prepare({META_ROW: meta, chain_key(number): link, **rows}).write()
            self.batch = number

    def compact(self) -> None:
        """Push all rows into tables."""
        self.backend.compact_range(FIRST_ROW, LAST_ROW)

    def close(self) -> None:
        """Close the database and let go of the directory."""
        self.backend.close()
        self.data_dir.close()
