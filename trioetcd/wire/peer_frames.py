"""What members say to each other, frame by frame, without the messages of Raft.

A frame is its length in four octets, big-endian, and one CBOR array: its kind, then its fields in
the order of the class. docs/peer-protocol.md says when which side sends which.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from trioetcd.ports import Row
from trioetcd.questions import Hashed
from trioetcd.values import ClusterID, Index, MemberID, Term
from trioetcd.wire.cbor import (
    Value,
    all_bytes,
    as_array,
    as_bytes,
    as_number,
    as_text,
    decode,
    encode,
)
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits

__all__ = [
    "DIGEST_BYTES",
    "PROTOCOL",
    "Accepted",
    "Failed",
    "FrameKind",
    "FrameReader",
    "HashAsked",
    "Hello",
    "Installed",
    "Members",
    "OtherVersion",
    "Purpose",
    "Refusal",
    "Refused",
    "SnapshotHead",
    "Welcome",
    "decode_answer",
    "decode_asked",
    "decode_digest",
    "decode_head",
    "decode_hello",
    "decode_rows",
    "encode_answer",
    "encode_asked",
    "encode_digest",
    "encode_head",
    "encode_hello",
    "encode_rows",
    "frame",
    "kind_of",
]

PROTOCOL: Final = 1
"""The version of all that is said here; a listener refuses every other one."""

DIGEST_BYTES: Final = 32
"""SHA-256 over what the frames of a snapshot hold, head and rows, in order."""

_LENGTH: Final = Struct(">I")
_VERSION_LETTERS_MAX: Final = 64
_CODE_LETTERS_MAX: Final = 32
_URL_LETTERS_MAX: Final = 512
_INDEX_BITS: Final = 63
_NUMBER_BITS: Final = 64


class FrameKind(IntEnum):
    """The first item of every frame."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    MESSAGES = 4
    SNAPSHOT_HEAD = 5
    ACCEPTED = 6
    ROWS = 7
    SNAPSHOT_END = 8
    INSTALLED = 9
    FAILED = 10
    MEMBERS = 11
    HASH_REVISION = 12
    HASH = 13


_FRAME_KINDS: Final = {kind.value: kind for kind in FrameKind}


class Purpose(IntEnum):
    """What a connection is for: the dialler says so in its hello."""

    MESSAGES = 1
    SNAPSHOT = 2
    MEMBERS = 3
    CHAIN_HASH = 4
    CONTENT_HASH = 5

    @property
    def asks_hash(self) -> bool:
        """Whether it is what the listener's data hashes to, in one way or another."""
        return self in {Purpose.CHAIN_HASH, Purpose.CONTENT_HASH}


class Refusal:
    """Why a listener turns somebody away, for programs; `Refused.reason` is for people."""

    VERSION: Final = "version"
    CLUSTER: Final = "cluster"
    RECEIVER: Final = "receiver"
    UNKNOWN: Final = "unknown"
    REMOVED: Final = "removed"
    SNAPSHOT: Final = "snapshot"
    COMPACTED: Final = "compacted"
    FUTURE: Final = "future"


class Hello(NamedTuple):
    """The dialler's first frame: who it is, and whom it believes to have reached.

    Attributes:
        purpose: what it came for.
        cluster: the cluster it belongs to; 0 if it is about to join and asks for the members.
        sender: itself; 0 likewise.
        receiver: the member it dialled; 0 likewise.
        boot: 64 random bits drawn when it started.
        version: of the server, for people.
        peer_urls: where it is reached itself: a listener that lags may not know this member yet.
    """

    purpose: Purpose
    cluster: ClusterID
    sender: MemberID
    receiver: MemberID
    boot: int
    version: str
    peer_urls: tuple[str, ...]


class OtherVersion(NamedTuple):
    """A hello in another version of the protocol: all that can be read of it."""

    protocol: int


class Welcome(NamedTuple):
    """The listener's answer to a hello it agrees with.

    Attributes:
        boot: 64 random bits drawn when it started.
        version: of the server, for people.
    """

    boot: int
    version: str


class Refused(NamedTuple):
    """The listener's answer to a hello, a snapshot or a question that it does not agree with.

    Attributes:
        code: one of `Refusal`, or one that a later version knows.
        reason: a sentence.
    """

    code: str
    reason: str


class SnapshotHead(NamedTuple):
    """What a snapshot is of.

    Attributes:
        term: the sender's.
        last_index: the last entry that is part of it.
        last_term: that entry's term.
        meta: whatever else the receiver needs, in the sender's own form.
    """

    term: Term
    last_index: Index
    last_term: Term
    meta: bytes


