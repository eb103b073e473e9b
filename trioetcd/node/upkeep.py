"""What a member does by itself, as its settings say: compact by time, with pauses; defragment."""

from __future__ import annotations

from typing import Final

import trio

from trioetcd.node.compacting import compaction_rule
from trioetcd.node.settings import Config
from trioetcd.runtime.auto_compaction import compact_by
from trioetcd.runtime.compaction_pace import pace
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log

__all__ = ["BATCH_LIMIT", "start_upkeep"]

BATCH_LIMIT: Final = 1000
"""What etcd takes a --compaction-batch-limit of 0 for."""

_MEGABYTE: Final = 1 << 20


def start_upkeep(nursery: trio.Nursery, config: Config, server: Server, log: Log) -> None:
    """Start the tasks of a member that runs."""
    rule = compaction_rule(config, server.now())
    if rule is not None:
        nursery.start_soon(compact_by, rule, server, log)
    if config.compaction_sleep_interval:
        limit = config.compaction_batch_limit or BATCH_LIMIT
        nursery.start_soon(pace, server, limit, config.compaction_sleep_interval)
    if config.bootstrap_defrag_threshold_megabytes:
        _defragment_if(server, config.bootstrap_defrag_threshold_megabytes * _MEGABYTE, log)


def _defragment_if(server: Server, threshold: int, log: Log) -> None:
    """Defragment if that would free so many bytes; nobody waits for it."""
    size = server.disk.size()
    fields = {
        "current-db-size-bytes": size.total,
        "current-db-size-in-use-bytes": size.in_use,
        "bootstrap-defrag-threshold-bytes": threshold,
    }
    if size.total - size.in_use < threshold:
        log.info("Skipping defragmentation", **fields)
        return
    log.info("defragmenting", **fields)

    def done() -> None:
        log.info("finished defragmenting", **{"current-db-size-bytes": server.disk.size().total})

    server.disk.defragment(done)
