"""Tests of `trioetcd.cluster.downgrade`: what etcd takes for a version, and for one minor less."""

from __future__ import annotations

import pytest

from trioetcd.cluster import CLUSTER_VERSION, downgrade_refusal


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("", "WrongDowngradeVersionFormat"),
        ("latest", "WrongDowngradeVersionFormat"),
        ("3.", "WrongDowngradeVersionFormat"),
        (" 3.6", "WrongDowngradeVersionFormat"),
        ("3.6.0.1", "WrongDowngradeVersionFormat"),
        ("3.6-", "WrongDowngradeVersionFormat"),
        ("3.6.0-rc..1", "WrongDowngradeVersionFormat"),
        ("3.99999999999999999999", "WrongDowngradeVersionFormat"),
        ("9" * 10_000, "WrongDowngradeVersionFormat"),
        ("3", "InvalidDowngradeTargetVersion"),
        ("3.7", "InvalidDowngradeTargetVersion"),
        ("3.8.0", "InvalidDowngradeTargetVersion"),
        ("3.5", "InvalidDowngradeTargetVersion"),
        ("4.6", "InvalidDowngradeTargetVersion"),
        ("3.6", "NoEarlierFormat"),
        ("3.6.0", "NoEarlierFormat"),
        ("3.6.11", "NoEarlierFormat"),
        ("v3.6", "NoEarlierFormat"),
        ("3.6.0-rc.1+build-5", "NoEarlierFormat"),
    ],
)
def test_targets(target: str, refusal: str) -> None:
    """No version first; then any but the minor before ours; then why that one is of no use."""
    assert CLUSTER_VERSION.startswith("3.7."), "the targets above are of that version"
    assert refusal == downgrade_refusal(target).name
