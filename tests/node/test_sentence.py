"""Tests of `trioetcd.node.sentence`: the system's words with the next step."""

from __future__ import annotations

import errno

import pytest

from trioetcd.node.sentence import sentence_of


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "Address already in use; another program listens there; stop it, or give another URL",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/x"),
            "/x: No such file; there is no such file; look for a slip in its name",
        ),
        (OSError(errno.EIO, "Input/output error", "/d"), "/d: Input/output error"),
        (ValueError("words"), "words"),
    ],
)
def test_errors_become_sentences(error: Exception, sentence: str) -> None:
    """What, where, and what to do, as far as each is known."""
    assert sentence == sentence_of(error)
