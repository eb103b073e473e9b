"""What of a request or an answer may be written down: everything that is listed, nothing else.

Audit records are made of it (docs/audit.md). Keys, names and numbers are told as they are; of a
value its size; of a password, a hash or a token nothing at all, not even that. A field that no
list names is left out, so that one which a later version adds is secret until somebody decides.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from trioetcd.schema.messages import CLASSES, Message

__all__ = ["TEXT_BYTES_MAX", "disclose", "told_fields", "told_text"]

TEXT_BYTES_MAX: Final = 1024
"""Of a longer key or name the beginning is told, with its size and hash; a key may have 1.5 MB."""

_LISTS: Final = """
etcdserverpb.PutRequest: key=text value=size lease=id prev_kv ignore_value ignore_lease
etcdserverpb.RangeRequest: key=text range_end=text
etcdserverpb.DeleteRangeRequest: key=text range_end=text prev_kv
etcdserverpb.TxnRequest: compare=each success=each failure=each
etcdserverpb.Compare: result=word target=word key=text range_end=text version create_revision
    mod_revision value=size lease=id
etcdserverpb.RequestOp: request_range=one request_put=one request_delete_range=one request_txn=one
etcdserverpb.CompactionRequest: revision physical
etcdserverpb.LeaseGrantRequest: TTL ID=id
etcdserverpb.LeaseRevokeRequest: ID=id
etcdserverpb.MemberAddRequest: peerURLs=texts isLearner
etcdserverpb.MemberRemoveRequest: ID=id
etcdserverpb.MemberUpdateRequest: ID=id peerURLs=texts
etcdserverpb.MemberPromoteRequest: ID=id
etcdserverpb.AlarmRequest: action=word memberID=id alarm=word
etcdserverpb.DefragmentRequest:
etcdserverpb.SnapshotRequest:
etcdserverpb.MoveLeaderRequest: targetID=id
etcdserverpb.DowngradeRequest: action=word version=text
etcdserverpb.AuthEnableRequest:
etcdserverpb.AuthDisableRequest:
etcdserverpb.AuthenticateRequest: name=text
etcdserverpb.AuthUserAddRequest: name=text options=one
etcdserverpb.AuthUserDeleteRequest: name=text
etcdserverpb.AuthUserChangePasswordRequest: name=text
etcdserverpb.AuthUserGrantRoleRequest: user=text role=text
etcdserverpb.AuthUserRevokeRoleRequest: name=text role=text
etcdserverpb.AuthRoleAddRequest: name=text
etcdserverpb.AuthRoleDeleteRequest: role=text
etcdserverpb.AuthRoleGrantPermissionRequest: name=text perm=one
etcdserverpb.AuthRoleRevokePermissionRequest: role=text key=text range_end=text
authpb.UserAddOptions: no_password
authpb.Permission: permType=word key=text range_end=text
v3lockpb.LockRequest: name=text lease=id
v3lockpb.UnlockRequest: key=text
v3electionpb.CampaignRequest: name=text lease=id value=size
v3electionpb.ProclaimRequest: leader=one value=size
v3electionpb.ResignRequest: leader=one
v3electionpb.LeaderKey: name=text key=text rev lease=id

