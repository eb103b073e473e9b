"""The revisioned key space: reads at any revision, changes, compaction, history, watches.

Here lives what a key was, is and when; not who may touch it, what a lease is, or how a request
reaches every member. Rows go through `ports.Space`; nothing here waits, asks for the time, or
keeps anything in memory that grows with the number of keys (but the sparse `counts` directory).

Modules, low to high: `layout` (tables), `revision`, `old_rows`, `counts`, `selection` (range
reads), `history`, `hash` and `content` (what members compare), `compaction`, `store`, `write` (one
request's change), `interest` (who wants which key), `watch` (the hub), `watch_session` (one
stream), `sorting` (more rows than memory holds), `backup` (the key space as etcd stores it).
"""

from __future__ import annotations

from trioetcd.mvcc.backup import export_revisions, pack_revision
from trioetcd.mvcc.content import ContentHash
from trioetcd.mvcc.history import Event
from trioetcd.mvcc.layout import Tables
from trioetcd.mvcc.selection import RangeCursor, RangeQuery
from trioetcd.mvcc.sorting import Fetch, Sorter, Steps
from trioetcd.mvcc.store import Store
from trioetcd.mvcc.watch import NO_PUT, Batch, Group, Watcher, WatchHub
from trioetcd.mvcc.watch_session import WatchSession
from trioetcd.mvcc.write import WriteTxn

__all__ = [
    "NO_PUT",
    "Batch",
    "ContentHash",
    "Event",
    "Fetch",
    "Group",
    "RangeCursor",
    "RangeQuery",
    "Sorter",
    "Steps",
    "Store",
    "Tables",
    "WatchHub",
    "WatchSession",
    "Watcher",
    "WriteTxn",
    "export_revisions",
    "pack_revision",
]
