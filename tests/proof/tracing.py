"""strace on a running member: watch its syncs, make them slow, make them fail."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from tests.proof.outcome import MissingMeansError

__all__ = ["Call", "Tracer", "open_files"]

ATTACH_SECONDS: Final = 10.0
LINE: Final = re.compile(r"^(?P<thread>\d+)\s+(?P<time>\d+\.\d+) (?P<rest>.*)$")
CALL: Final = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)$")
RESUMED: Final = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)$")
ENDING: Final = re.compile(r"\)\s+= (?P<result>-?\d+|\?)(?P<more>.*)$")
TOOK: Final = re.compile(r"<(\d+\.\d+)>\s*$")
UNFINISHED: Final = " <unfinished ...>"


class Call(NamedTuple):
    """One system call of the trace."""

    name: str
    arguments: str
    began: float
    ended: float
    result: int
    injected: bool
    thread: int = 0


class Tracer:
    """strace attached to a process for the length of a `with` block.

    Args:
        pid: the process; all its threads are followed.
        output: where strace writes.
        calls: names of the system calls to trace.
        inject: strace's `-e inject=` expressions.
        failed_only: trace only calls that fail.
        paths: trace, and inject into, only calls on these files.
    """

    def __init__(
        self,
        pid: int,
        output: Path,
        *,
        calls: str,
        inject: tuple[str, ...] = (),
        failed_only: bool = False,
        paths: tuple[str, ...] = (),
    ) -> None:
        program = shutil.which("strace")
        if program is None:
            raise MissingMeansError("the command strace")
        self._output = output
        self._command = [
            program, "-f", "-ttt", "-T", "-y", "-s", "65536", "-p", str(pid), "-o", str(output),
            *(["-Z"] if failed_only else []),
            *(part for path in paths for part in ("-P", path)),
            "-e", f"trace={calls}",
            *(part for expression in inject for part in ("-e", f"inject={expression}")),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        said = self._output.with_suffix(".said")
        with said.open("wb") as errors:
            self._process = subprocess.Popen(self._command, stderr=errors)
        end = time.monotonic() + ATTACH_SECONDS
        while b"attached" not in said.read_bytes():
            if self._process.poll() is not None or time.monotonic() > end:
                sentence = said.read_text("utf-8", "replace").strip()
                raise MissingMeansError(f"strace's right to trace: {sentence}")
            time.sleep(0.005)
        # with -f the threads are attached one after the other; their lines follow at once
        time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(ATTACH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def calls(self) -> list[Call]:
        """Give the calls traced so far, in the order of their ends."""
        text = self._output.read_text("utf-8", "replace") if self._output.exists() else ""
        return list(_parse(text))


def _parse(text: str) -> Iterator[Call]:
    started: dict[str, tuple[str, str, float]] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        thread, when, rest = match["thread"], float(match["time"]), match["rest"]
        resumed = RESUMED.match(rest)
        if resumed is not None and thread in started:
            name, arguments, began = started.pop(thread)
            arguments += resumed["arguments"]
            ended = when
        else:
            call = CALL.match(rest)
            if call is None:
                continue
            name, arguments, began = call["name"], call["arguments"], when
            if arguments.endswith(UNFINISHED):
                started[thread] = (name, arguments.removesuffix(UNFINISHED), began)
                continue
            took = TOOK.search(arguments)
            ended = began + float(took[1]) if took else began
        ending = ENDING.search(arguments)
        result = int(ending["result"]) if ending and ending["result"] != "?" else 0
        more = ending["more"] if ending else ""
        yield Call(name, arguments, began, ended, result, "(INJECTED)" in more, int(thread))


def open_files(pid: int, directory: Path) -> tuple[str, ...]:
    """Give the files below `directory` that a process has open now."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            path = str(link.readlink())
        except OSError:
            continue  # closed meanwhile
        if path.startswith(f"{directory}/") and Path(path).is_file():
            found.add(path)
    return tuple(sorted(found))
