"""Sockets and TLS: listeners, streams, credentials. Knows nothing of etcd."""
