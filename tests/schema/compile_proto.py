"""Compile trioetcd/schema/proto/*.proto: the descriptor set, and the types mypy sees.

``python tests/schema/compile_proto.py`` writes ``proto/etcd.binpb`` and ``messages.pyi``;
with ``--check`` it only says whether both are in step with the sources (exit code 1 if not).
The compiler is a test dependency: the package itself ships what it made.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb
from grpc_tools import protoc

SCHEMA = Path(__file__).resolve().parents[2] / "trioetcd" / "schema"
PROTO = SCHEMA / "proto"

_HEADING = '''\
"""What mypy sees of `messages.py`; made from the descriptors by tests/schema/compile_proto.py."""

from collections.abc import Iterable
from typing import ClassVar, Final, Literal, Never

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import DecodeError as DecodeError
from google.protobuf.message import Message as Message

POOL: Final[DescriptorPool]
CLASSES: Final[dict[str, type[Message]]]
'''

_SCALARS = {
    pb.FieldDescriptorProto.TYPE_INT64: "int",
    pb.FieldDescriptorProto.TYPE_UINT64: "int",
    pb.FieldDescriptorProto.TYPE_INT32: "int",
    pb.FieldDescriptorProto.TYPE_UINT32: "int",
    pb.FieldDescriptorProto.TYPE_ENUM: "int",
    pb.FieldDescriptorProto.TYPE_BOOL: "bool",
    pb.FieldDescriptorProto.TYPE_STRING: "str",
    pb.FieldDescriptorProto.TYPE_BYTES: "bytes",
}


def compile_set() -> bytes:
    """Give the FileDescriptorSet of all sources: no comments, no positions."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "etcd.binpb"
        names = sorted(path.name for path in PROTO.glob("*.proto"))
        status = protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={out}", *names])
        if status != 0:
            raise SystemExit(f"protoc ended with {status}")
        return out.read_bytes()


def _literal(names: Iterable[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"Literal[{listed}]" if listed else "Never"


def _field_types(field: pb.FieldDescriptorProto) -> tuple[str, str]:
    """Give the type of a field's attribute and of its constructor argument."""
    composite = field.type == pb.FieldDescriptorProto.TYPE_MESSAGE
    item = field.type_name.rpartition(".")[2] if composite else _SCALARS[field.type]
    if field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
        kind = "Composite" if composite else "Scalar"
        return f"Repeated{kind}FieldContainer[{item}]", f"Iterable[{item}]"
    return item, f"{item} | None" if composite else item


def _message_lines(message: pb.DescriptorProto) -> Iterator[str]:
    yield ""
    yield f"class {message.name}(Message):"
    for enum in message.enum_type:
        yield f"    {enum.name}: ClassVar[EnumTypeWrapper]"
        for value in enum.value:
            yield f"    {value.name}: Final = {value.number}"
    arguments = []
    presence = []
    for field in message.field:
        seen, given = _field_types(field)
        arguments.append(f"{field.name}: {given} = ...")
        if field.type == pb.FieldDescriptorProto.TYPE_MESSAGE:
            # A sub-message is changed in place or by CopyFrom; it cannot be assigned.
            yield "    @property"
            yield f"    def {field.name}(self) -> {seen}: ..."
        elif field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
            yield "    @property"
            yield f"    def {field.name}(self) -> {seen}: ..."
        else:
            yield f"    {field.name}: {seen}"
        if field.label != pb.FieldDescriptorProto.LABEL_REPEATED and (
            field.HasField("oneof_index") or field.type == pb.FieldDescriptorProto.TYPE_MESSAGE
        ):
            presence.append(field.name)
    oneofs = [oneof.name for oneof in message.oneof_decl]
    if arguments:
        yield "    def __init__("
        yield "        self,"
        yield "        *,"
        yield from (f"        {argument}," for argument in arguments)
        yield "    ) -> None: ..."
    else:
        yield "    def __init__(self) -> None: ..."
    yield f"    def HasField(self, field_name: {_literal([*presence, *oneofs])}) -> bool: ..."
    names = [field.name for field in message.field]
    yield f"    def ClearField(self, field_name: {_literal([*names, *oneofs])}) -> None: ..."
    if len(oneofs) == 1:
        members = [f.name for f in message.field if f.HasField("oneof_index")]
        yield f"    def WhichOneof(self, oneof_group: {_literal(oneofs)}) -> ("
        yield f"        {_literal(members)} | None"
        yield "    ): ..."
    else:
        assert not oneofs
        yield "    def WhichOneof(self, oneof_group: Never) -> None: ..."


def stub(descriptors: bytes) -> str:
    """Give the text of messages.pyi for a FileDescriptorSet."""
    lines = [_HEADING]
    files = pb.FileDescriptorSet.FromString(descriptors).file
    for enum in (enum for file in files for enum in file.enum_type):
        lines.append(f"{enum.name}: Final[EnumTypeWrapper]")
        lines.extend(f"{value.name}: Final = {value.number}" for value in enum.value)
    messages = [message for file in files for message in file.message_type]
    assert len({message.name for message in messages}) == len(messages), "names must be flat"
    for message in messages:
        assert not message.nested_type, "nested messages have no place in a flat namespace"
        lines.extend(_message_lines(message))
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write both files, or with ``--check`` compare them."""
    descriptors = compile_set()
    made = {PROTO / "etcd.binpb": descriptors, SCHEMA / "messages.pyi": stub(descriptors).encode()}
    stale = [
        path for path, content in made.items() if not path.exists() or path.read_bytes() != content
    ]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.name} is not what the .proto files make; run this script")
        return int(bool(stale))
    for path in stale:
        path.write_bytes(made[path])
        print(f"{path.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
