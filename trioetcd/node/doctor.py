"""What is wrong with certificates, their files and their use: each finding with its remedy.

A finding is one sentence and one command. What is looked at comes from `trioetcd.node.examined`.
"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node.examined import Examined, Finding, Held
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import Facts, Limits, PkiError, Role, State

__all__ = ["examine"]

_OTHERS: Final = 0o077
_WRITABLE: Final = 0o022
_SKEW: Final = timedelta(days=1)
_CRITICAL: Final = frozenset({"dates", "strength", "chain", "usages", "key"})
"""Checks whose failure keeps a member from starting, or others from talking to it."""


def examine(examined: Examined, *, now: datetime) -> list[Finding]:
    """Look at everything, worst first.

    Args:
        examined: what there is.
        now: the time.
    """
    findings = list(examined.remarks)
    for held in examined.held:
        findings += _guarded(held.certificate, partial(_look_at, held, now))
    findings += _serials(examined.held)
    for peer, client in examined.trusts:
        findings += _guarded(peer, partial(_trusts, peer, client, now))
    for path, trust in examined.lists:
        findings += _guarded(path, partial(_list, path, trust, now), _list_remedy(path))
    for directory in examined.server_directories:
        findings += _authority_keys(directory, together=examined.together)
    return sorted(findings, key=lambda finding: -finding.state)


def _guarded(path: Path, look: partial[Iterator[Finding]], remedy: str = "") -> list[Finding]:
    """Turn what cannot be read into a finding."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except (PkiError, OSError) as error:
        sentence = sentence_of(error)
        remedy = remedy or f"ls -l {shlex.quote(str(path))}"
        found.append(
            Finding(state=State.CRITICAL, where=str(path), sentence=sentence, remedy=remedy)
        )
    return found


def _look_at(held: Held, now: datetime) -> Iterator[Finding]:
    where = str(held.certificate)
    data = held.certificate.read_bytes()
    facts = pki.inspect(data, where)[0]
    issue = _issue(held, facts)
    for check in pki.check_certificate(
        data,
        role=held.role,
        key=held.key.read_bytes() if held.key.exists() else None,
        issuers=held.trust.read_bytes() if held.trust is not None else None,
        hosts=held.hosts,
        now=now,
    ):
        if check.passed:
            continue
        critical = check.subject in _CRITICAL or held.role is Role.PEER
        ahead = facts.not_before - now
        skewed = check.subject == "dates" and timedelta() < ahead <= _SKEW
        yield Finding(
            state=State.CRITICAL if critical else State.WARNING,
            where=where,
            sentence=check.sentence + (f", which is {ahead} ahead of this clock" if skewed else ""),
            remedy="timedatectl status"
            if skewed
            else held.renewal
            if check.subject in {"dates", "key"}
            else issue,
        )
    if not held.key.exists():
        yield Finding(
            state=State.CRITICAL, where=where, sentence="its key is missing", remedy=held.renewal
        )
    if facts.weakness:
        yield Finding(
            state=State.WARNING, where=where, sentence=f"it has {facts.weakness}", remedy=issue
        )
    near = Limits().judge(begins=facts.not_before, ends=facts.not_after, now=now)
    if facts.not_before <= now < facts.not_after and near is not State.OK:
        left = pki.words_left(facts.not_after, now)
        yield Finding(state=near, where=where, sentence=f"it ends in {left}", remedy=held.renewal)
    if held.role is Role.CLIENT:
        yield from _user(held, facts)
    yield from _modes(held.key)


def _issue(held: Held, facts: Facts) -> str:
    name = shlex.quote(facts.common_name or held.certificate.stem)
    names = "".join(
        f" --host {shlex.quote(host)}" for host in dict.fromkeys((*facts.names, *held.hosts))
    )
    target = held.renewal.partition("--data-dir ")[2]
    extra = names if held.role is not Role.CLIENT else ""
    return f"trioetcd certs issue {held.role.value} {name}{extra} --data-dir {target} --force"


def _user(held: Held, facts: Facts) -> Iterator[Finding]:
    where = str(held.certificate)
    if not facts.common_name:
        yield Finding(
            state=State.WARNING,
            where=where,
            sentence="it has no common name, so with access control on it is no user's",
            remedy=_issue(held, facts),
        )
    elif facts.common_name != held.certificate.stem:
        yield Finding(
            state=State.OK,
            where=where,
            sentence=f"whoever has it logs in as {facts.common_name}, not as its file is called",
            remedy=f"trioetcd certs show {shlex.quote(where)}",
        )


