"""Tests of docs/configuration.md: the flags' table there is the flags' table here.

``TRIOETCD_REWRITE=1 pytest tests/docs`` writes the page's tables anew.
"""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, check_table
from trioetcd.cli.flag_help import markdown_table
from trioetcd.node.config_file import read_mapping
from trioetcd.node.flags import FLAGS

PAGE = DOCS / "configuration.md"
BEGIN = "<!-- flags: generated from trioetcd/node/flag_table.py -->\n"
END = "<!-- end of flags -->\n"


def test_the_page_holds_the_table() -> None:
    """Every flag is on the page with its default, status and meaning, as in the code."""
    check_table(PAGE.name, BEGIN, markdown_table(), END)


def test_the_page_names_no_flag_that_does_not_exist() -> None:
    """Flags in running text are flags of the table."""
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`--([a-z0-9-]+)", text))

    assert set() == named - set(FLAGS) - {"a", "out", "profile"}


def test_the_pages_example_is_a_configuration_file() -> None:
    """The YAML on the page can be read."""
    import yaml

    example = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

    assert example
    for text in example:
        assert read_mapping(yaml.safe_load(text)).warnings == []
