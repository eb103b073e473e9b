"""Who asked this member for which change, and what became of it: notes for the audit log.

Handlers of changes are wrapped, outside of everything that may refuse a call, so that what is
refused is noted like what is done. The answer is held back until the note is in the file
(`runtime.audit_log`). Without an audit log nothing is wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from trioetcd.api.context import (
    MessageStream,
    Metadata,
    StreamHandler,
    UnaryHandler,
    WaitingHandler,
)
from trioetcd.api.guard import Guard
from trioetcd.api.learner import refusal_of
from trioetcd.errors import CANCELED, EtcdError
from trioetcd.pki import Origin
from trioetcd.ports import Sink
from trioetcd.runtime.audit_log import AuditLog
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.schema.disclosure import disclose, told_fields, told_text
from trioetcd.schema.services import METHODS
from trioetcd.statemachine import validation

__all__ = ["CHANGES", "Auditor"]

ORIGINS_MAX: Final = 4096
"""Connections whose names are kept as JSON."""


def _always(_request: Any) -> bool:
    return True


def _writes(request: messages.TxnRequest) -> bool:
    return not validation.is_read_only(request)


def _touches_alarms(request: messages.AlarmRequest) -> bool:
    return request.action != messages.AlarmRequest.GET


CHANGES: Final[dict[str, Callable[[Any], bool]]] = {
    **{
        f"/{service}/{name}": _always
        for service, names in {
            "etcdserverpb.KV": "Put DeleteRange Compact",
            "etcdserverpb.Lease": "LeaseGrant LeaseRevoke",
            "etcdserverpb.Cluster": "MemberAdd MemberRemove MemberUpdate MemberPromote",
            "etcdserverpb.Maintenance": "Defragment Snapshot MoveLeader Downgrade",
            "etcdserverpb.Auth": (
                "AuthEnable AuthDisable Authenticate UserAdd UserDelete UserChangePassword "
                "UserGrantRole UserRevokeRole RoleAdd RoleDelete RoleGrantPermission "
                "RoleRevokePermission"
            ),
            "v3lockpb.Lock": "Lock Unlock",
            "v3electionpb.Election": "Campaign Proclaim Resign",
        }.items()
        for name in names.split()
    },
    "/etcdserverpb.KV/Txn": _writes,
    "/etcdserverpb.Maintenance/Alarm": _touches_alarms,
}
"""The methods that change something, or take everything (Snapshot), and which requests of theirs
do."""

_HEADER_TAG: Final = 0x0A
_SHORT: Final = 0x80
_EMPTY: Final = "{}"


class _Asked(NamedTuple):
    """A call that is to be noted, as far as it is known before it is done."""

    path: str
    text: str


class Auditor:
    """Wraps handlers so that their calls are noted.

    Args:
        log: takes the notes.
        server: the member.
    """

    def __init__(self, log: AuditLog, server: Server) -> None:
        self.log = log
        self._guard = Guard(server)
        self._is_learner = lambda: server.is_learner
        # By connection, while a call of it is under way: the sink holds the connection, which can
        # have no other's id meanwhile, and the tickets of its calls hold the sink.
        self._sinks: WeakValueDictionary[int, _Sink] = WeakValueDictionary()
        log.before_close = self._give_up

    def ask(self, path: str, metadata: Metadata, message: bytes) -> _Asked | None:
        """Say what a call asks for; None if it changes nothing."""
        try:
            request = METHODS[path].request.FromString(message)
        except messages.DecodeError:
            told = '{"malformed":true}'
        else:
            if not CHANGES[path](request):
                return None
            told = disclose(request)
        try:
            asker = self._guard.asker(metadata)
            user = '""' if asker is None else told_text(asker.user)
        except EtcdError:
            user = "null"  # its token is worth nothing, and that is what it will be told
        who = _told_origin(metadata.origin)
        return _Asked(path, f'"rpc":"{path}","user":{user},{who},"request":{told}')

    def note(self, asked: _Asked, outcome: bytes | list[bytes] | EtcdError | str) -> None:
        """Take a note of a call and its outcome: the answer, the error, or a word."""
        if isinstance(outcome, str):
            told = f'"outcome":"{outcome}"'
        elif isinstance(outcome, EtcdError):
            text = encode_basestring_ascii(outcome.text)
            told = f'"outcome":"{outcome.code.name}","error":{text}'
        else:
            told = _told_answer(asked.path, outcome)
        self.log.note(f"{asked.text},{told}")

    def _give_up(self) -> None:
        """Note the calls that the member's end leaves without an answer."""
        for sink in list(self._sinks.values()):
            for asked in sink.asked.values():
                self.note(asked, "UNKNOWN")

    # Handlers

    def unary(self, path: str, handler: UnaryHandler) -> UnaryHandler:
        """Wrap a handler of unary calls."""
        if path not in CHANGES:
            return handler

        def audited(
            caller: Sink, call: int, metadata: Metadata, message: bytes
        ) -> bytes | list[bytes] | None:
            asked = self.ask(path, metadata, message)
            if asked is None:
                return handler(caller, call, metadata, message)
            sink = self._sinks.get(id(caller))
            if sink is None:
                sink = self._sinks[id(caller)] = _Sink(self, caller)
            sink.asked[call] = asked
            try:
                answer = handler(sink, call, metadata, message)
            except EtcdError as error:
                if self._guard.may_be_stale(error):
                    # Nothing is decided yet: it is asked once more when this member is current.
                    return self._guard.ask_again(handler, sink, call, metadata, message)
                sink.settle(call, refusal_of(self._is_learner, path, message, error))
                raise
            except messages.DecodeError:
                sink.settle(call, "INTERNAL")
                raise
            if answer is not None:
                sink.settle(call, answer)
            return answer

        return audited

    def waiting(self, path: str, handler: WaitingHandler) -> WaitingHandler:
        """Wrap a handler that waits."""
        if path not in CHANGES:
            return handler

        async def audited(metadata: Metadata, message: bytes) -> bytes:
            asked = self.ask(path, metadata, message)
            if asked is None:
                return await handler(metadata, message)
            outcome: bytes | EtcdError = EtcdError(CANCELED)
            try:
                outcome = await handler(metadata, message)
            except EtcdError as error:
                outcome = error
                raise
            finally:
                self.note(asked, outcome)
                self.log.write()
            return outcome

        return audited

    def stream(self, path: str, handler: StreamHandler) -> StreamHandler:
        """Wrap a handler of a stream with one request: noted before its first answer, and after."""
        if path not in CHANGES:
            return handler

        async def audited(metadata: Metadata, stream: MessageStream) -> None:
            told = _Stream(self, path, metadata, stream)
            outcome: EtcdError | bytes = EtcdError(CANCELED)
            try:
                await handler(metadata, told)
                outcome = b""
            except EtcdError as error:
                outcome = error
                raise
            finally:
                if told.asked is not None:
                    self.note(told.asked, outcome)
                    self.log.write()

        return audited


