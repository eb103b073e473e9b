"""bbolt's file format, written once from the first row to the last: the form of etcd's backups.

A database is a row of pages of 4096 bytes, all numbers little-endian. Pages 0 and 1 are its heads
(`meta`), of which the valid one with the higher transaction counts; a bucket is a B+ tree of branch
and leaf pages; the root bucket holds the other ones' root pages under their names. A node longer
than a page goes on in the pages behind it (`overflow`).

Rows come in key order, so every page is written when it is full, children before their parents,
and none is touched again: what is held is one page for each level of the tree. No page is free, so
the list of free pages is empty.

Source: go.etcd.io/bbolt, of which the layout of pages is taken and no code.
"""

from __future__ import annotations

from itertools import chain
from struct import Struct
from typing import Final

__all__ = ["PAGE_BYTES", "BboltWriter"]

PAGE_BYTES: Final = 4096

_MAGIC: Final = 0xED0CDAED
_VERSION: Final = 2

_BRANCH_PAGE, _LEAF_PAGE, _META_PAGE, _FREELIST_PAGE = 0x01, 0x02, 0x04, 0x10
_BUCKET: Final = 0x01
"""Flag of a leaf's row: its value is a bucket."""

_PAGE: Final = Struct("<QHHI")
"""The head of a page: number, flags, count of elements, pages of overflow."""

_LEAF: Final = Struct("<4I")
"""A leaf's element: flags, distance from the element to its key, lengths of key and value."""

_BRANCH: Final = Struct("<IIQ")
"""A branch's element: distance from the element to its key, length of the key, page."""

_ROOT: Final = Struct("<QQ")
"""A bucket: root page and sequence, which nobody uses here."""

_META: Final = Struct("<4I5Q")
"""The head: magic, version, page size, flags, root bucket, free list, pages, transaction."""

_FREELIST: Final = 2
_FIRST: Final = 3
"""The first page of rows, behind the two heads and the list of free pages."""

_TRANSACTION: Final = 2

_ELEMENT: Final = 16
assert _PAGE.size == _LEAF.size == _BRANCH.size == _ELEMENT

_CHILDREN_MIN: Final = 2
"""bbolt takes a branch with a single child for a programmer's error when it deletes rows there."""

_COUNT_MAX: Final = 0xFFFF


