"""The audit log of a node: opened with its member, closed after it, told of SIGHUP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from trioetcd.node.bootstrap import CannotStart
from trioetcd.node.sentence import sentence_of
from trioetcd.node.settings import Config
from trioetcd.runtime.audit_log import AuditLog
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.storage import AuditFileError
from trioetcd.transport.streams import InThread

__all__ = ["audit_log_of", "keep_audit_log"]

AUDIT_REFUSED: Final = 81
"""Exit code when the audit log cannot be begun or gone on with."""


@contextmanager
def audit_log_of(
    config: Config, server: Server, log: Log, in_thread: InThread
) -> Iterator[AuditLog | None]:
    """Have the audit log open for the length of a block; None if none is asked for.

    Raises:
        CannotStart: it cannot be opened.
        BackendError: it cannot be written.
    """
    if not config.audit_log:
        yield None
        return
    replica = server.replica
    try:
        audit_log = AuditLog.open(
            Path(config.audit_log),
            cluster_id=replica.cluster_id,
            member_id=replica.member_id,
            name=config.name,
            wall=server.wall,
            log=log,
            in_thread=in_thread,
        )
    except AuditFileError as error:
        raise CannotStart(str(error), AUDIT_REFUSED) from None
    except OSError as error:
        raise CannotStart(f"--audit-log: {sentence_of(error)}", AUDIT_REFUSED) from None
    try:
        yield audit_log
    finally:
        audit_log.close()


async def keep_audit_log(
    audit_log: AuditLog, hang_ups: Callable[[Callable[[], None]], Awaitable[None]]
) -> None:
    """Have the audit log synced, and look on SIGHUP whether its file was moved; for ever."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(audit_log.run)
        nursery.start_soon(hang_ups, audit_log.look)
