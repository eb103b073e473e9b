"""One handler per remote procedure, the same for every protocol.

Unary handlers are plain functions from a request's bytes to a response's, or to a ticket; stream
handlers are async and await only what they are given. Nothing here knows frames or sockets, and
trio is not imported.
"""
