"""What is compared of an answer: what two clusters never share gets a name, or is left out.

Compared is every field of an answer and every field of an error (its code and text), but

* ids of the cluster and of members, and Raft's term (`comparison.OWN_CHOICE`), are left out;
* of LeaseTimeToLive the keys are compared as a set, and the remaining seconds may differ by two;
* LeaseLeases of three members is compared as a set: etcd's followers keep no order;
* of Alarm the alarms are compared as a set, and own members by place;
* of Status, `version` and what 3.5 does not have stand in `newer`; the leader is compared by
  whether it is a member; sizes and Raft's indexes are each one's own;
* of HashKV the hash itself is each implementation's own, and `hash_revision` stands in `newer`;
* of MemberList names, learners, and how many URLs there are, in the order of names.

A request that is answered from a member's own state, without asking the others, is only sent
when the member has caught up with all that was answered before (`needs_catching_up`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.differential.comparison import Difference, Fields
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

__all__ = ["needs_catching_up", "steady", "tolerable"]

_LOCAL: Final = frozenset(
    {
        "Cluster/MemberList",
        "Lease/LeaseLeases",
        "Lease/LeaseTimeToLive",
        "Maintenance/HashKV",
        "Maintenance/Status",
    }
)


def needs_catching_up(rpc: str, request: Message) -> bool:
    """Whether a member may answer from its own state, whatever the others have applied."""
    if isinstance(request, messages.RangeRequest):
        return request.serializable
    return rpc in _LOCAL or isinstance(request, messages.TxnRequest)


def steady(
    rpc: str,
    message: Message | None,
    fields: Fields,
    members: Sequence[int],
) -> Fields:
    """Give the fields of an answer that can be compared.

    Args:
        rpc: what was called.
        message: the answer; None for an error.
        fields: the answer's fields, or the error.
        members: the ids of the cluster's members.
    """
    change = _STEADY.get(rpc)
    return fields if change is None or message is None else change(message, fields, members)


def _without(fields: Fields, *prefixes: str) -> Fields:
    return {path: value for path, value in fields.items() if not path.startswith(prefixes)}


def _time_to_live(_message: Message, fields: Fields, _members: Sequence[int]) -> Fields:
    keys = sorted(str(value) for path, value in fields.items() if path.startswith("keys["))
    return {**_without(fields, "keys["), "keys, sorted": keys}


def _leases(_message: Message, fields: Fields, members: Sequence[int]) -> Fields:
    if len(members) == 1:
        return fields
    ids = sorted(str(value) for path, value in fields.items() if path.startswith("leases["))
    return {**_without(fields, "leases["), "leases, sorted": ids}


def _alarm(message: Message, fields: Fields, members: Sequence[int]) -> Fields:
    assert isinstance(message, messages.AlarmResponse)
    alarms = sorted(
        (alarm.alarm, "own" if alarm.memberID in members else str(alarm.memberID))
        for alarm in message.alarms
    )
    return {**_without(fields, "alarms["), "alarms, sorted": alarms}


def _status(message: Message, _fields: Fields, members: Sequence[int]) -> Fields:
    assert isinstance(message, messages.StatusResponse)
    return {
        "header.revision": message.header.revision,
        "leader": message.leader in members,
        "isLearner": message.isLearner,
        # etcd writes messages of protobuf here, whose white space says nothing
        "errors, sorted": sorted(" ".join(error.split()) for error in message.errors),
        "sizes": message.dbSize >= message.dbSizeInUse > 0,
        "indexes": message.raftIndex >= message.raftAppliedIndex > 0,
        "term": message.raftTerm == message.header.raft_term,
    }


def _hash_kv(_message: Message, fields: Fields, _members: Sequence[int]) -> Fields:
    return _without(fields, "hash")


def _member_list(message: Message, fields: Fields, members: Sequence[int]) -> Fields:
    assert isinstance(message, messages.MemberListResponse)
    own = [member.ID for member in message.members]
    listed = sorted(
        (member.name, member.isLearner, len(member.peerURLs), len(member.clientURLs))
        for member in message.members
    )
    return {
        "header.revision": fields.get("header.revision"),
        "members": listed,
        "ids ascend": own == sorted(own) and set(own) == set(members),
    }


_STEADY: Final[dict[str, Callable[[Message, Fields, Sequence[int]], Fields]]] = {
    "Cluster/MemberList": _member_list,
    "Lease/LeaseLeases": _leases,
    "Lease/LeaseTimeToLive": _time_to_live,
    "Maintenance/Alarm": _alarm,
    "Maintenance/HashKV": _hash_kv,
    "Maintenance/Status": _status,
}


def tolerable(difference: Difference) -> bool:
    """Two clocks: the remaining seconds of a lease may differ by one or two."""
    expected, got = difference.expected, difference.got
    return (
        difference.field == "TTL"
        and isinstance(expected, int)
        and isinstance(got, int)
        and min(expected, got) > 3
        and abs(expected - got) <= 2
    )
