"""``certs show``: certificates in words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import FILE

__all__ = ["show"]


@click.command("show")
@click.argument("files", nargs=-1, required=True, type=FILE)
def show(files: tuple[Path, ...]) -> None:
    """Say in words what certificates are, for whom, and until when."""
    now = datetime.now(UTC)
    for path in files:
        click.echo(f"{path}: {pki.describe(path.read_bytes(), now=now)}")
