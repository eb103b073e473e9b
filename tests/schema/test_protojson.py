"""The gateway's JSON against protobuf's own, which is slower and stricter about nothing we need."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.schema import messages, protojson
from trioetcd.schema.messages import CLASSES, POOL, Message

SCALARS: dict[int, st.SearchStrategy[object]] = {
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text('ab"\\\n\u00e9\u20ac\U0001f511\x7f', max_size=8),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 5),
}


@st.composite
def any_message(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """Draw a message of a type, some of its fields set."""
    message = CLASSES[descriptor.full_name]()
    for field in descriptor.fields:
        if not draw(st.booleans()):
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth == 3:
                continue
            assert field.message_type is not None
            values: st.SearchStrategy[object] = any_message(field.message_type, depth + 1)
        else:
            values = SCALARS[field.type]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=2)))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


MESSAGES = st.sampled_from(
    [
        "RangeResponse",
        "TxnRequest",
        "TxnResponse",
        "WatchRequest",
        "WatchResponse",
        "Compare",
        "StatusResponse",
        "MemberAddResponse",
        "LeaseTimeToLiveResponse",
        "AlarmResponse",
        "AuthRoleGetResponse",
        "HashKVResponse",
        "AuthUserAddRequest",
        "LeaseCheckpointRequest",
    ]
).flatmap(lambda name: any_message(POOL.FindMessageTypeByName(f"etcdserverpb.{name}")))


@given(MESSAGES)
def test_json_is_protobufs(message: Message) -> None:
    """What is written is what protobuf writes, but for spaces."""
    expected = json_format.MessageToDict(message, preserving_proto_field_name=True)
    got = protojson.to_json(message)
    assert expected == json.loads(got)
    assert json.dumps(expected, separators=(",", ":"), ensure_ascii=False) == got


@given(message=MESSAGES, camel=st.booleans())
def test_json_is_read_back(*, message: Message, camel: bool) -> None:
    """What is written is read as the same message, with proto and with camelCase names."""
    text = json_format.MessageToJson(message, preserving_proto_field_name=not camel)
    assert message == protojson.from_json(type(message), text.encode())
    assert message == protojson.from_json(type(message), protojson.to_json(message).encode())


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**65), 2**65),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["", "QQ==", "QQ", "_-8=", "Q", "12", "-1", "1e3", "x", "ASCEND", "MOD"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "key",
                    "range_end",
                    "rangeEnd",
                    "limit",
                    "sort_order",
                    "compare",
                    "success",
                    "request_range",
                    "requestPut",
                    "serializable",
                    "target",
                    "version",
                    "value",
                    "lease",
                    "unknown",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Any JSON is a message or a JsonError, and what we and protobuf both read is the same."""
    for kind in (messages.TxnRequest, messages.RangeRequest, messages.RequestOp):
        text = json.dumps(value)
        ours: Message | None
        theirs: Message | None
        try:
            ours = protojson.from_json(kind, text.encode())
        except protojson.JsonError:
            ours = None
        try:
            theirs = json_format.Parse(text, kind(), ignore_unknown_fields=True)
        except (json_format.ParseError, TypeError, ValueError):
            theirs = None
        if ours is not None and theirs is not None:
            assert theirs == ours


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    """Any bytes at all are a message or a JsonError."""
    with contextlib.suppress(protojson.JsonError):
        protojson.from_json(messages.TxnRequest, text)


def test_zero_in_a_oneof_is_written() -> None:
    """A member of a oneof that is set to zero is there; a plain zero is not."""
    compare = messages.Compare(key=b"k", create_revision=0, result=messages.Compare.EQUAL)
    assert protojson.to_json(compare) == '{"key":"aw==","create_revision":"0"}'


def test_dialect_in_one_answer() -> None:
    """Integers of 64 bits are strings, bytes base64, names the proto's, and there are no spaces."""
    response = messages.RangeResponse(
        header=messages.ResponseHeader(cluster_id=2**64 - 1, raft_term=2),
        kvs=[messages.KeyValue(key=b"\xff\xfe", lease=2**53 + 1)],
        more=True,
    )
    expected = (
        '{"header":{"cluster_id":"18446744073709551615","raft_term":"2"},'
        '"kvs":[{"key":"//4=","lease":"9007199254740993"}],"more":true}'
    )
    assert expected == protojson.to_json(response)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**63), 0, -1])
@pytest.mark.parametrize("write", [str, lambda n: f'"{n}"'])
def test_integers_are_exact(number: int, write: Callable[[int], str]) -> None:
    """A 64-bit integer is read exactly, as a number and as a string."""
    text = f'{{"ID": {write(number)}}}'
    assert number == protojson.from_json(messages.LeaseRevokeRequest, text.encode()).ID


@pytest.mark.parametrize("number", ["1e3", "1000.0", "1E+3", '"1e3"', '"1000"'])
def test_integers_may_be_written_as_fractions(number: str) -> None:
    """A number that happens to be whole is an integer however it is written."""
    text = f'{{"ID": {number}}}'
    assert protojson.from_json(messages.LeaseRevokeRequest, text.encode()).ID == 1000


