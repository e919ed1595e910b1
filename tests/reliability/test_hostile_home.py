"""A home that a stranger made: opening it runs nothing of his, follows nothing out of it, and shows no trick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hb import home, ids, keyring
from hb.environment import system_environment
from hb.errors import HbError, HomeUnusable, IntegrityError, NotFound, Refused
from hb.protocol.request import build_message
from hb.records import keys
from hb.storage.store import Batch
from verbs import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from hb.home import Home

PROGRAM = Path(sys.executable).parent / "hb"
SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def made(tmp_path: Path) -> Home:
    """A home with a process `counter`, whose slot 1 is scheduled."""
    made = home.create(tmp_path / ".hb")
    node, key, environment = Node(made), keyring.load(made.keys, "default"), system_environment()
    image = (SAMPLES / "counter.wasm").read_bytes()
    node.spawn(image, signer=key, environment=environment, name="counter")
    node.send("counter", [build_message("Increment", [])], signer=key, environment=environment)
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the user's that is none of the home's business."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    return outside


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"/" for path in sorted(directory.rglob("*"))}


def hb(made: Home, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [PROGRAM, "--home", made.path, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(made.path.parent / "user")},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ran.returncode == code, ran
    assert "Traceback" not in ran.stderr
    return ran


def move_out(part: Path, outside: Path) -> None:
    part.rename(outside / part.name)
    part.symlink_to(outside / part.name)


@pytest.mark.parametrize("part", ["store", "keys", "cache", "config.toml", "lock"])
def test_a_part_that_is_a_link_is_refused_and_not_followed(made: Home, outside: Path, part: str) -> None:
    move_out(made.path / part, outside)
    before = contents(outside)
    told = hb(made, "compute", "counter", code=13)
    assert part in told.stderr
    assert contents(outside) == before


@pytest.mark.parametrize("name", ["CURRENT", "LOCK", "LOG", "000999.log", "000004.ldb", "MANIFEST-000099"])
def test_a_link_in_the_store_is_refused_before_anything_is_written_through_it(
    made: Home, outside: Path, name: str
) -> None:
    link = made.storage.store / name
    link.unlink(missing_ok=True)
    link.symlink_to(outside / "precious")
    before = contents(outside)
    with pytest.raises(HbError) as refusal:
        Node(made).compute("counter")
    assert isinstance(refusal.value, Refused | IntegrityError)
    assert contents(outside) == before


def test_a_current_file_that_leads_out_of_the_store_is_refused(made: Home, outside: Path) -> None:
    manifest = (made.storage.store / "CURRENT").read_text().strip()
    (outside / manifest).write_bytes((made.storage.store / manifest).read_bytes())
    (made.storage.store / "CURRENT").write_text(f"../../outside/{manifest}\n")
    before = contents(outside)
    with pytest.raises(IntegrityError, match="CURRENT"):
        Node(made).processes()
    assert contents(outside) == before


def test_a_link_where_a_lock_or_what_was_typed_goes_is_not_followed(made: Home, outside: Path) -> None:
    process = Node(made).resolve("counter")
    made.cache.mkdir(exist_ok=True)
    for lock in (made.cache / f"computing-{process}.lock", made.path / "lock.queue"):
        lock.unlink(missing_ok=True)
        lock.symlink_to(outside / "new")
        with pytest.raises(Refused, match="must be a plain file"):
            Node(made).compute("counter")
        lock.unlink()
    assert contents(outside) == {str(outside / "precious"): b"precious"}


@pytest.mark.parametrize("told", ["x/../../../outside/new", "../outside/new", "/etc/passwd", "\x1b]0;x\x07", "\udcff"])
def test_a_name_that_stands_for_a_path_leads_nowhere(made: Home, outside: Path, told: str) -> None:
    (made.cache / "computing-x").mkdir()
    with made.storage.session() as store:
        store.commit(Batch(puts={keys.name_key("evil"): told.encode("utf-8", "surrogateescape")}))
    with pytest.raises((IntegrityError, NotFound)):
        Node(made).compute("evil")
    with pytest.raises(IntegrityError), made.storage.lease(told):
        pytest.fail("it was locked")
    assert contents(outside) == {str(outside / "precious"): b"precious"}
    for command in (["list"], ["inspect", "evil"], ["compute", "evil"]):
        ran = subprocess.run([PROGRAM, "--home", made.path, *command], capture_output=True, timeout=60, check=False)
        assert b"\x1b" not in ran.stdout + ran.stderr
        assert b"Traceback" not in ran.stderr
        assert ran.returncode in {0, 12, 14}, ran


@pytest.mark.parametrize(
    "setting", ['scheduler = "../../outside/key"', 'sender = "../keys/default"', 'sender = "a\\u001b[2Jb"']
)
def test_a_key_that_the_settings_look_for_elsewhere_is_refused(made: Home, setting: str) -> None:
    made.config.write_text(f"[keys]\n{setting}\n")
    told = hb(made, "send", "counter", "Increment", code=13)
    assert "not a name for a key" in told.stderr
    assert "\x1b" not in told.stderr


def test_settings_without_end_are_refused_at_once(made: Home) -> None:
    with made.config.open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than settings can be" in hb(made, "send", "counter", "Increment", code=13).stderr


@pytest.mark.parametrize("number", ["nan", "inf", "9" * 5000, "-1", "true", "[[]]"])
def test_settings_with_odd_numbers_are_refused(made: Home, number: str) -> None:
    made.config.write_text(f"[host]\ncompile-seconds = {number}\n")
    hb(made, "send", "counter", "Increment", code=13)


def test_a_compiled_module_of_another_is_never_loaded(made: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code is loaded from files that are ours alone, and whole; what they were planted as does not matter."""
    Node(made).compute("counter")
    planted = sorted(made.cache.glob("*.native"))
    assert len(planted) == 1
    spoilt: list[Callable[[Path], None]] = [
        lambda file: file.chmod(0o666),
        lambda file: file.write_bytes(b"\x7fEVIL" + file.read_bytes()[5:]),
        lambda file: (file.unlink(), file.symlink_to(SAMPLES / "counter.wasm"))[1],
    ]
    if os.geteuid() == 0:
        spoilt.append(lambda file: os.chown(file, 12_345, 12_345))
    import wasmtime

    loaded: list[str] = []
    really = wasmtime.Module.deserialize_file
    monkeypatch.setattr(
        wasmtime.Module, "deserialize_file", lambda engine, path: (loaded.append(path), really(engine, path))[1]
    )
    for spoil in spoilt:
        spoil(planted[0])
        send_and_compute(made)
        assert loaded == []
    send_and_compute(made)
    assert loaded == [str(planted[0])]


