"""``certs doctor``: what is wrong with certificates, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.cli.certs.option import FILE
from trioetcd.cli.certs.table import coloured, print_json, state_word
from trioetcd.node.config import parse
from trioetcd.node.doctor import examine
from trioetcd.node.examined import Examined, Finding, of_config, of_layout
from trioetcd.node.flags import ConfigError
from trioetcd.node.pki_files import ROOT, PkiFiles
from trioetcd.node.pki_layout import Layout, find_layout
from trioetcd.node.probe import Place, Seen, probe_all, read_place
from trioetcd.node.rotation_standing import known_places
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import CertifiedKey, PkiError, State
from trioetcd.transport.tls import CLIENT_ALPN, PEER_ALPN

__all__ = ["doctor"]

_DEFAULT: Final = Path("default.etcd")


@click.command("doctor")
@click.argument("place", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--config", "config_file", type=FILE, help="A member's configuration file.")
@click.option("--endpoint", "clients", multiple=True, metavar="HOST:PORT", help="A client port.")
@click.option("--peer-endpoint", "peers", multiple=True, metavar="HOST:PORT", help="A peer port.")
@click.option("--live", is_flag=True, help="Ask the ports, too, that DIR tells of.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)
def doctor(
    place: Path | None,
    config_file: Path | None,
    clients: tuple[str, ...],
    peers: tuple[str, ...],
    output: str,
    *,
    live: bool,
) -> int:
    """Say what is wrong with the certificates in DIR, or of a member's configuration file.

    Keys that are not their certificate's, chains, names against the advertised URLs, usages,
    dates and clocks, modes and owners, weak algorithms, CAs for more than one purpose or in the
    wrong place, revocation lists, users, serials; of a live port what it speaks and shows. Each
    finding comes with the command that mends it.

    Exit code 0: nothing but remarks. 1: warnings. 2: something does not work, or soon will not.

    \b
    trioetcd certs doctor certs --live
    trioetcd certs doctor --config /etc/trioetcd/trioetcd.yaml
    """
    now = datetime.now(UTC)
    try:
        examined, layout = _examined(place, config_file)
        places = [read_place(text, "client") for text in clients]
        places += [read_place(text, "peer") for text in peers]
        if live and layout is not None:
            places += [each for each in known_places(layout) if each not in places]
        findings = examine(examined, now=now)
        findings += _look_at_ports(places, layout, now)
    except (PkiError, ConfigError) as error:
        click.echo(f"trioetcd: {error}", err=True)
        return int(State.CRITICAL)
    except OSError as error:
        click.echo(f"trioetcd: {sentence_of(error)}", err=True)
        return int(State.CRITICAL)
    findings.sort(key=lambda finding: -finding.state)
    worst = max((finding.state for finding in findings), default=State.OK)
    _print(findings, len(examined.held), worst, output)
    return int(worst)


def _examined(place: Path | None, config_file: Path | None) -> tuple[Examined, Layout | None]:
    if config_file is None:
        layout = find_layout(place or _DEFAULT)
        return of_layout(layout, place or _DEFAULT), layout
    config = parse([f"--config-file={config_file}"], {})
    where = place or (Path(config.cert_file).parent if config.cert_file else config.data_path)
    try:
        found = find_layout(where)
    except PkiError:
        return of_config(config, where), None
    return of_config(config, where), found


def _look_at_ports(places: list[Place], layout: Layout | None, now: datetime) -> list[Finding]:
    pairs: dict[str, CertifiedKey | None] = {"client": None, "peer": None}
    if layout is not None:
        root = layout.client(ROOT)
        peer = next((files.peer for files in layout.members if files.peer.exists()), None)
        for purpose, path in (("client", root), ("peer", peer)):
            if path is not None and PkiFiles.key_of(path).exists():
                key = PkiFiles.key_of(path).read_bytes()
                pairs[purpose] = CertifiedKey(path.read_bytes(), key)
    return [
        finding
        for seen in probe_all(places, pairs, now=now)
        for finding in _look_at_port(seen, layout)
    ]


def _look_at_port(seen: Seen, layout: Layout | None) -> Iterator[Finding]:
    place = seen.place
    where = f"{place.purpose}://{place}"
    probe = f"openssl s_client -connect {shlex.quote(str(place))} -alpn h2"
    if seen.certificate is None:
        yield Finding(state=State.CRITICAL, where=where, sentence=seen.reason, remedy=probe)
        return
    if seen.alpn not in (PEER_ALPN if place.purpose == "peer" else CLIENT_ALPN):
        yield Finding(
            state=State.CRITICAL,
            where=where,
            sentence="it agrees on no protocol by ALPN, without which gRPC clients hang up",
            remedy=probe,
        )
    if seen.admitted is False:
        yield Finding(
            state=State.CRITICAL,
            where=where,
            sentence=f"it does not let the certificate of this directory in: {seen.reason}",
            remedy=f"trioetcd certs show {shlex.quote(str(place))}",
        )
    if not pki.stands_for(seen.der, place.host):
        yield Finding(
            state=State.CRITICAL,
            where=where,
            sentence=f"its certificate does not name {place.host}",
            remedy=f"trioetcd certs issue server NAME --host {shlex.quote(place.host)} --force",
        )
    if layout is None:
        return
    own = {pki.inspect(path.read_bytes(), "")[0].fingerprint for path in layout.leaves()}
    if seen.certificate.fingerprint not in own:
        yield Finding(
            state=State.WARNING,
            where=where,
            sentence="the certificate it shows is none of this directory; the member has another "
            "copy, or has not read the new one",
            remedy=f"trioetcd certs show {shlex.quote(str(place))}",
        )


def _print(findings: list[Finding], count: int, worst: State, output: str) -> None:
    if output == "json":
        rows = [
            {
                "state": state_word(finding.state),
                "where": finding.where,
                "sentence": finding.sentence,
                "remedy": finding.remedy,
            }
            for finding in findings
        ]
        print_json({"state": state_word(worst), "examined": count, "findings": rows})
        return
    for finding in findings:
        word = "remark" if finding.state is State.OK else state_word(finding.state)
        click.echo(f"{coloured(word, finding.state)}: {finding.where}: {finding.sentence}")
        click.echo(f"    {finding.remedy}")
    click.echo(f"{count} certificates were looked at; {len(findings)} findings")
