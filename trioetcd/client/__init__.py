"""A client of etcd and trioetcd on Trio: keys, transactions, watches, leases and locks.

`open_client` is the door; the other names are what goes in and what comes out. What must not
live here: anything a server needs.
"""

from __future__ import annotations

from trioetcd.client.client import Client, open_client
from trioetcd.client.errors import DisconnectedError, OutcomeUnknownError, WatchCompactedError
from trioetcd.client.lock import Lock
from trioetcd.client.requests import (
    Compare,
    Delete,
    Get,
    Put,
    Txn,
    create_revision,
    lease,
    mod_revision,
    value,
    version,
)
from trioetcd.client.results import (
    DeleteResult,
    EventKind,
    Header,
    KeyValue,
    Lease,
    LeaseStatus,
    Member,
    PutResult,
    RangeResult,
    Status,
    TxnResult,
    WatchEvent,
)
from trioetcd.client.watch import Watch
from trioetcd.errors import EtcdError

__all__ = [
    "Client",
    "Compare",
    "Delete",
    "DeleteResult",
    "DisconnectedError",
    "EtcdError",
    "EventKind",
    "Get",
    "Header",
    "KeyValue",
    "Lease",
    "LeaseStatus",
    "Lock",
    "Member",
    "OutcomeUnknownError",
    "Put",
    "PutResult",
    "RangeResult",
    "Status",
    "Txn",
    "TxnResult",
    "Watch",
    "WatchCompactedError",
    "WatchEvent",
    "create_revision",
    "lease",
    "mod_revision",
    "open_client",
    "value",
    "version",
]
