"""Tables and JSON on standard output; colours only on a terminal that wants them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click

from trioetcd.pki import State

__all__ = ["coloured", "print_json", "print_table", "rfc3339", "state_word"]

_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.CRITICAL: "red"}


def print_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    states: Sequence[State] = (),
) -> None:
    """Print columns, as wide as they must be.

    Args:
        heads: of the columns.
        rows: as many cells each.
        states: one per row, which gives the last cell its colour; none leaves all plain.
    """
    widths = [
        max((len(cell) for cell in column), default=0) for column in zip(heads, *rows, strict=True)
    ]
    for number, row in enumerate((heads, *rows)):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join((*cells[:-1], row[-1])).rstrip()
        if states and number and row[-1]:
            line = line.removesuffix(row[-1]) + coloured(row[-1], states[number - 1])
        click.echo(line)


def coloured(text: str, state: State) -> str:
    """Give a text in the colour of a state, where there are colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=_COLOURS.get(state, "magenta"))


def state_word(state: State) -> str:
    """Give a state as tables show it."""
    return state.name.lower()


def print_json(value: object) -> None:
    """Print a value as JSON for people and programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def rfc3339(moment: datetime) -> str:
    """Give a moment as JSON and logs write it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
