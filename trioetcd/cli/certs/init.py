"""``certs init``: a CA for peers, a CA for clients, and what they sign, for one or more members."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import DIRECTORY, profile_option, read_profile
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import CertifiedKey, PkiError, Profile

__all__ = ["init"]


@click.command("init")
@click.argument("members", nargs=-1, metavar="[NAME=HOST[,HOST...]]...")
@click.option("--out", type=DIRECTORY, required=True, help="Where to write.")
@profile_option
@click.option("--force", is_flag=True, help="Move a directory that is there aside, and begin anew.")
def init(
    members: tuple[str, ...],
    out: Path,
    profile_file: Path | None,
    *,
    force: bool,
) -> None:
    """Make a CA for peers, a CA for clients, and what they sign.

    For one member (or none named), OUT gets the layout of <data-dir>/pki. For several, each gets
    it in OUT/NAME, without the CAs' keys: those stay in OUT/ca, and belong on no member. Run
    again with other names, it adds members under the same CAs.

    \b
    trioetcd certs init --out default.etcd/pki
    trioetcd certs init --out certs n1=10.0.0.1 n2=10.0.0.2,n2.example.org n3=10.0.0.3
    """  # noqa: D301  # click wants the character itself
    profile = read_profile(profile_file)
    pairs = [_read_member(member) for member in members]
    if len({name for name, _ in pairs}) < len(pairs):
        raise click.UsageError("a member is named twice")
    now = datetime.now(UTC)
    if force and out.exists():
        aside = out.with_name(f"{out.name}.before-{now:%Y%m%dT%H%M%S}")
        out.rename(aside)
        click.echo(f"moved what was there to {aside}", err=True)
    if len(pairs) < 2 and not (out / "ca").exists():
        name, hosts = pairs[0] if pairs else ("default", ())
        _init_one(out, name, hosts, profile, now)
    else:
        _init_several(out, pairs, profile, now)


def _init_one(
    out: Path,
    name: str,
    hosts: tuple[str, ...],
    profile: Profile,
    now: datetime,
) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PkiError(f"{out} is there already; nothing was changed (--force moves it aside)")
    if out.exists():
        out.rmdir()  # empty; the whole set appears by a rename
    pki_files.ensure(out, name=name, hosts=hosts, now=now, profile=profile)
    _report([out])
    click.echo("\nStart a member with it:\n")
    if out.name == "pki":  # where a member of that data directory looks by itself
        click.echo(
            f"  trioetcd --name={shlex.quote(name)} --data-dir={shlex.quote(str(out.parent))}"
        )
    else:
        click.echo(_command_line(name, out))


def _init_several(
    out: Path,
    pairs: Sequence[tuple[str, tuple[str, ...]]],
    profile: Profile,
    now: datetime,
) -> None:
    present = [out / name for name, _ in pairs if (out / name).exists()]
    if present:
        raise PkiError(f"{present[0]} is there already; nothing was changed")
    authorities = [
        _authority(out / "ca" / f"{purpose}-ca.crt", purpose, profile, now)
        for purpose in ("peer", "client")
    ]
    for name, hosts in pairs:
        pki_files.create_member(
            out / name,
            name=name,
            hosts=pki_files.server_hosts(hosts, own=False),
            peer_ca=authorities[0],
            client_ca=authorities[1],
            now=now,
            profile=profile,
        )
    _report([out / name for name, _ in pairs])
    click.echo(
        f"\nKeep {out / 'ca'} off the members. Copy each directory to its member; it takes:\n"
    )
    for name, _ in pairs:
        click.echo(_command_line(name, out / name))


def _authority(path: Path, purpose: str, profile: Profile, now: datetime) -> CertifiedKey:
    """Take the CA of an earlier run, or make it."""
    if path.exists():
        authority = pki_files.load_authority(path)
        if authority is None:
            raise PkiError(f"the key of {path} is not here to sign with")
        return authority
    made = pki.create_authority(purpose, now=now, profile=profile)
    pki_files.save_pair(path, made)
    return made


def _read_member(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, hosts = text.partition("=")
    name = pki_files.file_name_of(name)
    if name == "ca":
        raise click.UsageError("'ca' is where the CAs' keys are kept; give the member another name")
    return name, tuple(host.strip() for host in hosts.split(",") if host.strip())


def _report(directories: Sequence[Path]) -> None:
    for directory in directories:
        for certificate in sorted(directory.rglob("*.crt")):
            click.echo(f"{certificate}  {pki.fingerprint(certificate.read_bytes())}")


def _command_line(name: str, directory: Path) -> str:
    files = PkiFiles(directory)
    flags = [
        f"--name={name}",
        f"--cert-file={files.server}",
        f"--key-file={files.key_of(files.server)}",
        f"--trusted-ca-file={files.client_ca}",
        f"--peer-cert-file={files.peer}",
        f"--peer-key-file={files.key_of(files.peer)}",
        f"--peer-trusted-ca-file={files.peer_ca}",
    ]
    return "  trioetcd " + " \\\n    ".join(shlex.quote(flag) for flag in flags)
