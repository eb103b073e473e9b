"""Foreign client libraries see the same with a member as with the real etcd.

`python tests/interop/install_clients.py` installs them; where they are missing the tests are
skipped, and fail in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "build" / "interop"


def missing(what: str) -> NoReturn:
    """Skip, or fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must not skip", pytrace=False)
    pytest.skip(f"{what} is missing: run tests/interop/install_clients.py")


def drive(server: ServerProcess, command: list[str]) -> dict[str, Any]:
    """Run a driver against `server` and give what it saw."""
    done = subprocess.run(
        command,
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen


def test_npm_etcd3(member: ServerProcess, etcd: ServerProcess) -> None:
    """The npm client etcd3: keys, transactions, watches, leases and errors."""
    node = shutil.which("node")
    script = BUILD / "node" / "drive.js"
    if node is None or not script.exists():
        missing("npm's etcd3")
    ours, real = (drive(server, [node, str(script)]) for server in (member, etcd))
    assert ours == real
    assert ours["events"] == [
        ["put", "node/w/k", "x"],
        ["put", "node/w/k", "y"],
        ["delete", "node/w/k", ""],
    ]
    assert (ours["leased"], ours["revoked"]) == ("held", None)
    assert ours["error"] == "EtcdLeaseInvalidError"


def test_python_etcd3(member: ServerProcess, etcd: ServerProcess) -> None:
    """python-etcd3: keys, transactions, watches, leases, members and maintenance."""
    python = BUILD / "python-etcd3" / "bin" / "python"
    if not python.exists():
        missing("python-etcd3")
    script = str(HERE / "python_etcd3" / "drive.py")
    ours, real = (drive(server, [str(python), script]) for server in (member, etcd))
    assert ours == real
    assert ours["events"] == [
        ["PutEvent", "python/w/k", "x"],
        ["PutEvent", "python/w/k", "y"],
        ["DeleteEvent", "python/w/k", ""],
    ]
    assert ours["refreshed"] == [30]
