"""The versions a member tells: whole numbers that etcd's clients compare, hence etcd's."""

from __future__ import annotations

from typing import Final

from trioetcd.values import SERVER_VERSION

__all__ = ["CLUSTER_VERSION", "SERVER_VERSION"]

CLUSTER_VERSION: Final = "3.7.0"
"""What all members of the cluster can do; the patch number is always 0."""
