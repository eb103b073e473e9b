"""``trioetcd certs``: make certificates, give one to a client, say how to talk to a member."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

__all__ = ["certs"]

_DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)
_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)


def certs(arguments: Sequence[str]) -> int:
    """Run ``trioetcd certs ...`` and give the exit code.

    Args:
        arguments: the words after ``certs``.
    """
    try:
        _certs.main(list(arguments), prog_name="trioetcd certs", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except PkiError as error:
        print(f"trioetcd: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"trioetcd: {sentence_of(error)}", file=sys.stderr)
        return 1
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def _certs() -> None:
    """Make certificates, and say how to talk to a member.

    A member without TLS flags makes its own certificates; `init` makes them beforehand, for one
    member or for several that must trust each other.
    """


@_certs.command("init")
@click.argument("members", nargs=-1, metavar="[NAME=HOST[,HOST...]]...")
@click.option("--out", type=_DIRECTORY, required=True, help="Where to write.")
@click.option("--profile", "profile_file", type=_FILE, help="TOML file with lifetimes in days.")
@click.option("--force", is_flag=True, help="Move a directory that is there aside, and begin anew.")
def _init(
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
    profile = _read_profile(profile_file)
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


def _read_profile(path: Path | None) -> Profile:
    if path is None:
        return Profile()
    try:
        return Profile.read(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PkiError(f"{path} is no TOML: {error}") from None


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


@_certs.group("issue")
def _issue() -> None:
    """Make a certificate under a CA that is there."""


@_issue.command("client")
@click.argument("name")
@click.option(
    "--data-dir",
    type=_DIRECTORY,
    default=Path("default.etcd"),
    show_default=True,
    help="A member's data directory, or what `certs init` wrote.",
)
@click.option("--profile", "profile_file", type=_FILE, help="TOML file with lifetimes in days.")
@click.option("--force", is_flag=True, help="Replace a certificate of that name.")
def _issue_client(name: str, data_dir: Path, profile_file: Path | None, *, force: bool) -> None:
    """Make a certificate for the client NAME; with access control on, NAME is its user."""
    files = PkiFiles(_find_set(data_dir))
    target = files.client(name)
    if (target.exists() or files.key_of(target).exists()) and not force:
        raise PkiError(f"{target} is there already; nothing was changed (--force replaces it)")
    authority = pki_files.load_authority(_authority_near(files))
    if authority is None:
        raise PkiError(f"the key of {files.client_ca} is not here to sign with")
    now = datetime.now(UTC)
    profile = _read_profile(profile_file)
    pair = pki.issue(authority, Role.CLIENT, name, now=now, profile=profile)
    pki_files.save_pair(target, pair)
    click.echo(f"{target}\n{files.key_of(target)}\n\n{pki.describe(pair.certificate, now=now)}")


def _authority_near(files: PkiFiles) -> Path:
    """Give the client CA of a set: beside it after an `init` of several members."""
    beside = files.path.parent / "ca" / files.client_ca.name
    if not files.key_of(files.client_ca).exists() and beside.exists():
        return beside
    return files.client_ca


@_certs.command("env")
@click.option(
    "--data-dir",
    type=_DIRECTORY,
    default=Path("default.etcd"),
    show_default=True,
    help="A member's data directory, or what `certs init` wrote.",
)
@click.option("--user", default=pki_files.ROOT, show_default=True, help="Whose certificate.")
@click.option("--endpoints", help="Instead of those that the member noted at its start.")
def _env(data_dir: Path, user: str, endpoints: str | None) -> None:
    """Print what etcdctl needs to know, for a shell.

    \b
    eval "$(trioetcd certs env)"
    """  # noqa: D301  # click wants the character itself
    files = PkiFiles(_find_set(data_dir))
    certificate = files.client(user)
    key = files.key_of(certificate)
    missing = [path for path in (files.client_ca, certificate, key) if not path.exists()]
    if missing:
        raise PkiError(
            f"{missing[0]} is not there; make a certificate with "
            f"`trioetcd certs issue client {shlex.quote(user)} "
            f"--data-dir {shlex.quote(str(data_dir))}`",
        )
    for name, value in (
        ("ETCDCTL_ENDPOINTS", endpoints or pki_files.read_endpoints(files.path)),
        ("ETCDCTL_CACERT", str(files.client_ca.resolve())),
        ("ETCDCTL_CERT", str(certificate.resolve())),
        ("ETCDCTL_KEY", str(key.resolve())),
    ):
        click.echo(f"export {name}={shlex.quote(value)}")


@_certs.command("show")
@click.argument("files", nargs=-1, required=True, type=_FILE)
def _show(files: tuple[Path, ...]) -> None:
    """Say in words what certificates are, for whom, and until when."""
    now = datetime.now(UTC)
    for path in files:
        click.echo(f"{path}: {pki.describe(path.read_bytes(), now=now)}")


def _find_set(directory: Path) -> Path:
    """Give the directory of certificates in a data directory, or that it is one itself.

    Raises:
        PkiError: there are none in it.
    """
    for candidate in (directory / "pki", directory):
        if PkiFiles(candidate).client_ca.exists():
            return candidate
    raise PkiError(
        f"{directory} holds no certificates of clients; name the data directory of a member that "
        f"was started without TLS flags, or the directory that `trioetcd certs init` wrote",
    )
