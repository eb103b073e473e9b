"""The table of all remote procedures: path, types, streaming, HTTP route.

The names and routes are written here, the types come from the descriptors; a name that one of
the two lacks is an error at import. Everything that lists methods (router, gateway, metrics,
documentation) goes through `METHODS` and `ROUTES`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trioetcd.schema import messages

__all__ = ["METHODS", "ROUTES", "STREAMING", "Method"]


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
        http_route: the JSON gateway's path, or "" if it has none (aliases are in `ROUTES`).
    """

    path: str
    service: str
    name: str
    request: type[messages.Message]
    response: type[messages.Message]
    client_streaming: bool
    server_streaming: bool
    http_route: str

    @property
    def grpc_type(self) -> str:
        """How metrics name the shape of the call: unary, server_stream, bidi_stream, ..."""
        if self.client_streaming:
            return "bidi_stream" if self.server_streaming else "client_stream"
        return "server_stream" if self.server_streaming else "unary"


_SERVICES: Final[dict[str, dict[str, str]]] = {
    "etcdserverpb.KV": {
        "Range": "/v3/kv/range",
        "RangeStream": "",
        "Put": "/v3/kv/put",
        "DeleteRange": "/v3/kv/deleterange",
        "Txn": "/v3/kv/txn",
        "Compact": "/v3/kv/compaction",
    },
    "etcdserverpb.Watch": {
        "Watch": "/v3/watch",
    },
    "etcdserverpb.Lease": {
        "LeaseGrant": "/v3/lease/grant",
        "LeaseRevoke": "/v3/lease/revoke",
        "LeaseKeepAlive": "/v3/lease/keepalive",
        "LeaseTimeToLive": "/v3/lease/timetolive",
        "LeaseLeases": "/v3/lease/leases",
    },
    "etcdserverpb.Cluster": {
        "MemberAdd": "/v3/cluster/member/add",
        "MemberRemove": "/v3/cluster/member/remove",
        "MemberUpdate": "/v3/cluster/member/update",
        "MemberList": "/v3/cluster/member/list",
        "MemberPromote": "/v3/cluster/member/promote",
    },
    "etcdserverpb.Maintenance": {
        "Alarm": "/v3/maintenance/alarm",
        "Status": "/v3/maintenance/status",
        "Defragment": "/v3/maintenance/defragment",
        "Hash": "/v3/maintenance/hash",
        "HashKV": "/v3/maintenance/hashkv",
        "Snapshot": "/v3/maintenance/snapshot",
        "MoveLeader": "/v3/maintenance/transfer-leadership",
        "Downgrade": "/v3/maintenance/downgrade",
    },
    "etcdserverpb.Auth": {
        "AuthEnable": "/v3/auth/enable",
        "AuthDisable": "/v3/auth/disable",
        "AuthStatus": "/v3/auth/status",
        "Authenticate": "/v3/auth/authenticate",
        "UserAdd": "/v3/auth/user/add",
        "UserGet": "/v3/auth/user/get",
        "UserList": "/v3/auth/user/list",
        "UserDelete": "/v3/auth/user/delete",
        "UserChangePassword": "/v3/auth/user/changepw",
        "UserGrantRole": "/v3/auth/user/grant",
        "UserRevokeRole": "/v3/auth/user/revoke",
        "RoleAdd": "/v3/auth/role/add",
        "RoleGet": "/v3/auth/role/get",
        "RoleList": "/v3/auth/role/list",
        "RoleDelete": "/v3/auth/role/delete",
        "RoleGrantPermission": "/v3/auth/role/grant",
        "RoleRevokePermission": "/v3/auth/role/revoke",
    },
    "v3lockpb.Lock": {
        "Lock": "/v3/lock/lock",
        "Unlock": "/v3/lock/unlock",
    },
    "v3electionpb.Election": {
        "Campaign": "/v3/election/campaign",
        "Proclaim": "/v3/election/proclaim",
        "Leader": "/v3/election/leader",
        "Observe": "/v3/election/observe",
        "Resign": "/v3/election/resign",
    },
    "grpc.health.v1.Health": {
        "Check": "",
        "Watch": "",
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
        for name, route in routes.items():
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
