"""Make `.venv`, or bring it up to date. scripts/setup runs this in the Python that it found.

It installs what pyproject.toml asks for, the group `dev` included. It installs again if that file has changed, if the
clone has moved, or if HB_PYTHON names another version of Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "set-up.json"


def main() -> int:
    """Set up under a lock. Returns the exit code."""
    # The clone's own directory serves as the lock file: no other name is as sure to be there.
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted, found = wanted_stamp(), read_stamp()
    if found == wanted and runs(PYTHON):
        return 0
    print(f"setting up {VENV} with Python {wanted['python']}: once, a minute or so", file=sys.stderr)
    STAMP.unlink(missing_ok=True)
    if not runs(PYTHON) or any(found.get(part) != wanted[part] for part in ("root", "python")):
        make_venv()
    try:
        pip("install", "--upgrade", "pip>=25.1")
        pip("install", "--editable", ".", "--group", "dev")
    except subprocess.CalledProcessError as error:
        print(f"setting up failed: pip ended with {error.returncode}; what it said stands above.", file=sys.stderr)
        return 1
    STAMP.write_text(json.dumps(wanted))
    return 0


def wanted_stamp() -> dict[str, str]:
    """What the venv must have been made from."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return {"pyproject": digest, "root": str(ROOT), "python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def read_stamp() -> dict[str, str]:
    """What the venv was made from, as far as that is known."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def runs(python: Path) -> bool:
    """Whether that Python is there and starts."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """A new venv. If this is the old one's own Python, the one it was made from makes the new one."""
    base = getattr(sys, "_base_executable", sys.executable)
    if Path(sys.prefix).resolve() == VENV.resolve():
        if VENV.exists():
            shutil.rmtree(VENV)
        subprocess.run([base, "-m", "venv", str(VENV)], check=True)
    else:
        venv.create(VENV, clear=True, with_pip=True)


def pip(*arguments: str) -> None:
    """Run the venv's pip; it says what goes wrong, on stderr."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run(
        [PYTHON, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=sys.stderr,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main())
