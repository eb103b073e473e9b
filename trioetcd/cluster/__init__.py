"""Who the cluster is: its members, the numbers that name them, the versions they answer for.

What must not live here: consensus (`raft` knows members as numbers only), and anything that talks
to a member.
"""

from __future__ import annotations

from trioetcd.cluster.commands import (
    CONF_CHANGES,
    MEMBER_ATTRIBUTES,
    REFUSED,
    Addition,
    Change,
    Promotion,
    Removal,
    Update,
    attributes_command,
    encode_change,
    encode_refused,
    is_removal_of,
)
from trioetcd.cluster.corruption import NOBODY_KNOWS, Standing, corrupt_members, standing
from trioetcd.cluster.downgrade import downgrade_refusal
from trioetcd.cluster.member import (
    ClusterView,
    Member,
    cluster_id,
    decode_member,
    encode_member,
    member_id,
    to_message,
)
from trioetcd.cluster.membership import MEMBER_TABLE, Membership, member_row, read_members
from trioetcd.cluster.rules import Connected, may_add, may_append, may_remove
from trioetcd.cluster.version import CLUSTER_VERSION, SERVER_VERSION

__all__ = [
    "CLUSTER_VERSION",
    "CONF_CHANGES",
    "MEMBER_ATTRIBUTES",
    "MEMBER_TABLE",
    "NOBODY_KNOWS",
    "REFUSED",
    "SERVER_VERSION",
    "Addition",
    "Change",
    "ClusterView",
    "Connected",
    "Member",
    "Membership",
    "Promotion",
    "Removal",
    "Standing",
    "Update",
    "attributes_command",
    "cluster_id",
    "corrupt_members",
    "decode_member",
    "downgrade_refusal",
    "encode_change",
    "encode_member",
    "encode_refused",
    "is_removal_of",
    "may_add",
    "may_append",
    "may_remove",
    "member_id",
    "member_row",
    "read_members",
    "standing",
    "to_message",
]
