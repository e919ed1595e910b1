"""Keys of a home: made once, private, and refused when they are not what they must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import lcm
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import hb
from hb import ids, keyring
from hb.errors import HomeUnusable, NotFound, Refused
from hb.home import Home
from hb.protocol.commitment import sign, verify
from wallets import SMALL_WALLET, WALLET

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
        json.dumps(GOOD | {"kty": ["OKP"]}).encode(),
        json.dumps(GOOD | {"kty": "EC"}).encode(),
        b'{"kty": ' + b"9" * 5000 + b"}",
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


# Keys from files


def jwk(record: dict[str, str], **changes: object) -> bytes:
    return json.dumps({**record, **changes}).encode()


def raised(record: dict[str, str], member: str, by: int) -> str:
    """Return the member of a wallet with its number changed."""
    number = int.from_bytes(ids.decode(record[member]), "big") + by
    return ids.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


@pytest.mark.parametrize(("wallet", "length"), [(WALLET, 512), (SMALL_WALLET, 256)], ids=["4096", "2048"])
def test_a_wallet_signs_after_it_was_brought_in(home: Home, wallet: dict[str, str], length: int) -> None:
    made = keyring.bring(home.keys, "wallet", jwk(wallet, ext=True, alg="PS256", key_ops=["sign"]))
    path = home.keys / "wallet.json"
    assert json.loads(path.read_bytes()) == wallet
    assert path.stat().st_mode & 0o7777 == 0o600
    assert keyring.secret(home.keys, "wallet") == wallet
    shown, loaded = keyring.public(home.keys, "wallet"), keyring.load(home.keys, "wallet")
    assert shown.public == made.public == loaded.public == ids.decode(wallet["n"])
    assert len(shown.public) == length
    assert (shown.algorithm, shown.address) == ("rsa-pss-sha512", ids.digest(shown.public))
    assert verify(sign({"a": "b"}, loaded)) == [shown.address]


def test_what_is_shown_can_be_brought_back(home: Home) -> None:
    made = keyring.create(home.keys, "alice")
    again = keyring.bring(home.keys, "again", json.dumps(keyring.secret(home.keys, "alice")).encode())
    assert again.sign(b"text") == made.sign(b"text")
    assert (home.keys / "again.json").read_bytes() == (home.keys / "alice.json").read_bytes()
    assert keyring.public(home.keys, "again").algorithm == "ed25519"


def test_brings_in_the_key_in_a_file_whoever_can_read_it(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "downloaded"
    file.write_bytes(jwk(SMALL_WALLET))
    file.chmod(0o644)
    made = keyring.bring(home.keys, "wallet", file)
    assert made.address == ids.digest(ids.decode(SMALL_WALLET["n"]))
    with pytest.raises(Refused, match="mode 0644"):
        keyring.load_file(file)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    assert keyring.load_file(file).address == keyring.load_file(tmp_path / "link").address == made.address


def test_brings_in_nothing_over_a_key_that_is_there(home: Home) -> None:
    keyring.create(home.keys, "alice")
    before = (home.keys / "alice.json").read_bytes()
    with pytest.raises(Refused, match="there is a key 'alice' already"):
        keyring.bring(home.keys, "alice", jwk(SMALL_WALLET))
    assert (home.keys / "alice.json").read_bytes() == before


def test_a_new_name_is_not_taken_for_a_file(home: Home) -> None:
    for attempt in (keyring.create, lambda directory, name: keyring.bring(directory, name, jwk(SMALL_WALLET))):
        with pytest.raises(Refused, match="would be taken for a file"):
            attempt(home.keys, "alice.json")
    with pytest.raises(NotFound) as missing:
        keyring.load(home.keys, "alice.json")
    assert missing.value.hint == "bring it in: hb key import NAME alice.json"


BAD_WALLETS: dict[str, tuple[dict[str, object], str]] = {
    "another exponent": ({"e": "Aw"}, "its e is not 3 bytes"),
    "another long exponent": ({"e": "AQAD"}, "another public exponent than 65537"),
    "no modulus": ({"n": None}, "its n is not 256 to 512 bytes"),
    "short modulus": ({"n": ids.encode(b"\xff" * 128)}, "its n is not 256 to 512 bytes"),
    "long modulus": ({"n": ids.encode(b"\xff" * 513)}, "its n is not 256 to 512 bytes"),
    "zeros before the modulus": ({"n": ids.encode(b"\0" + ids.decode(SMALL_WALLET["n"]))}, "begins with a zero byte"),
    "small modulus": ({"n": ids.encode(b"\x7f" + b"\xff" * 255)}, "must have 2048 to 4096 bits, got 2047"),
    "even modulus": ({"n": raised(SMALL_WALLET, "n", -1)}, "do not belong together"),
    "other modulus": ({"n": raised(SMALL_WALLET, "n", 2)}, "do not belong together"),
    "modulus of another": ({"n": WALLET["n"]}, "do not belong together"),
    "p is 1": ({"p": "AQ", "q": SMALL_WALLET["n"]}, "do not belong together"),
    "q is 1": ({"q": "AQ", "p": SMALL_WALLET["n"]}, "do not belong together"),
    "p and q swapped": ({"p": SMALL_WALLET["q"], "q": SMALL_WALLET["p"]}, "do not belong together"),
    **{
        f"other {m}": ({m: raised(SMALL_WALLET, m, 2)}, "do not belong together")
        for m in ("d", "p", "q", "dp", "dq", "qi")
    },
    **{f"no {m}": ({m: None}, f"its {m} is not 1 to 512 bytes") for m in ("d", "p", "q", "dp", "dq", "qi")},
    "a number": ({"d": 5}, "its d is not 1 to 512 bytes"),
    "padded": ({"d": SMALL_WALLET["d"] + "=="}, "its d is not 1 to 512 bytes"),
    "list": ({"p": [SMALL_WALLET["p"]]}, "its p is not 1 to 512 bytes"),
    "huge": ({"d": "A" * 8000}, "its d is not 1 to 512 bytes"),
}


@pytest.mark.parametrize(("changes", "sentence"), BAD_WALLETS.values(), ids=BAD_WALLETS)
def test_refuses_a_wallet_that_cannot_sign_without_showing_any_of_it(
    home: Home, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        keyring.bring(home.keys, "wallet", jwk(SMALL_WALLET, **changes))
    said = f"{refused.value.message} {refused.value.hint}"
    for member in ("d", "p", "q", "dp", "dq", "qi"):
        assert SMALL_WALLET[member][:6] not in said
    assert list(home.keys.iterdir()) == []
    # The same in the home's own directory, however it got there.
    write(home, "wallet", jwk(SMALL_WALLET, **changes))
    with pytest.raises(Refused, match=sentence):
        keyring.load(home.keys, "wallet").sign(b"text")


def test_refuses_a_wallet_of_one_bit_too_few(home: Home) -> None:
    made = rsa.generate_private_key(65537, 2047).private_numbers()
    numbers = {"n": made.public_numbers.n, "d": made.d, "p": made.p, "q": made.q}
    numbers |= {"dp": made.dmp1, "dq": made.dmq1, "qi": made.iqmp}
    with pytest.raises(Refused, match="must have 2048 to 4096 bits, got 2047"):
        keyring.bring(home.keys, "wallet", jwk(SMALL_WALLET, **texts(numbers)))


def texts(numbers: dict[str, int]) -> dict[str, str]:
    return {name: ids.encode(number.to_bytes(-(number.bit_length() // -8), "big")) for name, number in numbers.items()}


def test_refuses_a_wallet_whose_signatures_are_wrong_though_its_numbers_fit(home: Home) -> None:
    p, q = (int.from_bytes(ids.decode(SMALL_WALLET[member]), "big") for member in ("p", "q"))
    q += 2
    assert pow(2, q - 1, q) != 1  # it is not prime
    d = pow(65537, -1, lcm(p - 1, q - 1))
    numbers = {"n": p * q, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    with pytest.raises(Refused, match="do not belong together"):
        keyring.bring(home.keys, "wallet", jwk(SMALL_WALLET, **texts(numbers)))
    assert list(home.keys.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a JSON Web Key"),
        (b"\xff\xfe\0", "not a JSON Web Key"),
        (b"[" * 10_000, "not a JSON Web Key"),
        (b'"' + RFC_SEED.encode() + b'"', "not a JSON Web Key"),
        (b"{}", "neither an Ed25519 key nor an RSA key"),
        (b" " * 20_000, "larger than the limit of 16,384 bytes"),
        (json.dumps(GOOD | {"x": "A" * 43}).encode(), "does not belong to its seed"),
    ],
)
def test_refuses_what_is_no_key(home: Home, tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    file.chmod(0o600)
    for attempt in (
        lambda: keyring.bring(home.keys, "new", content),
        lambda: keyring.bring(home.keys, "new", file),
        lambda: keyring.load_file(file).sign(b""),
    ):
        with pytest.raises(Refused, match=sentence) as refused:
            attempt()
        assert RFC_SEED[:6] not in refused.value.message
    assert list(home.keys.iterdir()) == []


def test_says_why_a_file_cannot_be_read(home: Home, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, sentence in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "pipe" / "x", "Not a directory"),
        (tmp_path / "pipe", "not a plain file"),
        (tmp_path, "not a plain file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "cannot be read"),
    ):
        for attempt in (lambda p: keyring.bring(home.keys, "new", p), keyring.load_file):
            with pytest.raises(Refused, match=sentence):
                attempt(path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("alice", False), ("a.json.b", False), ("", False), ("wallet.json", True), ("./wallet", True), ("/a", True)],
)
def test_a_path_ends_in_json_or_has_a_slash(word: str, expected: bool) -> None:
    assert keyring.is_file(word) is expected


def test_without_cryptography_a_wallet_is_not_brought_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(Refused, match="signing with rsa-pss-sha512 needs the package `cryptography`") as refused:
        keyring.bring(home.keys, "wallet", jwk(SMALL_WALLET))
    assert refused.value.hint == "pip install 'hb-ao[rsa]'"
    assert list(home.keys.iterdir()) == []
    write(home, "wallet", jwk(SMALL_WALLET))
    assert keyring.load(home.keys, "wallet").address == ids.digest(ids.decode(SMALL_WALLET["n"]))


def test_in_memory_the_file_of_a_key_signs_and_no_key_is_taken_in(tmp_path: Path) -> None:
    file = tmp_path / "wallet.json"
    file.write_bytes(jwk(SMALL_WALLET))
    file.chmod(0o600)
    memory = hb.memory()
    assert memory.address(str(file)) == ids.digest(ids.decode(SMALL_WALLET["n"]))
    with pytest.raises(Refused, match="a home in memory takes in no keys"):
        memory.import_key("wallet", file)
