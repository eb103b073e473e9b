"""Raft, as this member uses it: restored from the disk, told which entries are changes of members.

Consensus knows entries as bytes. What it must know of them is said here: which ones change the
members, and what stands in place of one that a leader may not append.
"""

from __future__ import annotations

from trioetcd.cluster import (
    CONF_CHANGES,
    REFUSED,
    Membership,
    encode_refused,
    is_removal_of,
    may_append,
)
from trioetcd.errors import TOO_MANY_REQUESTS, ErrorRow
from trioetcd.ports import Entropy
from trioetcd.raft import Archive, Log, Raft, RaftConfig
from trioetcd.replica.applying import APPLY_CHUNK
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.rows import Recovered
from trioetcd.statemachine import COMMAND_FORMAT, HEAD, HEAD_SIZE, kind_of, request_of
from trioetcd.values import MemberID

__all__ = [
    "has_committed_in_term",
    "is_command",
    "is_conf_change",
    "is_removal",
    "refuse",
    "refuse_removal",
    "restore",
    "screen",
]


def is_command(data: bytes) -> bool:
    """Say whether bytes that another member proposes can be a command at all."""
    if len(data) < HEAD_SIZE or data[0] != COMMAND_FORMAT:
        return False
    try:
        request_of(data)
    except ValueError:
        return False
    return True


def is_conf_change(data: bytes) -> bool:
    """Say whether an entry changes who votes or learns."""
    return kind_of(data) in CONF_CHANGES


def is_removal(data: bytes, member: MemberID) -> bool:
    """Say whether an entry removes this member."""
    return is_conf_change(data) and is_removal_of(kind_of(data), request_of(data), member)


def has_committed_in_term(raft: Raft) -> bool:
    """Say whether an entry of the current term is known to be committed."""
    log = raft.log
    return log.term(log.commit) == raft.term


def refuse_removal(data: bytes, member: MemberID, row: ErrorRow) -> bytes:
    """Give the entry itself, or its refusal if it removes this member."""
    return refuse(data, row) if is_removal(data, member) else data


def refuse(data: bytes, row: ErrorRow) -> bytes:
    """Give the entry that tells the proposer of `data` why it was not appended."""
    _, _, member, boot, counter = HEAD.unpack_from(data)
    return HEAD.pack(COMMAND_FORMAT, REFUSED, member, boot, counter) + encode_refused(row)


def _refuse_for_now(data: bytes) -> bytes:
    """Refuse a change of members while another is under way, or the leader is too new."""
    return refuse(data, TOO_MANY_REQUESTS)


def screen(
    datas: list[bytes], raft: Raft, membership: Membership, config: ReplicaConfig
) -> list[bytes]:
    """Put refusals in place of the changes of members that a leader must not append.

    Args:
        datas: what is proposed, here or by another member.
        raft: the leader, who knows how far everybody is.
        membership: the members as applied.
        config: whether the quorum must be safe.
    """
    screened = []
    for data in datas:
        row = None
        if is_conf_change(data):
            kind, payload = kind_of(data), request_of(data)
            row = may_append(kind, payload, membership, raft.match, strict=config.strict_reconfig)
        screened.append(data if row is None else refuse(data, row))
    return screened


def restore(
    recovered: Recovered,
    config: ReplicaConfig,
    membership: Membership,
    entropy: Entropy,
    archive: Archive,
) -> Raft:
    """Let Raft go on where the disk says it was."""
    log = Log(
        first=recovered.first,
        first_term=recovered.first_term,
        applied=recovered.applied,
        commit=recovered.hard_state.commit,
        runs=recovered.runs,
        groups=recovered.entries,
        stable=recovered.last,
        archive=archive,
    )
    raft_config = RaftConfig(
        member_id=recovered.member_id,
        election_ticks=config.election_ticks,
        batch_bytes_max=config.batch_bytes_max,
        append_bytes_max=config.append_bytes_max,
        inflight_max=config.inflight_max,
        apply_entries_max=APPLY_CHUNK,
        is_conf_change=is_conf_change,
        refused=_refuse_for_now,
    )
    return Raft(
        config=raft_config,
        log=log,
        hard_state=recovered.hard_state,
        conf_state=membership.conf_state(),
        entropy=entropy,
    )
