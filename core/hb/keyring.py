"""The signing keys of a home, in one directory: one file a key, as JSON Web Keys (RFC 8037: kty OKP, crv Ed25519).

`d` is the key's seed and `x` its public part, both base64url. A key file that others can read is refused, as ssh does.

Invariants:
    No key is overwritten or removed.
    A seed leaves this module only in a `Key`, and in what `secret` returns.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from errno import ELOOP
from typing import TYPE_CHECKING, Any

from hb import ids
from hb.errors import HomeUnusable, NoHome, NotFound, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from hb.protocol.commitment import Key

SEED_BYTES = 32
PUBLIC_BYTES = 32
_FILE_LIMIT_BYTES = 16 * 1024
_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class PublicKey:
    """What may be shown of a key: its name here, its public bytes, and its address."""

    name: str
    public: bytes

    @property
    def address(self) -> str:
        """base64url(sha256(public)): how messages name who signed them."""
        return ids.digest(self.public)


def create(directory: Path, name: str, *, seed: bytes | None = None) -> Key:
    """Make a key and write it to keys/NAME.json. `seed` is its 32 secret bytes; None draws them from the system.

    Raises:
        Refused: no key can have that name, or the home has a key of that name already.
        HomeUnusable: the operating system does not let it be written.
    """
    from hb.protocol.commitment import Key

    path = _path(directory, name)
    # Looked at first for the sake of a clear answer; `_write_new` is what keeps an old key safe.
    if os.path.lexists(path):
        raise _taken(name)
    seed = os.urandom(SEED_BYTES) if seed is None else seed
    key = Key(seed)
    record = {"crv": "Ed25519", "d": ids.encode(seed), "kty": "OKP", "x": ids.encode(key.public)}
    _write_new(path, name, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
    return key


def load(directory: Path, name: str) -> Key:
    """Return the key `name`, ready to sign.

    Raises:
        NotFound: the home has no key of that name.
        Refused: the key file is readable to others, is not a plain file, or does not hold an Ed25519 key.
        HomeUnusable: the operating system does not let it be read.
    """
    from hb.protocol.commitment import Key

    record = _read(directory, name)
    # Before it signs, the key makes sure that the two belong together.
    return Key(_bytes_of(record, "d", SEED_BYTES, name), _bytes_of(record, "x", PUBLIC_BYTES, name))


def public(directory: Path, name: str) -> PublicKey:
    """Return what may be shown of the key `name`, as its file says. No cryptography is loaded.

    Raises:
        NotFound, Refused, HomeUnusable: as `load`.
    """
    return PublicKey(name, _bytes_of(_read(directory, name), "x", PUBLIC_BYTES, name))


def secret(directory: Path, name: str) -> dict[str, str]:
    """Return the whole key `name` as a JSON Web Key, with its seed: for its owner's backup.

    Raises:
        NotFound, Refused, HomeUnusable: as `load`.
    """
    record = _read(directory, name)
    lengths = {"d": SEED_BYTES, "x": PUBLIC_BYTES}
    parts = {member: ids.encode(_bytes_of(record, member, length, name)) for member, length in lengths.items()}
    return {"crv": "Ed25519", "kty": "OKP", **parts}


def names(directory: Path) -> list[str]:
    """Return the names of all keys, sorted.

    Raises:
        HomeUnusable: the operating system does not let the directory be read.
    """
    try:
        found = [file.name for file in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HomeUnusable(f"cannot read {directory}: {error.strerror}") from error
    stems = (file.removesuffix(_SUFFIX) for file in found if file.endswith(_SUFFIX))
    return sorted(stem for stem in stems if _NAME.match(stem))


def check_name(name: str) -> None:
    """Make sure that a key can have this name.

    Raises:
        Refused: no key can. The hint says what a name is.
    """
    if not _NAME.match(name):
        raise Refused(
            f"not a name for a key: {name[:80]!r}",
            hint="1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )


def _path(directory: Path, name: str) -> Path:
    check_name(name)
    return directory / f"{name}{_SUFFIX}"


def _taken(name: str) -> Refused:
    return Refused(f"there is a key {name!r} already", hint="keys are never overwritten: take another name")


def _write_new(path: Path, name: str, content: bytes) -> None:
    """Write a file that must not be there yet."""
    from hb import atomic

    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
        try:
            atomic.write(path, content, overwrite=False)
        except FileExistsError as error:
            raise _taken(name) from error
    except OSError as error:
        raise HomeUnusable(f"cannot write {path}: {error.strerror}") from error


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = _path(directory, name)
    try:
        # O_NONBLOCK: if it is a pipe, do not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not directory.parent.is_dir():
            raise NoHome(f"no home at {directory.parent}") from error
        raise NotFound(f"no key {name!r} in {directory}", hint=f"make it: hb key new {name}") from error
    except OSError as error:
        if error.errno == ELOOP:
            raise Refused(f"the key file {path} is a link; it must be a plain file") from error
        raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error
    try:
        _check_private(os.fstat(descriptor).st_mode, path)
        content = os.read(descriptor, _FILE_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        record = json.loads(content) if len(content) <= _FILE_LIMIT_BYTES else None
    except (ValueError, RecursionError) as error:
        raise Refused(
            f"the key file {path} is not JSON", hint="put it back from a copy; hb cannot repair it"
        ) from error
    if not isinstance(record, dict) or record.get("kty") != "OKP" or record.get("crv") != "Ed25519":
        raise Refused(f"the key file {path} holds no Ed25519 key", hint='expected "kty": "OKP" and "crv": "Ed25519"')
    return record


def _check_private(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise Refused(f"the key file {path} is not a plain file")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(
            f"others have access to the key file {path} (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )


def _bytes_of(record: dict[str, Any], member: str, length: int, name: str) -> bytes:
    text = record.get(member)
    try:
        raw = ids.decode(text) if isinstance(text, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != length:
        # What stands there is never shown: it might be most of a secret.
        raise Refused(f"the key file of {name!r} is damaged: its {member} is not {length} bytes in base64url")
    return raw