etcdserverpb.DeleteRangeResponse: deleted
etcdserverpb.TxnResponse: succeeded responses=each
etcdserverpb.ResponseOp: response_delete_range=one response_txn=one
etcdserverpb.LeaseGrantResponse: ID=id TTL
etcdserverpb.MemberAddResponse: member=one
etcdserverpb.Member: ID=id peerURLs=texts isLearner
etcdserverpb.AlarmResponse: alarms=each
etcdserverpb.AlarmMember: memberID=id alarm=word
v3lockpb.LockResponse: key=text
v3electionpb.CampaignResponse: leader=one
"""
"""By message, the fields that are told, and how; without a word for that, as the number it is."""


def told_text(data: bytes | str) -> str:
    """Give a key or name as JSON.

    UTF-8 is a string, in which everything but printable ASCII is escaped; other bytes are
    ``{"base64": ...}``; what is too long is ``{"begins": ..., "bytes": ..., "sha256": ...}``.
    """
    if isinstance(data, bytes):
        if len(data) > TEXT_BYTES_MAX:
            return _told_beginning(data)
        try:
            data = data.decode()
        except UnicodeDecodeError:
            assert isinstance(data, bytes)
            return f'{{"base64":"{b64encode(data).decode()}"}}'
    elif len(data) * 4 > TEXT_BYTES_MAX:
        return told_text(data.encode())
    return encode_basestring_ascii(data)


def _told_beginning(data: bytes) -> str:
    begins = encode_basestring_ascii(data[:TEXT_BYTES_MAX].decode(errors="replace"))
    return f'{{"begins":{begins},"bytes":{len(data)},"sha256":"{sha256(data).hexdigest()}"}}'


def _told_number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value))


def _told_id(value: int) -> str:
    # Hexadecimal as in etcdctl; and a JSON number of 64 bits is not read alike everywhere.
    return f'"{value & 0xFFFFFFFFFFFFFFFF:x}"'


def _told_size(value: bytes) -> str:
    return f'{{"bytes":{len(value)}}}'


def _told_texts(values: Sequence[str]) -> str:
    return f"[{','.join([told_text(value) for value in values])}]"


def _told_each(values: Sequence[Message]) -> str:
    return f"[{','.join([disclose(value) for value in values])}]"


def disclose(message: Message) -> str:
    """Give what may be told of a message as a JSON object, in one line of ASCII.

    Enumerations and what is set are told; zeros and empty texts are left out, as in JSON of the
    gateway.
    """
    told, words, simple = _TOLD[type(message)]
    if simple:
        parts = [
            f'"{name}":{tell(value)}' for name, tell in simple if (value := getattr(message, name))
        ]
        return f"{{{','.join(parts)}}}"
    parts = [
        f'"{name}":{encode_basestring_ascii(word_of(getattr(message, name)))}'
        for name, word_of in words
    ]
    for field, value in message.ListFields():
        tell = told.get(field.name)
        if tell is not None:
            parts.append(f'"{field.name}":{tell(value)}')
    return f"{{{','.join(parts)}}}"


def told_fields() -> Mapping[str, frozenset[str]]:
    """Give, by full name of the message, the fields of which anything is told."""
    return {
        kind.DESCRIPTOR.full_name: frozenset({*told, *(name for name, _ in words)})
        for kind, (told, words, _) in _TOLD.items()
    }


_WAYS: Final[dict[str, Callable[[Any], str]]] = {
    "": _told_number,
    "text": told_text,
    "texts": _told_texts,
    "id": _told_id,
    "size": _told_size,
    "one": lambda message: disclose(message),  # noqa: PLW0108 - a table of itself
    "each": _told_each,
}

_Tell = Callable[[Any], str]

_Simple = tuple[tuple[str, _Tell], ...]
"""All fields of a message in which none is a message, repeated, or told from being zero: puts."""

_Words = tuple[tuple[str, Callable[[int], str]], ...]
"""Enumerations: the field's name, and what gives the word for its number."""


def _word_of(kind: type[Message], name: str) -> Callable[[int], str]:
    enum = kind.DESCRIPTOR.fields_by_name[name].enum_type
    assert enum is not None, name
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, str(number))


def _is_simple(kind: type[Message], ways: Mapping[str, str]) -> bool:
    fields = kind.DESCRIPTOR.fields_by_name
    return {*ways.values()} <= {"", "text", "id", "size"} and not any(
        fields[name].has_presence for name in ways
    )


def _read_lists() -> dict[type[Message], tuple[dict[str, _Tell], _Words, _Simple]]:
    lists: dict[type[Message], tuple[dict[str, _Tell], _Words, _Simple]] = {}
    for line in _LISTS.replace("\n    ", " ").split("\n"):
        name, _, fields = line.partition(":")
        if not name:
            continue
        kind = CLASSES[name]
        ways = {field: way for field, _, way in (word.partition("=") for word in fields.split())}
        assert set(ways) <= {*kind.DESCRIPTOR.fields_by_name}, name
        words = tuple((field, _word_of(kind, field)) for field in ways if ways[field] == "word")
        told = {field: _WAYS[way] for field, way in ways.items() if way != "word"}
        lists[kind] = told, words, tuple(told.items()) if _is_simple(kind, ways) else ()
    return lists


_TOLD: Final = _read_lists()
