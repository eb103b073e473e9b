"""``certs init``: a CA for peers, a CA for clients, and what they sign, for one or more members."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.cli.certs import member_file
from trioetcd.cli.certs.member_file import CONFIG_FILE, Member
from trioetcd.cli.certs.option import DIRECTORY, profile_option, read_profile
from trioetcd.cli.certs.place import AUTHORITIES, find_place, warn_of_near_keys
from trioetcd.cli.certs.tree import print_tree
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_index import AuthorityFiles
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

__all__ = ["init"]

_OWN_SET: Final = "pki"
"""How the directory of a member's own certificates is called, in its data directory."""


@click.command("init")
@click.argument("members", nargs=-1, metavar="[NAME=HOST[:PORT[:PEERPORT]][,HOST...]]...")
@click.option("--out", type=DIRECTORY, required=True, help="Where to write.")
@click.option("--cluster", default=pki.CLUSTER, show_default=True, help="The cluster's name.")
@click.option(
    "--at",
    type=DIRECTORY,
    help="Where each member finds its directory, if that is copied elsewhere; absolute.",
)
@click.option(
    "--member-data-dir",
    type=DIRECTORY,
    help="Where each member keeps its data; absolute. By default in its directory.",
)
@profile_option
@click.option("--force", is_flag=True, help="Move a directory that is there aside, and begin anew.")
def init(
    members: tuple[str, ...],
    out: Path,
    cluster: str,
    at: Path | None,
    member_data_dir: Path | None,
    profile_file: Path | None,
    *,
    force: bool,
) -> None:
    """Make a CA for peers, a CA for clients, and what they sign.

    Each member gets a directory OUT/NAME with its certificates and a configuration file, and is
    started by `trioetcd --config-file OUT/NAME/trioetcd.yaml`. OUT/clients holds the certificate
    of the user root, OUT/ca the CAs' keys, which belong on no member. Run again with other names,
    it adds members under the same CAs.

    A member is advertised by its first host, and listens on the addresses among its hosts.
    Several members on one machine are told apart by ports.

    \b
    trioetcd certs init --out certs n1=10.0.0.1 n2=10.0.0.2,n2.example.org n3=10.0.0.3
    trioetcd certs init --out certs n1=localhost:2379 n2=localhost:22379 n3=localhost:32379
    trioetcd certs init --out default.etcd/pki     as the member's own first start would
    """
    profile = read_profile(profile_file)
    told = [member_file.read_member(member) for member in members]
    for path, option in ((at, "--at"), (member_data_dir, "--member-data-dir")):
        if path is not None and not path.is_absolute():
            raise click.UsageError(f"{option} {path} must be absolute: members start anywhere")
    member_file.check_distinct(told)
    now = datetime.now(UTC)
    if force:
        _move_aside(out, now)
    if out.name == _OWN_SET and len(told) < 2 and not (out / AUTHORITIES).exists():
        _init_own(out, told[0] if told else None, profile, now)
        return
    plan = _Plan(out, cluster, at, member_data_dir, profile, now)
    _init_cluster(plan, told or [member_file.read_member("default")])


@dataclass(frozen=True, slots=True)
class _Plan:
    out: Path
    cluster: str
    at: Path | None
    data_dir: Path | None
    profile: Profile
    now: datetime

    def directory(self, member: Member) -> Path:
        """Give where the member finds its files."""
        return self.at or (self.out / member.name).resolve()


def _move_aside(out: Path, now: datetime) -> None:
    if not out.exists():
        return
    data = sorted(path.parent for path in out.rglob("LOCK"))  # every data directory has one
    if data:
        raise PkiError(f"{data[0]} holds a member's data; move it yourself if it may go")
    aside = out.with_name(f"{out.name}.before-{now:%Y%m%dT%H%M%S}")
    out.rename(aside)
    click.echo(f"moved what was there to {aside}", err=True)


