"""Tests of `trioetcd.schema.audit_chain`: every later hand in an audit log is found."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trioetcd.schema.audit_chain import (
    NO_HASH,
    AuditChain,
    AuditCheck,
    ChainEnd,
    DamagedAuditError,
    find_end,
    read_line,
    told_torn,
)

TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=8)


def write(texts: list[str]) -> list[bytes]:
    """Make the lines of a chain with these records."""
    chain = AuditChain()
    lines = [chain.seal('"event":"begin","format":1,"log":"l","part":1')]
    lines += [chain.seal(f'"note":{json.dumps(text)}') for text in texts]
    return lines


def check(*files: bytes) -> AuditCheck:
    """Go through files."""
    found = AuditCheck()
    for number, data in enumerate(files):
        found.read(str(number), data.splitlines(keepends=True))
    return found


def go_on(data: bytes) -> bytes:
    """Do what a member does that comes again: give the file with its line."""
    end = find_end(data, whole=True)
    assert end is not None
    torn = f',"torn":{told_torn(end.torn)}' if end.torn else ""
    before = b"\n" if end.torn or end.unterminated else b""
    if end.last is None:
        return data + before + AuditChain().seal(f'"event":"begin","format":1{torn}')
    chain = AuditChain(end.last.sequence, end.last.hash)
    return data + before + chain.seal(f'"event":"open","format":1{torn}')


@given(TEXTS)
def test_what_was_written_holds(texts: list[str]) -> None:
    """A chain that nobody touched holds, in one file or cut into several."""
    lines = write(texts)
    for cut in range(len(lines)):
        found = check(b"".join(lines[:cut]), b"".join(lines[cut:]))

        assert [] == found.breaks
        assert (len(lines), len(texts)) == (found.lines, found.records)
        assert found.last is not None
        assert found.last.sequence == len(texts)


def test_the_form_is_as_documented() -> None:
    """The hash is the SHA-256 of the line up to itself, prev that of the line before."""
    first, second = write(["x"])
    text, _, rest = second.partition(b',"hash":"')

    assert hashlib.sha256(text).hexdigest() == rest[:64].decode()
    assert json.loads(first)["hash"] == json.loads(second)["prev"]
    assert NO_HASH == json.loads(first)["prev"]


@given(TEXTS, st.data())
def test_a_changed_byte_is_found(texts: list[str], data: st.DataObject) -> None:
    """Wherever it is, the last line and the newlines among them."""
    whole = bytearray(b"".join(write(texts)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))

    assert check(bytes(whole)).breaks


@given(TEXTS, st.data())
def test_removed_swapped_and_added_lines_are_found(texts: list[str], data: st.DataObject) -> None:
    """All but lines cut off at the end, of which only a number and hash kept elsewhere tells."""
    lines = write(texts)
    at = data.draw(st.integers(0, len(lines) - 2))
    other = data.draw(st.integers(0, len(lines) - 1))
    removed = lines[:at] + lines[at + 1 :]
    added = [*lines[: at + 1], lines[other], *lines[at + 1 :]]
    assert check(b"".join(removed)).breaks
    assert check(b"".join(added)).breaks
    if lines[at] != lines[other]:
        swapped = list(lines)
        swapped[at], swapped[other] = swapped[other], swapped[at]
        assert check(b"".join(swapped)).breaks


@given(TEXTS, st.data())
def test_a_forged_line_is_found(texts: list[str], data: st.DataObject) -> None:
    """A line made anew with a hash of its own does not fit to the next one."""
    lines = write(texts)
    assume(len(lines) > 2)
    at = data.draw(st.integers(1, len(lines) - 2))
    before = read_line(lines[at - 1])
    assert before is not None
    forged = AuditChain(before.sequence, before.hash).seal('"note":"nothing happened"')
    assume(forged != lines[at])
    found = check(b"".join([*lines[:at], forged, *lines[at + 1 :]]))

    (place,) = found.breaks
    assert (at + 2, "prev") == (place.line, place.expected[1:5])


@given(TEXTS, st.data())
def test_crashes_are_gone_on_after_and_told(texts: list[str], data: st.DataObject) -> None:
    """A file cut at any byte goes on, again and again, and holds; what was torn is told of."""
    whole = b"".join(write(texts))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    torn = 0
    for _ in range(data.draw(st.integers(1, 4))):
        end = find_end(whole, whole=True)
        assert end is not None
        before = len(whole)
        whole = go_on(whole)
        torn += bool(end.torn)
        found = check(whole)
        assert [] == found.breaks
        assert torn == len(found.torn)
        # And the next crash is while that is being told.
        whole = whole[: data.draw(st.integers(before, len(whole)))]
        torn = len(check(go_on(whole)).torn) - bool(_torn(whole))
    assert [] == check(go_on(whole)).breaks


def _torn(whole: bytes) -> bytes:
    end = find_end(whole, whole=True)
    assert end is not None
    return end.torn


@given(TEXTS, st.data())
def test_the_end_is_found_from_the_end(texts: list[str], data: st.DataObject) -> None:
    """As much of the file as holds a whole line says the same as the whole file."""
    whole = b"".join(write(texts))
    whole = whole[: data.draw(st.integers(1, len(whole)))]
    expected = find_end(whole, whole=True)
    for start in range(len(whole)):
        found = find_end(whole[start:], whole=start == 0)
        assert found in (None, expected)
    assert expected == find_end(whole, whole=True)


def test_what_is_no_log_and_what_was_changed_is_not_gone_on_with() -> None:
    """A slip in the name costs no other file; a changed last line is not built upon."""
    whole = b"".join(write(["one", "two"]))
    for strange in (
        b"root:x:0:0:root",
        b"root\n",
        b"\n",
        b'{"seq":1',
        whole.replace(b"two", b"2wo"),
    ):
        with pytest.raises(DamagedAuditError):
            find_end(strange, whole=True)


@pytest.mark.parametrize("data", [b"", b"{", b'{"seq":0,', b'{"seq":0,"prev":"00'])
def test_a_first_line_may_be_torn(data: bytes) -> None:
    """A member that crashed before its first line was written begins anew in the same file."""
    assert ChainEnd(None, unterminated=False, torn=data) == find_end(data, whole=True)
    assert [] == check(go_on(data)).breaks


def test_the_break_says_where_and_what() -> None:
    """File, line number, what was expected, what was found."""
    lines = write(["one", "two", "three"])
    (place,) = check(b"".join([lines[0], lines[1], lines[3]])).breaks
    assert ("0", 3, '"seq":2', '"seq":3') == (place.file, place.line, place.expected, place.found)

    changed = lines[2].replace(b"two", b"2wo")
    first, second = check(b"".join([lines[0], lines[1], changed, lines[3]])).breaks
    text = changed.partition(b',"hash"')[0]
    assert (3, f'"hash":"{hashlib.sha256(text).hexdigest()}"') == (first.line, first.expected)
    assert (4, '"seq":2') == (second.line, second.expected)


def test_files_of_a_chain_follow_each_other() -> None:
    """A file that begins in the middle needs the one before, or says that it goes on."""
    chain = AuditChain()
    one = chain.seal('"event":"begin","format":1') + chain.seal('"note":1')
    two = chain.seal('"event":"continue","format":1') + chain.seal('"note":2')

    assert [] == check(one, two).breaks
    assert [] == check(two).breaks
    assert check(two, one).breaks
    assert check(one[one.index(b"\n") + 1 :], two).breaks


def test_a_torn_place_must_be_told_of_by_the_restart() -> None:
    """Bytes that no line tells of, or other ones than it tells of, are a break."""
    lines = write(["one"])
    told = go_on(b"".join(lines) + b'{"seq":2')
    assert [] == check(told).breaks
    assert check(told.replace(b'{"seq":2\n', b'{"seq":3\n')).breaks
    assert check(lines[0] + b"junk\n" + lines[1]).breaks
    assert check(b"".join(lines) + b"junk").breaks


def test_a_newer_form_is_named() -> None:
    """A log of a later version is not taken for a broken one of this."""
    (place,) = check(AuditChain().seal('"event":"begin","format":2')).breaks
    assert "format 2" == place.found


def test_wanted_hashes_are_remembered() -> None:
    """Whoever kept a number and its hash can ask for it."""
    lines = write(["one", "two"])
    found = AuditCheck(hashes={1: "", 7: ""})
    found.read("f", lines)
    line = read_line(lines[1])
    assert line is not None
    assert {1: line.hash, 7: ""} == found.hashes


@pytest.mark.parametrize(
    "fields",
    [b'"seq":"1"', b'"seq":true,"prev":"x"', b'"seq":1,"prev":2', b'"seq":1', b"not json"],
)
def test_a_hash_alone_makes_no_line(fields: bytes) -> None:
    """What no `AuditChain` writes is no line, though its hash is right."""
    text = b"{" + fields
    sealed = b'%b,"hash":"%b"}\n' % (text, hashlib.sha256(text).hexdigest().encode())

    assert read_line(sealed) is None
    assert check(b"".join(write(["x"])) + sealed).breaks