def _modes(key: Path) -> Iterator[Finding]:
    if not key.exists():
        return
    where, quoted = str(key), shlex.quote(str(key))
    status, directory = key.stat(), key.parent.stat()
    if status.st_mode & _OTHERS:
        # A group that may read a key was given it on purpose; everybody was not.
        worst = State.CRITICAL if status.st_mode & 0o007 else State.WARNING
        yield Finding(
            state=worst,
            where=where,
            sentence=f"others than its owner can read this key (mode {status.st_mode & 0o777:o})",
            remedy=f"chmod 600 {quoted}",
        )
    if directory.st_mode & _WRITABLE:
        yield Finding(
            state=State.WARNING,
            where=str(key.parent),
            sentence="others than its owner can replace the files in this directory "
            f"(mode {directory.st_mode & 0o777:o})",
            remedy=f"chmod 700 {shlex.quote(str(key.parent))}",
        )
    if status.st_uid != directory.st_uid:
        yield Finding(
            state=State.WARNING,
            where=where,
            sentence=f"it belongs to user {status.st_uid}, but its directory to {directory.st_uid}",
            remedy=f"chown {directory.st_uid}:{directory.st_gid} {quoted}",
        )
    elif not os.access(key, os.R_OK):
        yield Finding(
            state=State.WARNING,
            where=where,
            sentence="you cannot read it, so a member that you start cannot, either",
            remedy=f"sudo chown {os.geteuid()} {quoted}",
        )


def _serials(every: Sequence[Held]) -> Iterator[Finding]:
    """Find certificates that one CA gave the same number: revoking one would revoke both."""
    known: dict[tuple[str, int], dict[str, Held]] = defaultdict(dict)
    for held in every:
        try:
            facts = pki.inspect(held.certificate.read_bytes(), "it")[0]
        except (PkiError, OSError):
            continue  # said already
        known[facts.issuer, facts.serial][facts.fingerprint] = held
    for (issuer, serial), copies in known.items():
        if len(copies) > 1:
            first, second = list(copies.values())[:2]
            yield Finding(
                state=State.CRITICAL,
                where=str(second.certificate),
                sentence=f"{issuer} gave it the serial {serial:x}, and {first.certificate} the "
                "same one: revoking one revokes both",
                remedy=second.renewal,
            )


def _trusts(peer: Path, client: Path, now: datetime) -> Iterator[Finding]:
    if pki.shared_certificates(peer.read_bytes(), client.read_bytes()):
        yield Finding(
            state=State.WARNING,
            where=str(peer),
            sentence="one CA signs members and clients; who has a certificate with both usages "
            "can join as a member",
            remedy="trioetcd --peer-cert-allowed-cn=..., or `trioetcd certs init` for two CAs",
        )
    for path in dict.fromkeys((peer, client)):
        for facts in pki.inspect(path.read_bytes(), str(path)):
            state = Limits().judge(begins=facts.not_before, ends=facts.not_after, now=now)
            purpose = "peer" if path == peer else "client"
            remedy = f"trioetcd certs ca rotate start {purpose} --data-dir "
            if facts.weakness and state is State.OK:
                yield Finding(
                    state=State.WARNING,
                    where=str(path),
                    sentence=f"the CA {facts.common_name} has {facts.weakness}",
                    remedy=remedy + shlex.quote(str(path.parent)),
                )
            if state is not State.OK:
                left = pki.words_left(facts.not_after, now)
                yield Finding(
                    state=state,
                    where=str(path),
                    sentence=f"the CA {facts.common_name} has {left} left",
                    remedy=remedy + shlex.quote(str(path.parent)),
                )


def _list(path: Path, trust: Path, now: datetime) -> Iterator[Finding]:
    remedy = _list_remedy(path)
    found = pki.verify_lists(path.read_bytes(), trust=trust.read_bytes(), now=now, what=str(path))
    for warning in found.warnings:
        yield Finding(state=State.WARNING, where=str(path), sentence=warning, remedy=remedy)
    for one in pki.inspect_lists(path.read_bytes(), str(path)):
        if one.next_update is not None and now < one.next_update:
            state = Limits().judge(begins=one.this_update, ends=one.next_update, now=now)
            if state is not State.OK:
                left = pki.words_left(one.next_update, now)
                yield Finding(
                    state=State.WARNING,
                    where=str(path),
                    sentence=f"the list of {one.issuer} is outdated in {left}",
                    remedy=remedy,
                )


def _list_remedy(path: Path) -> str:
    return f"trioetcd certs crl renew --data-dir {shlex.quote(str(path.parent))}"


def _authority_keys(directory: Path, *, together: bool) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    keys = [*directory.glob("*-ca.key"), *directory.glob("ca.key")]
    for key in sorted(keys):
        yield Finding(
            # A single member renews its own certificates; a cluster's CA is no member's.
            state=State.OK if together else State.WARNING,
            where=str(key),
            sentence="a CA's key lies beside a member's: whoever gets into the member can make "
            "certificates for anybody",
            remedy=f"mkdir -pm 700 ~/trioetcd-ca && mv {shlex.quote(str(key))} ~/trioetcd-ca/",
        )
        yield from _modes(key)
