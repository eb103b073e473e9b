"""Start a member: settings, then the node; what goes wrong becomes a sentence and an exit code."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from trioetcd import __version__
from trioetcd.node.arguments import read_arguments
from trioetcd.node.flags import ConfigError
from trioetcd.values import SERVER_VERSION

__all__ = ["serve", "version_text"]

_INTERRUPTED: Final = 130
_USAGE: Final = 2


def serve(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``trioetcd [flags]`` and give the exit code: 0, 1 for settings, 2 for usage.

    Args:
        arguments: the command line without the program's name.
        environment: the process's environment.
    """
    try:
        given = read_arguments(arguments)
        if given.values.get("help"):
            from trioetcd.cli.flag_help import help_text

            print(help_text(), end="")
            return 0
        if given.values.get("version"):
            print(version_text(), end="")
            return 0
        return _run(arguments, environment)
    except ConfigError as error:
        _complain(str(error))
        if error.exit_code == _USAGE:
            print("Try: trioetcd --help", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED


def version_text() -> str:
    """Give what ``--version`` prints: etcd's line first, which tools look for, then ours."""
    return (
        f"etcd Version: {SERVER_VERSION}\n"
        f"trioetcd Version: {__version__}\n"
        f"Python Version: {platform.python_implementation()} {platform.python_version()}\n"
        f"Platform: {sys.platform}/{platform.machine()}\n"
    )


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    from trioetcd.node.config import parse

    config = parse(arguments, environment)
    _run_in_batches()
    from trioetcd.node.node import CannotStart, run

    try:
        return run(config)
    except CannotStart as error:
        _complain(str(error))
        return error.exit_code


def _run_in_batches() -> None:
    """Let the kernel finish what runs before it lets this process run (docs/adr/0011).

    Unless somebody has chosen another policy for it.
    """
    with suppress(OSError):  # a sandbox may forbid either, and musl has neither
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _complain(sentence: str) -> None:
    print(f"trioetcd: {sentence}", file=sys.stderr)
