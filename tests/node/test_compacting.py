"""Tests of `trioetcd.node.compacting`: what the two flags of automatic compaction mean."""

from __future__ import annotations

import pytest

from trioetcd.node.compacting import compaction_rule, parse_retention
from trioetcd.node.config import parse
from trioetcd.runtime.auto_compaction import KeepRevisions, KeepSeconds


@pytest.mark.parametrize(
    ("mode", "text", "kept"),
    [
        ("periodic", "", 0),
        ("periodic", "0", 0),
        ("periodic", "0s", 0),
        ("periodic", "1", 3600),
        ("periodic", "+72", 72 * 3600),
        ("periodic", "5m", 300),
        ("periodic", "1h30m", 5400),
        ("revision", "", 0),
        ("revision", "0", 0),
        ("revision", "1000", 1000),
    ],
)
def test_retentions(mode: str, text: str, kept: float) -> None:
    """A bare number is hours or revisions; a duration has its unit; nothing and 0 are off."""
    assert kept == parse_retention(mode, text)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("", None),
        ("--auto-compaction-mode=revision", None),
        ("--auto-compaction-retention=2h", KeepSeconds),
        ("--auto-compaction-retention=7 --auto-compaction-mode=revision", KeepRevisions),
    ],
)
def test_rules(line: str, rule: type | None) -> None:
    """Without a retention nothing is compacted; with one the mode says how; no warning."""
    config = parse(line.split(), {})
    made = compaction_rule(config, 0.0)
    assert made is None if rule is None else type(made) is rule
    assert not any("compaction" in warning for warning in config.warnings)