class BboltWriter:
    """Writes one database: `begin`, `put` and `end` for each bucket, then `finish`.

    What is to be written is taken out with `take` at any time and put behind what was taken
    before; at the end the first two pages are written over with what `finish` gives.

    Attributes:
        waiting: bytes that `take` would give.
    """

    __slots__ = ("_buckets", "_levels", "_name", "_next", "_pieces", "_rows", "_size", "waiting")

    def __init__(self) -> None:
        self._buckets: dict[bytes, int] = {}
        self._name = b""
        self._next = _FIRST
        self._levels: list[_Branch] = []
        self._rows: list[tuple[bytes, bytes]] = []
        self._size = _ELEMENT
        free = _PAGE.pack(_FREELIST, _FREELIST_PAGE, 0, 0)
        self._pieces = [bytes(_FREELIST * PAGE_BYTES), free.ljust(PAGE_BYTES, b"\0")]
        self.waiting = _FIRST * PAGE_BYTES

    def begin(self, name: bytes) -> None:
        """Begin a bucket; buckets may come in any order."""
        assert not self._name, "one bucket at a time"
        assert name not in self._buckets, "a bucket is written once"
        self._name = name

    def put(self, key: bytes, value: bytes) -> None:
        """Write the bucket's next row; its key is greater than the one before."""
        size = _ELEMENT + len(key) + len(value)
        if self._size + size > PAGE_BYTES and self._rows:
            self._end_leaf()
        self._rows.append((key, value))
        self._size += size

    def end(self) -> None:
        """End the bucket."""
        if self._rows or not self._levels:
            self._end_leaf()
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level].children) > 1:
            self._end_level(level)
            level += 1
        self._buckets[self._name] = self._levels[level].children[0][1]
        self._levels = []
        self._name = b""

    def finish(self) -> bytes:
        """End the database; `take` then gives the last of it.

        Returns:
            What goes over its first two pages.
        """
        assert not self._name, "every bucket has ended"
        rows = [(name, _ROOT.pack(root, 0)) for name, root in sorted(self._buckets.items())]
        root = self._leaf(rows, _BUCKET)
        return b"".join(
            self._meta(page, root, transaction)
            for page, transaction in ((0, _TRANSACTION), (1, _TRANSACTION - 1))
        )

    def take(self) -> bytes:
        """Give what is to be written behind what was taken before: whole pages."""
        data = b"".join(self._pieces)
        self._pieces = []
        self.waiting = 0
        return data

    # -- pages -------------------------------------------------------------------------------

    def _end_leaf(self) -> None:
        rows = self._rows
        page = self._leaf(rows, 0)
        self._rows = []
        self._size = _ELEMENT
        self._add_child(0, rows[0][0] if rows else b"", page)

    def _leaf(self, rows: list[tuple[bytes, bytes]], flags: int) -> int:
        assert len(rows) < _COUNT_MAX
        pack = _LEAF.pack
        elements = []
        distance = _ELEMENT * len(rows)
        for key, value in rows:
            keys, values = len(key), len(value)
            elements.append(pack(flags, distance, keys, values))
            distance += keys + values - _ELEMENT
        return self._page(_LEAF_PAGE, elements, b"".join(chain.from_iterable(rows)))

    def _branch(self, children: list[tuple[bytes, int]]) -> int:
        assert _CHILDREN_MIN <= len(children) < _COUNT_MAX
        elements = []
        distance = _ELEMENT * len(children)
        for key, page in children:
            elements.append(_BRANCH.pack(distance, len(key), page))
            distance += len(key) - _ELEMENT
        return self._page(_BRANCH_PAGE, elements, b"".join([key for key, _ in children]))

    def _page(self, flags: int, elements: list[bytes], data: bytes) -> int:
        """Write a node; gives its page."""
        page = self._next
        size = _ELEMENT * (1 + len(elements)) + len(data)
        pages = -(-size // PAGE_BYTES)
        head = _PAGE.pack(page, flags, len(elements), pages - 1)
        self._pieces += [head, *elements, data, bytes(pages * PAGE_BYTES - size)]
        self._next = page + pages
        self.waiting += pages * PAGE_BYTES
        return page

    def _meta(self, page: int, root: int, transaction: int) -> bytes:
        pages = self._next
        body = _META.pack(_MAGIC, _VERSION, PAGE_BYTES, 0, root, 0, _FREELIST, pages, transaction)
        head = _PAGE.pack(page, _META_PAGE, 0, 0)
        return (head + body + _fnv1a(body).to_bytes(8, "little")).ljust(PAGE_BYTES, b"\0")

    # -- branches ----------------------------------------------------------------------------

    def _add_child(self, level: int, key: bytes, page: int) -> None:
        """Note a page at the level above it, and write that level's page when it is full.

        It is written only when enough children for another one are there.
        """
        if level == len(self._levels):
            self._levels.append(_Branch())
        branch = self._levels[level]
        branch.add(key, page)
        if len(branch.children) == branch.fitting + _CHILDREN_MIN:
            children = branch.children
            rest = _Branch()
            for child in children[branch.fitting :]:
                rest.add(*child)
            self._levels[level] = rest
            self._add_branch(level, children[: branch.fitting])

    def _end_level(self, level: int) -> None:
        branch = self._levels[level]
        children = branch.children
        cut = len(children)
        if cut > branch.fitting and branch.fitting > _CHILDREN_MIN:
            cut -= _CHILDREN_MIN
        self._add_branch(level, children[:cut])
        if children[cut:]:
            self._add_branch(level, children[cut:])

    def _add_branch(self, level: int, children: list[tuple[bytes, int]]) -> None:
        self._add_child(level + 1, children[0][0], self._branch(children))


class _Branch:
    """Children of a branch page that is not written yet.

    Attributes:
        children: first key and page of each.
        fitting: so many of them fit into the page, or must.
    """

    __slots__ = ("_size", "children", "fitting")

    def __init__(self) -> None:
        self.children: list[tuple[bytes, int]] = []
        self.fitting = 0
        self._size = _ELEMENT

    def add(self, key: bytes, page: int) -> None:
        self._size += _ELEMENT + len(key)
        self.children.append((key, page))
        if self._size <= PAGE_BYTES or self.fitting < _CHILDREN_MIN:
            self.fitting = len(self.children)


def _fnv1a(data: bytes) -> int:
    """Give the 64-bit FNV-1a hash (draft-eastlake-fnv)."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
