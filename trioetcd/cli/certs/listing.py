"""``certs list``: which certificates there are, for whom, and how long they last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from trioetcd.cli.certs.inventory import Entry, collect
from trioetcd.cli.certs.table import print_json, print_table, rfc3339
from trioetcd.pki import Limits, State, words_left

__all__ = ["list_command"]

_HEADS: Final = ("NAME", "ROLE", "SUBJECT", "NAMES", "ISSUED-BY", "ENDS", "LEFT")


@click.command("list")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR|FILE]...")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)
def list_command(places: tuple[Path, ...], output: str) -> None:
    """Say which certificates and revocation lists there are in DIR (default.etcd by default).

    \b
    trioetcd certs list certs
    trioetcd certs list certs/n1 /etc/kubernetes/pki/etcd -o json
    """
    now = datetime.now(UTC)
    entries = collect(places or (Path("default.etcd"),))
    if output == "json":
        print_json([_value(entry, now) for entry in entries])
        return
    print_table(_HEADS, [_row(entry, now) for entry in entries], [_state(e, now) for e in entries])


def _row(entry: Entry, now: datetime) -> tuple[str, ...]:
    name, role, span = entry.name, entry.role, entry.span
    ends = f"{span[1]:%Y-%m-%d}" if span else ""
    left = words_left(span[1], now) if span else ""
    if entry.facts is not None:
        facts = entry.facts
        names = ",".join(facts.names)
        return name, role, facts.common_name or facts.subject, names, facts.issuer, ends, left
    if entry.revoked is not None:
        revoked = len(entry.revoked.serials)
        return name, role, f"{revoked} revoked", "", entry.revoked.issuer, ends, left
    return name, role, "", "", "", "", entry.problem


def _state(entry: Entry, now: datetime) -> State:
    if entry.problem:
        return State.CRITICAL
    if entry.span is None:
        return State.OK
    return Limits().judge(begins=entry.span[0], ends=entry.span[1], now=now)


def _value(entry: Entry, now: datetime) -> dict[str, object]:
    value: dict[str, object] = {"file": str(entry.path), "name": entry.name, "role": entry.role}
    if entry.facts is not None:
        facts = entry.facts
        value |= {
            "subject": facts.subject,
            "common_name": facts.common_name,
            "names": list(facts.names),
            "uris": list(facts.uris),
            "issued_by": facts.issuer,
            "serial": f"{facts.serial:x}",
            "fingerprint": facts.fingerprint,
            "begins": rfc3339(facts.not_before),
        }
    if entry.revoked is not None:
        value |= {
            "issued_by": entry.revoked.issuer,
            "begins": rfc3339(entry.revoked.this_update),
            "revoked_serials": [f"{serial:x}" for serial in entry.revoked.serials],
        }
    if entry.span is not None:
        value |= {
            "ends": rfc3339(entry.span[1]),
            "seconds_left": int((entry.span[1] - now).total_seconds()),
        }
    if entry.problem:
        value["problem"] = entry.problem
    return value
