"""Crashes at every point: a child does something, and dies before its n-th change of a file."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Final

__all__ = ["dies_before_change"]

_CHANGES: Final = frozenset({"os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR
_DIED: Final = 9
_FAILED: Final = 3


def dies_before_change(number: int, act: Callable[[], object]) -> bool:
    """Let a child `act`, and die before its change `number`; say whether it came to that.

    Nothing of the child runs after its death, no `finally` either: as after a power cut.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child makes no use of threads
        child = os.fork()
    if child == 0:
        _act(number, act)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, _DIED}, f"exit code {code}"
    return code == _DIED


def _act(number: int, act: Callable[[], object]) -> None:
    left = number

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if event in _CHANGES or opened:
            if left == 0:
                os._exit(_DIED)
            left -= 1

    sys.addaudithook(heard)
    try:
        act()
        os._exit(0)
    finally:
        os._exit(_FAILED)
