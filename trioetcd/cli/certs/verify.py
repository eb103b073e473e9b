"""``certs verify``: is this certificate as it should be? In plain words, and by the exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from trioetcd import pki
from trioetcd.cli.certs.option import FILE, ROLE, host_option
from trioetcd.cli.certs.show import read_source
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError, Role

__all__ = ["verify"]

_LAYOUT = {  # what a file's name says about it in a member's own set
    "server": (Role.SERVER, "client-ca.crt"),
    "peer": (Role.PEER, "peer-ca.crt"),
}


@click.command("verify")
@click.argument("source", metavar="(FILE | HOST:PORT)")
@click.option("--ca", "authority", type=FILE, help="CAs of which one must have signed it.")
@click.option("--key", "key_file", type=FILE, help="Its key; by default the one beside it.")
@click.option("--role", type=ROLE, help="What it is used for.")
@click.option("--crl", "lists", type=FILE, help="The CA's revocation list.")
@host_option
def verify(
    source: str,
    authority: Path | None,
    key_file: Path | None,
    role: str | None,
    lists: Path | None,
    hosts: tuple[str, ...],
) -> None:
    """Check a certificate from every side.

    Dates, strength, chain, usages, key, names and revocation: what is given is checked. Of
    a file in a directory that `certs init` or a member made, CA, key, role and revocation list
    are found by themselves. The exit code is 0 if everything is well, and 1 if anything is not.

    \b
    trioetcd certs verify certs/n1/server.crt --host 10.0.0.1
    trioetcd certs verify 10.0.0.1:2379 --ca certs/ca/client-ca.crt --role server --host 10.0.0.1
    """
    chain = b"".join(read_source(source))
    path = Path(source)
    if path.exists():
        found_role, found_ca = _expected(path)
        role = role or (found_role.value if found_role else None)
        authority = authority or found_ca
        beside = PkiFiles.key_of(path)
        key_file = key_file or (beside if beside != path and beside.exists() else None)
    if lists is not None and authority is None:
        raise click.UsageError("--crl needs --ca: a list counts by its CA's signature alone")
    now = datetime.now(UTC)
    done = pki.check_certificate(
        chain,
        role=Role(role) if role else None,
        key=key_file.read_bytes() if key_file else None,
        issuers=authority.read_bytes() if authority else None,
        lists=_read_lists(lists, authority),
        hosts=hosts,
        now=now,
    )
    console = Console(highlight=False)
    for check in done:
        mark = Text("ok" if check.passed else "NO", style="green" if check.passed else "bold red")
        line = Text.assemble(mark, f"  {check.subject:<10} {check.sentence}")
        console.print(line, soft_wrap=True)
    if authority is None:
        click.echo("??  chain      not checked; say with --ca whom you trust")
    if not all(check.passed for check in done):
        raise PkiError(f"{source} is not as it should be")


def _read_lists(lists: Path | None, authority: Path | None) -> bytes | None:
    if lists is not None:
        return lists.read_bytes()
    if authority is None:
        return None
    beside = authority.with_name(authority.name.replace("-ca.crt", "-crl.pem"))
    return beside.read_bytes() if beside != authority and beside.exists() else None


def _expected(path: Path) -> tuple[Role | None, Path | None]:
    """Say what a file of a known layout is for, and by which CA it is verified."""
    if path.parent.name == "clients":
        root = path.parent.parent
        for authority in (root / "client-ca.crt", root / "ca" / "client-ca.crt"):
            if authority.exists():
                return Role.CLIENT, authority
    role, name = _LAYOUT.get(path.stem, (None, ""))
    if not name or not path.with_name(name).exists():
        return None, None
    return role, path.with_name(name)
