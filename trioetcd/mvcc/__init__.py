"""The revisioned key space: reads at any revision, changes, compaction, history, watches.

Here lives what a key was, is and when; not who may touch it, what a lease is, or how a request
reaches every member. Rows go through `ports.Space`; nothing here waits, asks for the time, or
keeps anything in memory that grows with the number of keys (but the sparse `counts` directory).

Modules, low to high: `layout` (tables), `revision`, `old_rows`, `counts`, `selection` (range
reads), `history`, `hash`, `compaction`, `store`, `write` (one request's change), `interest` (who
wants which key), `watch` (the hub), `watch_session` (one stream).
"""

from __future__ import annotations

from trioetcd.mvcc.history import Event
from trioetcd.mvcc.selection import RangeCursor, RangeQuery
from trioetcd.mvcc.store import Store
from trioetcd.mvcc.watch import WatchHub
from trioetcd.mvcc.watch_session import WatchSession
from trioetcd.mvcc.write import WriteTxn

__all__ = [
    "Event",
    "RangeCursor",
    "RangeQuery",
    "Store",
    "WatchHub",
    "WatchSession",
    "WriteTxn",
]
