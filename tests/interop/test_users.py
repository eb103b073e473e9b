"""Users, roles and passwords with real clients: they see the same with a member as with etcd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.interop.test_clients import BUILD, HERE, missing
from tests.interop.test_etcdctl import Pair, run, same
from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

SETUP: Final = (
    "user add root:of-root",
    "user add anna:of-anna",
    "role add app",
    "role grant-permission app readwrite app/ --prefix",
    "user grant-role root root",
    "user grant-role anna app",
    "auth enable",
)

ANNA: Final = "--user anna:of-anna"
ROOT: Final = "--user root:of-root"


def test_users_and_roles(etcdctl: Path, pair: Pair) -> None:
    """Everything that is said of users and roles, and every refusal, is printed alike."""
    for command in SETUP:
        assert same(etcdctl, pair, command).code == 0
    assert same(etcdctl, pair, f"{ANNA} put app/1 v").out == "OK\n"
    assert same(etcdctl, pair, f"{ANNA} get app/1").out == "app/1\nv\n"
    denied = f"{ANNA} put b v"
    assert "permission denied" in same(etcdctl, pair, denied).err
    for command in (
        f"{ANNA} get b",
        f"{ANNA} get --prefix app/",
        f"{ANNA} get --from-key app/",
        f"{ANNA} del app/1 --prev-kv",
        f"{ANNA} del --from-key app/",
        f"{ANNA} put app/2 v --prev-kv",
        f"{ANNA} user list",
        f"{ANNA} user get anna",
        f"{ANNA} user get root",
        f"{ANNA} role get app",
        f"{ANNA} role list",
        f"{ANNA} role add x",
        f"{ANNA} auth disable",
        f"{ANNA} lease grant 600 -w fields",
        f"{ANNA} snapshot save /nowhere/else",
        "--user anna:wrong get app/1",
        "--user nobody:x get app/1",
        f"{ROOT} get --prefix app/",
        f"{ROOT} user list",
        f"{ROOT} user get anna --detail",
        f"{ROOT} role list",
        f"{ROOT} role get app",
        f"{ROOT} user add anna:again",
        f"{ROOT} user delete none",
        f"{ROOT} user delete root",
        f"{ROOT} user revoke-role root root",
        f"{ROOT} role delete none",
        f"{ROOT} role revoke-permission app none",
        f"{ROOT} role revoke-permission app app/ --prefix",
        f"{ANNA} get app/1",
        f"{ROOT} role delete app",
        f"{ROOT} user get anna",
        f"{ROOT} user delete anna",
        f"{ANNA} get app/1",
        f"{ROOT} auth disable",
        "get --prefix app/",
    ):
        same(etcdctl, pair, command)


def test_passwords(etcdctl: Path, pair: Pair) -> None:
    """A password that is changed is another one at once, and asked for in the same words."""
    for command in SETUP:
        same(etcdctl, pair, command)
    same(etcdctl, pair, f"{ROOT} user passwd anna --interactive=false", "new\n")
    for command in (f"{ANNA} get app/1", "--user anna:new get app/1"):
        same(etcdctl, pair, command)
    same(etcdctl, pair, f"{ROOT} user add bert --interactive=false", "of-bert\n")
    same(etcdctl, pair, "--user bert:of-bert get app/1")


def with_anna(etcdctl: Path, server: ServerProcess) -> None:
    for command in SETUP:
        done = run(etcdctl, server, command.split())
        assert done.code == 0, done


def drive(server: ServerProcess, command: list[str], **more: str) -> object:
    """Run a driver against a server, and give what it saw."""
    done = subprocess.run(
        command,
        env=server.environment() | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_npm_etcd3_with_a_password(etcdctl: Path, pair: Pair) -> None:
    """The npm client logs in, and is told what it may not."""
    node = shutil.which("node")
    modules = BUILD / "node" / "node_modules"
    if node is None or not modules.exists():
        missing("npm's etcd3")
    for server in pair:
        with_anna(etcdctl, server)
    script = str(HERE / "node" / "users.js")
    ours, real = (drive(server, [node, script], NODE_PATH=str(modules)) for server in pair)
    assert ours == real
    assert isinstance(ours, dict)
    assert ours["get"] == "1"
    assert "permission denied" in ours["put elsewhere"]


def test_python_etcd3_with_a_password(etcdctl: Path, pair: Pair) -> None:
    """python-etcd3 logs in, and is told what it may not."""
    python = BUILD / "python-etcd3" / "bin" / "python"
    if not python.exists():
        missing("python-etcd3")
    for server in pair:
        with_anna(etcdctl, server)
    script = str(HERE / "python_etcd3" / "users.py")
    ours, real = (drive(server, [str(python), script], PYTHONPATH="") for server in pair)
    assert ours == real
    assert isinstance(ours, dict)
    assert ours["get"] == "1"
    assert "permission denied" in ours["put elsewhere"]
