"""The README says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from trioetcd.api.router import Router
from trioetcd.schema.services import METHODS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def served() -> set[str]:
    """Give the paths of every handler, read off the router's own source of truth."""
    source = (ROOT / "trioetcd/api/router.py").read_text()
    return set(re.findall(r'"(/[\w.]+/\w+)":', source))


def test_the_table_of_procedures_is_the_routers() -> None:
    """Every procedure of the README's table has a handler, and every handler stands there."""
    told = set()
    for service, names in re.findall(r"^\| `([\w.]+)` \| (.*) \|$", README, re.MULTILINE):
        told |= {f"/{service}/{name}" for name in re.findall(r"\b[A-Z]\w+", names)}

    assert served() == told
    assert told <= METHODS.keys()
    assert Router.unknown("/etcdserverpb.Maintenance/Snapshot").text.endswith("by this version")


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    """No relative link of README, docs or certs points to a file that is not there."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "certs").glob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert [] == broken


def test_the_readme_stays_short() -> None:
    """A newcomer reads it all: at most 250 lines."""
    assert len(README.splitlines()) <= 250
