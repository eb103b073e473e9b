"""Tests of `trioetcd.node.upkeep`: what a member does by itself, and what it leaves alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.runtime.member import Disk, running
from trioetcd.node.config import parse
from trioetcd.node.upkeep import start_upkeep
from trioetcd.runtime.trace import Log

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("line", "free", "said"),
    [
        ("", 1 << 40, []),
        ("--bootstrap-defrag-threshold-megabytes=2", MEGABYTE, ["Skipping defragmentation"]),
        (
            "--bootstrap-defrag-threshold-megabytes=2",
            3 * MEGABYTE,
            ["defragmenting", "finished defragmenting"],
        ),
    ],
)
async def test_defragmentation_at_a_start(
    line: str, free: int, said: list[str], tmp_path: Path
) -> None:
    """Above the threshold everything is compacted, after the start and beside all else."""
    disk = Disk()
    disk.extra = free
    path = tmp_path / "log"
    log = Log([os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)])
    async with running(disk) as server, trio.open_nursery() as nursery:
        start_upkeep(nursery, parse(line.split(), {}), server, log)
        if "finished defragmenting" in said:
            while b"finished" not in path.read_bytes():
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    log.close()
    assert said == [json.loads(each)["msg"] for each in path.read_text().splitlines()]
    assert bool(disk.compacted) == ("finished defragmenting" in said)


@pytest.mark.parametrize(
    ("line", "allowance"),
    [
        ("", None),
        ("--compaction-batch-limit=7", None),
        ("--compaction-sleep-interval=10ms", 1000),
        ("--compaction-sleep-interval=10ms --compaction-batch-limit=0", 1000),
        ("--compaction-sleep-interval=10ms --compaction-batch-limit=7", 7),
    ],
)
async def test_pauses_of_a_compaction(line: str, allowance: int | None) -> None:
    """Without --compaction-sleep-interval nothing bounds a compaction but its turns."""
    async with running() as server, trio.open_nursery() as nursery:
        start_upkeep(nursery, parse(line.split(), {}), server, Log([]))
        await trio.testing.wait_all_tasks_blocked()
        assert allowance == server.store.compaction.allowance
        nursery.cancel_scope.cancel()
