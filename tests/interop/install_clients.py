"""Installs the foreign clients of the interop tests: `python tests/interop/install_clients.py`.

Under build/interop: npm's etcd3 from the lock file, and python-etcd3 in a virtual environment of
its own. What is there already is kept. CI runs this before the tests, which do not download.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "build" / "interop"
NODE: Final = BUILD / "node"
PYTHON: Final = BUILD / "python-etcd3"

PYTHON_PACKAGES: Final = ("etcd3==0.12.0", "protobuf==3.20.3")
"""protobuf 4 refuses the generated code that python-etcd3 carries."""


def install_node() -> None:
    """Install what package-lock.json says, unless it is there."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is missing: apt-get install npm (or nodejs from nodejs.org)")
    NODE.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "node" / "package-lock.json").read_bytes()
    stamp = NODE / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, NODE / name)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=NODE, check=True)
        stamp.write_bytes(lock)
    # require() looks beside the script
    shutil.copy(HERE / "node" / "drive.js", NODE / "drive.js")


def install_python() -> None:
    """Make the environment, unless it is there."""
    stamp = PYTHON / "installed.txt"
    wanted = "\n".join(PYTHON_PACKAGES)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    venv.create(PYTHON, clear=True, with_pip=True)
    python = str(PYTHON / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES], check=True)
    stamp.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    wanted_clients = sys.argv[1:] or ["node", "python"]
    if "node" in wanted_clients:
        install_node()
    if "python" in wanted_clients:
        install_python()
