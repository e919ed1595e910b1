"""Homes: found, made, opened, refused."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from hb import config, home, keyring
from hb.errors import HbError, HomeBusy, HomeUnusable, IntegrityError, NoHome, Refused
from hb.home import Home
from hb.records.keys import EVERYTHING
from hb.storage.leveldb import open_store
from hb.storage.storage import Patience
from hb.storage.store import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hb.storage.store import Store

NOBODY = 65_534
SEED = bytes(range(32))


@pytest.fixture
def made(tmp_path: Path) -> Home:
    return home.create(tmp_path / ".hb")


def listing(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes() if file.is_file() else b"/"
        for file in sorted(directory.rglob("*"))
    }


class TestFind:
    def test_the_named_one_goes_before_all_others(self, tmp_path: Path) -> None:
        (tmp_path / ".hb").mkdir()
        assert home.find(tmp_path, Path("named"), "environment", Path("data")) == Path("named")

    def test_the_environments_goes_before_a_near_one(self, tmp_path: Path) -> None:
        (tmp_path / ".hb").mkdir()
        assert home.find(tmp_path, None, "environment", Path("data")) == Path("environment")

    def test_the_nearest_above_goes_before_the_users(self, tmp_path: Path) -> None:
        (tmp_path / ".hb").mkdir()
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True)
        assert home.find(below, None, "", Path("data")) == tmp_path / ".hb"
        (tmp_path / "a" / ".hb").mkdir()
        assert home.find(below, None, None, Path("data")) == tmp_path / "a" / ".hb"

    def test_a_file_of_that_name_is_none(self, tmp_path: Path) -> None:
        (tmp_path / ".hb").mkdir()
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / ".hb").touch()
        assert home.find(tmp_path / "a") == tmp_path / ".hb"

    def test_with_nothing_named_or_near_it_is_the_users_or_none(self, tmp_path: Path) -> None:
        assert home.find(tmp_path, None, None, Path("data")) == Path("data")
        assert home.find(tmp_path) is None

    def test_looking_makes_nothing(self, tmp_path: Path) -> None:
        home.find(tmp_path, tmp_path / "named", None, None)
        assert list(tmp_path.iterdir()) == []


class TestCreate:
    def test_a_new_home_has_its_parts_for_its_owner_only(self, made: Home) -> None:
        assert home.open_home(made.path) == made
        parts = {".gitignore", "config.toml", "keys", "store", "cache", "lock", "lock.queue"}
        assert {file.name for file in made.path.iterdir()} == parts
        assert [file.stat().st_mode & 0o077 for file in (made.path, *made.path.iterdir())] == [0] * 8
        assert config.load(made.config) == config.Config()
        assert keyring.names(made.keys) == ["default"]
        with made.storage.session() as store:
            assert dict(store.scan(*EVERYTHING)) == {b"format": b"1"}

    def test_nothing_else_is_left_beside_it(self, tmp_path: Path) -> None:
        made = home.create(tmp_path / "a" / "b" / "home", seed=SEED)
        assert list((tmp_path / "a" / "b").iterdir()) == [made.path]
        assert keyring.load(made.keys, "default").seed == SEED

    def test_an_empty_directory_becomes_the_home(self, tmp_path: Path) -> None:
        assert home.open_home(home.create(tmp_path).path).path == tmp_path

    def test_a_link_leads_to_where_the_home_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        made = home.create(tmp_path / "link")
        assert made.path == tmp_path / "elsewhere"
        assert home.open_home(tmp_path / "link").path == tmp_path / "link"

    def test_a_home_that_is_there_is_opened_and_stays_as_it_is(self, made: Home) -> None:
        made.config.write_text("[host]\nlock-timeout = 5\n")
        before = listing(made.path)
        assert home.create(made.path) == made
        assert listing(made.path) == before

    def test_something_else_is_never_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "directory").mkdir()
        (tmp_path / "directory" / "thesis.txt").write_text("years of work")
        (tmp_path / "file").write_text("more work")
        before = listing(tmp_path)
        for name in ("directory", "file"):
            with pytest.raises(Refused, match="in use for something else"):
                home.create(tmp_path / name)
        with pytest.raises(HomeUnusable, match="File exists"):
            home.create(tmp_path / "file" / "home")
        assert listing(tmp_path) == before

    def test_a_damaged_home_is_not_made_anew(self, made: Home) -> None:
        shutil.rmtree(made.storage.store)
        before = listing(made.path)
        with pytest.raises(IntegrityError, match="has lost its store"):
            home.create(made.path)
        assert listing(made.path) == before

    def test_of_many_at_once_one_wins_and_all_have_that_one(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from hb import home, keyring; sys.stdin.readline();"
            "made = home.create(Path(sys.argv[1]));"
            "print(keyring.public(made.keys, 'default').address)"
        )
        command = [sys.executable, "-c", program, str(tmp_path / ".hb")]
        many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
        for one in many:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        answers = [one.communicate()[0] for one in many]
        assert len(set(answers)) == 1
        assert len(answers[0]) == 44
        assert list(tmp_path.iterdir()) == [tmp_path / ".hb"]

    def test_killed_while_making_it_leaves_no_half_a_home(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from hb import home; print(flush=True);"
            "home.create(Path(sys.argv[1]))"
        )
        half = whole = 0
        for number in range(12):
            path = tmp_path / str(number) / ".hb"
            with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as maker:
                assert maker.stdout is not None
                maker.stdout.readline()
                time.sleep(number * 0.008)
                maker.send_signal(signal.SIGKILL)
            half, whole = (half, whole + 1) if path.exists() else (half + 1, whole)
            made = home.create(path)
            with made.storage.session(Patience(5.0)):
                assert keyring.names(made.keys) == ["default"]
        assert half > 0


class TestOpen:
    def test_nothing_there_is_no_home(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "directory").mkdir()
        for name in ("nothing", "file", "directory", "file/below"):
            with pytest.raises(NoHome) as refused:
                home.open_home(tmp_path / name)
            assert refused.value.hint == "make one: hb init"
        assert list((tmp_path / "directory").iterdir()) == []

    @pytest.mark.parametrize(
        ("damage", "sentence"),
        [
            (lambda it: (it.storage.store / "CURRENT").unlink(), "has lost its CURRENT file"),
            (lambda it: shutil.rmtree(it.storage.store), "has lost its store"),
        ],
    )
    def test_a_home_without_its_store_is_damage_and_stays_as_it_is(
        self, made: Home, damage: Callable[[Home], None], sentence: str
    ) -> None:
        damage(made)
        before = listing(made.path)
        with pytest.raises(IntegrityError, match=sentence):
            home.open_home(made.path)
        with pytest.raises(IntegrityError), made.storage.session():
            pass
        assert listing(made.path) == before

    @pytest.mark.parametrize("part", ["store", "keys", "cache", "lock", "config"])
    def test_a_part_that_is_a_link_to_somewhere_else_is_refused(self, made: Home, tmp_path: Path, part: str) -> None:
        place: Path = made.path / {"config": "config.toml"}.get(part, part)
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Refused, match=f"{place} must be a"):
            home.open_home(made.path)

    def test_a_home_without_cache_or_lock_or_config_is_fine(self, made: Home) -> None:
        made.cache.rmdir()
        made.storage.lock.unlink()
        made.config.unlink()
        with home.open_home(made.path).storage.session():
            pass
        with made.storage.lease("P" * 43):
            pass


class TestSlice:
    def test_writes_in_one_slice_are_there_in_the_next(self, made: Home) -> None:
        with made.storage.session() as store:
            store.commit(Batch(puts={b"n/a": b"1"}))
        with made.storage.session(Patience(5.0)) as store:
            assert store.get(b"n/a") == b"1"

    @pytest.mark.parametrize("found", [b"2", b"10", b"999999999999999999999"])
    def test_a_newer_format_is_refused(self, made: Home, found: bytes) -> None:
        with open_store(made.storage.store) as store:
            store.commit(Batch(puts={b"format": found}))
        with pytest.raises(Refused, match="this hb knows 1") as refused, made.storage.session():
            pass
        assert refused.value.hint == "use a newer hb"

    @pytest.mark.parametrize("found", [None, b"", b"0", b"one", b"\xff" * 200])
    def test_a_format_that_never_was_is_damage(self, made: Home, found: bytes | None) -> None:
        with open_store(made.storage.store) as store:
            store.commit(Batch(deletes={b"format"}) if found is None else Batch(puts={b"format": found}))
        with pytest.raises(IntegrityError, match="no format that an hb ever wrote"), made.storage.session():
            pass

    def test_is_busy_while_another_slice_is_open(self, made: Home) -> None:
        opened, done = threading.Event(), threading.Event()

        def other() -> None:
            with made.storage.session():
                opened.set()
                done.wait(10)

        thread = threading.Thread(target=other)
        thread.start()
        opened.wait(10)
        with pytest.raises(HomeBusy, match=r"was busy for 0\.05 s"), made.storage.session(Patience(0.05)):
            pass
        done.set()
        with made.storage.session(Patience(10.0)):
            pass
        thread.join()

    def test_slices_of_many_processes_lose_nothing(self, made: Home) -> None:
        program = (
            "import sys; from pathlib import Path; from hb.home import open_home; from hb.storage.store import Batch\n"
            "from hb.storage.storage import Patience\n"
            "for number in range(25):\n"
            "    with open_home(Path(sys.argv[1])).storage.session(Patience(30.0)) as store:\n"
            "        count = store.get(b'count') or b'0'\n"
            "        next_one = b'%d' % (int(count) + 1)\n"
            "        store.commit(Batch(puts={b'count': next_one, b'by/' + next_one: sys.argv[2].encode()}))\n"
        )
        many = [subprocess.Popen([sys.executable, "-c", program, str(made.path), str(who)]) for who in range(4)]
        assert [one.wait(60) for one in many] == [0] * 4
        with made.storage.session() as store:
            assert store.get(b"count") == b"100"
            assert sum(1 for _ in store.scan(b"by/", b"by0")) == 100

    def test_a_home_that_went_away_is_no_home(self, made: Home) -> None:
        shutil.rmtree(made.path)
        with pytest.raises(NoHome), made.storage.session():
            pass
        assert not made.path.exists()


def write_much(store: Store) -> None:
    """Write more than LevelDB holds in memory: it must make a table, and read it."""
    for part in range(4):
        store.commit(Batch(puts={b"%d %d" % (part, number): os.urandom(1000) for number in range(10_000)}))


@pytest.mark.parametrize("keep_open", [False, True])
def test_every_part_of_a_home_that_went_away_is_no_home(made: Home, keep_open: bool) -> None:
    home_ = home.open_home(made.path, keep_open=keep_open)
    with home_.storage.session() as store:
        shutil.rmtree(made.path)
        with pytest.raises(NoHome):
            write_much(store)
    for use in (
        lambda: home_.storage.session().__enter__(),
        lambda: home_.storage.lease("P" * 43).__enter__(),
        home_.storage.signal,
        lambda: home_.key("default"),
    ):
        with pytest.raises(NoHome, match="no home at"):
            use()
    home_.storage.announce()
    assert not made.path.exists()


def test_an_announcement_that_fails_is_nobodys_failure(made: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the last call of a send and a spawn, and what they did is stored by then."""
    from hb.environment import system_environment
    from hb.protocol.request import build_message
    from verbs import Node

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    node = Node(made)
    key, environment = keyring.load(made.keys, "default"), system_environment()
    image = (Path(__file__).parents[2] / "samples" / "counter.wasm").read_bytes()
    monkeypatch.setattr(os, "utime", fail)
    process = node.spawn(image, signer=key, environment=environment).process
    sent = node.send(process, [build_message("Increment", [])], signer=key, environment=environment)
    assert [each.slot for each in sent] == [1]
    assert node.state(process).state["counter"] == 1


