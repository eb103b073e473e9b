"""Tests of `trioetcd.node.rotation`: at no point does anybody lose trust, and each step goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.node.crash import dies_before_change
from tests.pki.material import NOW
from trioetcd import pki
from trioetcd.node import pki_files, pki_index, rotation
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import Layout, find_layout
from trioetcd.node.probe import Place
from trioetcd.node.renewal import choose, renew_leaf
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role
from trioetcd.pki.revocation import sign_list

NAMES = ("n1", "n2")


def make_cluster(out: Path) -> None:
    """Make what `certs init` makes for several members."""
    signers = {}
    for purpose in ("peer", "client"):
        signers[purpose] = pki.create_authority(purpose, now=NOW, profile=Profile())
        pki_files.save_pair(out / "ca" / f"{purpose}-ca.crt", signers[purpose])
    for name in NAMES:
        pki_files.create_member(
            out / name,
            name=name,
            hosts=["localhost"],
            peer_ca=signers["peer"],
            client_ca=signers["client"],
            now=NOW,
            profile=Profile(),
        )
    root = pki.issue(signers["client"], Role.CLIENT, "root", now=NOW, profile=Profile())
    pki_files.save_pair(out / "clients" / "root.crt", root)


def make_single(out: Path) -> None:
    """Make what a member makes for itself."""
    pki_files.ensure(out, name="m1", hosts=["localhost"], now=NOW, profile=Profile())


def check_trust(layout: Layout) -> set[str]:
    """Check that everybody's certificate is accepted by everybody; give the peers' issuers."""
    issuers = set()
    for shower in layout.members:
        for seer in layout.members:
            for role, leaf, trust in (
                (Role.PEER, shower.peer, seer.peer_ca),
                (Role.SERVER, shower.server, seer.client_ca),
                (Role.CLIENT, layout.client("root"), seer.client_ca),
            ):
                assert leaf is not None
                pki.verify(
                    role,
                    chain=leaf.read_bytes(),
                    key=PkiFiles.key_of(leaf).read_bytes(),
                    issuers=trust.read_bytes(),
                    now=NOW,
                )
        issuers.add(pki.inspect(shower.peer.read_bytes(), "it")[0].issuer)
    return issuers


def renew_all(layout: Layout) -> None:
    for due in choose(layout, ["all"], now=NOW):
        if due.reason:
            renew_leaf(layout, due, now=NOW, profile=Profile())


def start(layout: Layout, purpose: str) -> None:
    rotation.begin(layout, purpose, now=NOW, profile=Profile(), places=())


def advance(layout: Layout, purpose: str) -> None:
    under_way = rotation.load(layout, purpose)
    assert under_way is not None
    rotation.switch(layout, under_way)
    renew_all(layout)


def finish(layout: Layout, purpose: str) -> None:
    under_way = rotation.load(layout, purpose)
    if under_way is None:
        return  # an earlier attempt came to its end
    assert [] == rotation.unready(layout, under_way, now=NOW)
    rotation.end(layout, under_way)


STEPS: tuple[Callable[[Layout, str], None], ...] = (start, advance, finish)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "purpose"),
    [
        (make_single, "client"),
        pytest.param(make_cluster, "peer", marks=pytest.mark.proof),
    ],
)
@pytest.mark.parametrize("step", range(3))
def test_a_crash_at_any_point_loses_no_trust(
    tmp_path: Path, make: Callable[[Path], None], purpose: str, step: int
) -> None:
    """Whichever file was the last one written, all verify all, and the step can be run again."""
    ready = tmp_path / "ready"
    make(ready)
    for earlier in STEPS[:step]:
        earlier(find_layout(ready), purpose)
    for number in count():
        out = tmp_path / str(number)
        shutil.copytree(ready, out, symlinks=True)
        layout = find_layout(out)
        died = dies_before_change(number, partial(STEPS[step], layout, purpose))
        check_trust(layout)
        for again in STEPS[step:]:
            again(layout, purpose)
            check_trust(layout)
        for path in layout.trust_files(purpose):
            assert len(pki.inspect(path.read_bytes(), str(path))) == 1
        shutil.rmtree(out)
        if not died:
            break

    assert number >= 3


@pytest.mark.parametrize("make", [make_single, make_cluster])
def test_the_peer_ca_is_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """At the end all is signed by a new CA of the same cluster, and only that is trusted."""
    make(tmp_path / "pki")
    layout = find_layout(tmp_path / "pki")
    before = check_trust(layout)
    old = pki_files.load_authority(layout.authority("peer"))
    assert old is not None
    for step in STEPS:
        step(layout, "peer")
    after = check_trust(layout)
    new = pki_files.load_authority(layout.authority("peer"))
    assert new is not None

    assert len(before) == len(after) == 1
    assert before != after
    assert new.key != old.key
    for path in layout.trust_files("peer"):
        assert not pki.signer_of(old.certificate, path.read_bytes())
    gone = rotation.archived(layout, "peer")
    assert gone == old
    assert rotation.load(layout, "peer") is None
    left = {path.name for path in layout.authorities.iterdir()}
    assert not {name for name in left if "old" in name or "new" in name or "rotation" in name}
    for path in (layout.authorities / "archive").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_openssl_agrees_while_a_ca_is_replaced(tmp_path: Path) -> None:
    """A foreign judge verifies old and new leaves by the files that trust both."""
    make_cluster(tmp_path)
    layout = find_layout(tmp_path)
    start(layout, "peer")
    under_way = rotation.load(layout, "peer")
    assert under_way is not None
    rotation.switch(layout, under_way)
    renew_leaf(layout, choose(layout, ["n1/peer"], now=NOW)[0], now=NOW, profile=Profile())
    for name in NAMES:
        done = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-purpose", "sslserver"),
                *("-attime", str(int(NOW.timestamp()))),
                *("-CAfile", tmp_path / "n2" / "peer-ca.crt", tmp_path / name / "peer.crt"),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_undo_goes_the_same_way_back(tmp_path: Path) -> None:
    """Before and after the new CA has signed, turning round ends with the old one alone."""
    for switched in (False, True):
        make_cluster(tmp_path / str(switched))
        layout = find_layout(tmp_path / str(switched))
        before = check_trust(layout)
        start(layout, "peer")
        if switched:
            advance(layout, "peer")
            assert before != check_trust(layout)
        under_way = rotation.load(layout, "peer")
        assert under_way is not None
        rotation.reverse(layout, under_way)
        if switched:
            advance(layout, "peer")
        finish(layout, "peer")

        assert before == check_trust(layout)
        for path in layout.trust_files("peer"):
            assert len(pki.inspect(path.read_bytes(), str(path))) == 1


def test_the_old_ca_is_not_forgotten_while_it_is_needed(tmp_path: Path) -> None:
    """Each certificate that it signed is named, with the command that renews it."""
    make_cluster(tmp_path)
    layout = find_layout(tmp_path)
    start(layout, "client")
    under_way = rotation.load(layout, "client")
    assert under_way is not None
    first = rotation.unready(layout, under_way, now=NOW)
    rotation.switch(layout, under_way)
    second = rotation.unready(layout, under_way, now=NOW)

    assert first[0] == "the old CA still signs; run `trioetcd certs renew all`"
    assert second == first[1:]
    assert any("`trioetcd certs renew clients/root`" in reason for reason in second)
    assert [] == rotation.unready(layout, under_way, now=NOW + timedelta(days=500))


def test_a_client_that_only_the_old_ca_knows_is_named(tmp_path: Path) -> None:
    """Who was given a certificate, by the index, and has none of the new CA, is not shut out."""
    make_cluster(tmp_path)
    layout = find_layout(tmp_path)
    signer = pki_files.load_authority(layout.authority("client"))
    assert signer is not None
    away = pki.issue(signer, Role.CLIENT, "alice", now=NOW, profile=Profile())
    pki_index.note(layout.authority("client"), Role.CLIENT, [away.certificate])
    start(layout, "client")
    under_way = rotation.load(layout, "client")
    assert under_way is not None
    reasons = rotation.abandoned(layout, under_way, now=NOW)

    assert len(reasons) == 1
    assert reasons[0].startswith("the client alice has no certificate of the new CA")


def test_a_new_member_trusts_both(tmp_path: Path) -> None:
    """A set that is made while a CA is replaced is signed by who signs, and trusts both."""
    make_cluster(tmp_path)
    layout = find_layout(tmp_path)
    start(layout, "peer")
    peer, client = (pki_files.load_authority(layout.authority(each)) for each in ("peer", "client"))
    assert peer is not None
    assert client is not None
    pki_files.create_member(
        tmp_path / "n3",
        name="n3",
        hosts=["localhost"],
        peer_ca=peer,
        client_ca=client,
        now=NOW,
        profile=Profile(),
    )
    layout = find_layout(tmp_path)
    check_trust(layout)
    advance(layout, "peer")

    assert len(layout.members) == 3
    check_trust(layout)


def test_revocations_outlive_the_switch(tmp_path: Path) -> None:
    """While both CAs are trusted, a new list still revokes what the old one had signed."""
    make_single(tmp_path)
    layout = find_layout(tmp_path)
    authority = layout.authority("client")
    signer = pki_files.load_authority(authority)
    assert signer is not None
    bad = pki.issue(signer, Role.CLIENT, "mallory", now=NOW, profile=Profile())
    entry = pki.entry_of(bad.certificate, Role.CLIENT, authority=signer.certificate)
    pki_index.revoke(authority, signer, [entry], reason="keyCompromise", now=NOW, days=30)
    start(layout, "client")
    advance(layout, "client")
    now_signs = pki_files.load_authority(authority)
    assert now_signs is not None
    pki_index.publish(authority, now_signs, now=NOW, days=30)
    lists = pki.verify_lists(
        (tmp_path / "client-crl.pem").read_bytes(),
        trust=authority.read_bytes(),
        now=NOW,
        what="the list",
    )

    assert len(lists.lists) == 2
    assert {entry.serial} == {serial for one in lists.lists for serial in one.serials}


def test_a_rotation_needs_the_key(tmp_path: Path) -> None:
    """Where the CA's key is not, nothing is begun."""
    make_cluster(tmp_path)
    (tmp_path / "ca" / "peer-ca.key").unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PkiError, match="a CA is replaced where its key is kept"):
        start(find_layout(tmp_path), "peer")

    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 1}', b"\xff", b"[]"])
