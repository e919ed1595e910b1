"""Keys of a home: made once, private, and refused when they are not what they must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hb import ids, keyring
from hb.errors import HomeUnusable, NotFound, Refused
from hb.home import Home

if TYPE_CHECKING:
    from pathlib import Path

# The key of RFC 8037, appendix A.
RFC_SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "keys").mkdir()
    return Home(tmp_path)


def write(home: Home, name: str, content: bytes, mode: int = 0o600) -> Path:
    path = home.keys / f"{name}.json"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_writes_the_key_of_rfc_8037_as_that_rfc_does(home: Home) -> None:
    key = keyring.create(home.keys, "rfc", seed=ids.decode(RFC_SEED))
    written = json.loads((home.keys / "rfc.json").read_bytes())
    assert written == {"kty": "OKP", "crv": "Ed25519", "d": RFC_SEED, "x": RFC_PUBLIC}
    assert ids.encode(key.public) == RFC_PUBLIC
    assert (home.keys / "rfc.json").stat().st_mode & 0o7777 == 0o600
    assert [file.name for file in home.keys.iterdir()] == ["rfc.json"]


def test_loads_what_it_made(home: Home) -> None:
    made = keyring.create(home.keys, "alice")
    loaded = keyring.load(home.keys, "alice")
    shown = keyring.public(home.keys, "alice")
    assert loaded.seed == made.seed
    assert (loaded.address, loaded.public) == (made.address, made.public)
    assert (shown.name, shown.public, shown.address) == ("alice", made.public, made.address)
    assert loaded.sign(b"text") == made.sign(b"text")


def test_no_two_keys_are_the_same(home: Home) -> None:
    assert keyring.create(home.keys, "a").seed != keyring.create(home.keys, "b").seed


def test_lists_the_names_of_keys_alone(home: Home) -> None:
    assert keyring.names(home.keys) == []
    for name in ("bob", "Alice", "c.d-e_f", "9"):
        keyring.create(home.keys, name)
    write(home, ".draft", b"")
    (home.keys / "notes.txt").touch()
    assert keyring.names(home.keys) == ["9", "Alice", "bob", "c.d-e_f"]
    assert keyring.names(home.path / "nothing") == []


def test_never_overwrites_a_key(home: Home) -> None:
    path = home.keys / "alice.json"
    keyring.create(home.keys, "alice")
    before = path.read_bytes()
    with pytest.raises(Refused, match="there is a key 'alice' already"):
        keyring.create(home.keys, "alice")
    assert path.read_bytes() == before
    (home.keys / "link.json").symlink_to(home.path / "elsewhere")
    with pytest.raises(Refused, match="already"):
        keyring.create(home.keys, "link")
    assert not (home.path / "elsewhere").exists()


def test_of_many_who_make_the_same_key_one_wins(home: Home) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from hb import keyring; from hb.home import Home; from hb.errors import Refused\n"
        "sys.stdin.readline()\n"
        "try: print(keyring.create(Home(Path(sys.argv[1])).keys, 'same').address)\n"
        "except Refused: print('refused')\n"
    )
    command = [sys.executable, "-c", program, str(home.path)]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [one.communicate("go\n")[0].strip() for one in many]
    assert sorted(answers, key=len)[:3] == ["refused"] * 3
    assert keyring.public(home.keys, "same").address in answers


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "-x", "a b", "zoë", "a" * 65, "a\n", "a\0"])
def test_refuses_what_is_no_name(home: Home, name: str) -> None:
    for attempt in (keyring.create, keyring.load, keyring.public):
        with pytest.raises(Refused, match="not a name for a key"):
            attempt(home.keys, name)
    assert list(home.keys.iterdir()) == []


def test_an_unknown_key_is_not_found(home: Home) -> None:
    for attempt in (keyring.load, keyring.public):
        with pytest.raises(NotFound, match="no key 'alice'") as missing:
            attempt(home.keys, "alice")
        assert missing.value.hint == "make it: hb key new alice"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_refuses_a_key_that_others_have_access_to(home: Home, mode: int) -> None:
    keyring.create(home.keys, "alice")
    path = home.keys / "alice.json"
    path.chmod(mode)
    with pytest.raises(Refused, match=rf"mode {mode:04o}") as refused:
        keyring.load(home.keys, "alice")
    assert refused.value.hint == f"chmod 600 {path}"


def test_refuses_what_is_not_a_plain_file(home: Home) -> None:
    keyring.create(home.keys, "alice")
    (home.keys / "link.json").symlink_to(home.keys / "alice.json")
    (home.keys / "directory.json").mkdir()
    os.mkfifo(home.keys / "pipe.json")
    for name, sentence in {"link": "is a link", "directory": "not a plain file", "pipe": "not a plain file"}.items():
        with pytest.raises(Refused, match=sentence):
            keyring.load(home.keys, name)


GOOD = {"kty": "OKP", "crv": "Ed25519", "d": RFC_SEED, "x": RFC_PUBLIC}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(GOOD).encode()[:-20],
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 10_000,
        json.dumps(GOOD).encode() + b" " * 20_000,
        json.dumps(GOOD | {"kty": "RSA"}).encode(),
        json.dumps(GOOD | {"crv": "X25519"}).encode(),
        json.dumps(GOOD | {"d": RFC_SEED[:-1]}).encode(),
        json.dumps(GOOD | {"d": RFC_SEED + "="}).encode(),
        json.dumps(GOOD | {"d": 7}).encode(),
        json.dumps({key: value for key, value in GOOD.items() if key != "d"}).encode(),
        json.dumps(GOOD | {"x": ""}).encode(),
        json.dumps({key: value for key, value in GOOD.items() if key != "x"}).encode(),
    ],
)
def test_refuses_a_damaged_key_file_without_showing_any_of_it(home: Home, content: bytes) -> None:
    write(home, "alice", content)
    with pytest.raises(Refused) as refused:
        keyring.load(home.keys, "alice")
    assert "alice" in refused.value.message
    assert RFC_SEED[:6] not in refused.value.message


def test_signs_nothing_with_a_public_part_of_another_key(home: Home) -> None:
    write(home, "alice", json.dumps(GOOD | {"x": "A" * 43}).encode())
    with pytest.raises(Refused):
        keyring.load(home.keys, "alice").sign(b"text")


def test_says_why_it_cannot_write(home: Home) -> None:
    home.keys.rmdir()
    home.keys.write_text("a file, not a directory")
    with pytest.raises(HomeUnusable, match="cannot write"):
        keyring.create(home.keys, "alice")


def test_showing_a_key_loads_no_cryptography(home: Home) -> None:
    keyring.create(home.keys, "alice")
    program = (
        "import sys; from pathlib import Path; from hb import keyring; from hb.home import Home\n"
        "print(keyring.public(Home(Path(sys.argv[1])).keys, 'alice').address, 'nacl' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(home.path)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [keyring.load(home.keys, "alice").address, "False"]
