"""What a leader knows of a member: three states and what is under way."""

from __future__ import annotations

from trioetcd.raft import PROBE, REPLICATE, SNAPSHOT, Progress
from trioetcd.values import Index


def test_a_member_begins_as_unknown() -> None:
    """Where the logs agree must be found out before anything else."""
    progress = Progress(Index(5))
    assert (progress.state, progress.next, progress.due) == (PROBE, 5, True)
    assert not progress.active


def test_states() -> None:
    """Each state begins without anything under way."""
    progress = Progress(Index(5))
    progress.paused = True
    progress.replicate(Index(7))
    assert (progress.state, progress.next, progress.paused) == (REPLICATE, 8, False)
    progress.inflight.append(Index(9))
    progress.install(Index(20))
    assert (progress.state, progress.snapshot, len(progress.inflight)) == (SNAPSHOT, 20, 0)
    progress.commit_sent = Index(3)
    progress.probe(8)
    assert (progress.state, progress.next, progress.due, progress.commit_sent) == (
        PROBE,
        8,
        True,
        0,
    )


def test_an_acknowledgement_answers_all_before_it() -> None:
    """One answer frees every message up to its index."""
    progress = Progress(Index(1))
    progress.inflight.extend(Index(index) for index in (3, 5, 9))
    progress.acknowledged(Index(6))
    assert [9] == list(progress.inflight)
    progress.acknowledged(Index(9))
    assert not progress.inflight
