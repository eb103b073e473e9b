"""Users, roles, permissions: still empty; who holds a certificate of the client CA may do all.

The Auth service answers UNIMPLEMENTED until then (docs/divergences.md).
"""
