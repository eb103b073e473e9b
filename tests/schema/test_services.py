"""The table of methods."""

from __future__ import annotations

from collections import Counter

from trioetcd.schema import METHODS, ROUTES, STREAMING, messages


def test_every_service_is_whole() -> None:
    """There are etcd's 42 methods, and those of Lock, Election and Health."""
    expected = {
        "etcdserverpb.KV": 6,
        "etcdserverpb.Watch": 1,
        "etcdserverpb.Lease": 5,
        "etcdserverpb.Cluster": 5,
        "etcdserverpb.Maintenance": 8,
        "etcdserverpb.Auth": 17,
        "v3lockpb.Lock": 2,
        "v3electionpb.Election": 5,
        "grpc.health.v1.Health": 2,
    }
    assert expected == Counter(method.service for method in METHODS.values())


def test_rows_name_themselves() -> None:
    """A row's path is its key, and its types are the classes of `messages`."""
    for path, method in METHODS.items():
        assert path == method.path == f"/{method.service}/{method.name}"
        for kind in (method.request, method.response):
            assert kind is messages.CLASSES[kind.DESCRIPTOR.full_name]


def test_streams() -> None:
    """Exactly these methods stream, and the client streams in two of them."""
    expected = {
        "/etcdserverpb.KV/RangeStream": "server_stream",
        "/etcdserverpb.Watch/Watch": "bidi_stream",
        "/etcdserverpb.Lease/LeaseKeepAlive": "bidi_stream",
        "/etcdserverpb.Maintenance/Snapshot": "server_stream",
        "/v3electionpb.Election/Observe": "server_stream",
        "/grpc.health.v1.Health/Watch": "server_stream",
    }
    kinds = {path: method.grpc_type for path, method in METHODS.items()}
    assert expected == {path: kind for path, kind in kinds.items() if kind != "unary"}
    bidi = {path for path, kind in expected.items() if kind == "bidi_stream"}
    assert bidi == STREAMING


def test_routes_lead_to_methods() -> None:
    """Every method but RangeStream and Health has one route, three have an alias."""
    missing = {method.path for method in METHODS.values() if not method.http_route}
    expected = {
        "/etcdserverpb.KV/RangeStream",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }
    assert expected == missing
    aliases = {route for route, method in ROUTES.items() if route != method.http_route}
    assert aliases == {f"/v3/kv/lease/{name}" for name in ("revoke", "timetolive", "leases")}
    assert len(ROUTES) == len(METHODS) - len(missing) + len(aliases)
    assert ROUTES["/v3/kv/lease/revoke"] is METHODS["/etcdserverpb.Lease/LeaseRevoke"]
    assert all(route.startswith("/v3/") for route in ROUTES)