@pytest.mark.parametrize(
    "number",
    [
        *(
            [
                "1.5",
                "true",
                "[]",
                '""',
                '"1_0"',
                '"0x1"',
                '"\u0661"',
                "9223372036854775808",
                "1e19",
                "NaN",
                "Infinity",
                "01",
                '"01"',
            ]
        ),
        *(["1e999999999", '"1e999999999"', "1e-999999999", "1e99999999999999999999", "{}"]),
        *(['"1e99999999999999999999"', '"-"', "-9223372036854775809", '"1.5"', "1.5e-400000000"]),
        '" 1"',
        "9" * 5000,
        f'"{"9" * 5000}"',
    ],
)
def test_what_is_no_integer_is_refused(number: str) -> None:
    """What is no integer of 64 bits is refused at once, however large it claims to be."""
    with pytest.raises(protojson.JsonError):
        protojson.from_json(messages.LeaseRevokeRequest, f'{{"ID": {number}}}'.encode())


@pytest.mark.parametrize("content", [b"", b"a", b"ab", b"abc", b"\xff\xfe\xfb", b"\xfb" * 7])
def test_base64_of_any_habit(content: bytes) -> None:
    """Either alphabet is read, with padding and without."""
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for text in (encode(content), encode(content).rstrip(b"=")):
            read = protojson.from_json(messages.RangeRequest, b'{"key":"%b"}' % text)
            assert content == read.key


@pytest.mark.parametrize("text", ["Q", "QQ=", "Q===", "====", "QQ==QQ==", "Q Q=", "Q\u00e9==", "*"])
def test_bad_base64_is_refused(text: str) -> None:
    """What is no base64 is refused, not read in part."""
    with pytest.raises(protojson.JsonError, match=r'^field "key" is not base64$'):
        protojson.from_json(messages.RangeRequest, f'{{"key":"{text}"}}'.encode())


def test_enums_by_name_or_number() -> None:
    """An enum is read by its name or its number, and a number without a name is kept."""
    for text in (b'{"sort_order":"DESCEND"}', b'{"sortOrder":2}'):
        read = protojson.from_json(messages.RangeRequest, text)
        expected = messages.RangeRequest.DESCEND
        assert expected == read.sort_order
    unknown = protojson.from_json(messages.RangeRequest, b'{"sort_order":9}')
    assert protojson.to_json(unknown) == '{"sort_order":9}'
    with pytest.raises(protojson.JsonError, match="is not one of NONE, ASCEND, DESCEND"):
        protojson.from_json(messages.RangeRequest, b'{"sort_order":"UP"}')


@pytest.mark.parametrize("text", [b"", b" \n", b"{}", b'{"key":null}', b'{"x":{"y":[1]}}'])
def test_nothing_known_is_the_empty_message(text: bytes) -> None:
    """No text, no fields, null fields and unknown fields are all an empty message."""
    assert messages.RangeRequest() == protojson.from_json(messages.RangeRequest, text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[]", "the JSON value is not an object"),
        (b"{} {}", "invalid JSON: text follows the value"),
        (b"{", "invalid JSON: Expecting property name enclosed in double quotes at character 2"),
        (b"\xff", "invalid JSON: not UTF-8"),
        (b'{"compare":{}}', 'field "compare" is not an array'),
        (b'{"compare":[null]}', 'field "compare" is not an object'),
        (b'{"compare":[],"compare":[]}', "invalid JSON: an object names one field twice"),
        (
            b'{"success":[{"requestPut":{},"request_put":{}}]}',
            'field "success.request_put" is given twice',
        ),
        (
            b'{"success":[{"request_put":{},"request_range":{}}]}',
            'field "success.request_range" comes beside another of request',
        ),
        (
            b'{"success":[{"request_put":{"key":1}}]}',
            'field "success.request_put.key" is not base64 in a string',
        ),
        (
            b'{"success":[{"request_put":{"prev_kv":"true"}}]}',
            'field "success.request_put.prev_kv" is neither true nor false',
        ),
        (b'{"x":' * 100_000, "invalid JSON: nested too deeply"),
    ],
)
def test_the_sentence_says_where(text: bytes, sentence: str) -> None:
    """What is wrong is said in one sentence that names the field by its path."""
    with pytest.raises(protojson.JsonError) as caught:
        protojson.from_json(messages.TxnRequest, text)
    assert sentence == str(caught.value)


def test_strings_are_whole_characters() -> None:
    """A string with half a surrogate pair is refused; a number is no string."""
    for text in (b'{"name":"\\ud800"}', b'{"name":7}'):
        with pytest.raises(protojson.JsonError, match=r'^field "name" '):
            protojson.from_json(messages.AuthenticateRequest, text)


def test_depth_is_bounded() -> None:
    """Messages nest up to DEPTH_MAX deep and no further."""

    def nested(levels: int) -> bytes:
        return b'{"success":[{"request_txn":' * levels + b"{}" + b"}]}" * levels

    deepest = (protojson.DEPTH_MAX - 1) // 2
    protojson.from_json(messages.TxnRequest, nested(deepest))
    with pytest.raises(protojson.JsonError, match=r"is nested too deeply$"):
        protojson.from_json(messages.TxnRequest, nested(deepest + 1))


def test_several_values_are_read_in_order() -> None:
    """A stream's body holds one JSON value after another, with any space between."""
    text = b' {"create_request":{"key":"YQ=="}}\n\n{"progress_request":{}}{"cancel_request":{}}\t'
    read = protojson.from_json_values(messages.WatchRequest, text)
    expected = ["create_request", "progress_request", "cancel_request"]
    assert expected == [request.WhichOneof("request_union") for request in read]