def send_and_compute(made: Home) -> None:
    node, key = Node(made), keyring.load(made.keys, "default")
    node.send(
        "counter",
        [build_message("Increment", [], anchor=ids.encode(os.urandom(8)))],
        signer=key,
        environment=system_environment(),
    )
    node.compute("counter")


def test_nothing_secret_reaches_an_answer_an_error_or_a_log(made: Home) -> None:
    """Every command that meets a key, with good keys and with spoilt ones, in both forms, and with a traceback."""
    record = json.loads((made.keys / "default.json").read_text())
    seed = ids.decode(record["d"])
    hidden = {record["d"], seed.hex(), repr(seed), repr(seed)[2:-1], str(list(seed))[1:-1]}
    environment = {"PATH": os.environ["PATH"], "HB_DEBUG": "1"}
    commands = [
        ["key", "show", "default"], ["key", "list"], ["key", "new", "default"], ["send", "counter", "Increment"],
        ["inspect", "counter"], ["inspect", "counter", "--definition"], ["state", "counter"], ["list"],
        ["message", "Increment", "--to", "counter"],
    ]  # fmt: skip
    spoilt = [record, {**record, "x": record["d"]}, {**record, "d": record["d"] + "!"}, {**record, "kty": "RSA"}]
    for content in [*map(json.dumps, spoilt), json.dumps(record)[:-3], json.dumps([record])]:
        (made.keys / "default.json").write_text(content)
        whole = content == json.dumps(record)
        for command in commands if whole else [commands[0], commands[3]]:
            for more in (["--json"], []) if command[0] in {"key", "send"} and whole else (["--json"],):
                words = [PROGRAM, "--home", made.path, *more, *command]
                ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
                # A file whose public part is the secret was made so by hand, and public parts are shown.
                if '"x": "' + record["d"] not in content:
                    assert not [secret for secret in hidden if secret in ran.stdout + ran.stderr], command
    (made.keys / "default.json").write_text(json.dumps(record))
    kept = b"".join(path.read_bytes() for path in made.path.rglob("*") if path.is_file() and path.parent != made.keys)
    assert not [secret for secret in (*map(str.encode, hidden), seed) if secret in kept]
    assert json.loads(hb(made, "key", "show", "default", "--secret").stdout)["d"] == record["d"]


def test_keys_are_for_their_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = home.create(tmp_path / ".hb")
        keyring.create(made.keys, "alice")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (made.path, made.keys, *made.keys.iterdir())}
    assert modes == {".hb": 0o700, "keys": 0o700, "default.json": 0o600, "alice.json": 0o600}
    (made.keys / "alice.json").chmod(0o640)
    with pytest.raises(Refused) as refusal:
        keyring.secret(made.keys, "alice")
    assert refusal.value.hint == f"chmod 600 {made.keys / 'alice.json'}"


def test_a_home_that_cannot_be_read_is_said(made: Home) -> None:
    (made.storage.store / "LOCK").unlink(missing_ok=True)
    (made.storage.store / "LOCK").mkdir()
    with pytest.raises((Refused, HomeUnusable)):
        Node(made).processes()
