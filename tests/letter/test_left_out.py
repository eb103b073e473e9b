"""What stays out says so in one sentence, and stands in docs/divergences.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontend.foreign import front
from trioetcd.cli.main import main
from trioetcd.node.config import ConfigError, parse
from trioetcd.node.flags import FLAGS, Kind, Status

PAGE = Path(__file__).parents[2] / "docs" / "divergences.md"
OTHER = {Kind.BOOL: "{}", Kind.DURATION: "77s", Kind.INT: "77"}
"""A value of each kind that is nobody's default; of a bool, the other one."""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("gateway start", "trioetcd has no TCP gateway; a TCP load balancer"),
        ("gateway", "trioetcd has no TCP gateway; a TCP load balancer"),
        ("grpc-proxy start --endpoints=a", "trioetcd has no gRPC proxy; clients connect"),
        ("grpc-proxy", "trioetcd has no gRPC proxy; clients connect"),
    ],
)
def test_other_processes(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line of etcd's other processes ends in a sentence and exit code 2."""
    code = main(words.split())
    out, err = capsys.readouterr()

    assert (2, "") == (code, out)
    assert err.startswith(f"trioetcd: {sentence}")
    assert len(err.splitlines()) == 1
    assert f"`etcd {words.partition(' ')[0]} start`" in PAGE.read_text()


def named(*beginnings: str) -> list[str]:
    return [name for name in FLAGS if name.startswith(beginnings)]


LEFT_OUT = {
    "trioetcd asks no discovery service": [
        name for name in named("discovery-") if FLAGS[name].status is not Status.REMOVED
    ],
    "trioetcd sends no OpenTelemetry spans": named("enable-distributed-", "distributed-"),
    "pprof is Go's profiler": named("enable-pprof"),
}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [(name, sentence) for sentence, names in LEFT_OUT.items() for name in names],
)
def test_flags(name: str, sentence: str) -> None:
    """Each flag is refused, or taken with a warning, for the reason that the table gives."""
    flag = FLAGS[name]
    text = OTHER.get(flag.kind, "x").format("false" if flag.value else "true")
    if name == "discovery-fallback":
        text = "exit"  # the only word there is
    try:
        said = list(parse([f"--{name}={text}"], {}).warnings)
    except ConfigError as error:
        assert flag.status is Status.REFUSED
        said = [str(error)]

    assert any(sentence in each for each in said) or text == flag.default
    assert sentence in flag.reason


def test_there_are_as_many_flags_as_etcd_has() -> None:
    """None of etcd's flags for what stays out was forgotten."""
    assert [16, 5, 1] == [len(names) for names in LEFT_OUT.values()]


@pytest.mark.parametrize("path", ["/debug/pprof", "/debug/pprof/", "/debug/pprof/heap?debug=1"])
async def test_profiles(path: str) -> None:
    """Who asks a member for Go's profiles is told what to take instead."""
    async with front() as found:
        client = await found.client()
        reply = await client.get(path)

        assert reply.head[":status"] == "404"
        assert reply.body.startswith(b"trioetcd has no pprof; py-spy")
        await client.close()
