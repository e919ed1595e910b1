"""Translate legacy exception instructions, which the engine does not run, with the user's `wasm-opt`.

The tool is binaryen's, the first of its name on PATH.

Invariants:
    The tool's time and output are limited: a module may be a stranger's.
    Its output is only bytes, which are checked like any module.
    No file is left behind.

Source: the WebAssembly exception-handling proposal, its legacy form and `exnref`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hb.binary.opcodes import LegacyExceptions
from hb.binary.parse import parse
from hb.errors import HomeUnusable, Refused

TOOL = "wasm-opt"
LEAST_VERSION = 118
"""The first version that translates to `exnref`."""

TIMEOUT_S = 120.0
MAX_GROWTH = 8
"""Maximum size of a translated module, in times its first size. `MIN_ALLOWED_BYTES` are always allowed."""
MIN_ALLOWED_BYTES = 1 << 20
_MAX_SAID_BYTES = 4000

# All features, so that no instruction is refused, except one that the engine does not know. Earlier versions of the
# tool do not know the option that turns it off.
_FEATURES = ("-all", "--disable-compact-imports")
_EARLIER_FEATURES = ("-all",)
_TRANSLATE = "--translate-to-exnref"
COMMAND = f"{TOOL} {' '.join(_FEATURES)} {_TRANSLATE} IN.wasm -o OUT.wasm"
_GET_IT = f"put {TOOL} of binaryen {LEAST_VERSION} or later on the PATH (npm install --global binaryen)"


def needs_translation(wasm: bytes) -> bool:
    """Whether `wasm` has legacy exception instructions. False too if it is not a usable module for another reason."""
    try:
        parse(wasm)
    except LegacyExceptions:
        return True
    except Refused:
        return False
    return False


def translate(wasm: bytes) -> tuple[bytes, str]:
    """Return `wasm` with its exceptions translated, and the tool with its version: `wasm-opt 132`.

    Different versions of the tool may give different bytes.

    Raises:
        Refused: there is no `wasm-opt` on PATH, or it is too old, fails, takes too long, or gives no module.
        HomeUnusable: the temporary files cannot be written.
    """
    tool = shutil.which(TOOL)
    if tool is None:
        raise Refused(
            f"the module uses legacy exceptions, which the engine does not run, and no {TOOL} is on the PATH",
            hint=f"{_GET_IT}, or convert it yourself: {COMMAND}",
        )
    try:
        translated, version = _translate_with(tool, wasm)
    except OSError as error:
        raise HomeUnusable(
            f"cannot write the module to a temporary file, to convert it: {error.strerror or error}",
            hint="$TMPDIR must be writable and have room",
        ) from error
    if needs_translation(translated):
        raise Refused(f"{TOOL} {version} left legacy exceptions in the module")
    return translated, f"{TOOL} {version}"


def _translate_with(tool: str, wasm: bytes) -> tuple[bytes, int]:
    """Return `wasm` as translated by `tool`, and the tool's version."""
    with TemporaryDirectory(prefix="hb-convert-") as name:
        source, target, said = (Path(name) / part for part in ("in.wasm", "out.wasm", "said"))
        version = _version(tool, said)
        source.write_bytes(wasm)
        files = [_TRANSLATE, str(source), "-o", str(target)]
        code = _run([tool, *_FEATURES, *files], said)
        if code != 0 and "--disable-compact-imports" in _read(said):
            code = _run([tool, *_EARLIER_FEATURES, *files], said)
        if code != 0:
            raise Refused(f"{TOOL} {version} cannot convert the module: {_last_line(_read(said), code)}")
        return _translated(target, max(MAX_GROWTH * len(wasm), MIN_ALLOWED_BYTES)), version


def _version(tool: str, said: Path) -> int:
    """Return the major version of `tool`; refuse a version that cannot translate."""
    code = _run([tool, "--version"], said)
    text = _read(said)
    found = re.search(r"version (\d{1,6})", text)
    if code != 0 or found is None:
        raise Refused(f"{tool} does not tell its version: {_last_line(text, code)}", hint=_GET_IT)
    version = int(found[1])
    if version < LEAST_VERSION:
        raise Refused(
            f"the module uses legacy exceptions, and {tool} is of version {version}, which cannot convert them",
            hint=_GET_IT,
        )
    return version


def _run(command: list[str], said: Path) -> int:
    """Run `command` and return its exit code. Both of its output streams go to the file `said`."""
    with said.open("wb") as output:
        try:
            return subprocess.run(  # noqa: S603 - the user's own tool, with arguments that are ours
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=TIMEOUT_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise Refused(f"{TOOL} took longer than {TIMEOUT_S:g} seconds") from None
        except OSError as error:
            raise Refused(f"{command[0]} cannot be run: {error.strerror}", hint=_GET_IT) from error


def _read(said: Path) -> str:
    with said.open("rb") as text:
        return text.read(_MAX_SAID_BYTES).decode("utf-8", "replace")


def _last_line(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"it ends with exit code {code} and says nothing"


def _translated(target: Path, limit: int) -> bytes:
    try:
        with target.open("rb") as file:
            translated = file.read(limit + 1)
    except FileNotFoundError:
        raise Refused(f"{TOOL} ends well, but writes no module") from None
    if len(translated) > limit:
        raise Refused(f"{TOOL} makes more than {limit} bytes of the module")
    return translated
