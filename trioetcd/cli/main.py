"""The entry point: ``trioetcd [flags]`` and ``trioetcd certs ...``.

Everything heavy is imported late, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

_ELSEWHERE: Final = {
    "gateway": "trioetcd has no TCP gateway; a TCP load balancer such as HAProxy does its work",
    "grpc-proxy": "trioetcd has no gRPC proxy; clients connect to the members themselves",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says and give the exit code.

    Args:
        arguments: the command line without the program's name; the process's own by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # whatever the locale says, and it may say nothing
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if not __debug__:
        _complain("Python's asserts must stay on; leave out -O and unset PYTHONOPTIMIZE")
        return 1
    first = words[0] if words else ""
    if first in _ELSEWHERE:
        _complain(_ELSEWHERE[first])
        return 2
    if first == "certs":
        from trioetcd.cli.certs import certs

        return certs(words[1:])
    from trioetcd.cli.serve import serve

    return serve(words, os.environ)


def _complain(sentence: str) -> None:
    print(f"trioetcd: {sentence}", file=sys.stderr)
