"""What a learner says instead of what is wrong with a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioetcd.errors import NOT_SUPPORTED_FOR_LEARNER, EtcdError
from trioetcd.schema import messages

__all__ = ["refusal_of"]

RANGE: Final = "/etcdserverpb.KV/Range"
STATUS: Final = "/etcdserverpb.Maintenance/Status"


def refusal_of(
    is_learner: Callable[[], bool], path: str, message: bytes, error: EtcdError
) -> EtcdError:
    """Say what a client is told whose call was refused with `error`.

    A learner tells everybody first that it is one (etcd), but looks only when there is
    something to tell, so that calls which are answered pay nothing for it.
    """
    if not is_learner() or path == STATUS:
        return error
    if path == RANGE and messages.RangeRequest.FromString(message).serializable:
        return error
    return EtcdError(NOT_SUPPORTED_FOR_LEARNER)
