"""What reaches the disk before an answer is given, as the kernel sees it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STRACE = shutil.which("strace")

pytestmark = pytest.mark.skipif(
    STRACE is None and "CI" not in os.environ,
    reason="strace shows system calls",
)


def calls(tmp_path: Path, script: str) -> list[str]:
    """Run a script; give its calls for writing, syncing and renaming, in order, with names."""
    assert STRACE is not None, "strace is needed"
    log = tmp_path / "calls"
    names = "trace=fsync,fdatasync,rename,renameat,renameat2,write"
    subprocess.run(
        [STRACE, "-f", "-y", "-e", names, "-o", str(log), sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
    )
    lines = (line.split(maxsplit=1)[1] for line in log.read_text().splitlines())
    return [line for line in lines if not line.startswith(("---", "+++"))]


def test_every_batch_is_synced(tmp_path: Path) -> None:
    """Between two batches LevelDB's log is synced: each write of it is followed by a sync."""
    script = (
        "from pathlib import Path\n"
        "from trioetcd.storage.leveldb import open_leveldb\n"
        "backend = open_leveldb(Path('db'), create=True)\n"
        "for number in range(20):\n"
        "    backend.prepare({b'%d' % number: b'x'}).write()\n"
    )
    pattern = re.compile(r"(write|fdatasync|fsync)\(\d+<[^>]*/\d+\.log>")
    on_log = [match[1] for line in calls(tmp_path, script) if (match := pattern.match(line))]
    assert on_log == ["write", "fdatasync"] * 20


def test_replaced_file_is_synced_before_and_after_its_renaming(tmp_path: Path) -> None:
    """The content is synced before it gets its name, and the name before `replace_file` returns."""
    script = (
        "from pathlib import Path\n"
        "from trioetcd.storage import DataDir\n"
        "DataDir.open(Path('data')).replace_file('thing', b'content')\n"
    )
    seen = [
        re.sub(r"\(.*", "", line) for line in calls(tmp_path, script) if f"{tmp_path}/data" in line
    ]
    once = ["write", "fsync", "renameat", "fsync"]
    assert seen == once + once


def test_new_database_is_synced_under_its_name(tmp_path: Path) -> None:
    """A new database is renamed when it is whole, and the directory is synced after that."""
    script = (
        "from pathlib import Path\n"
        "from trioetcd.storage import DataDir, open_member_store\n"
        "open_member_store(DataDir.open(Path('data'))).close()\n"
    )
    seen = calls(tmp_path, script)
    (renaming,) = [number for number, line in enumerate(seen) if '/db.new", ' in line]
    assert f"{tmp_path}/data/db.new>" in seen[renaming - 1]
    assert seen[renaming - 1].startswith("fsync")
    assert re.match(rf"fsync\(\d+<{tmp_path}/data>", seen[renaming + 1])
