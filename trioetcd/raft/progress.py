"""What a leader knows of one other member: where its log is, and what is under way to it.

Three states. *Probe*: where the logs agree is being found out, one message at a time. *Replicate*:
entries are sent on without waiting, up to a bounded number of unacknowledged messages. *Snapshot*:
the entries it needs are gone, so it gets a snapshot and nothing else.

The index up to which the member is known to agree (`match`) is kept by the leader in one mapping,
because majorities are counted over it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trioetcd.values import Index

__all__ = ["PROBE", "REPLICATE", "SNAPSHOT", "Progress"]

PROBE: Final = "probe"
REPLICATE: Final = "replicate"
SNAPSHOT: Final = "snapshot"


class Progress:
    """One member as its leader sees it.

    Attributes:
        state: PROBE, REPLICATE or SNAPSHOT.
        next: the next index to send.
        paused: in PROBE, a message is under way and its answer is waited for.
        due: a message goes even if there is nothing new to say.
        active: an answer has come since the leader last counted its quorum.
        round: the latest read round that was acknowledged.
        commit_sent: the commit index told last.
        snapshot: in SNAPSHOT, where the snapshot is expected to end.
        inflight: the last index of every message with entries that is not acknowledged.
    """

    __slots__ = (
        "active",
        "commit_sent",
        "due",
        "inflight",
        "next",
        "paused",
        "round",
        "snapshot",
        "state",
    )

    def __init__(self, following: Index) -> None:
        self.state: str = PROBE
        self.next = following
        self.paused = False
        self.due = True
        self.active = False
        self.round = 0
        self.commit_sent = Index(0)
        self.snapshot = Index(0)
        self.inflight: deque[Index] = deque()

    def probe(self, following: int) -> None:
        """Find out whether the logs agree just before index `following`."""
        self.state = PROBE
        self.next = Index(following)
        self.paused = False
        self.due = True
        self.inflight.clear()
        self.commit_sent = Index(0)

    def replicate(self, match: Index) -> None:
        """Send on behind `match`, where the logs agree."""
        self.state = REPLICATE
        self.next = Index(match + 1)
        self.paused = False
        self.due = False
        self.inflight.clear()

    def install(self, index: Index) -> None:
        """Wait until a snapshot that ends about `index` has been sent."""
        self.state = SNAPSHOT
        self.snapshot = index
        self.inflight.clear()

    def acknowledged(self, index: Index) -> None:
        """Forget the messages under way that `index` answers."""
        inflight = self.inflight
        while inflight and inflight[0] <= index:
            inflight.popleft()
