"""Tell the service manager how the member is doing (systemd's ``Type=notify``)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

__all__ = ["READY", "STOPPING", "notify"]

READY: Final = "READY=1"
"""The listeners serve."""

STOPPING: Final = "STOPPING=1"
"""The member is on its way down."""


def notify(*states: str, environment: Mapping[str, str] | None = None) -> bool:
    """Send states such as `READY` or ``STATUS=...`` in one message.

    Args:
        states: what to say.
        environment: where ``NOTIFY_SOCKET`` is looked up; the process's own by default.

    Returns:
        Whether somebody was told; a manager that is absent or deaf is no error.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # the kernel's form of an abstract name
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_UNIX, kind) as sender:
            sender.connect(address)
            sender.send("\n".join(states).encode())
    except OSError:
        return False
    return True
