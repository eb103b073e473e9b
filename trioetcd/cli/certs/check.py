"""``certs check``: how long files and live endpoints are good for, for monitors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.cli.certs.inventory import Entry, collect
from trioetcd.cli.certs.option import FILE
from trioetcd.cli.certs.table import print_json, print_table, rfc3339, state_word
from trioetcd.node.pki_files import ROOT, PkiFiles
from trioetcd.node.pki_layout import find_layout
from trioetcd.node.probe import Place, Seen, probe_all, read_place
from trioetcd.pki import CertifiedKey, Limits, PkiError, State, words_left
from trioetcd.transport.tls import CLIENT_ALPN, PEER_ALPN

__all__ = ["check"]

_DEFAULT: Final = Path("default.etcd")
_SPAN: Final = "30d, 12h, 90m or 45s"
_METRICS: Final = (
    (
        "trioetcd_tls_certificate_expiry_timestamp_seconds",
        "When a certificate ends, in seconds since 1970.",
    ),
    (
        "trioetcd_tls_crl_next_update_timestamp_seconds",
        "When a revocation list should have been replaced, in seconds since 1970.",
    ),
    ("trioetcd_tls_check_state", "0 is good, 1 a warning, 2 critical, 3 unknown."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One line of the answer."""

    where: str
    role: str
    subject: str
    serial: int
    ends: datetime | None
    state: State
    sentence: str


@click.command("check")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR|FILE]...")
@click.option("--warn", help=f"Less left than this is a warning: {_SPAN}.  [default: 30d]")
@click.option("--crit", help="Less left than this is critical.  [default: 7d]")
@click.option("--endpoint", "clients", multiple=True, metavar="HOST:PORT", help="A client port.")
@click.option("--peer-endpoint", "peers", multiple=True, metavar="HOST:PORT", help="A peer port.")
@click.option("--cacert", type=FILE, help="Who must have signed what the endpoints show.")
@click.option("--cert", type=FILE, help="Whose certificate to show there.")
@click.option("--key", type=FILE, help="Its key.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "prom"]),
    default="table",
    show_default=True,
    help="How to print; prom is for Prometheus's textfile collector.",
)
def check(
    places: tuple[Path, ...],
    warn: str | None,
    crit: str | None,
    clients: tuple[str, ...],
    peers: tuple[str, ...],
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    output: str,
) -> int:
    """Say how long certificates and revocation lists are good for, in files and on live ports.

    Exit code 0: all is well. 1: the end of one is near. 2: one has ended, cannot be used, or a
    port does not answer. 3: nothing could be checked. What lives shorter than 120 days is near its
    end in the last quarter of its life, and critical in the last twelfth, unless limits are given.

    At a port, the certificate of the member's set in DIR is shown, or the one of --cert.

    \b
    trioetcd certs check certs --endpoint 10.0.0.1:2379 --peer-endpoint 10.0.0.1:2380
    trioetcd certs check -o prom > /var/lib/node_exporter/trioetcd.prom
    """
    now = datetime.now(UTC)
    try:
        limits = Limits(_span(warn), _span(crit))
        if not places and (_DEFAULT.exists() or not (clients or peers)):
            places = (_DEFAULT,)
        judged = [_judge_entry(entry, limits, now) for entry in collect(places)]
        dialled = [read_place(text, "client") for text in clients]
        dialled += [read_place(text, "peer") for text in peers]
        own = _Own.find(places[0] if places else _DEFAULT, cacert, cert, key)
        pairs = {"client": own.client, "peer": own.peer}
        judged += [
            _judge_seen(seen, own, limits, now) for seen in probe_all(dialled, pairs, now=now)
        ]
    except PkiError as error:
        click.echo(f"trioetcd: {error}", err=True)
        return int(State.UNKNOWN)
    # a monitor wants the worst; what is unknown is not worse than what is known to be bad
    worst = max((line.state for line in judged), default=State.UNKNOWN)
    _print(judged, worst, now, output)
    return int(worst)


