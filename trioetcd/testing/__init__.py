"""The test kit that ships with trioetcd, as Trio ships `trio.testing`.

Import from the modules: `checks` (conformance suites that a real thing and its twin both pass),
`bitflip` (one flipped bit against a data directory), `cluster` (real members on loopback).
Nothing in the product may import this package.
"""
