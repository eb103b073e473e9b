"""Words on a command line: `main` sends them on, `serve` runs a member, `certs` makes certificates.

Here live texts for people and exit codes. Nothing that a program would want to call lives here.
"""