class Accepted(NamedTuple):
    """The rows of the snapshot may come."""


class Installed(NamedTuple):
    """The snapshot is the receiver's state now, durably."""


class Failed(NamedTuple):
    """The snapshot could not be taken over.

    Attributes:
        reason: a sentence.
    """

    reason: str


class Members(NamedTuple):
    """The answer to who asks for the members.

    Attributes:
        cluster: their cluster.
        members: each in its stored form (`trioetcd.cluster.encode_member`).
    """

    cluster: ClusterID
    members: list[bytes]


class HashAsked(NamedTuple):
    """The question what the listener's data hashes to, as of a revision."""

    revision: int


Answer = Welcome | Refused | Accepted | Installed | Failed | Members | Hashed
"""What a listener says."""


class FrameReader:
    """Cuts bytes into frames; holds at most one frame that is not whole, and what came with it.

    Attributes:
        buffer: what came and is in no frame yet, and perhaps frames before it; empty if all that
            came has been given in frames.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._start = 0

    def __len__(self) -> int:
        return len(self.buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        if self._start:
            del self.buffer[: self._start]
            self._start = 0
        self.buffer += data

    def next(self, length_max: int) -> bytes | None:
        """Give what the next frame holds, without its length; None if it is not whole yet.

        Raises:
            RemoteProtocolError: it announces more than `length_max`; that is decided by the
                length alone, nothing of that size is ever held.
        """
        held = len(self.buffer) - self._start
        if held < _LENGTH.size:
            return None
        length: int = _LENGTH.unpack_from(self.buffer, self._start)[0]
        if length > length_max:
            raise RemoteProtocolError(f"a frame of {length} bytes, where {length_max} may come")
        if held < _LENGTH.size + length:
            return None
        begin = self._start + _LENGTH.size
        end = begin + length
        whole = bytes(memoryview(self.buffer)[begin:end])
        if end == len(self.buffer):
            self.buffer.clear()
            end = 0
        self._start = end
        return whole


def frame(payload: bytes) -> bytes:
    """Give `payload` with its length."""
    return _LENGTH.pack(len(payload)) + payload


def kind_of(items: list[Value]) -> FrameKind:
    """Give the kind of a decoded frame.

    Raises:
        RemoteProtocolError: there is none of this number.
    """
    kind = _FRAME_KINDS.get(as_number(items[0], 8)) if items else None
    if kind is None:
        raise RemoteProtocolError("a frame of no known kind")
    return kind


def _fields(data: bytes, kind: FrameKind, count: int, items_max: int) -> list[Value]:
    """Read the fields of a frame that must be of `kind` and have `count` of them."""
    items = decode(data, items_max=items_max)
    if kind_of(items) is not kind:
        raise RemoteProtocolError(f"a frame of another kind than {kind.name}")
    if len(items) != count + 1:
        raise RemoteProtocolError(f"{kind.name} has {count} fields")
    return items[1:]


def encode_hello(hello: Hello) -> bytes:
    """Give the payload of a hello."""
    urls = list(hello.peer_urls)
    return encode([FrameKind.HELLO.value, PROTOCOL, hello.purpose.value, *hello[1:-1], urls])


def decode_hello(data: bytes) -> Hello | OtherVersion:
    """Read a hello; of one in another version of the protocol, only that version.

    Raises:
        RemoteProtocolError: it is none.
    """
    items = decode(data, items_max=64)
    if kind_of(items) is not FrameKind.HELLO or len(items) < 2:
        raise RemoteProtocolError("the first frame must be a hello")
    protocol = as_number(items[1], 32)
    if protocol != PROTOCOL:
        return OtherVersion(protocol)
    if len(items) != 9:
        raise RemoteProtocolError("a hello has 8 fields")
    purpose, cluster, sender, receiver, boot, version, urls = items[2:]
    try:
        known = Purpose(as_number(purpose, 8))
    except ValueError:
        raise RemoteProtocolError("a hello with a purpose nobody knows") from None
    return Hello(
        known,
        ClusterID(as_number(cluster, _NUMBER_BITS)),
        MemberID(as_number(sender, _NUMBER_BITS)),
        MemberID(as_number(receiver, _NUMBER_BITS)),
        as_number(boot, _NUMBER_BITS),
        as_text(version, _VERSION_LETTERS_MAX),
        tuple(as_text(url, _URL_LETTERS_MAX) for url in as_array(urls)),
    )


_ANSWERS: Final = {
    Welcome: FrameKind.WELCOME,
    Refused: FrameKind.REFUSED,
    Accepted: FrameKind.ACCEPTED,
    Installed: FrameKind.INSTALLED,
    Failed: FrameKind.FAILED,
    Members: FrameKind.MEMBERS,
    Hashed: FrameKind.HASH,
}


def encode_answer(answer: Answer, limits: PeerLimits) -> bytes:
    """Give the payload of an answer; a sentence that is too long is cut."""
    fields = [
        part[: limits.reason_letters_max] if isinstance(part, str) else part for part in answer
    ]
    return encode([_ANSWERS[type(answer)].value, *fields])


def decode_answer(data: bytes, limits: PeerLimits) -> Answer:
    """Read what a listener says.

    Raises:
        RemoteProtocolError: it is nothing that a listener says.
    """
    items = decode(data, items_max=limits.items_max)
    match kind_of(items), items[1:]:
        case FrameKind.WELCOME, [boot, version]:
            return Welcome(as_number(boot, _NUMBER_BITS), as_text(version, _VERSION_LETTERS_MAX))
        case FrameKind.REFUSED, [code, reason]:
            return Refused(
                as_text(code, _CODE_LETTERS_MAX), as_text(reason, limits.reason_letters_max)
            )
        case FrameKind.ACCEPTED, []:
            return Accepted()
        case FrameKind.INSTALLED, []:
            return Installed()
        case FrameKind.FAILED, [reason]:
            return Failed(as_text(reason, limits.reason_letters_max))
        case FrameKind.MEMBERS, [cluster, members]:
            known = [as_bytes(member, limits.meta_bytes_max) for member in as_array(members)]
            return Members(ClusterID(as_number(cluster, _NUMBER_BITS)), known)
        case FrameKind.HASH, [hashed, revision, compact_revision]:
            return Hashed(
                as_number(hashed, _NUMBER_BITS),
                as_number(revision, _INDEX_BITS),
                as_number(compact_revision, _INDEX_BITS),
            )
        case _:
            raise RemoteProtocolError("a listener says no such thing")


def encode_asked(asked: HashAsked) -> bytes:
    """Give the payload of a question for a hash."""
    return encode([FrameKind.HASH_REVISION.value, *asked])


def decode_asked(data: bytes) -> HashAsked:
    """Read a question for a hash.

    Raises:
        RemoteProtocolError: it is none.
    """
    (revision,) = _fields(data, FrameKind.HASH_REVISION, 1, 8)
    return HashAsked(as_number(revision, _INDEX_BITS))


def encode_head(head: SnapshotHead) -> bytes:
    """Give the payload of a snapshot's head."""
    return encode([FrameKind.SNAPSHOT_HEAD.value, *head])


