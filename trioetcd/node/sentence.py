"""What the operating system says, as a sentence with the next step to take."""

from __future__ import annotations

import errno
from typing import Final

__all__ = ["sentence_of"]

_NEXT_STEPS: Final = {
    errno.EADDRINUSE: "another program listens there; stop it, or give another URL",
    errno.EADDRNOTAVAIL: "this machine does not have that address; give one of its own",
    errno.EACCES: "the member's user may not do that; look at owner and mode",
    errno.EPERM: "the member's user may not do that; look at owner and mode",
    errno.ENOSPC: "the disk is full; make room and start again",
    errno.EROFS: "the file system is read-only; give --data-dir a place that can be written",
    errno.ENOENT: "there is no such file; look for a slip in its name",
    errno.EMFILE: "the process may not open more files; raise LimitNOFILE or `ulimit -n`",
}


def sentence_of(error: BaseException) -> str:
    """Give one sentence for an error, with what to do next where that is known."""
    if not isinstance(error, OSError):
        return str(error)
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    step = _NEXT_STEPS.get(error.errno or 0, "")
    return f"{where}{what}" + (f"; {step}" if step else "")