def test_computes_of_one_process_take_turns_and_others_go_on(made: Home) -> None:
    with made.storage.lease("P" * 43):
        with pytest.raises(HomeBusy), made.storage.lease("P" * 43, Patience(0.02)):
            pass
        with made.storage.lease("Q" * 43, Patience(0.02)), made.storage.session(Patience(0.5)):
            pass


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that other users can look into, unlike tmp_path."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(path: Path, answers: object) -> None:
    """Does what shells do, as another user, and sends what came of it."""
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    said: list[tuple[str, str]] = []
    for attempt in (home.open_home, home.create, lambda it: Home(it).storage.session(Patience(1.0)).__enter__()):
        try:
            attempt(path)
        except HbError as error:
            said.append((type(error).__name__, error.message))
        else:
            said.append(("nothing", ""))
    answers.send(said)  # type: ignore[attr-defined]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
@pytest.mark.parametrize("there", ["home", "nothing"])
def test_without_permission_it_says_so(open_path: Path, there: str) -> None:
    # Made in any case: what it loads, the other user might not be allowed to load.
    home.create(open_path / ("elsewhere" if there == "nothing" else ".hb"))
    before = listing(open_path)
    context = get_context("fork")
    answers, theirs = context.Pipe()
    child = context.Process(target=as_nobody, args=(open_path / ".hb", theirs))
    child.start()
    theirs.close()
    said = answers.recv()
    child.join()
    expected = {"home": ["HomeUnusable"] * 3, "nothing": ["NoHome", "HomeUnusable", "NoHome"]}
    assert [kind for kind, _ in said] == expected[there]
    assert all("Permission denied" in sentence for kind, sentence in said if kind == "HomeUnusable")
    assert listing(open_path) == before


def test_opening_a_home_loads_no_cryptography_and_no_toml(made: Home) -> None:
    program = (
        "import sys; from pathlib import Path; from hb.home import open_home; from hb import config\n"
        "with open_home(Path(sys.argv[1])).storage.session(): config.load(open_home(Path(sys.argv[1])).config)\n"
        "print(*sorted({'nacl', 'tomllib', 'wasmtime', 'rich', 'typer'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(made.path)], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
