"""A client of etcd and trioetcd on Trio: keys, transactions, watches, leases, locks, users.

`open_client` is the door; the other names are what goes in and what comes out. What must not
live here: anything a server needs.
"""

from __future__ import annotations

from trioetcd.client.auth import Auth
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
    AuthStatus,
    DeleteResult,
    EventKind,
    Header,
    KeyValue,
    Lease,
    LeaseStatus,
    Member,
    Permission,
    PutResult,
    RangeResult,
    Role,
    Status,
    TxnResult,
    User,
    WatchEvent,
)
from trioetcd.client.watch import Watch
from trioetcd.errors import EtcdError

__all__ = [
    "Auth",
    "AuthStatus",
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
    "Permission",
    "Put",
    "PutResult",
    "RangeResult",
    "Role",
    "Status",
    "Txn",
    "TxnResult",
    "User",
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
