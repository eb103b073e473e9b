"""Tests of `trioetcd.node.notify`: the service manager hears, or is not there."""

from __future__ import annotations

import socket
from pathlib import Path

from trioetcd.node.notify import READY, STOPPING, notify


def test_states_arrive_in_one_message(tmp_path: Path) -> None:
    """The manager's socket gets all states of a call at once."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)

        assert notify(READY, "STATUS=serving", environment={"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_abstract_names_work() -> None:
    """``@name`` is the kernel's abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel picks an abstract name
        name = manager.getsockname()

        assert notify(STOPPING, environment={"NOTIFY_SOCKET": "@" + name[1:].decode()})
        assert manager.recv(100) == b"STOPPING=1"


def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    """No manager, a path that is none, and a socket that is gone: nothing happens."""
    assert not notify(READY, environment={})
    assert not notify(READY, environment={"NOTIFY_SOCKET": "relative"})
    assert not notify(READY, environment={"NOTIFY_SOCKET": str(tmp_path / "gone")})
