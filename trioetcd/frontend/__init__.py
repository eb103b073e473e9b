"""Byte streams to handlers and back: gRPC over HTTP/2, plain HTTP, WebSocket.

Here live connections; what a request means is decided in `api`.
"""
