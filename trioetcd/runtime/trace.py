"""Structured log lines in the shape of etcd's, written so that a full pipe stalls nothing.

A line is built where it is logged and put into a bounded queue; one thread does nothing but
``os.write``. When the reader of the log is too slow the newest lines are dropped and counted,
and the count is logged as soon as there is room.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import select
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trioetcd.values import Index

__all__ = ["LEVELS", "LINES_MAX", "Log", "open_outputs"]

LEVELS: Final = ("debug", "info", "warn", "error", "panic", "fatal")
"""etcd's levels, least first."""

LINES_MAX: Final = 8192
"""Lines that may wait for a slow reader: a few megabytes, and seconds of a busy member's log."""

_CLOSE_SECONDS: Final = 1.0
_STANDARD: Final = {"default": 2, "stderr": 2, "stdout": 1, "systemd/journal": 2}


def open_outputs(names: Sequence[str]) -> list[int]:
    """Open what --log-outputs names and give the file descriptors.

    Raises:
        OSError: a file cannot be opened for appending.
    """
    descriptors: list[int] = []
    for name in names or ("default",):
        if name in _STANDARD:
            descriptor = _STANDARD[name]
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600)
        if descriptor not in descriptors:
            descriptors.append(descriptor)
    return descriptors


class Log:
    """Takes messages with fields; see the module for where they go."""

    def __init__(
        self,
        outputs: Sequence[int] = (2,),
        *,
        level: str = "info",
        layout: str = "json",
        lines_max: int = LINES_MAX,
    ) -> None:
        assert level in LEVELS, level
        assert layout in {"json", "console"}, layout
        self._outputs = tuple(outputs)
        self._threshold = LEVELS.index(level)
        self._console = layout == "console"
        self._lines_max = lines_max
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._dropped_told = 0
        self._closed = False

    @property
    def dropped(self) -> int:
        """Lines that were lost because their reader was too slow."""
        return self._dropped

    def enabled(self, level: str) -> bool:
        """Say whether lines of `level` are written at all."""
        return LEVELS.index(level) >= self._threshold

    def debug(self, message: str, /, **fields: object) -> None:
        """Log what only a developer wants to see."""
        if self._threshold == 0:
            self._line("debug", message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        """Log what happened and was meant to."""
        if self._threshold <= 1:
            self._line("info", message, fields)

    def warn(self, message: str, /, **fields: object) -> None:
        """Log what somebody should look at."""
        if self._threshold <= 2:  # LEVELS.index("warn")
            self._line("warn", message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        """Log what went wrong."""
        if self._threshold <= 3:  # LEVELS.index("error")
            self._line("error", message, fields)

    def fatal(self, message: str, /, **fields: object) -> None:
        """Log why the process ends; ending it is the caller's part."""
        self._line("fatal", message, fields)

    def event(self, name: str, index: Index, /, **fields: object) -> None:
        """Note what happened at a log index (the `Trace` port of the deterministic rungs)."""
        if self._threshold == 0:
            self._line("debug", name, {"index": index, **fields})

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Write what waits, for a bounded time, and stop; later lines are dropped."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)

    def _line(self, level: str, message: str, fields: dict[str, object]) -> None:
        if self._closed or self._queue.qsize() >= self._lines_max:
            self._dropped += 1
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._queue.put(self._format(level, now, _caller(), message, fields))
        if self._thread is None:
            self._start()

    def _format(
        self,
        level: str,
        now: str,
        caller: str,
        message: str,
        fields: dict[str, object],
    ) -> bytes:
        if not self._console:
            line = {"level": level, "ts": now, "caller": caller, "msg": message, **fields}
            return _json(line) + b"\n"
        text = message if message.isprintable() else repr(message)
        head = f"{now}\t{level}\t{caller}\t{text}".encode(errors="backslashreplace")
        return head + (b"\t" + _json(fields) if fields else b"") + b"\n"

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _write(self) -> None:
        """Run in the thread: take everything that waits, write it in one call each."""
        while True:
            lines = [self._queue.get()]
            while not self._queue.empty():
                lines.append(self._queue.get())
            data = b"".join(line for line in lines if line is not None)
            lost = self._dropped - self._dropped_told
            if lost:
                self._dropped_told += lost
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                fields: dict[str, object] = {"dropped": lost}
                data += self._format("warn", now, "runtime/trace.py:0", "dropped log lines", fields)
            for output in self._outputs:
                _write_all(output, data)
            if None in lines:
                return


def _write_all(output: int, data: bytes) -> None:
    """Write every byte, or give up on an output that is gone: a log never stops a member."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(output, view) :]
        except BlockingIOError:  # somebody made the pipe non-blocking; wait for its reader
            select.select([], [output], [])
        except OSError:
            return


def _caller() -> str:
    # The one way to know who logs without making every caller say so.
    frame = sys._getframe(3)  # noqa: SLF001  # documented, and what logging itself does
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"


def _json(fields: dict[str, object]) -> bytes:
    text = json.dumps(fields, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)
