"""The real etcd 3.5.1 starts from a backup with users, and they may what they might before.

The database is made of a member's rows by themselves: etcdutl restores it, etcd reads users,
roles and the auth revision, checks the passwords that were hashed here, and refuses what is
refused here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auth.asking import Chance, change_password, enable, grant, grant_role, role_add, user_add
from tests.replica.test_backup import State
from trioetcd.auth import READ, WRITE, draw_salt, hash_password
from trioetcd.testing.cluster import ServerProcess, running_etcd

pytestmark = [pytest.mark.interop, pytest.mark.slow]


def hashed(password: str) -> bytes:
    return hash_password(password, draw_salt(Chance(len(password)), cost=4))


@pytest.fixture(scope="module")
def restored(
    etcdutl: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, int]]:
    """Run etcd on what was restored; gives the auth revision it should have, too."""
    directory = tmp_path_factory.mktemp("users")
    state = State()
    state.store.put(b"k", b"v", 0, None)
    state.ask(
        user_add("root", hashed("old")),
        grant_role("root", "root"),
        change_password("root", hashed("secret")),
        user_add("a", hashed("pä: ss")),
        user_add("n", no_password=True),
        user_add("php", b"$2y$" + hashed("php")[4:]),
        role_add("r"),
        grant("r", READ, b"k", b"m"),
        grant("r", WRITE, b"w"),
        grant_role("a", "r"),
        grant_role("php", "r"),
        enable(),
    )
    saved = directory / "saved.db"
    saved.write_bytes(state.save().database._data)
    command = [
        str(etcdutl),
        "snapshot",
        "restore",
        str(saved),
        "--skip-hash-check",
        f"--data-dir={directory}/real/etcd",
        "--name=default",
        "--initial-cluster=default=https://127.0.0.1:1",
        "--initial-advertise-peer-urls=https://127.0.0.1:1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    with running_etcd(directory / "real") as server:
        yield server, state.auth.revision


def ask(etcdctl: Path, server: ServerProcess, user: str, *arguments: str) -> str:
    """Run etcdctl as a user; gives what it prints, errors included."""
    done = subprocess.run(
        [str(etcdctl), *([f"--user={user}"] if user else []), *arguments],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("user", "arguments", "expected"),
    [
        ("root:secret", "user list", "a\nn\nphp\nroot\n"),
        ("root:secret", "role list", "r\n"),
        ("root:secret", "user get a", "User: a\nRoles: r\n"),
        ("root:secret", "get k", "k\nv\n"),
        ("root:old", "get k", "authentication failed"),
        ("n:pw", "get k", "password was given for no password user"),
        ("nobody:secret", "get k", "authentication failed"),
        ("a:pä: ss", "get k", "k\nv\n"),
        ("php:php", "get k", "k\nv\n"),
        ("a:pä: ss", "get k --prefix", "k\nv\n"),
        ("a:pä: ss", "get a k0", "permission denied"),
        ("a:pä: ss", "put w 1", "OK\n"),
        ("a:pä: ss", "put k 1", "permission denied"),
        ("a:pä: ss", "get w", "permission denied"),
        ("a:pä: ss", "user list", "permission denied"),
    ],
)
def test_users_carry_over(
    etcdctl: Path,
    restored: tuple[ServerProcess, int],
    user: str,
    arguments: str,
    expected: str,
) -> None:
    """Passwords hashed here fit there, and permissions allow and refuse the same."""
    assert expected in ask(etcdctl, restored[0], user, *arguments.split())


@pytest.mark.parametrize("etcdctl", ["3.5"], indirect=True)
def test_the_auth_revision_carries_over(etcdctl: Path, restored: tuple[ServerProcess, int]) -> None:
    """It goes on where it was."""
    told = ask(etcdctl, restored[0], "root:secret", "auth", "status")
    assert f"Authentication Status: true\nAuthRevision: {restored[1]}\n" == told
