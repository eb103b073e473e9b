"""The comparison itself: it sees every difference, and allows only what the table says."""

from __future__ import annotations

import random
from pathlib import Path

from tests.differential import steps as sequences
from tests.differential.answers import needs_catching_up
from tests.differential.campaign import shrink
from tests.differential.comparison import (
    DIVERGENCES,
    Difference,
    Divergence,
    Fields,
    compare,
    flatten,
    load_divergences,
    unexplained,
)
from tests.differential.generator import Generator
from tests.differential.steps import Call, CloseStream, Flush, Step
from tests.differential.watching import raced
from trioetcd.schema import messages


def test_flatten_names_every_field() -> None:
    """Each field that is set has a path of its own; ids and terms are left out."""
    message = messages.RangeResponse(
        header=messages.ResponseHeader(cluster_id=1, member_id=2, revision=3, raft_term=4),
        kvs=[messages.KeyValue(key=b"k", lease=5)],
        count=1,
    )
    assert flatten(message) == {
        "header": "set",
        "header.revision": 3,
        "len(kvs)": 1,
        "kvs[0].key": b"k",
        "kvs[0].lease": 5,
        "count": 1,
    }


def test_compare_sees_missing_and_changed() -> None:
    """A field that one side lacks and a field that differs are both differences."""
    found = compare("KV/Range", {"a": 1, "b": 2}, {"b": 3, "c": 4})
    assert found == [
        Difference("KV/Range", "a", 1, None),
        Difference("KV/Range", "b", 2, 3),
        Difference("KV/Range", "c", None, 4),
    ]


def test_divergence_must_match_whole() -> None:
    """A row allows exactly its field and its values, not what merely contains them."""
    row = Divergence("KV/Put", r"kvs\[\d+\]\.lease", "7", "None", "a reason", "a test")
    allowed = Difference("KV/Put", "kvs[12].lease", 7, None)
    others = [
        Difference("KV/Range", "kvs[12].lease", 7, None),
        Difference("KV/Put", "kvs[12].lease.more", 7, None),
        Difference("KV/Put", "kvs[12].lease", 77, None),
        Difference("KV/Put", "kvs[12].lease", 7, 0),
    ]
    assert unexplained([allowed, *others], [row]) == others


def test_table_is_read(tmp_path: Path) -> None:
    """A bar within a cell is written as Markdown wants it, and read as a bar."""
    page = tmp_path / "page.md"
    page.write_text(
        "# x\n\n## Differential rules\n\n| RPC | field | etcd | trioetcd | reason | test |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| `KV/Put` | `a` | `1\\|2` | `None` | why | `test_x` |\n\n## Other\n\n| a | b |\n",
    )
    assert load_divergences(page) == [Divergence("KV/Put", "a", "1|2", "None", "why", "test_x")]


def test_every_divergence_names_its_test() -> None:
    """Each row of docs/divergences.md has a reason and a test that exists."""
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for row in load_divergences(DIVERGENCES):
        assert row.reason
        assert f"def {row.test}(" in sources, row


def test_generator_is_replayable() -> None:
    """The same seed makes the same steps."""
    first, second = (
        [_one.step() for _ in range(300)]
        for _one in (Generator(random.Random(5)), Generator(random.Random(5)))
    )
    assert first == second
    kinds = {type(step) for step in first}
    assert len(kinds) >= 4
    assert {step.rpc for step in first if isinstance(step, Call)} >= {"KV/Txn", "KV/Compact"}


def test_shrink_finds_the_culprits() -> None:
    """Shrinking keeps exactly the steps without which it does not fail."""
    culprits: list[Step] = [
        Call("KV/Put", messages.PutRequest(key=b"a")),
        Call("KV/Put", messages.PutRequest(key=b"b")),
    ]
    steps: list[Step] = [Flush() for _ in range(20)]
    steps.insert(3, culprits[0])
    steps.insert(17, culprits[1])
    left = shrink(steps, lambda some: all(one in some for one in culprits), seconds=30)
    assert left == culprits


def test_steps_are_kept(tmp_path: Path) -> None:
    """A sequence that is written to a file is read back as it was, every kind of step."""
    generator = Generator(random.Random(7))
    kinds: dict[type[Step], Step] = {CloseStream: CloseStream(3)}
    for _ in range(1500):
        step = generator.step()
        kinds.setdefault(type(step), step)
    assert set(kinds) == set(sequences.KINDS.values())
    steps = list(kinds.values())
    sequences.save(steps, tmp_path / "steps")
    assert sequences.load(tmp_path / "steps") == steps
    assert all("\n" not in sequences.describe(step) for step in steps)


def test_raced_watch() -> None:
    """A raced watch may be cancelled with less; but not differ, nor have less for no reason."""
    first: Fields = {"kv": "set", "kv.mod_revision": 5}
    second: Fields = {"kv": "set", "kv.mod_revision": 6}
    created: Fields = {"header": "set", "created": True}
    end: Fields = {"header": "set", "canceled": True, "compact_revision": 6}
    assert raced([created, first, second], [created, end]) == []
    assert raced([created, end], [created, first, end]) == []
    assert raced([created, first], [created, first, second]) != []
    assert raced([created, first], [created, second, end]) != []
    assert raced([created, end], [created, end | {"compact_revision": 7}]) != []


def test_compaction_is_caught_up_with() -> None:
    """Whatever a member answers from its own state is asked only when it has caught up."""
    local = messages.RangeRequest(serializable=True)
    assert needs_catching_up("KV/Range", local)
    assert needs_catching_up("Lease/LeaseLeases", messages.LeaseLeasesRequest())
    assert not needs_catching_up("KV/Range", messages.RangeRequest())
    assert not needs_catching_up("KV/Put", messages.PutRequest())