def _init_own(out: Path, member: Member | None, profile: Profile, now: datetime) -> None:
    """Make what a member without TLS flags would make at its first start."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PkiError(f"{out} is there already; nothing was changed (--force moves it aside)")
    if out.exists():
        out.rmdir()  # empty; the whole set appears by a rename
    name, hosts = (member.name, member.hosts) if member else ("default", ())
    pki_files.ensure(out, name=name, hosts=hosts, now=now, profile=profile)
    print_tree(out)
    warn_of_near_keys(find_place(out))
    start = ["trioetcd", f"--name={name}", f"--data-dir={out.parent}"]
    _say("Start a member with it:", [start])
    _say_env(out.parent)


def _init_cluster(plan: _Plan, told: Sequence[Member]) -> None:
    out = plan.out
    present = [out / member.name for member in told if (out / member.name).exists()]
    if present:
        raise PkiError(f"{present[0]} is there already; nothing was changed")
    if PkiFiles(out).client_ca.exists():
        raise PkiError(
            f"{out} holds a member's own certificates; give --out another directory, or move it "
            f"aside with --force"
        )
    earlier = member_file.known_members(out)
    everyone = (*earlier, *told)
    member_file.check_distinct(everyone)
    authorities = PkiFiles(out / AUTHORITIES)
    made = {
        role: _authority(path, role, plan)
        for role, path in ((Role.PEER, authorities.peer_ca), (Role.CLIENT, authorities.client_ca))
    }
    for at, member in enumerate(told, 1):
        # Members join one at a time, and each must name those before it and nobody else.
        members = (*earlier, *told[:at]) if earlier else everyone
        _init_member(plan, member, members, made, joins=bool(earlier))
    _ensure_root(plan, made[Role.CLIENT])
    endpoints = [member.client_url for member in everyone]
    pki_files.write_endpoints(out, endpoints)
    print_tree(out)
    _say_steps(plan, told, joins=bool(earlier))


def _authority(path: Path, role: Role, plan: _Plan) -> CertifiedKey:
    """Take the CA of an earlier run, or make it and its first, empty list."""
    if path.exists():
        authority = pki_files.load_authority(path)
        if authority is None:
            raise PkiError(f"the key of {path} is not here to sign with")
        return authority
    made = pki.create_authority(
        role.value, now=plan.now, profile=plan.profile, cluster=plan.cluster
    )
    pki_files.save_pair(path, made)
    pki_index.publish(path, made, now=plan.now, days=None)
    return made


def _init_member(
    plan: _Plan,
    member: Member,
    members: Sequence[Member],
    authorities: dict[Role, CertifiedKey],
    *,
    joins: bool,
) -> None:
    files = PkiFiles(plan.out / member.name)
    kept = PkiFiles(plan.out / AUTHORITIES)
    pki_files.create_member(
        files.path,
        name=member.name,
        hosts=pki_files.server_hosts(member.hosts, own=False),
        peer_ca=authorities[Role.PEER],
        client_ca=authorities[Role.CLIENT],
        now=plan.now,
        profile=plan.profile,
        root_client=False,
    )
    for role, authority, leaf in (
        (Role.PEER, kept.peer_ca, files.peer),
        (Role.SERVER, kept.client_ca, files.server),
    ):
        pki_index.note(authority, role, [leaf.read_bytes()])
    for authority in (kept.peer_ca, kept.client_ca):
        crl = AuthorityFiles(authority).revocation_list
        pki_files.write_private(files.path / crl.name, crl.read_bytes())
    directory = plan.directory(member)
    text = member_file.render(
        member,
        members=members,
        directory=directory,
        data_dir=plan.data_dir or directory / f"{member.name}.etcd",
        cluster=plan.cluster,
        joins=joins,
    )
    pki_files.write_private(files.path / CONFIG_FILE, text.encode())


def _ensure_root(plan: _Plan, authority: CertifiedKey) -> None:
    """Make the certificate of the user root, once for the cluster."""
    target = PkiFiles(plan.out).client(pki_files.ROOT)
    if target.parent.exists():
        return  # there, or taken by the administrator to where it is used
    pair = pki.issue(authority, Role.CLIENT, pki_files.ROOT, now=plan.now, profile=plan.profile)
    pki_index.note(PkiFiles(plan.out / AUTHORITIES).client_ca, Role.CLIENT, [pair.certificate])
    pki_files.save_pair(target, pair)


def _say_steps(plan: _Plan, told: Sequence[Member], *, joins: bool) -> None:
    out = plan.out
    if plan.at:
        for member in told:
            click.echo(f"\nCopy {out / member.name} to its machine as {plan.at}.")
    else:
        click.echo(
            "\nThe configuration files name their directories where they are now; to start members "
            "on other\nmachines, have them made with `--at DIR`, DIR being where you copy them to."
        )
    click.echo(f"Keep {out / AUTHORITIES} off the members: its keys make members and clients.")
    end = plan.now + timedelta(days=plan.profile.peer_days)
    click.echo(
        f"The members' certificates among themselves end on {end:%Y-%m-%d}; "
        f"`trioetcd certs renew` before that."
    )
    if joins:
        _say(
            "Tell the running cluster first, one member at a time:",
            [
                ["etcdctl", "member", "add", member.name, f"--peer-urls={member.peer_url}"]
                for member in told
            ],
        )
    _say(
        "Start each member:",
        [
            ["trioetcd", "--config-file", str(plan.directory(member) / CONFIG_FILE)]
            for member in told
        ],
    )
    _say_env(out)


def _say(heading: str, commands: Sequence[Sequence[str]]) -> None:
    click.echo(f"\n{heading}\n")
    for words in commands:
        click.echo(f"  {shlex.join(words)}")


def _say_env(directory: Path) -> None:
    click.echo("\nTalk to it:\n")
    click.echo(
        f'  eval "$({shlex.join(["trioetcd", "certs", "env", "--data-dir", str(directory)])})"'
    )
    click.echo("  etcdctl endpoint health --cluster")
