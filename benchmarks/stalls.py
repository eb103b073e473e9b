"""How long a member's loop stays away from its sockets: the longest rounds, and whose they were.

    python -m benchmarks.stalls REPORT [flags of trioetcd]

runs a member whose rounds are timed, each from the return of the poll to the next one, and writes
the longest of them to REPORT when it ends. What the kernel or the host takes away meanwhile is in
it, too. SIGUSR1 forgets what has been: a measurement begins there. A member runs about 5 % slower
so.
"""

from __future__ import annotations

import functools
import heapq
import json
import signal
import sys
from pathlib import Path
from time import perf_counter, thread_time
from typing import Final, TypedDict
from unittest.mock import patch

import trio

from trioetcd.cli.main import main as run_member

__all__ = ["Round", "longest_ms"]

KEPT: Final = 20


class Round(TypedDict):
    """One of the longest rounds.

    Attributes:
        ms: from poll to poll.
        cpu_ms: what of it the loop's thread was running.
        task: the task that took most of it.
        task_ms: how much.
    """

    ms: float
    cpu_ms: float
    task: str
    task_ms: float


class Rounds(trio.abc.Instrument):
    """Times every round of the loop."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self.longest: list[tuple[float, int, Round]] = []
        self._count = 0
        self._began = self._cpu_began = self._step_began = 0.0
        self._step = 0.0
        self._task = ""

    def forget(self) -> None:
        """Begin anew."""
        self.longest.clear()
        self._began = 0.0

    def after_io_wait(self, _timeout: float) -> None:
        """Begin a round."""
        self._began = perf_counter()
        self._cpu_began = thread_time()
        self._step = 0.0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        """Begin a step."""
        self._step_began = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Keep the longest step of the round."""
        seconds = perf_counter() - self._step_began
        if seconds > self._step:
            self._step = seconds
            self._task = task.name

    def before_io_wait(self, _timeout: float) -> None:
        """End a round."""
        if not self._began:
            return
        seconds = perf_counter() - self._began
        longest = self.longest
        if len(longest) == KEPT and seconds <= longest[0][0]:
            return
        found = Round(
            ms=seconds * 1000,
            cpu_ms=(thread_time() - self._cpu_began) * 1000,
            task=self._task,
            task_ms=self._step * 1000,
        )
        self._count += 1
        entry = (seconds, self._count, found)
        if len(longest) < KEPT:
            heapq.heappush(longest, entry)
        else:
            heapq.heapreplace(longest, entry)

    def after_run(self) -> None:
        """Write the report: a member that was told to stop ends by the signal itself."""
        found = [entry[2] for entry in sorted(self.longest, reverse=True)]
        self._report.write_text(json.dumps(found, indent=1))


def longest_ms(report: Path) -> list[Round]:
    """Read a report, the longest round first."""
    rounds: list[Round] = json.loads(report.read_text())
    return rounds


def main() -> int:
    rounds = Rounds(Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: rounds.forget())
    with patch("trio.run", functools.partial(trio.run, instruments=[rounds])):
        return run_member(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
