"""From an empty directory to three members and the real etcdctl, by the commands printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.certificates import ROOT, start
from trioetcd.testing.cluster import ServerProcess, free_port, serving, start_process

pytestmark = [pytest.mark.interop, pytest.mark.slow]

SECONDS = 60.0


@pytest.fixture
def places() -> list[str]:
    """Give three members on this machine, at ports of their own."""
    ports: set[int] = set()
    while len(ports) < 6:
        ports.add(free_port())
    spare = iter(sorted(ports))
    return [f"n{number}=localhost:{next(spare)}:{next(spare)}" for number in (1, 2, 3)]


def shell(script: str, directory: Path, etcdctl: Path) -> subprocess.CompletedProcess[str]:
    """Run what a user would type, with `trioetcd` and `etcdctl` being ours and the real one."""
    ours = f"{shlex.quote(sys.executable)} -m trioetcd"
    tools = directory / "bin"
    tools.mkdir(exist_ok=True)
    for name, line in (("trioetcd", ours), ("etcdctl", shlex.quote(str(etcdctl)))):
        (tools / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (tools / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-ec", script],
        cwd=directory,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@contextmanager
def running(commands: list[str], directory: Path) -> Iterator[None]:
    """Start members by their printed commands; each needs the others to become ready."""
    environment = {"PYTHONPATH": str(ROOT)}
    servers = [
        ServerProcess(
            name=command,
            process=start_process(
                [sys.executable, "-m", *shlex.split(command)], directory, environment
            ),
            endpoint="",
            cacert=directory,
            cert=directory,
            key=directory,
            data_dir=directory,
        )
        for command in commands
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(serving(server))
        yield


@pytest.mark.parametrize("etcdctl", ["3.5"], indirect=True)
def test_the_printed_commands_make_a_cluster(
    tmp_path: Path,
    places: list[str],
    etcdctl: Path,
) -> None:
    """`init`, three starts by configuration file, and etcdctl as root and as an issued client."""
    done = start("init", "--out", "certs", *places, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    starts = re.findall(r"^  (trioetcd --config-file .*)$", done.stdout, re.MULTILINE)
    talk = re.findall(r"^  (eval .*|etcdctl .*)$", done.stdout, re.MULTILINE)
    assert (3, 2) == (len(starts), len(talk))

    with running(starts, tmp_path):
        told = shell("\n".join(talk), tmp_path, etcdctl)
        assert told.returncode == 0, told.stderr
        assert 3 == (told.stdout + told.stderr).count("is healthy")

        script = """
            trioetcd certs issue client alice --data-dir certs >/dev/null
            eval "$(trioetcd certs env --data-dir certs --user alice)"
            etcdctl put greeting hello
            etcdctl get greeting
        """
        told = shell(script, tmp_path, etcdctl)
        assert (0, "OK\ngreeting\nhello\n") == (told.returncode, told.stdout), told.stderr

        other = start("init", "--out", "other", "n1=localhost", cwd=tmp_path)
        assert other.returncode == 0
        endpoint = places[0].partition("=")[2].rpartition(":")[0]
        script = f"""
            eval "$(trioetcd certs env --data-dir other --endpoints https://{endpoint})"
            export ETCDCTL_CACERT=certs/ca/client-ca.crt
            etcdctl --command-timeout=3s get greeting
        """
        told = shell(script, tmp_path, etcdctl)
        assert told.returncode != 0
        assert "hello" not in told.stdout
