"""Messages as flat mappings of field to value, and the differences between two of them.

What a cluster chooses by itself (its ids, its Raft term) is left out. Differences that
docs/divergences.md lists are allowed; each of its rows names the test that shows it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from trioetcd.schema.messages import Message

OWN_CHOICE: Final = frozenset({"cluster_id", "member_id", "raft_term"})
"""Header fields that no two clusters share."""

DIVERGENCES: Final = Path(__file__).parents[2] / "docs" / "divergences.md"

Fields = dict[str, object]
"""Field path, such as `kvs[0].key`, to value; repeated fields also have a `len()` entry."""


class Difference(NamedTuple):
    """One field that two servers answered differently.

    Attributes:
        rpc: service and method, such as `KV/Range`.
        field: the field's path, `error` for the status.
        expected: what the real etcd said.
        got: what the server under test said.
    """

    rpc: str
    field: str
    expected: object
    got: object

    def __str__(self) -> str:
        return f"{self.rpc} {self.field}: expected {self.expected!r}, got {self.got!r}"


class Divergence(NamedTuple):
    """One row of docs/divergences.md; `rpc`, `field`, `expected` and `got` are patterns."""

    rpc: str
    field: str
    expected: str
    got: str
    reason: str
    test: str

    def allows(self, difference: Difference) -> bool:
        """Whether this row explains `difference`."""
        return (
            fnmatch.fnmatchcase(difference.rpc, self.rpc)
            and re.fullmatch(self.field, difference.field) is not None
            and re.fullmatch(self.expected, repr(difference.expected)) is not None
            and re.fullmatch(self.got, repr(difference.got)) is not None
        )


def load_divergences(path: Path = DIVERGENCES) -> list[Divergence]:
    """Read the rows of the table under the heading `Differential rules`."""
    rules: list[Divergence] = []
    _, _, section = path.read_text(encoding="utf-8").partition("## Differential rules")
    section, _, _ = section.partition("\n## ")
    for line in section.splitlines():
        # a | within a cell is written as Markdown wants it
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not line.startswith("|") or cells[0] in {"RPC", "---"}:
            continue
        rpc, field, expected, got, reason, test = (cell.strip("`") for cell in cells)
        rules.append(Divergence(rpc, field, expected, got, reason, test))
    return rules


def flatten(message: Message, prefix: str = "") -> Fields:
    """Turn a message into a mapping of field paths to values; unset fields are left out."""
    fields: Fields = {}
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if name in OWN_CHOICE:
            continue
        path = f"{prefix}{name}"
        if descriptor.is_repeated:
            fields[f"len({path})"] = len(value)
            for number, item in enumerate(value):
                if isinstance(item, Message):
                    fields.update(flatten(item, f"{path}[{number}]."))
                else:
                    fields[f"{path}[{number}]"] = item
        elif isinstance(value, Message):
            fields[path] = "set"
            fields.update(flatten(value, f"{path}."))
        else:
            fields[path] = value
    return fields


def compare(rpc: str, expected: Fields, got: Fields) -> list[Difference]:
    """List the fields that differ."""
    return [
        Difference(rpc, path, expected.get(path), got.get(path))
        for path in sorted(expected.keys() | got.keys())
        if expected.get(path) != got.get(path)
    ]


def unexplained(
    differences: Iterable[Difference],
    divergences: Iterable[Divergence],
) -> list[Difference]:
    """Leave out what the table of divergences allows."""
    rows = list(divergences)
    return [found for found in differences if not any(row.allows(found) for row in rows)]
