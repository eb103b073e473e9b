"""What errors mean to a client."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.client.errors import error_from_wire, leaves_open
from trioetcd.errors import Code, ErrorRow


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (errors.TIMEOUT, True),
        (errors.TIMEOUT_DUE_TO_CONNECTION_LOST, True),
        (errors.TIMEOUT_WAIT_APPLIED_INDEX, True),
        (errors.LEADER_CHANGED, True),
        (errors.CANCELED, True),
        (errors.NOT_CAPABLE, False),
        (errors.STOPPED, True),
        (errors.DEADLINE_EXCEEDED, True),
        (errors.EMPTY_KEY, False),
        (errors.COMPACTED, False),
        (errors.LEASE_NOT_FOUND, False),
        (errors.TOO_MANY_REQUESTS, False),
        (errors.CORRUPT, False),
    ],
)
def test_only_a_refusal_says_that_a_write_was_not_done(row: ErrorRow, *, expected: bool) -> None:
    """A write that timed out at the server may have been done; one that it refused was not."""
    assert leaves_open(error_from_wire(row.code, row.text)) is expected


@pytest.mark.parametrize("row", errors.ROWS.values(), ids=lambda row: row.name)
def test_every_error_of_the_table_is_recognised(row: ErrorRow) -> None:
    """By its text alone: what came with another code, as of an etcd that is older, is the same."""
    assert error_from_wire(row.code, row.text).row is row
    assert error_from_wire(Code.UNKNOWN, row.text).row is row


def test_an_unknown_text_goes_by_its_code() -> None:
    """What a member of another version says is judged by the status code alone."""
    assert leaves_open(error_from_wire(Code.UNAVAILABLE, "never heard of"))
    assert not leaves_open(error_from_wire(Code.INVALID_ARGUMENT, "never heard of"))
