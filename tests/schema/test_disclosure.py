"""Tests of `trioetcd.schema.disclosure`: what may be written down of a request, and how."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.api.audit import CHANGES
from trioetcd.schema import messages
from trioetcd.schema.disclosure import TEXT_BYTES_MAX, disclose, told_fields, told_text
from trioetcd.schema.services import METHODS

SECRETS = {
    "AuthenticateRequest.password",
    "AuthUserAddRequest.password",
    "AuthUserAddRequest.hashedPassword",
    "AuthUserChangePasswordRequest.password",
    "AuthUserChangePasswordRequest.hashedPassword",
}
"""Of these nothing at all is told."""

SIZES = {
    "PutRequest.value",
    "Compare.value",
    "CampaignRequest.value",
    "ProclaimRequest.value",
}
"""Of these the size is told."""

UNTOLD = {
    "RangeRequest.limit",
    "RangeRequest.revision",
    "RangeRequest.sort_order",
    "RangeRequest.sort_target",
    "RangeRequest.serializable",
    "RangeRequest.keys_only",
    "RangeRequest.count_only",
    "RangeRequest.min_mod_revision",
    "RangeRequest.max_mod_revision",
    "RangeRequest.min_create_revision",
    "RangeRequest.max_create_revision",
}
"""How a transaction reads is no matter of an audit, only which keys."""

MARK = "53cr3t"


def reachable(descriptor: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """Give the messages that one is made of, by full name."""
    if descriptor.full_name not in seen:
        seen[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                reachable(field.message_type, seen)
    return seen


def requests() -> dict[str, Descriptor]:
    seen: dict[str, Descriptor] = {}
    for path in CHANGES:
        descriptor = METHODS[path].request.DESCRIPTOR
        assert isinstance(descriptor, Descriptor)
        reachable(descriptor, seen)
    return seen


def test_every_field_of_a_change_is_told_or_known_as_secret() -> None:
    """A field that a later version adds must be decided about."""
    told = told_fields()
    missing = {
        f"{descriptor.name}.{field.name}"
        for name, descriptor in requests().items()
        for field in descriptor.fields
        if field.name not in told[name]
    }

    assert SECRETS | UNTOLD == missing


def marked(descriptor: Descriptor) -> messages.Message:
    """Make a message with every text set, the secret ones and values to `MARK`."""
    message = messages.CLASSES[descriptor.full_name]()
    for field in descriptor.fields:
        name = f"{descriptor.name}.{field.name}"
        if name in SECRETS | SIZES:
            is_text = field.type == field.TYPE_STRING
            setattr(message, field.name, MARK if is_text else MARK.encode())
    return message


@pytest.mark.parametrize("name", sorted(requests()))
def test_nothing_secret_is_told(name: str) -> None:
    """Neither a value nor a password is in what is told, and of a password not even that it is."""
    descriptor = requests()[name]
    told = disclose(marked(descriptor))
    hidden = {field for field in SECRETS if field.startswith(f"{descriptor.name}.")}

    assert MARK not in told
    assert base64.b64encode(MARK.encode()).decode() not in told
    assert set() == {field.partition(".")[2] for field in hidden} & json.loads(told).keys()
    if hidden:
        assert "{}" == told


def test_a_transaction_is_told_whole() -> None:
    """Compares, both branches, and what is nested in them."""
    inner = messages.TxnRequest(
        success=[
            messages.RequestOp(
                request_delete_range=messages.DeleteRangeRequest(key=b"d", range_end=b"\0")
            )
        ]
    )
    request = messages.TxnRequest(
        compare=[messages.Compare(key=b"k", target=messages.Compare.MOD, mod_revision=7)],
        success=[
            messages.RequestOp(request_put=messages.PutRequest(key=b"p", value=b"v", lease=-1))
        ],
        failure=[messages.RequestOp(request_txn=inner)],
    )

    expected = {
        "compare": [{"result": "EQUAL", "target": "MOD", "key": "k", "mod_revision": 7}],
        "success": [{"request_put": {"key": "p", "value": {"bytes": 1}, "lease": "f" * 16}}],
        "failure": [
            {
                "request_txn": {
                    "success": [{"request_delete_range": {"key": "d", "range_end": "\0"}}]
                }
            }
        ],
    }
    assert expected == json.loads(disclose(request))


@given(st.one_of(st.binary(max_size=TEXT_BYTES_MAX), st.text(max_size=200)))
def test_texts_are_one_line_of_ascii_and_unambiguous(data: bytes | str) -> None:
    """Whatever a client calls a key, the file stays lines of ASCII; the key can be read back."""
    told = told_text(data)
    found = json.loads(told)
    read = base64.b64decode(found["base64"]) if isinstance(found, dict) else found.encode()

    assert (data if isinstance(data, bytes) else data.encode()) == read
    assert told.isascii()
    assert told.isprintable()


@given(st.binary(min_size=TEXT_BYTES_MAX + 1, max_size=3 * TEXT_BYTES_MAX))
def test_long_texts_are_told_by_their_beginning_and_hash(data: bytes) -> None:
    """A key of a megabyte takes little room, and is told from every other all the same."""
    found = json.loads(told_text(data))

    assert (len(data), hashlib.sha256(data).hexdigest()) == (found["bytes"], found["sha256"])
    assert told_text("ä" * len(data)) == told_text("ä".encode() * len(data))
    assert len(found["begins"]) <= TEXT_BYTES_MAX


def nested(depth: int) -> Iterator[messages.TxnRequest]:
    """Give a transaction in a transaction, so deep."""
    request = messages.TxnRequest()
    yield request
    for _ in range(depth):
        request = messages.TxnRequest(success=[messages.RequestOp(request_txn=request)])
        yield request


def test_unknown_words_and_deep_nesting_are_told() -> None:
    """An enumeration's unknown number is told as it is; protobuf's own bound ends nesting."""
    assert '{"action":"GET","alarm":"77"}' == disclose(messages.AlarmRequest(alarm=77))
    *_, deepest = nested(40)
    assert disclose(deepest).count("request_txn") == 40
