"""What a client gets back: values, one class per kind of answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from trioetcd.schema import messages

__all__ = [
    "AuthStatus",
    "DeleteResult",
    "EventKind",
    "Header",
    "KeyValue",
    "Lease",
    "LeaseStatus",
    "Member",
    "Permission",
    "PutResult",
    "RangeResult",
    "Role",
    "Status",
    "TxnResult",
    "User",
    "WatchEvent",
]


@dataclass(frozen=True, slots=True)
class Header:
    """Who answered, and at which revision and term."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int

    @classmethod
    def read(cls, message: messages.ResponseHeader) -> Header:
        """Take over a message."""
        return cls(message.cluster_id, message.member_id, message.revision, message.raft_term)


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stood at some revision.

    Attributes:
        key: the key.
        value: its value; empty if only keys were asked for.
        create_revision: when it came into being.
        mod_revision: when it was last changed.
        version: how often it was written since it came into being.
        lease: the lease it is attached to, 0 for none.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int

    @classmethod
    def read(cls, message: messages.KeyValue) -> KeyValue:
        """Take over a message."""
        return cls(
            message.key,
            message.value,
            message.create_revision,
            message.mod_revision,
            message.version,
            message.lease,
        )


@dataclass(frozen=True, slots=True)
class RangeResult:
    """What a read found; `count` is how many keys there are, whatever the limit."""

    header: Header
    kvs: tuple[KeyValue, ...]
    more: bool
    count: int

    @classmethod
    def read(cls, message: messages.RangeResponse) -> RangeResult:
        """Take over a message."""
        kvs = tuple(KeyValue.read(item) for item in message.kvs)
        return cls(Header.read(message.header), kvs, message.more, message.count)


@dataclass(frozen=True, slots=True)
class PutResult:
    """A key was written; `previous` is what was there before, if asked for."""

    header: Header
    previous: KeyValue | None

    @classmethod
    def read(cls, message: messages.PutResponse) -> PutResult:
        """Take over a message."""
        previous = KeyValue.read(message.prev_kv) if message.HasField("prev_kv") else None
        return cls(Header.read(message.header), previous)


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Keys were deleted; `previous` is what was there before, if asked for."""

    header: Header
    deleted: int
    previous: tuple[KeyValue, ...]

    @classmethod
    def read(cls, message: messages.DeleteRangeResponse) -> DeleteResult:
        """Take over a message."""
        previous = tuple(KeyValue.read(item) for item in message.prev_kvs)
        return cls(Header.read(message.header), message.deleted, previous)


@dataclass(frozen=True, slots=True)
class TxnResult:
    """A transaction was done; `succeeded` says which branch, `results` what each step gave."""

    header: Header
    succeeded: bool
    results: tuple[RangeResult | PutResult | DeleteResult | TxnResult, ...]

    @classmethod
    def read(cls, message: messages.TxnResponse) -> TxnResult:
        """Take over a message."""
        results = tuple(_step_result(item) for item in message.responses)
        return cls(Header.read(message.header), message.succeeded, results)


def _step_result(
    message: messages.ResponseOp,
) -> RangeResult | PutResult | DeleteResult | TxnResult:
    match message.WhichOneof("response"):
        case "response_put":
            return PutResult.read(message.response_put)
        case "response_delete_range":
            return DeleteResult.read(message.response_delete_range)
        case "response_txn":
            return TxnResult.read(message.response_txn)
        case _:
            return RangeResult.read(message.response_range)


class EventKind(Enum):
    """What happened to a key."""

    PUT = "PUT"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one key.

    Attributes:
        kind: written or deleted.
        kv: the key as it now stands; for a deletion only key and mod_revision mean something.
        previous: the key as it stood before, if asked for and not compacted.
    """

    kind: EventKind
    kv: KeyValue
    previous: KeyValue | None

    @classmethod
    def read(cls, message: messages.Event) -> WatchEvent:
        """Take over a message."""
        kind = EventKind.DELETE if message.type == messages.Event.DELETE else EventKind.PUT
        previous = KeyValue.read(message.prev_kv) if message.HasField("prev_kv") else None
        return cls(kind, KeyValue.read(message.kv), previous)

    @property
    def revision(self) -> int:
        """The revision of the change."""
        return self.kv.mod_revision

    @property
    def created(self) -> bool:
        """Whether the key came into being by this change."""
        return self.kind is EventKind.PUT and self.kv.create_revision == self.kv.mod_revision


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was granted; `ttl` is what the server gave, which may be more than asked."""

    lease_id: int
    ttl: int


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """How a lease stands; `remaining` is -1 if there is no such lease (any more)."""

    lease_id: int
    remaining: int
    granted: int
    keys: tuple[bytes, ...]

    @classmethod
    def read(cls, message: messages.LeaseTimeToLiveResponse) -> LeaseStatus:
        """Take over a message."""
        return cls(message.ID, message.TTL, message.grantedTTL, tuple(message.keys))


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the cluster."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @classmethod
    def read(cls, message: messages.Member) -> Member:
        """Take over a message."""
        return cls(
            message.ID,
            message.name,
            tuple(message.peerURLs),
            tuple(message.clientURLs),
            message.isLearner,
        )


@dataclass(frozen=True, slots=True)
class Status:
    """How the member that answered is doing; sizes in bytes."""

    header: Header
    version: str
    leader: int
    db_size: int
    db_size_in_use: int
    raft_index: int
    raft_applied_index: int
    raft_term: int
    learner: bool
    errors: tuple[str, ...]

    @classmethod
    def read(cls, message: messages.StatusResponse) -> Status:
        """Take over a message."""
        return cls(
            Header.read(message.header),
            message.version,
            message.leader,
            message.dbSize,
            message.dbSizeInUse,
            message.raftIndex,
            message.raftAppliedIndex,
            message.raftTerm,
            message.isLearner,
            tuple(message.errors),
        )


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """Whether everybody is asked who they are; `revision` grows with each change of users."""

    header: Header
    enabled: bool
    revision: int

    @classmethod
    def read(cls, message: messages.AuthStatusResponse) -> AuthStatus:
        """Take over a message."""
        return cls(Header.read(message.header), message.enabled, message.authRevision)


@dataclass(frozen=True, slots=True)
class User:
    """A user and its roles."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Permission:
    r"""What a role may do with keys.

    Attributes:
        access: `read`, `write` or `readwrite`.
        key: the key, or the interval's first.
        end: the first key after the interval; empty for the one key, ``\0`` for no end.
    """

    access: str
    key: bytes
    end: bytes

    @classmethod
    def read(cls, message: messages.Permission) -> Permission:
        """Take over a message."""
        access = messages.Permission.Type.Name(message.permType).lower()
        return cls(access, message.key, message.range_end)


@dataclass(frozen=True, slots=True)
class Role:
    """A role and its permissions."""

    name: str
    permissions: tuple[Permission, ...]
