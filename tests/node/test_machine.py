"""Tests of `trioetcd.node.machine`: what a node takes from the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from trioetcd.node.machine import raise_files_limit
raise_files_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard", "after"), [(200, 900, 900), (900, 900, 900)])
def test_files_may_be_as_many_as_the_machine_lets(soft: int, hard: int, after: int) -> None:
    """The soft limit becomes the hard one; neither is ever lowered."""
    script = SCRIPT.format(soft=soft, hard=hard)
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert f"{after} {hard}\n" == said