def decode_head(data: bytes, limits: PeerLimits) -> SnapshotHead:
    """Read a snapshot's head.

    Raises:
        RemoteProtocolError: it is none.
    """
    term, last_index, last_term, meta = _fields(data, FrameKind.SNAPSHOT_HEAD, 4, 8)
    return SnapshotHead(
        Term(as_number(term, _INDEX_BITS)),
        Index(as_number(last_index, _INDEX_BITS)),
        Term(as_number(last_term, _INDEX_BITS)),
        as_bytes(meta, limits.meta_bytes_max),
    )


def encode_rows(rows: list[Row]) -> bytes:
    """Give the payload of a piece of a snapshot: keys and values in turn."""
    items: list[Value] = [FrameKind.ROWS.value]
    for row in rows:
        items += row
    return encode(items)


def decode_rows(items: list[Value]) -> list[Row]:
    """Take the rows of a piece of a snapshot from its decoded frame.

    Raises:
        RemoteProtocolError: a key without a value, or something else than byte strings.
    """
    if not len(items) & 1:
        raise RemoteProtocolError("a key of a snapshot has no value")
    values = all_bytes(items[1:])
    return list(zip(values[::2], values[1::2], strict=True))


def encode_digest(digest: bytes) -> bytes:
    """Give the payload of a snapshot's end."""
    return encode([FrameKind.SNAPSHOT_END.value, digest])


def decode_digest(items: list[Value]) -> bytes:
    """Take the digest from the decoded frame of a snapshot's end.

    Raises:
        RemoteProtocolError: there is none.
    """
    if len(items) != 2:
        raise RemoteProtocolError("SNAPSHOT_END has 1 field")
    digest = as_bytes(items[1], DIGEST_BYTES)
    if len(digest) != DIGEST_BYTES:
        raise RemoteProtocolError(f"a digest has {DIGEST_BYTES} octets")
    return digest
