"""Consensus and nothing else: values in, values out; no I/O, no clock, no chance of its own.

The contract with the owner, round after round::

    tick · propose  →  ready  →  persist  →  apply  →  advance

1. ``tick()`` when time passes, ``campaign()`` at once as a sole voter, ``propose(datas)``.
2. ``ready()`` says as one value what to persist. The owner puts hard state and groups into *one*
   atomic, synced batch and calls ``persist``; when, and only when, the batch is durable, it calls
   ``persisted``. At most one batch is in flight; what is proposed meanwhile waits for the next.
3. ``committed()`` gives, in order, entries that are committed *and* durable here. The owner
   applies them.
4. ``advance(applied)`` says how far it has come.

What must not live here: what an entry means, how bytes reach a disk or a peer.
"""

from __future__ import annotations

from trioetcd.raft.config import RaftConfig
from trioetcd.raft.entry import (
    GROUP_OVERHEAD,
    ConfState,
    CorruptGroupError,
    Group,
    HardState,
    Role,
    decode_group,
    encode_group,
)
from trioetcd.raft.log import Log
from trioetcd.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshotReply,
    Message,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from trioetcd.raft.quorum import VoteOutcome, committed_index, vote_outcome
from trioetcd.raft.raft import Raft
from trioetcd.raft.ready import Ready

__all__ = [
    "GROUP_OVERHEAD",
    "AppendEntries",
    "AppendEntriesReply",
    "ConfState",
    "CorruptGroupError",
    "Group",
    "HardState",
    "Heartbeat",
    "HeartbeatReply",
    "InstallSnapshotReply",
    "Log",
    "Message",
    "PreVote",
    "PreVoteReply",
    "Propose",
    "Raft",
    "RaftConfig",
    "ReadIndex",
    "ReadIndexReply",
    "Ready",
    "RequestVote",
    "RequestVoteReply",
    "Role",
    "TimeoutNow",
    "VoteOutcome",
    "committed_index",
    "decode_group",
    "encode_group",
    "vote_outcome",
]
