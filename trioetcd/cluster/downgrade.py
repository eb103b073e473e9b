"""Which version a cluster could be taken down to, and why it cannot."""

from __future__ import annotations

import re
from typing import Final

from trioetcd.cluster.version import CLUSTER_VERSION
from trioetcd.errors import (
    INVALID_DOWNGRADE_TARGET_VERSION,
    NO_EARLIER_FORMAT,
    WRONG_DOWNGRADE_VERSION_FORMAT,
    ErrorRow,
)

__all__ = ["downgrade_refusal"]

_WORDS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION: Final = re.compile(
    rf"v?([0-9]{{1,20}})(?:\.([0-9]{{1,20}}))?(?:\.([0-9]{{1,20}}))?(?:-{_WORDS})?(?:\+{_WORDS})?"
)
"""What etcd takes for a version: SemVer, whose last numbers may be missing."""

_NUMBER_MAX: Final = 2**64 - 1


def downgrade_refusal(target: str) -> ErrorRow:
    """Say why the cluster does not go down to a version, in etcd's order.

    etcd goes down by one minor version, because the newer one can still write the older one's data.
    There is no older trioetcd, and its data was never etcd's.

    Args:
        target: the version, as it came.
    """
    match = _VERSION.fullmatch(target)
    if match is None or any(int(part) > _NUMBER_MAX for part in match.groups("0")):
        return WRONG_DOWNGRADE_VERSION_FORMAT
    major, minor = (int(part) for part in match.groups("0")[:2])
    ours, newest = (int(part) for part in CLUSTER_VERSION.split(".")[:2])
    if (major, minor) != (ours, newest - 1):
        return INVALID_DOWNGRADE_TARGET_VERSION
    return NO_EARLIER_FORMAT
