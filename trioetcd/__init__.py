"""trioetcd: etcd in Python on Trio, secure before anything else.

A member is a ladder; each step inwards removes one kind of surprise::

    python -m trioetcd
       └─ cli            words on a command line
           └─ Node       sockets, TLS, signals, files: one nursery, its listeners        trio
               └─ Server tasks, threads, real clock: drives one replica                  trio
                   └─ Replica   a whole member as one deterministic object               sans-IO
                       └─ Raft  ticks and proposals in, Ready out                        sans-IO

Each package's docstring says what lives there and what must not; pyproject.toml holds the floors
that import-linter checks. Nothing is imported here, so that ``import trioetcd`` costs nothing.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