def test_a_damaged_state_is_refused(tmp_path: Path, data: bytes) -> None:
    """What was begun is not guessed."""
    make_single(tmp_path)
    (tmp_path / "peer-ca.rotation.json").write_bytes(data)
    with pytest.raises(PkiError, match="is damaged"):
        rotation.load(find_layout(tmp_path), "peer")


def test_ports_are_remembered_and_added(tmp_path: Path) -> None:
    """A second start adds ports to those of the first, and makes no second CA."""
    make_single(tmp_path)
    layout = find_layout(tmp_path)
    one, two = Place("a", 1, "peer"), Place("b", 2, "client")
    first = rotation.begin(layout, "peer", now=NOW, profile=Profile(), places=[one])
    second = rotation.begin(layout, "peer", now=NOW, profile=Profile(), places=[two, one])

    assert (one,) == first.places
    assert (one, two) == second.places
    assert second == rotation.load(layout, "peer")
    assert first.comes == second.comes


def test_a_ca_of_another_kind_is_succeeded_by_one_of_ours(tmp_path: Path) -> None:
    """The organization stays where it can be a cluster's name."""
    ours = pki.create_authority("peer", now=NOW, profile=Profile(), cluster="prod")
    made = pki.succeed_authority(ours.certificate, "peer", now=NOW, profile=Profile())
    assert "O=prod" in pki.inspect(made.certificate, "it")[0].subject
    assert isinstance(made, CertifiedKey)
    assert sign_list(made, pki.Index(), now=NOW)[0]
