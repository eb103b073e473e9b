"""``python -m trioetcd``: hands over to the command line."""

from __future__ import annotations

import sys

from trioetcd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