class _Sink:
    """Stands before a connection: its answers wait until their notes are in the file.

    Attributes:
        asked: the calls under way.
    """

    def __init__(self, auditor: Auditor, caller: Sink) -> None:
        self.asked: dict[int, _Asked] = {}
        self.is_open = caller.is_open
        self.is_full = caller.is_full
        self._auditor = auditor
        self._caller = caller
        self._held: list[tuple[int, bytes | list[bytes] | Exception]] = []

    def settle(self, call: int, outcome: bytes | list[bytes] | EtcdError | str) -> None:
        """Note what became of a call, and have it in the file."""
        self._auditor.note(self.asked.pop(call), outcome)
        self._auditor.log.write()

    def answer(self, call: int, response: bytes, /) -> None:
        self._hold(call, response)

    def answer_pieces(self, call: int, pieces: list[bytes], /) -> None:
        self._hold(call, pieces)

    def fail(self, call: int, error: Exception, /) -> None:
        self._hold(call, error)

    def _hold(self, call: int, outcome: bytes | list[bytes] | Exception) -> None:
        assert not isinstance(outcome, Exception) or isinstance(outcome, EtcdError), outcome
        self._auditor.note(self.asked.pop(call), outcome)
        self._held.append((call, outcome))

    def flush(self) -> None:
        """Have all notes of the turn in the file, with the first of its flushes; then answer."""
        self._auditor.log.write()
        caller = self._caller
        held, self._held = self._held, []
        for call, outcome in held:
            if isinstance(outcome, bytes):
                caller.answer(call, outcome)
            elif isinstance(outcome, Exception):
                caller.fail(call, outcome)
            else:
                caller.answer_pieces(call, outcome)
        caller.flush()


class _Stream:
    """Stands before a stream: what it asks for is noted before anything of it is answered."""

    def __init__(
        self, auditor: Auditor, path: str, metadata: Metadata, stream: MessageStream
    ) -> None:
        self.asked: _Asked | None = None
        self._auditor = auditor
        self._path = path
        self._metadata = metadata
        self._stream = stream
        self._begun = False

    async def receive(self) -> bytes | None:
        message = await self._stream.receive()
        if self.asked is None and message is not None:
            self.asked = self._auditor.ask(self._path, self._metadata, message)
        return message

    async def send(self, messages_: list[bytes], /) -> None:
        if not self._begun and self.asked is not None:
            self._begun = True
            self._auditor.note(self.asked, "BEGUN")
            self._auditor.log.write()
        await self._stream.send(messages_)


@lru_cache(maxsize=ORIGINS_MAX)
def _told_origin(origin: Origin) -> str:
    """Give the names that a connection's certificate holds, and its address, as JSON."""
    certificate = origin.certificate
    remote = told_text(origin.remote)
    if certificate is None:
        return f'"certificate":null,"remote":{remote}'
    names = "".join(
        f',"{kind}":[{",".join(map(told_text, found))}]'
        for kind, found in (("dns", certificate.dns), ("uris", certificate.uris))
        if found
    )
    return (
        f'"certificate":{{"subject":{told_text(certificate.common_name)},'
        f'"sha256":"{certificate.fingerprint}"{names}}},"remote":{remote}'
    )


def _told_answer(path: str, answer: bytes | list[bytes]) -> str:
    """Tell the revision of an answer's header, and what else of it may be told."""
    data = answer if isinstance(answer, bytes) else answer[0]
    told = '"outcome":"OK"'
    if len(data) > 1 and data[0] == _HEADER_TAG and data[1] < _SHORT:
        header = messages.ResponseHeader.FromString(data[2 : 2 + data[1]])
        if header.revision:
            told += f',"revision":{header.revision}'
    if path in _RESULTS:
        whole = answer if isinstance(answer, bytes) else b"".join(answer)
        result = disclose(METHODS[path].response.FromString(whole))
        if result != _EMPTY:
            told += f',"result":{result}'
    return told


_RESULTS: Final = frozenset(
    path for path in CHANGES if METHODS[path].response.DESCRIPTOR.full_name in told_fields()
)
"""The methods of whose answers more is told than the header."""
