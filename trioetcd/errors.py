"""Every operating error of a member in one table: etcd's exact text and its gRPC code.

Clients recognise errors by their text, so the texts are protocol. An operating error is raised
as ``EtcdError(ROW)`` wherever it is found and answered from the same row on every protocol. A
programmer's error is an assert; remote garbage is `trioetcd.wire`'s `RemoteProtocolError`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

__all__ = [
    "HTTP_STATUS",
    "ROWS",
    "Code",
    "ErrorRow",
    "EtcdError",
    "no_request",
    "unimplemented",
    "unread",
]


class Code(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: Final[dict[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ErrorRow(NamedTuple):
    """One operating error: its name here, the code on the wire, the text clients compare."""

    name: str
    code: Code
    text: str


class EtcdError(Exception):
    """An operating error: the caller's request cannot be done, and the row says why."""

    def __init__(self, row: ErrorRow) -> None:
        super().__init__(row.text)
        self.row = row

    @property
    def code(self) -> Code:
        """The gRPC status code."""
        return self.row.code

    @property
    def text(self) -> str:
        """The text clients compare."""
        return self.row.text


ROWS: Final[dict[str, ErrorRow]] = {}


def _row(name: str, code: Code, text: str) -> ErrorRow:
    row = ErrorRow(name, code, text)
    assert name not in ROWS
    ROWS[name] = row
    return row


def unread() -> EtcdError:
    """Make the answer to who asks for more without reading what it has been given."""
    text = "too much waits to be read on this connection; read it first"
    return EtcdError(ErrorRow("Unread", Code.RESOURCE_EXHAUSTED, text))


def no_room(room: int, needed: int) -> EtcdError:
    """Make the answer to who wants a backup for which the disk has too little room, in bytes."""
    return _no_space(f"{room} bytes of disk space are free, {needed} are needed")


def disk_full() -> EtcdError:
    """Make the answer to who wants a backup during which the disk ran full."""
    return _no_space("the disk is full")


def _no_space(reason: str) -> EtcdError:
    text = f"etcdserver: no space to build a snapshot: {reason}"
    return EtcdError(ErrorRow("NoSpaceForSnapshot", Code.RESOURCE_EXHAUSTED, text))


def no_backup(reason: str) -> EtcdError:
    """Make the answer to who wants a backup whose file the disk does not write or read."""
    text = f"etcdserver: the snapshot could not be built: {reason}"
    return EtcdError(ErrorRow("NoSnapshot", Code.INTERNAL, text))


def no_request() -> EtcdError:
    """Make the answer to a call that ended before its one request, in gRPC's words."""
    text = "cardinality violation: received no request message from non-client-streaming RPC"
    return EtcdError(ErrorRow("NoRequest", Code.INTERNAL, text))


def unimplemented(text: str) -> EtcdError:
    """Make the answer to a request for something that does not exist here (yet)."""
    return EtcdError(ErrorRow("Unimplemented", Code.UNIMPLEMENTED, text))


