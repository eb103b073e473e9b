"""The audit log of a member: records in, lines of the chain out, one write for those of a turn.

Whoever is answered has their record in the file before: a record that cannot be written ends the
member, because nothing may change that is not noted (docs/audit.md). The disk has it within
`SYNC_SECONDS`, and at the end. When the file has been moved away, by a program that rotates logs,
the chain goes on in a new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from trioetcd.ports import BackendError
from trioetcd.runtime.trace import Log
from trioetcd.schema.audit_chain import AUDIT_FORMAT, AuditChain, told_torn
from trioetcd.schema.disclosure import told_text
from trioetcd.storage import AuditFile, AuditFileError
from trioetcd.transport.streams import InThread, run_in_thread
from trioetcd.values import ClusterID, MemberID

__all__ = ["SYNC_SECONDS", "AuditLog"]

SYNC_SECONDS: Final = 1.0
"""What was written is on the disk after so long, and a file that was moved away is noticed."""

ANCHOR_SECONDS: Final = 600.0
"""How often the member's log tells where the chain is, which no hand in the file can change."""


class AuditLog:
    """Writes records; made by `open`.

    Attributes:
        records: how many were written since the start.
        before_close: notes what is still under way; called before the last line is written.
    """

    def __init__(
        self,
        file: AuditFile,
        *,
        cluster_id: ClusterID,
        member_id: MemberID,
        name: str,
        wall: Callable[[], float],
        log: Log,
        in_thread: InThread = run_in_thread,
    ) -> None:
        self.records = 0
        self.before_close: Callable[[], None] = _nothing
        self._file = file
        self._whose = (
            f'"cluster":"{cluster_id:x}","member":"{member_id:x}","name":{told_text(name)}'
        )
        self._wall = wall
        self._log = log
        self._in_thread = in_thread
        self._chain = AuditChain()
        self._name = ""
        self._part = 1
        self._waiting: list[str] = []
        self._second = -1
        self._second_text = ""
        self._unsynced = False
        self._failure: BackendError | None = None
        self._refused = ""
        self._told = -1
        self._moved = trio.Event()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        cluster_id: ClusterID,
        member_id: MemberID,
        name: str,
        wall: Callable[[], float],
        log: Log,
        in_thread: InThread = run_in_thread,
    ) -> AuditLog:
        """Begin an audit log, or go on with the one that is there.

        Raises:
            AuditFileError: the file must not be written to.
            OSError: it cannot be opened, or read.
            BackendError: it cannot be written.
        """
        file = AuditFile.open(path.absolute())
        self = cls(
            file,
            cluster_id=cluster_id,
            member_id=member_id,
            name=name,
            wall=wall,
            log=log,
            in_thread=in_thread,
        )
        try:
            self._begin()
        except BaseException:
            file.close()
            raise
        if file.tightened:
            log.warn("others could read the audit log; its mode is 0600 now", path=str(path))
        self._anchor("the audit log is open")
        return self

    def _begin(self) -> None:
        file = self._file
        end = file.end()
        torn = ""
        before = b"\n" if end.unterminated or end.torn else b""
        if end.torn:
            torn = f',"torn":{told_torn(end.torn)}'
            self._log.warn("the audit log ends with what a crash has left", bytes=len(end.torn))
        if end.last is None:
            self._name = secrets.token_hex(16)
            line = self._opening("begin", torn)
        else:
            opening = file.opening()
            if opening is None:
                raise AuditFileError(
                    f"--audit-log: {file.path} cannot be gone on with: its first line is not that "
                    f"of an audit log; look at it with `trioetcdutl audit verify`, and move it "
                    f"away to begin a new one"
                )
            self._name = str(opening.fields.get("log", ""))
            self._part = int(opening.fields.get("part", 1))
            self._chain = AuditChain(end.last.sequence, end.last.hash)
            line = self._opening("open", torn)
        file.append(before + line)
        file.sync()

    def _opening(self, event: str, more: str = "") -> bytes:
        return self._chain.seal(
            f'"time":"{self._now()}","event":"{event}","format":{AUDIT_FORMAT},'
            f'"log":"{self._name}","part":{self._part},{self._whose}{more}'
        )

    def _now(self) -> str:
        """Give the time as RFC 3339 has it, in UTC, to the microsecond."""
        wall = self._wall()
        second = int(wall)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{int((wall - second) * 1e6):06d}Z"

    # Records

    def note(self, record: str) -> None:
        """Take a record, as JSON without braces in one line of ASCII; `write` writes it."""
        self._waiting.append(f'"time":"{self._now()}",{record}')

    def write(self) -> None:
        """Write what was taken; to be called before anybody is answered.

        Raises:
            BackendError: it cannot be written; the member must end.
        """
        if not self._waiting:
            return
        if self._failure is not None:
            raise self._failure
        records, self._waiting = self._waiting, []
        try:
            self._look_at_size()
            seal = self._chain.seal
            self._file.append(b"".join([seal(record) for record in records]))
        except BackendError as failure:
            self._failure = failure
            raise
        self.records += len(records)
        self._unsynced = True

    def _look_at_size(self) -> None:
        """Notice that the file was cut, by `copytruncate` of logrotate or by a hand."""
        lost = self._file.lost_bytes()
        if not lost:
            return
        self._file.accept_size()
        if lost < 0:
            self._log.error("somebody else has written to the audit log", bytes=-lost)
            return
        self._log.error("the audit log was cut; the rest must be kept to verify it", bytes=lost)
        self._part += 1
        self._file.append(self._opening("continue", f',"cut":{{"bytes":{lost}}}'))

    # Running

    async def run(self) -> None:
        """Sync, notice a file that was moved away, tell where the chain is; until cancelled.

        Raises:
            BackendError: the disk does not take what was written.
        """
        anchor_at = trio.current_time() + ANCHOR_SECONDS
        while True:
            with trio.move_on_after(SYNC_SECONDS):
                await self._moved.wait()
            self._moved = trio.Event()
            if self._unsynced:
                self._unsynced = False
                await self._in_thread(self._file.sync)
            if self._file.is_moved():
                self._reopen()
            if trio.current_time() >= anchor_at:
                anchor_at = trio.current_time() + ANCHOR_SECONDS
                if self._chain.sequence != self._told:
                    self._anchor("the audit log goes on")

    def look(self) -> None:
        """Look at once whether the file has been moved away (SIGHUP)."""
        self._moved.set()

    def _reopen(self) -> None:
        """Go on in a new file, for this one has been moved away.

        If that cannot be done, the old one goes on, wherever it is: nothing goes unnoted.

        Raises:
            BackendError: one of the two cannot be written.
        """
        self.write()
        old = self._file
        try:
            new = AuditFile.open(old.path)
        except (OSError, AuditFileError) as error:
            self._complain(str(error))
            return
        if new.size:
            new.close()
            self._complain(f"{old.path} holds something already")
            return
        self._refused = ""
        self._look_at_size()
        old.append(self._ending("moved"))
        old.sync()
        self._part += 1
        self._file = new
        new.append(self._opening("continue"))
        new.sync()
        old.close()
        self._anchor("the audit log goes on in a new file")

    def _complain(self, reason: str) -> None:
        if reason != self._refused:
            self._refused = reason
            self._log.error(
                "the audit log was moved away, and no new one can be begun; the old one goes on",
                error=reason,
            )

    def _ending(self, reason: str) -> bytes:
        return self._chain.seal(f'"time":"{self._now()}","event":"end","reason":"{reason}"')

    def _anchor(self, message: str) -> None:
        self._told = self._chain.sequence
        self._log.info(
            message, path=str(self._file.path), seq=self._chain.sequence, hash=self._chain.hash
        )

    def close(self) -> None:
        """Write what was taken and the last line, and have it on the disk.

        Raises:
            BackendError: that cannot be done.
        """
        try:
            if self._failure is None:
                self.before_close()
                self.write()
                self._look_at_size()
                self._file.append(self._ending("stopped"))
                self._file.sync()
                self._anchor("the audit log is closed")
        finally:
            self._file.close()


def _nothing() -> None:
    """Nobody takes notes."""
