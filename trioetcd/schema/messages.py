"""The v3 API's message classes, from the shipped descriptor set, in one flat namespace.

The classes live in a descriptor pool of their own, not in protobuf's default one: another etcd
client may be loaded in the same process, and both register ``rpc.proto`` and
``etcdserverpb.KeyValue``'s neighbours under the same names. Making them from descriptors also
frees the package from generated code, which is tied to one protobuf release.

What is here: every message under its own name (``messages.RangeRequest``), every top-level enum
and its values (``messages.AlarmType``, ``messages.NOSPACE``), the pool, and `CLASSES`
by full protobuf name. ``messages.pyi`` says it to type checkers; a test keeps it in step.
"""

from __future__ import annotations

import pkgutil
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

__all__ = ["CLASSES", "POOL", "DecodeError", "Message"]  # and every message, see messages.pyi

POOL: Final = DescriptorPool()
"""The private pool; services are found here too."""

CLASSES: Final[dict[str, type[Message]]] = {}
"""Message classes by full name, such as ``etcdserverpb.RangeRequest``."""


def _load() -> None:
    descriptors = pkgutil.get_data(__name__, "proto/etcd.binpb")
    assert descriptors is not None, "the package was installed without its descriptor set"
    space = globals()
    # protoc lists a file after everything it imports.
    for file in FileDescriptorSet.FromString(descriptors).file:
        POOL.AddSerializedFile(file.SerializeToString())
        described = POOL.FindFileByName(file.name)
        for name, message in described.message_types_by_name.items():
            assert name not in space, name
            space[name] = CLASSES[message.full_name] = GetMessageClass(message)
        for name, enum in described.enum_types_by_name.items():
            assert name not in space, name
            space[name] = EnumTypeWrapper(enum)
            for value in enum.values:
                assert value.name not in space, value.name
                space[value.name] = value.number


_load()
