"""A reader of bbolt databases that shares nothing with the writer and believes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

PAGE = 4096
Rows = list[tuple[bytes, bytes]]


class Database:
    """One database in memory; reading it checks everything.

    Attributes:
        buckets: rows of each bucket of the root, in order.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        heads = [self._head(number) for number in (0, 1)]
        assert heads[0][:3] == heads[1][:3]
        assert heads[0][3] == heads[1][3] + 1, "the first head counts"
        root, freelist, pages, _ = heads[0]
        assert len(data) == pages * PAGE
        self._reached = {0, 1, freelist}
        number, flags, count, overflow = unpack_from("<QHHI", data, freelist * PAGE)
        assert (number, flags, count, overflow) == (freelist, 0x10, 0, 0)
        self.buckets: dict[bytes, Rows] = {}
        for name, value, flag in self._walk(root, b"", None, 0):
            assert flag == 1, "the root holds buckets"
            page, sequence = unpack_from("<QQ", value)
            assert sequence == 0
            rows = []
            for key, value_, flag_ in self._walk(page, b"", None, 0):
                assert flag_ == 0
                rows.append((key, value_))
            keys = [key for key, _ in rows]
            assert keys == sorted(set(keys))
            self.buckets[name] = rows
        assert list(self.buckets) == sorted(self.buckets)
        assert self._reached == set(range(pages)), "every page is used once"

    def _head(self, number: int) -> tuple[int, int, int, int]:
        start = number * PAGE
        assert unpack_from("<QHHI", self._data, start) == (number, 4, 0, 0)
        body = self._data[start + 16 : start + 72]
        magic, version, size, flags, root, sequence, freelist, pages, transaction = unpack_from(
            "<4I5Q", body
        )
        assert (magic, version, size, flags, sequence) == (0xED0CDAED, 2, PAGE, 0, 0)
        total = 14695981039346656037
        for byte in body:
            total = (total ^ byte) * 1099511628211 % 2**64
        assert unpack_from("<Q", self._data, start + 72) == (total,)
        return root, freelist, pages, transaction

    def _walk(
        self, page: int, first: bytes, stop: bytes | None, depth: int
    ) -> Iterator[tuple[bytes, bytes, int]]:
        start = page * PAGE
        number, flags, count, overflow = unpack_from("<QHHI", self._data, start)
        assert number == page
        pages = set(range(page, page + overflow + 1))
        assert not pages & self._reached, "no page twice"
        self._reached |= pages
        end = start + (overflow + 1) * PAGE
        assert flags in {1, 2}
        if flags == 2:
            for at in range(start + 16, start + 16 + 16 * count, 16):
                flag, distance, keys, values = unpack_from("<4I", self._data, at)
                key_at = at + distance
                assert key_at + keys + values <= end
                key = self._data[key_at : key_at + keys]
                assert first <= key
                assert stop is None or key < stop
                yield key, self._data[key_at + keys : key_at + keys + values], flag
            return
        assert count >= 2, "a branch with one child makes bbolt panic when rows are deleted"
        children = []
        for at in range(start + 16, start + 16 + 16 * count, 16):
            distance, keys, child = unpack_from("<IIQ", self._data, at)
            assert at + distance + keys <= end
            children.append((self._data[at + distance : at + distance + keys], child))
        ends = [key for key, _ in children[1:]] + [stop]
        for (key, child), until in zip(children, ends, strict=True):
            yield from self._walk(child, key, until, depth + 1)
