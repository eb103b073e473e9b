"""Who the cluster is: its members, the numbers that name them, the versions they answer for.

What must not live here: consensus (`raft` knows voters as numbers only), and anything that talks
to a member.
"""

from __future__ import annotations

from trioetcd.cluster.member import Member, cluster_id, decode_member, encode_member, member_id
from trioetcd.cluster.membership import (
    MEMBER_ATTRIBUTES,
    MEMBER_TABLE,
    Membership,
    attributes_command,
    member_row,
)
from trioetcd.cluster.version import CLUSTER_VERSION, SERVER_VERSION

__all__ = [
    "CLUSTER_VERSION",
    "MEMBER_ATTRIBUTES",
    "MEMBER_TABLE",
    "SERVER_VERSION",
    "Member",
    "Membership",
    "attributes_command",
    "cluster_id",
    "decode_member",
    "encode_member",
    "member_id",
    "member_row",
]
