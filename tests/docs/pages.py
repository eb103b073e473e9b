"""Pages of docs/ that hold a table of the code."""

from __future__ import annotations

import os
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def check_table(page: str, begin: str, table: str, end: str) -> None:
    """Check that a page holds a table between two lines.

    With ``TRIOETCD_REWRITE`` in the environment the page is written anew instead.

    Args:
        page: the file's name.
        begin: the line before the table.
        table: what stands there.
        end: the line after it.
    """
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    assert found
    assert found_end
    expected = f"{before}{begin}\n{table}\n{end}{after}"
    if os.environ.get("TRIOETCD_REWRITE"):
        path.write_text(expected, encoding="utf-8")
    else:
        assert expected == text