EMPTY_KEY: Final = _row("EmptyKey", Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND: Final = _row("KeyNotFound", Code.INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED: Final = _row(
    "ValueProvided",
    Code.INVALID_ARGUMENT,
    "etcdserver: value is provided",
)
LEASE_PROVIDED: Final = _row(
    "LeaseProvided",
    Code.INVALID_ARGUMENT,
    "etcdserver: lease is provided",
)
TOO_MANY_OPS: Final = _row(
    "TooManyOps",
    Code.INVALID_ARGUMENT,
    "etcdserver: too many operations in txn request",
)
DUPLICATE_KEY: Final = _row(
    "DuplicateKey",
    Code.INVALID_ARGUMENT,
    "etcdserver: duplicate key given in txn request",
)
INVALID_CLIENT_API_VERSION: Final = _row(
    "InvalidClientAPIVersion",
    Code.INVALID_ARGUMENT,
    "etcdserver: invalid client api version",
)
INVALID_SORT_OPTION: Final = _row(
    "InvalidSortOption",
    Code.INVALID_ARGUMENT,
    "etcdserver: invalid sort option",
)
COMPACTED: Final = _row(
    "Compacted",
    Code.OUT_OF_RANGE,
    "etcdserver: mvcc: required revision has been compacted",
)
FUTURE_REVISION: Final = _row(
    "FutureRevision",
    Code.OUT_OF_RANGE,
    "etcdserver: mvcc: required revision is a future revision",
)
NO_SPACE: Final = _row(
    "NoSpace",
    Code.RESOURCE_EXHAUSTED,
    "etcdserver: mvcc: database space exceeded",
)
LEASE_NOT_FOUND: Final = _row(
    "LeaseNotFound",
    Code.NOT_FOUND,
    "etcdserver: requested lease not found",
)
LEASE_EXIST: Final = _row(
    "LeaseExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: lease already exists",
)
LEASE_TTL_TOO_LARGE: Final = _row(
    "LeaseTTLTooLarge",
    Code.OUT_OF_RANGE,
    "etcdserver: too large lease TTL",
)
WATCH_CANCELED: Final = _row("WatchCanceled", Code.CANCELLED, "etcdserver: watch canceled")
MEMBER_EXIST: Final = _row(
    "MemberExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: member ID already exist",
)
PEER_URL_EXIST: Final = _row(
    "PeerURLExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: Peer URLs already exists",
)
MEMBER_NOT_ENOUGH_STARTED: Final = _row(
    "MemberNotEnoughStarted",
    Code.UNKNOWN,
    "etcdserver: re-configuration failed due to not enough started members",
)
MEMBER_BAD_URLS: Final = _row(
    "MemberBadURLs",
    Code.INVALID_ARGUMENT,
    "etcdserver: given member URLs are invalid",
)
MEMBER_NOT_FOUND: Final = _row("MemberNotFound", Code.NOT_FOUND, "etcdserver: member not found")
MEMBER_NOT_LEARNER: Final = _row(
    "MemberNotLearner",
    Code.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member",
)
LEARNER_NOT_READY: Final = _row(
    "LearnerNotReady",
    Code.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member which is in sync with leader",
)
TOO_MANY_LEARNERS: Final = _row(
    "TooManyLearners",
    Code.FAILED_PRECONDITION,
    "etcdserver: too many learner members in cluster",
)
CLUSTER_ID_MISMATCH: Final = _row(
    "ClusterIDMismatch",
    Code.FAILED_PRECONDITION,
    "etcdserver: cluster ID mismatch",
)
REQUEST_TOO_LARGE: Final = _row(
    "RequestTooLarge",
    Code.INVALID_ARGUMENT,
    "etcdserver: request is too large",
)
TOO_MANY_REQUESTS: Final = _row("TooManyRequests", Code.UNKNOWN, "etcdserver: too many requests")
ROOT_USER_NOT_EXIST: Final = _row(
    "RootUserNotExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: root user does not exist",
)
ROOT_ROLE_NOT_EXIST: Final = _row(
    "RootRoleNotExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: root user does not have root role",
)
USER_ALREADY_EXIST: Final = _row(
    "UserAlreadyExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: user name already exists",
)
USER_EMPTY: Final = _row("UserEmpty", Code.INVALID_ARGUMENT, "etcdserver: user name is empty")
USER_NOT_FOUND: Final = _row(
    "UserNotFound",
    Code.FAILED_PRECONDITION,
    "etcdserver: user name not found",
)
ROLE_ALREADY_EXIST: Final = _row(
    "RoleAlreadyExist",
    Code.FAILED_PRECONDITION,
    "etcdserver: role name already exists",
)
ROLE_NOT_FOUND: Final = _row(
    "RoleNotFound",
    Code.FAILED_PRECONDITION,
    "etcdserver: role name not found",
)
ROLE_EMPTY: Final = _row("RoleEmpty", Code.INVALID_ARGUMENT, "etcdserver: role name is empty")
AUTH_FAILED: Final = _row(
    "AuthFailed",
    Code.INVALID_ARGUMENT,
    "etcdserver: authentication failed, invalid user ID or password",
)
PERMISSION_NOT_GIVEN: Final = _row(
    "PermissionNotGiven",
    Code.INVALID_ARGUMENT,
    "etcdserver: permission not given",
)
PERMISSION_DENIED: Final = _row(
    "PermissionDenied",
    Code.PERMISSION_DENIED,
    "etcdserver: permission denied",
)
ROLE_NOT_GRANTED: Final = _row(
    "RoleNotGranted",
    Code.FAILED_PRECONDITION,
    "etcdserver: role is not granted to the user",
)
PERMISSION_NOT_GRANTED: Final = _row(
    "PermissionNotGranted",
    Code.FAILED_PRECONDITION,
    "etcdserver: permission is not granted to the role",
)
AUTH_NOT_ENABLED: Final = _row(
    "AuthNotEnabled",
    Code.FAILED_PRECONDITION,
    "etcdserver: authentication is not enabled",
)
INVALID_AUTH_TOKEN: Final = _row(
    "InvalidAuthToken",
    Code.UNAUTHENTICATED,
    "etcdserver: invalid auth token",
)
INVALID_AUTH_MANAGEMENT: Final = _row(
    "InvalidAuthManagement",
    Code.INVALID_ARGUMENT,
    "etcdserver: invalid auth management",
)
AUTH_OLD_REVISION: Final = _row(
    "AuthOldRevision",
    Code.INVALID_ARGUMENT,
    "etcdserver: revision of auth store is old",
)
NO_LEADER: Final = _row("NoLeader", Code.UNAVAILABLE, "etcdserver: no leader")
NOT_LEADER: Final = _row("NotLeader", Code.FAILED_PRECONDITION, "etcdserver: not leader")
LEADER_CHANGED: Final = _row("LeaderChanged", Code.UNAVAILABLE, "etcdserver: leader changed")
NOT_CAPABLE: Final = _row("NotCapable", Code.FAILED_PRECONDITION, "etcdserver: not capable")
STOPPED: Final = _row("Stopped", Code.UNAVAILABLE, "etcdserver: server stopped")
TIMEOUT: Final = _row("Timeout", Code.UNAVAILABLE, "etcdserver: request timed out")
TIMEOUT_DUE_TO_LEADER_FAIL: Final = _row(
    "TimeoutDueToLeaderFail",
    Code.UNAVAILABLE,
    "etcdserver: request timed out, possibly due to previous leader failure",
)
TIMEOUT_DUE_TO_CONNECTION_LOST: Final = _row(
    "TimeoutDueToConnectionLost",
    Code.UNAVAILABLE,
    "etcdserver: request timed out, possibly due to connection lost",
)
TIMEOUT_WAIT_APPLIED_INDEX: Final = _row(
    "TimeoutWaitAppliedIndex",
    Code.UNAVAILABLE,
    "etcdserver: request timed out, waiting for the applied index took too long",
)
UNHEALTHY: Final = _row("Unhealthy", Code.UNAVAILABLE, "etcdserver: unhealthy cluster")
CORRUPT: Final = _row("Corrupt", Code.DATA_LOSS, "etcdserver: corrupt cluster")
NOT_SUPPORTED_FOR_LEARNER: Final = _row(
    "NotSupportedForLearner",
    Code.FAILED_PRECONDITION,
    "etcdserver: rpc not supported for learner",
)
BAD_LEADER_TRANSFEREE: Final = _row(
    "BadLeaderTransferee",
    Code.FAILED_PRECONDITION,
    "etcdserver: bad leader transferee",
)
WRONG_DOWNGRADE_VERSION_FORMAT: Final = _row(
    "WrongDowngradeVersionFormat",
    Code.INVALID_ARGUMENT,
    "etcdserver: wrong downgrade target version format",
)
INVALID_DOWNGRADE_TARGET_VERSION: Final = _row(
    "InvalidDowngradeTargetVersion",
    Code.INVALID_ARGUMENT,
    "etcdserver: invalid downgrade target version",
)
CLUSTER_VERSION_UNAVAILABLE: Final = _row(
    "ClusterVersionUnavailable",
    Code.FAILED_PRECONDITION,
    "etcdserver: cluster version not found during downgrade",
)
DOWNGRADE_IN_PROCESS: Final = _row(
    "DowngradeInProcess",
    Code.FAILED_PRECONDITION,
    "etcdserver: cluster has a downgrade job in progress",
)
NO_INFLIGHT_DOWNGRADE: Final = _row(
    "NoInflightDowngrade",
    Code.FAILED_PRECONDITION,
    "etcdserver: no inflight downgrade job",
)
NO_EARLIER_FORMAT: Final = _row(
    "NoEarlierFormat",
    Code.FAILED_PRECONDITION,
    "etcdserver: there is no earlier trioetcd to go down to; take a backup with `etcdctl snapshot "
    "save`, and let `etcdutl snapshot restore` of the etcd that you want make its data of it",
)
CANCELED: Final = _row("Canceled", Code.CANCELLED, "etcdserver: request canceled")
DEADLINE_EXCEEDED: Final = _row(
    "DeadlineExceeded",
    Code.DEADLINE_EXCEEDED,
    "context deadline exceeded",  # gRPC's words
)
CONTEXT_DEADLINE_EXCEEDED: Final = _row(
    "ContextDeadlineExceeded",
    Code.DEADLINE_EXCEEDED,
    "etcdserver: context deadline exceeded",  # etcd's own words, which it does not send
)
NO_PASSWORD_USER: Final = _row(
    "NoPasswordUser",
    Code.UNKNOWN,
    "auth: authentication failed, password was given for no password user",
)
TIMEOUT_LEADER_TRANSFER: Final = _row(
    "TimeoutLeaderTransfer",
    Code.UNKNOWN,
    "etcdserver: request timed out, leader transfer took too long",
)
UNKNOWN_METHOD: Final = _row("UnknownMethod", Code.UNKNOWN, "etcdserver: unknown method")
NOT_PRIMARY_LESSOR: Final = _row("NotPrimaryLessor", Code.UNKNOWN, "not a primary lessor")
ELECTION_NO_LEADER: Final = _row("ElectionNoLeader", Code.UNKNOWN, "election: no leader")
ELECTION_NOT_LEADER: Final = _row("ElectionNotLeader", Code.UNKNOWN, "election: not leader")
LEADER_KEY_MISSING: Final = _row(
    "LeaderKeyMissing",
    Code.UNKNOWN,
    '"leader" field must be provided',
)
SESSION_EXPIRED: Final = _row("SessionExpired", Code.UNKNOWN, "mutex: session is expired")
RANGE_STREAM_SORT: Final = _row(
    "RangeStreamSort",
    Code.UNIMPLEMENTED,
    "RangeStream does not support custom sort orders",
)
RANGE_STREAM_REVISION_FILTER: Final = _row(
    "RangeStreamRevisionFilter",
    Code.UNIMPLEMENTED,
    "RangeStream does not support revision filters",
)
