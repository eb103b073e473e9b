"""Consensus and nothing else: values in, values out; no I/O, no clock, no chance of its own.

The contract with the owner, round after round::

    tick · step · propose  →  ready  →  persist  →  messages  →  apply  →  advance

1. ``tick()`` when a heartbeat interval has passed, ``step(message)`` for what other members say,
   ``propose(datas)`` and ``request_read(context)`` for what clients want, ``campaign()`` at once
   as a sole voter.
2. ``ready()`` says as one value what to persist. The owner puts hard state and groups into *one*
   atomic, synced batch, deletes in it the stored groups that begin at or after ``truncated``, and
   calls ``persist``; when, and only when, the batch is durable, it calls ``persisted``. At most
   one batch is in flight; what comes meanwhile waits for the next.
3. ``take_messages()`` gives what may be sent now, whether or not a batch is in flight: a message is
   held back until what it promises is durable. Messages may be lost, doubled and reordered.
   ``take_snapshots()`` names members whose entries are gone; ``report_snapshot`` and
   ``report_unreachable`` say how a transfer or a link ended.
4. ``committed()`` gives, in order, entries that are committed *and* durable here. The owner
   applies them, ``apply_conf_change`` for a membership change among them, before it
   says with ``advance(applied)`` how far it has come.
5. ``take_reads()`` gives the reads that may be answered once their index is applied.
6. ``leader`` is 0 while none is known; what was proposed or read through it may be lost then.

A member that is offered a snapshot asks ``offered_snapshot`` when it begins and again before it
cuts the batch that installs it, and calls ``restore`` when that batch is durable.

What must not live here: what an entry means, how bytes reach a disk or a peer.
"""

from __future__ import annotations

from trioetcd.raft.confchange import (
    AddLearner,
    AddVoter,
    ConfChange,
    ConfChangeError,
    Remove,
    enter_joint,
    leave_joint,
    simple,
)
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
from trioetcd.raft.log import Archive, Log
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
    in_order,
)
from trioetcd.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from trioetcd.raft.quorum import (
    VoteOutcome,
    committed_index,
    joint_committed_index,
    joint_vote_outcome,
    vote_outcome,
)
from trioetcd.raft.raft import Raft
from trioetcd.raft.read_index import ReadRounds
from trioetcd.raft.ready import Ready

__all__ = [
    "GROUP_OVERHEAD",
    "PROBE",
    "REPLICATE",
    "SNAPSHOT",
    "AddLearner",
    "AddVoter",
    "AppendEntries",
    "AppendEntriesReply",
    "Archive",
    "ConfChange",
    "ConfChangeError",
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
    "Progress",
    "Propose",
    "Raft",
    "RaftConfig",
    "ReadIndex",
    "ReadIndexReply",
    "ReadRounds",
    "Ready",
    "Remove",
    "RequestVote",
    "RequestVoteReply",
    "Role",
    "TimeoutNow",
    "VoteOutcome",
    "committed_index",
    "decode_group",
    "encode_group",
    "enter_joint",
    "in_order",
    "joint_committed_index",
    "joint_vote_outcome",
    "leave_joint",
    "simple",
    "vote_outcome",
]
