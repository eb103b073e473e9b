"""The table of all remote procedures: path, types, streaming, who may call, HTTP route.

The names, rules and routes are written here, the types come from the descriptors; a name that one
of the two lacks is an error at import. Everything that lists methods (router, gateway, metrics,
documentation) goes through `METHODS` and `ROUTES`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from trioetcd.schema import messages

__all__ = ["METHODS", "ROUTES", "STREAMING", "Access", "Method"]


class Access(Enum):
    """Who may call a procedure while users are told apart (`api.guard`)."""

    OPEN = "open"
    """Anybody, who need not say who it is."""

    USER = "user"
    """Every user; for some of what can be asked the handler wants more."""

    ROOT = "root"
    """Who has the role root."""

    KEYS = "keys"
    """Whoever may read or write the keys that it is about, as the handler knows."""


OPEN, USER, ROOT, KEYS = Access


class Method(NamedTuple):
    """One remote procedure.

    Attributes:
        path: what a gRPC client asks for, such as ``/etcdserverpb.KV/Put``.
        service: the service's full name, such as ``etcdserverpb.KV``.
        name: the method's name, such as ``Put``.
        request: the class of what the client sends.
        response: the class of what it is answered.
        client_streaming: whether the client may send many requests.
        server_streaming: whether it may be answered many times.
        access: who may call it.
        http_route: the JSON gateway's path, or "" if it has none (aliases are in `ROUTES`).
    """

    path: str
    service: str
    name: str
    request: type[messages.Message]
    response: type[messages.Message]
    client_streaming: bool
    server_streaming: bool
    access: Access
    http_route: str

    @property
    def grpc_type(self) -> str:
        """How metrics name the shape of the call: unary, server_stream, bidi_stream, ..."""
        if self.client_streaming:
            return "bidi_stream" if self.server_streaming else "client_stream"
        return "server_stream" if self.server_streaming else "unary"


_SERVICES: Final[dict[str, dict[str, tuple[Access, str]]]] = {
    "etcdserverpb.KV": {
        "Range": (KEYS, "/v3/kv/range"),
        "RangeStream": (KEYS, ""),
        "Put": (KEYS, "/v3/kv/put"),
        "DeleteRange": (KEYS, "/v3/kv/deleterange"),
        "Txn": (KEYS, "/v3/kv/txn"),
        "Compact": (ROOT, "/v3/kv/compaction"),
    },
    "etcdserverpb.Watch": {
        "Watch": (KEYS, "/v3/watch"),
    },
    "etcdserverpb.Lease": {
        "LeaseGrant": (USER, "/v3/lease/grant"),
        "LeaseRevoke": (KEYS, "/v3/lease/revoke"),
        "LeaseKeepAlive": (KEYS, "/v3/lease/keepalive"),
        "LeaseTimeToLive": (KEYS, "/v3/lease/timetolive"),
        "LeaseLeases": (KEYS, "/v3/lease/leases"),
    },
    "etcdserverpb.Cluster": {
        "MemberAdd": (ROOT, "/v3/cluster/member/add"),
        "MemberRemove": (ROOT, "/v3/cluster/member/remove"),
        "MemberUpdate": (ROOT, "/v3/cluster/member/update"),
        "MemberList": (USER, "/v3/cluster/member/list"),
        "MemberPromote": (ROOT, "/v3/cluster/member/promote"),
    },
    "etcdserverpb.Maintenance": {
        "Alarm": (USER, "/v3/maintenance/alarm"),
        "Status": (USER, "/v3/maintenance/status"),
        "Defragment": (ROOT, "/v3/maintenance/defragment"),
        "Hash": (ROOT, "/v3/maintenance/hash"),
        "HashKV": (ROOT, "/v3/maintenance/hashkv"),
        "Snapshot": (ROOT, "/v3/maintenance/snapshot"),
        "MoveLeader": (ROOT, "/v3/maintenance/transfer-leadership"),
        "Downgrade": (ROOT, "/v3/maintenance/downgrade"),
    },
    "etcdserverpb.Auth": {
        "AuthEnable": (ROOT, "/v3/auth/enable"),
        "AuthDisable": (ROOT, "/v3/auth/disable"),
        "AuthStatus": (OPEN, "/v3/auth/status"),
        "Authenticate": (OPEN, "/v3/auth/authenticate"),
        "UserAdd": (ROOT, "/v3/auth/user/add"),
        "UserGet": (USER, "/v3/auth/user/get"),
        "UserList": (ROOT, "/v3/auth/user/list"),
        "UserDelete": (ROOT, "/v3/auth/user/delete"),
        "UserChangePassword": (ROOT, "/v3/auth/user/changepw"),
        "UserGrantRole": (ROOT, "/v3/auth/user/grant"),
        "UserRevokeRole": (ROOT, "/v3/auth/user/revoke"),
        "RoleAdd": (ROOT, "/v3/auth/role/add"),
        "RoleGet": (USER, "/v3/auth/role/get"),
        "RoleList": (ROOT, "/v3/auth/role/list"),
        "RoleDelete": (ROOT, "/v3/auth/role/delete"),
        "RoleGrantPermission": (ROOT, "/v3/auth/role/grant"),
        "RoleRevokePermission": (ROOT, "/v3/auth/role/revoke"),
    },
    "v3lockpb.Lock": {
        "Lock": (KEYS, "/v3/lock/lock"),
        "Unlock": (KEYS, "/v3/lock/unlock"),
    },
    "v3electionpb.Election": {
        "Campaign": (KEYS, "/v3/election/campaign"),
        "Proclaim": (KEYS, "/v3/election/proclaim"),
        "Leader": (KEYS, "/v3/election/leader"),
        "Observe": (KEYS, "/v3/election/observe"),
        "Resign": (KEYS, "/v3/election/resign"),
    },
    "grpc.health.v1.Health": {
        "Check": (OPEN, ""),
        "Watch": (OPEN, ""),
    },
}

_ALIASES: Final[dict[str, str]] = {
    "/v3/kv/lease/revoke": "/v3/lease/revoke",
    "/v3/kv/lease/timetolive": "/v3/lease/timetolive",
    "/v3/kv/lease/leases": "/v3/lease/leases",
}


def _methods() -> dict[str, Method]:
    methods = {}
    for service, routes in _SERVICES.items():
        described = messages.POOL.FindServiceByName(service)
        names = [method.name for method in described.methods]
        assert sorted(names) == sorted(routes), (service, names)
        for name, (access, route) in routes.items():
            method = described.methods_by_name[name]
            path = f"/{service}/{name}"
            methods[path] = Method(
                path=path,
                service=service,
                name=name,
                request=messages.CLASSES[method.input_type.full_name],
                response=messages.CLASSES[method.output_type.full_name],
                client_streaming=method.client_streaming,
                server_streaming=method.server_streaming,
                access=access,
                http_route=route,
            )
    return methods


def _routes() -> dict[str, Method]:
    routes = {method.http_route: method for method in METHODS.values() if method.http_route}
    return routes | {alias: routes[route] for alias, route in _ALIASES.items()}


METHODS: Final[dict[str, Method]] = _methods()
"""Every method by gRPC path."""

ROUTES: Final[dict[str, Method]] = _routes()
"""Every method of the JSON gateway by HTTP path, etcd's older aliases included."""

STREAMING: Final[frozenset[str]] = frozenset(
    path for path, method in METHODS.items() if method.client_streaming
)
"""Paths of calls that do not come whole: the client goes on sending."""
