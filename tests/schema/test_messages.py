"""The shipped descriptors against their sources, and the classes made from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from trioetcd.schema import messages

COMPILER = Path(__file__).parent / "compile_proto.py"


def test_committed_files_are_in_step() -> None:
    """Compiling the .proto files gives the committed descriptor set and stub, byte for byte."""
    done = subprocess.run(
        [sys.executable, COMPILER, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_default_pool_is_left_alone() -> None:
    """Other etcd clients in the process find protobuf's default pool without our names."""
    pool = descriptor_pool.Default()
    for name in messages.CLASSES:
        with pytest.raises(KeyError):
            pool.FindMessageTypeByName(name)


def test_every_message_has_its_flat_name() -> None:
    """Each message is an attribute under its last name, and `CLASSES` has it by its full one."""
    for full_name, kind in messages.CLASSES.items():
        assert getattr(messages, full_name.rpartition(".")[2]) is kind
        assert full_name == kind.DESCRIPTOR.full_name
    assert len(messages.CLASSES) == 119


def test_enums_are_integers() -> None:
    """An enum's values are plain integers on its message, or of the module when it has none."""
    assert (messages.RangeRequest.NONE, messages.RangeRequest.DESCEND) == (0, 2)
    assert (messages.NOSPACE, messages.CORRUPT) == (1, 2)
    assert messages.AlarmType.Name(messages.CORRUPT) == "CORRUPT"
    assert messages.Compare.CompareTarget.Value("LEASE") == messages.Compare.LEASE


def test_garbage_is_a_decode_error() -> None:
    """Bytes that are no message raise DecodeError."""
    with pytest.raises(messages.DecodeError):
        messages.PutRequest.FromString(b"\x0a\xff")
