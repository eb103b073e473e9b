"""How far a cluster has come with a CA that is being replaced: every member is asked at its port.

Asked with a certificate of a day, made for the question by the CA in question: who lets it in
trusts that CA. Members are found by asking one of them who they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.flags import ConfigError
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import Layout
from trioetcd.node.probe import Place, members_of, probe_all, read_place
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

__all__ = ["CONFIG_FILE", "Answer", "AskClientPort", "Standing", "Told", "ask", "known_places"]

_ROLES: Final = {"peer": Role.PEER, "client": Role.CLIENT}
CONFIG_FILE: Final = "trioetcd.yaml"


Told = Sequence[tuple[str, Sequence[str], Sequence[str]]]
"""Members: name, peer URLs, client URLs."""

AskClientPort = Callable[[Layout, Sequence[str]], Told]
"""Asks at client URLs, with certificates found there, who the members are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one member's port showed.

    Attributes:
        member: its name; empty where nobody told it.
        place: the port.
        presents: ``new`` or ``old`` by the CA that signed its certificate, ``other``, or nothing.
        trusts_new: whether it lets in who is signed by the new CA.
        trusts_old: whether it lets in who is signed by the old CA; None where that was not asked.
        reason: why it does not, or why it came to no answer.
    """

    member: str
    place: Place
    presents: str
    trusts_new: bool
    trusts_old: bool | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What all members showed.

    Attributes:
        answers: one per port.
        complete: whether a member told who the members are, so that nobody was left out.
    """

    answers: tuple[Answer, ...]
    complete: bool

    def missing(self, *, new_leaves: bool) -> list[str]:
        """Say what stands against the next step; nothing when every member is ready.

        Args:
            new_leaves: whether members must present a certificate of the new CA, too.
        """
        reasons = []
        if not self.answers:
            reasons.append("no member was asked; name one with --peer-endpoint HOST:PORT")
        elif not self.complete:
            reasons.append(
                "no member told who the members are; name one with --peer-endpoint HOST:PORT"
            )
        for answer in self.answers:
            who = f"{answer.member} ({answer.place})" if answer.member else str(answer.place)
            if not answer.trusts_new:
                reasons.append(f"{who} does not let in whom the new CA signed: {answer.reason}")
            elif new_leaves and answer.presents != "new":
                reasons.append(f"{who} still presents a certificate of the old CA")
        return reasons


def known_places(layout: Layout) -> dict[Place, str]:
    """Give the ports that files beside the certificates tell, and whose they are."""
    places: dict[Place, str] = {}
    for files in layout.members:
        config_file = files.path / CONFIG_FILE
        if config_file.exists():
            try:
                config = parse([f"--config-file={config_file}"], {})
            except ConfigError as error:
                raise PkiError(f"{config_file}: {error}") from None
            urls = [("peer", url) for url in config.initial_advertise_peer_urls]
            urls += [("client", url) for url in config.advertise_client_urls if url.secure]
            places |= {Place(url.host, url.port, purpose): config.name for purpose, url in urls}
    for directory in dict.fromkeys((layout.root, *(files.path for files in layout.members))):
        if PkiFiles(directory).endpoints.exists():
            for text in pki_files.read_endpoints(directory).split(","):
                if text.startswith("https://"):
                    places.setdefault(read_place(text, "client"), "")
    return places


def ask(
    layout: Layout,
    purpose: str,
    *,
    new: CertifiedKey,
    old: CertifiedKey | None,
    places: Iterable[Place],
    now: datetime,
    ask_client_port: AskClientPort,
) -> Standing:
    """Ask every member which CA its certificate is of, and whom it trusts.

    Args:
        layout: the certificates with which members are asked who they are.
        purpose: ``peer`` or ``client``: which ports are asked.
        new: the CA that comes, with its key.
        old: the CA that goes, with its key; None leaves its trust unasked.
        places: ports, of either kind, of at least one member.
        now: the time.
        ask_client_port: asks there who the members are, if no peer port tells.

    Raises:
        PkiError: a CA cannot sign.
    """
    known = known_places(layout) | dict.fromkeys(places, "")
    members = _members(layout, list(known), now, ask_client_port)
    for name, urls in members:
        known |= dict.fromkeys(urls, name)
    asked = [place for place in known if place.purpose == purpose]
    shown = _leaf(layout, purpose, new, now)
    seen = probe_all(asked, {purpose: shown}, now=now)
    again = None
    if old is not None:
        again = probe_all(asked, {purpose: _leaf(layout, purpose, old, now)}, now=now)
    answers = []
    for at, one in enumerate(seen):
        presents = ""
        if one.der:
            by_new = pki.signer_of(one.der, new.certificate)
            by_old = old is not None and pki.signer_of(one.der, old.certificate)
            presents = "new" if by_new else "old" if by_old else "other"
        answers.append(
            Answer(
                member=known[one.place],
                place=one.place,
                presents=presents,
                trusts_new=bool(one.admitted),
                trusts_old=again[at].admitted if again is not None else None,
                reason=one.reason,
            )
        )
    answers.sort(key=lambda answer: (answer.member, str(answer.place)))
    return Standing(answers=tuple(answers), complete=bool(members))


def _leaf(layout: Layout, purpose: str, authority: CertifiedKey, now: datetime) -> CertifiedKey:
    """Make a certificate for the question, with the names of one that members let in."""
    name, hosts = pki_files.ROOT, tuple[str, ...]()
    peers = (files.peer for files in layout.members if files.peer.exists())
    like = next(peers, None) if purpose == "peer" else layout.client(pki_files.ROOT)
    if like is not None:
        facts = pki.inspect(like.read_bytes(), str(like))[0]
        name, hosts = facts.common_name or name, facts.names
    return pki.issue(
        authority, _ROLES[purpose], name, hosts=hosts, now=now, profile=Profile(), days=1
    )


def _members(
    layout: Layout, places: Sequence[Place], now: datetime, ask_client_port: AskClientPort
) -> list[tuple[str, list[Place]]]:
    """Ask one member who all are: at a peer port, or else at a client port."""
    for files in layout.members:
        pair = _read_pair(files.peer)
        if pair is None:
            continue
        peers = [place for place in places if place.purpose == "peer"]
        view = members_of(probe_all(peers, {"peer": pair}, now=now))
        if view is not None:
            return [
                (member.name, _places(member.peer_urls, member.client_urls))
                for member in view.members
            ]
        break
    urls = [f"https://{place}" for place in places if place.purpose == "client"]
    if urls:
        told = ask_client_port(layout, urls)
        return [(name, _places(peers, clients)) for name, peers, clients in told]
    return []


def _places(peer_urls: Sequence[str], client_urls: Sequence[str]) -> list[Place]:
    # A peer port speaks TLS whatever its URL says; a client port only if it says so.
    found = [read_place(text.partition("://")[2], "peer") for text in peer_urls]
    found += [read_place(text, "client") for text in client_urls if text.startswith("https://")]
    return found


def _read_pair(certificate: Path) -> CertifiedKey | None:
    key = PkiFiles.key_of(certificate)
    if not (certificate.exists() and key.exists()):
        return None
    return CertifiedKey(certificate.read_bytes(), key.read_bytes())
