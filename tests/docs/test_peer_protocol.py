"""Tests of docs/peer-protocol.md: its tables are those of the code.

``TRIOETCD_REWRITE=1 pytest tests/docs`` writes the table of messages anew.
"""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, check_table
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Purpose, Refusal
from trioetcd.wire.peer_frames import PROTOCOL, FrameKind
from trioetcd.wire.peer_messages import MESSAGES

PAGE = DOCS / "peer-protocol.md"
BEGIN = "<!-- messages: generated from trioetcd/wire/peer_messages.py -->\n"
END = "<!-- end of messages -->\n"


def table() -> str:
    lines = ["| kind | message | fields after the term |", "|---|---|---|"]
    for row in MESSAGES:
        fields = ", ".join(f"{name}: {kind.value}" for name, kind in row.fields)
        lines.append(f"| {row.kind} | {row.cls.__name__} | {fields} |")
    return "\n".join(lines) + "\n"


def test_the_page_holds_the_messages() -> None:
    """Every message is on the page with its number and its fields, as in the code."""
    check_table(PAGE.name, BEGIN, table(), END)


def test_the_page_holds_the_frames_and_the_refusals() -> None:
    """Kinds of frames, codes of refusals, purposes and bounds are the code's."""
    text = PAGE.read_text(encoding="utf-8")
    frames = text.partition("<!-- frames:")[2].partition("<!-- end of frames -->")[0]
    told = re.findall(r"^\| (\d+) \| (\w+) \|", frames, re.MULTILINE)
    codes = {value for name, value in vars(Refusal).items() if name.isupper()}
    limits = PeerLimits()

    assert [(str(kind.value), kind.name) for kind in FrameKind] == told
    assert codes == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert [1, 2, 3, 4, 5] == [purpose.value for purpose in Purpose]
    assert f"protocol ({PROTOCOL})" in frames
    assert (16 * 2**20, 65536, 4096) == (
        limits.frame_bytes_max,
        limits.items_max,
        limits.hello_bytes_max,
    )
