"""The v3 API as data: messages, methods, and the codecs that go with them.

Here live etcd's message definitions (``proto/``), their classes, the table of methods, the
byte-level encoders of the hot answers, and the JSON form of the gateway. What a
request *means* is not decided here; nothing here knows of a store, a connection or a clock.

Modules: `messages` (classes), `services` (table of methods), `fastpath` (hot encoders),
`protojson` (JSON), `bbolt` (the form of backups), `disclosure` (what may be written down of a
message), `audit_chain` (the form of audit logs).
"""

from __future__ import annotations

from trioetcd.schema.services import METHODS, ROUTES, STREAMING, Method

__all__ = ["METHODS", "ROUTES", "STREAMING", "Method"]