def _span(text: str | None) -> timedelta | None:
    return None if text is None else pki.read_span(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """What there is on this side to show, and to verify with."""

    client: CertifiedKey | None
    peer: CertifiedKey | None
    client_trust: bytes | None
    peer_trust: bytes | None

    @classmethod
    def find(cls, place: Path, cacert: Path | None, cert: Path | None, key: Path | None) -> _Own:
        if (cert is None) != (key is None):
            raise PkiError("--cert and --key belong together; give both")
        trust = cacert.read_bytes() if cacert is not None else None
        if cert is not None and key is not None:
            pair = CertifiedKey(cert.read_bytes(), key.read_bytes())
            return cls(client=pair, peer=pair, client_trust=trust, peer_trust=trust)
        try:
            layout = find_layout(place)
        except PkiError:
            return cls(client=None, peer=None, client_trust=trust, peer_trust=trust)
        files = layout.members[0] if layout.members else PkiFiles(layout.root)
        root = layout.client(ROOT)
        return cls(
            client=_pair(root) if root is not None else None,
            peer=_pair(files.peer),
            client_trust=trust or _bytes(layout.authority("client")),
            peer_trust=trust or _bytes(layout.authority("peer")),
        )


def _pair(certificate: Path) -> CertifiedKey | None:
    chain, key = _bytes(certificate), _bytes(PkiFiles.key_of(certificate))
    return CertifiedKey(chain, key) if chain and key else None


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _judge_entry(entry: Entry, limits: Limits, now: datetime) -> _Judged:
    facts = entry.facts
    state, sentence = State.OK, ""
    if entry.problem:
        state, sentence = State.CRITICAL, entry.problem
    elif entry.span is not None:
        begins, ends = entry.span
        state = limits.judge(begins=begins, ends=ends, now=now)
        sentence = words_left(ends, now)
        if now < begins:
            sentence = f"not valid before {begins:%Y-%m-%d %H:%M} UTC; is the clock right?"
    subject = entry.revoked.issuer if entry.revoked is not None else ""
    return _Judged(
        where=str(entry.path),
        role=entry.role,
        subject=facts.common_name or facts.subject if facts is not None else subject,
        serial=facts.serial if facts is not None else 0,
        ends=entry.span[1] if entry.span is not None else None,
        state=state,
        sentence=sentence,
    )


def _judge_seen(seen: Seen, own: _Own, limits: Limits, now: datetime) -> _Judged:
    place, facts = seen.place, seen.certificate
    where = f"{place.purpose}://{place}"
    if facts is None:
        return _Judged(
            where=where,
            role="?",
            subject="",
            serial=0,
            ends=None,
            state=State.CRITICAL,
            sentence=seen.reason,
        )
    state = limits.judge(begins=facts.not_before, ends=facts.not_after, now=now)
    sentence = words_left(facts.not_after, now)
    if fault := _fault(seen, place, own):
        state, sentence = State.CRITICAL, fault
    return _Judged(
        where=where,
        role=facts.role,
        subject=facts.common_name or facts.subject,
        serial=facts.serial,
        ends=facts.not_after,
        state=state,
        sentence=sentence,
    )


def _fault(seen: Seen, place: Place, own: _Own) -> str:
    """Say what would keep a client or a peer from using the port; nothing if nothing does."""
    if seen.alpn not in (PEER_ALPN if place.purpose == "peer" else CLIENT_ALPN):
        return f"it does not speak as a {place.purpose} port does; is it another one?"
    trust = own.peer_trust if place.purpose == "peer" else own.client_trust
    if trust is not None and not pki.signer_of(seen.der, trust):
        issuer = seen.certificate.issuer if seen.certificate is not None else ""
        return f"it is signed by {issuer}, which is not among the CAs here"
    if seen.admitted is False:
        return f"it does not let this certificate in: {seen.reason}"
    if not pki.stands_for(seen.der, place.host):
        return f"its certificate does not name {place.host}"
    return ""


def _print(judged: Sequence[_Judged], worst: State, now: datetime, output: str) -> None:
    match output:
        case "json":
            print_json(
                {
                    "state": state_word(worst),
                    "exit_code": int(worst),
                    "checked": [_value(line, now) for line in judged],
                }
            )
        case "prom":
            click.echo(_metrics(judged), nl=False)
        case _:
            print_table(
                ("STATE", "WHERE", "ROLE", "SUBJECT", "ENDS", "LEFT"),
                [
                    (
                        state_word(line.state),
                        line.where,
                        line.role,
                        line.subject,
                        f"{line.ends:%Y-%m-%d}" if line.ends else "",
                        line.sentence,
                    )
                    for line in judged
                ],
                [line.state for line in judged],
            )


def _value(line: _Judged, now: datetime) -> dict[str, object]:
    value: dict[str, object] = {
        "where": line.where,
        "role": line.role,
        "subject": line.subject,
        "state": state_word(line.state),
        "sentence": line.sentence,
    }
    if line.serial:
        value["serial"] = f"{line.serial:x}"
    if line.ends is not None:
        value["ends"] = rfc3339(line.ends)
        value["seconds_left"] = int((line.ends - now).total_seconds())
    return value


def _metrics(judged: Sequence[_Judged]) -> str:
    samples: dict[str, list[str]] = {name: [] for name, _ in _METRICS}
    expiry, next_update, state = samples
    for line in judged:
        labels = [("where", line.where), ("role", line.role), ("subject", line.subject)]
        if line.serial:
            labels.append(("serial", f"{line.serial:x}"))
        text = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
        samples[state].append(f"{state}{{{text}}} {int(line.state)}\n")
        if line.ends is not None:
            name = next_update if line.role == "crl" else expiry
            samples[name].append(f"{name}{{{text}}} {int(line.ends.timestamp())}\n")
    return "".join(
        f"# HELP {name} {meaning}\n# TYPE {name} gauge\n" + "".join(samples[name])
        for name, meaning in _METRICS
        if samples[name]
    )


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
