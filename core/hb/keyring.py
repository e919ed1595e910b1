"""The signing keys of a home, in one directory: one file a key, as JSON Web Keys.

A key is an Ed25519 key (RFC 8037: kty OKP, crv Ed25519), whose `d` is its seed and `x` its public part, or an RSA key
(RFC 7518, section 6.3: kty RSA), as Arweave wallets are. Everything is base64url. A key file that others can read is
refused, as ssh does.

Invariants:
    No key is overwritten or removed.
    A secret leaves this module only in a `Key`, and in what `secret` returns. No error shows any of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from errno import ELOOP
from typing import TYPE_CHECKING, Any, NamedTuple

from hb import ids
from hb.errors import HomeUnusable, NoHome, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hb.protocol.commitment import Key

FILE_LIMIT_BYTES = 16 * 1024
"""Maximum size of a key file. A wallet of 4096 bits has about 3 KiB."""

SEED_BYTES = 32
_EXPONENT = b"\x01\x00\x01"
_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class _Form(NamedTuple):
    """A kind of key: what its file says of it, its algorithm, its public member, and how long all members may be."""

    says: Mapping[str, str]
    algorithm: str
    public: str
    lengths: Mapping[str, range]


_ED25519 = _Form({"crv": "Ed25519", "kty": "OKP"}, "ed25519", "x", {"d": range(32, 33), "x": range(32, 33)})
_RSA = _Form(
    {"kty": "RSA"},
    "rsa-pss-sha512",
    "n",
    {"n": range(256, 513), "e": range(3, 4)} | dict.fromkeys(("d", "p", "q", "dp", "dq", "qi"), range(1, 513)),
)
_FORMS = (_ED25519, _RSA)


@dataclass(frozen=True)
class PublicKey:
    """What may be shown of a key: its name here, its public bytes, how it signs, and its address."""

    name: str
    public: bytes
    algorithm: str = _ED25519.algorithm

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

    path = _new_path(directory, name)
    seed = os.urandom(SEED_BYTES) if seed is None else seed
    key = Key(seed)
    _write_new(path, name, {**_ED25519.says, "d": ids.encode(seed), "x": ids.encode(key.public)})
    return key


def bring(directory: Path, name: str, key: bytes | Path) -> Key:
    """Write a key, a JSON Web Key or the file of one, to keys/NAME.json.

    Members that say nothing of the key itself are left out. Others may have access to a file that is given.

    Raises:
        Refused: no key can have that name, the home has a key of that name already, or what was given cannot be read,
            or is not a key that can sign.
        HomeUnusable: the operating system does not let it be written.
    """
    path = _new_path(directory, name)
    what = f"the key for {name!r}" if isinstance(key, bytes) else _called(key)
    record = _parsed(key if isinstance(key, bytes) else _given(key, private=False), what)
    made = _key(record, what)
    made.sign(b"")  # whether its parts belong together
    _write_new(path, name, _members(record, what))
    return made


def load(directory: Path, name: str) -> Key:
    """Return the key `name`, ready to sign.

    Raises:
        NotFound: the home has no key of that name.
        Refused: the key file is readable to others, is not a plain file, or does not hold a key.
        HomeUnusable: the operating system does not let it be read.
    """
    return _key(*_read(directory, name))


def load_file(path: Path) -> Key:
    """Return the key in a file of any name, ready to sign.

    Raises:
        Refused: it cannot be read, is readable to others, is not a plain file, or does not hold a key.
    """
    what = _called(path)
    return _key(_parsed(_given(path, private=True), what), what)


def is_file(word: str) -> bool:
    """Whether `word`, where a key is expected, is the path of a file: it ends in .json or contains a slash."""
    return word.endswith(_SUFFIX) or "/" in word


def public(directory: Path, name: str) -> PublicKey:
    """Return what may be shown of the key `name`, as its file says. No cryptography is loaded.

    Raises:
        NotFound, Refused, HomeUnusable: as `load`.
    """
    record, what = _read(directory, name)
    form = _form(record, what)
    return PublicKey(name, _bytes_of(record, form.public, form, what), form.algorithm)


def secret(directory: Path, name: str) -> dict[str, str]:
    """Return the whole key `name` as a JSON Web Key, with its secret: for its owner's backup.

    Raises:
        NotFound, Refused, HomeUnusable: as `load`.
    """
    return _members(*_read(directory, name))


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


def _new_path(directory: Path, name: str) -> Path:
    path = _path(directory, name)
    if is_file(name):
        raise Refused(
            f"not a name for a new key: {name!r} would be taken for a file",
            hint=f"leave the {_SUFFIX} away: the file gets it by itself",
        )
    # Looked at first for the sake of a clear answer; `_write_new` is what keeps an old key safe.
    if os.path.lexists(path):
        raise _taken(name)
    return path


def _taken(name: str) -> Refused:
    return Refused(f"there is a key {name!r} already", hint="keys are never overwritten: take another name")


def _write_new(path: Path, name: str, record: dict[str, str]) -> None:
    """Write a file that must not be there yet."""
    from hb import atomic

    content = json.dumps(record, indent=2, sort_keys=True).encode() + b"\n"
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
        try:
            atomic.write(path, content, overwrite=False)
        except FileExistsError as error:
            raise _taken(name) from error
    except OSError as error:
        raise HomeUnusable(f"cannot write {path}: {error.strerror}") from error


def _read(directory: Path, name: str) -> tuple[dict[str, Any], str]:
    """Return what the file of the key `name` says, and how errors call that file."""
    path = _path(directory, name)
    what = f"the key file {path}"
    try:
        content = _content(path, os.O_NOFOLLOW, private=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not directory.parent.is_dir():
            raise NoHome(f"no home at {directory.parent}") from error
        making = f"bring it in: hb key import NAME {name}" if is_file(name) else f"make it: hb key new {name}"
        raise NotFound(f"no key {name!r} in {directory}", hint=making) from error
    except OSError as error:
        if error.errno == ELOOP:
            raise Refused(f"{what} is a link; it must be a plain file") from error
        raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error
    return _parsed(content, what), what


def _called(path: Path) -> str:
    return f"the key file {str(path)!r}"


def _given(path: Path, *, private: bool) -> bytes:
    """Return what `_content` does, of a file that somebody named.

    Raises:
        Refused: it cannot be read, or `_content` refuses it.
    """
    try:
        return _content(path, private=private)
    except OSError as error:
        raise Refused(
            f"{str(path)!r} names a key file that cannot be read: {error.strerror}",
            hint=f"what ends in {_SUFFIX} or contains a slash is a file, not the name of a key" if private else None,
        ) from error
    except ValueError as error:
        raise Refused(f"{str(path)!r} names a key file that cannot be read: {error}") from error


def _content(path: Path, flags: int = 0, *, private: bool) -> bytes:
    """Return the bytes of a plain file, and at most one more than a key file may have.

    Raises:
        Refused: it is not a plain file, or should be `private` and is readable to others.
        OSError, ValueError: it cannot be read; there is no such path.
    """
    # O_NONBLOCK: if it is a pipe, do not wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise Refused(f"the key file {path} is not a plain file")
        if private:
            _check_private(mode, path)
        return os.read(descriptor, FILE_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)


def _check_private(mode: int, path: Path) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(
            f"others have access to the key file {path} (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )


# What a key says. `what` is how errors call it; what stands in it is never shown: it might be most of a secret.


def _parsed(content: bytes, what: str) -> dict[str, Any]:
    if len(content) > FILE_LIMIT_BYTES:
        raise Refused(f"{what} is larger than the limit of {FILE_LIMIT_BYTES:,} bytes")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        # Not from the error of the parser, which has all of the text.
        raise Refused(f"{what} is not a JSON Web Key", hint="expected what `hb key show --secret` prints, or a wallet")
    return record


def _form(record: dict[str, Any], what: str) -> _Form:
    for form in _FORMS:
        if all(record.get(member) == value for member, value in form.says.items()):
            return form
    raise Refused(
        f"{what} holds neither an Ed25519 key nor an RSA key",
        hint='expected "kty": "OKP" and "crv": "Ed25519", or "kty": "RSA"',
    )


def _key(record: dict[str, Any], what: str) -> Key:
    """Return the key that `record` says. Before it signs, it makes sure that its parts belong together."""
    from hb.protocol.signature import Key, RsaKey

    form = _form(record, what)
    parts = {member: _bytes_of(record, member, form, what) for member in form.lengths}
    if form is _ED25519:
        return Key(parts["d"], parts["x"])
    if parts.pop("e") != _EXPONENT:
        raise Refused(f"{what} has another public exponent than 65537, which wallets have")
    public = parts.pop("n")
    return RsaKey(public, **{member: int.from_bytes(part, "big") for member, part in parts.items()})


def _members(record: dict[str, Any], what: str) -> dict[str, str]:
    """Return what `record` says of the key, and nothing else."""
    form = _form(record, what)
    return {**form.says, **{member: ids.encode(_bytes_of(record, member, form, what)) for member in form.lengths}}


def _bytes_of(record: dict[str, Any], member: str, form: _Form, what: str) -> bytes:
    text, lengths = record.get(member), form.lengths[member]
    try:
        raw = ids.decode(text) if isinstance(text, str) else b""
    except ValueError:
        raw = b""
    if len(raw) not in lengths:
        wanted = f"{lengths.start}" if len(lengths) == 1 else f"{lengths.start} to {lengths.stop - 1}"
        raise Refused(f"{what} is damaged: its {member} is not {wanted} bytes in base64url")
    if form is _RSA and raw[0] == 0:
        raise Refused(f"{what} is damaged: its {member} begins with a zero byte")
    return raw
