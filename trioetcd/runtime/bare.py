"""What a stream of two tasks raises, as if it had one: that there are two is nobody's business."""

from __future__ import annotations

import trio

__all__ = ["bare"]


def bare(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give what to raise instead of what a nursery raised.

    Where one task failed just as the stream was cancelled, the failure alone is left: whoever
    catches it by its class must find it, and nothing is left to be cancelled.
    """
    failures = group.split(trio.Cancelled)[1] or group
    return failures.exceptions[0] if len(failures.exceptions) == 1 else failures
