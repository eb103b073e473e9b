"""Tests of `trioetcd.pki.index`: rows go in and come out, and garbage ends in a sentence."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import Index, Issued, PkiError, Profile, Role

TIMES = st.floats(0, 4e9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.builds(
    Issued,
    authority=TEXTS,
    serial=st.integers(0, 2**160),
    name=TEXTS,
    role=st.sampled_from(["", *(role.value for role in Role)]),
    not_before=TIMES,
    not_after=TIMES,
    fingerprint=TEXTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(rows=st.lists(ROWS, max_size=5), number=st.integers(0, 2**40), since=TIMES)
def test_an_index_is_read_as_it_was_written(
    rows: list[Issued],
    number: int,
    since: datetime,
) -> None:
    """Every row survives the file, revoked or not."""
    some = [replace(row, revoked=since, reason="superseded") for row in rows[::2]]
    index = Index(number, (*rows, *some))

    assert index == pki.read_index(pki.write_index(index), "the index")


@given(data=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_ends_in_a_sentence(data: bytes) -> None:
    """Any bytes and any JSON are an index or a `PkiError`."""
    with contextlib.suppress(PkiError):
        pki.read_index(data, "the index")


@given(
    key=st.sampled_from(["serial", "name", "role", "not_before", "not_after", "revoked"]),
    value=JSON,
)
def test_a_row_with_garbage_ends_in_a_sentence(key: str, value: object) -> None:
    """One wrong field is noticed, and what is read can be written."""
    good = json.loads(pki.write_index(Index(1, (row("alice"),))))
    good["issued"][0][key] = value
    with contextlib.suppress(PkiError):
        pki.write_index(pki.read_index(json.dumps(good).encode(), "the index"))


def row(name: str) -> Issued:
    leaf = plain(name, issuer=CA)
    return pki.entry_of(leaf.certificate, Role.CLIENT, authority=CA.certificate)


CA = pki.create_authority("client", now=NOW, profile=Profile())


def test_a_certificate_is_revoked_once() -> None:
    """The first date and reason stand; a second revocation changes nothing."""
    entry = row("alice")
    once = Index().with_issued(entry).with_revoked(entry, now=NOW, reason="keyCompromise")
    later = NOW + timedelta(days=1)

    assert once == once.with_revoked(entry, now=later, reason="superseded")
    assert (NOW, "keyCompromise") == (once.issued[0].revoked, once.issued[0].reason)


def test_a_certificate_that_nobody_noted_is_revoked_too() -> None:
    """Its row is made by the revocation; noted twice it stands there once."""
    entry = row("alice")
    index = Index().with_revoked(entry, now=NOW, reason="superseded")

    assert index == index.with_issued(entry)
    assert index.issued[0].revoked == NOW


def test_a_later_version_is_told_from_damage() -> None:
    """An index of a version to come is not called damaged."""
    with pytest.raises(PkiError, match="is of version 2"):
        pki.read_index(b'{"version": 2}', "the index")
    with pytest.raises(PkiError, match="is damaged"):
        pki.read_index(b'{"version": 1}', "the index")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("serial", "-5"),
        ("name", 5),
        ("name", "\ud800"),
        ("not_after", "2030-01-01T00:00:00"),
        ("revoked", "yesterday"),
    ],
)
def test_a_wrong_field_is_damage(field: str, value: object) -> None:
    """Negative serials, no text, half a character, a time without its zone: each is noticed."""
    document = json.loads(pki.write_index(Index(1, (row("alice"),))))
    document["issued"][0][field] = value
    with pytest.raises(PkiError, match="is damaged"):
        pki.read_index(json.dumps(document).encode(), "the index")


@pytest.mark.parametrize("number", [-1, True, "5", None, 1.5])
def test_a_lists_number_is_whole(number: object) -> None:
    """Anything but a whole number from nothing on is damage."""
    text = json.dumps({"version": 1, "crl_number": number, "issued": []})
    with pytest.raises(PkiError, match="is damaged"):
        pki.read_index(text.encode(), "the index")


def test_a_row_needs_the_authority_that_signed() -> None:
    """No row is made for a certificate of another CA; of several CAs the right one is named."""
    other = pki.create_authority("client", now=NOW, profile=Profile())
    leaf = plain("alice", issuer=CA)
    with pytest.raises(PkiError, match="was not signed by this CA"):
        pki.entry_of(leaf.certificate, None, authority=other.certificate)
    both = other.certificate + CA.certificate

    assert pki.marks_of(both)[1] == pki.entry_of(leaf.certificate, None, authority=both).authority
    assert "" == pki.entry_of(leaf.certificate, None, authority=both).role
