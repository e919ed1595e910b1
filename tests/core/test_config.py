"""config.toml: read, checked, and written once."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from hb import config
from hb.config import Config
from hb.errors import HomeUnusable, Refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_file_of_a_new_home_says_the_defaults_when_it_is_parsed(path: Path) -> None:
    # A comment more: the untouched file is known by its bytes and not parsed.
    path.write_bytes(b"# mine\n" + config.template())
    assert config.load(path) == Config()


def test_that_file_names_every_setting_with_what_it_is_for() -> None:
    tables = tomllib.loads(config.template().decode())
    assert sum(map(len, tables.values())) == len(set(Config._fields) - {"modules"})
    lines = [line for line in config.template().decode().splitlines() if "=" in line]
    assert all("# " in line for line in lines)
    assert max(map(len, config.template().decode().splitlines())) <= 100


@pytest.mark.parametrize(
    ("gone", "is_default"),
    [("", True), ("pool-memory", True), ("[process]", False), ("gas-limit", True), ("[push]", False)],
)
def test_the_file_of_a_home_that_an_older_version_made_needs_no_parser(gone: str, is_default: bool) -> None:
    lines = [line for line in config.template().decode().splitlines() if not gone or not line.startswith(gone)]
    assert config._says_the_defaults("\n".join(lines).encode()) == is_default


def test_the_file_of_a_home_from_before_pushes_needs_no_parser() -> None:
    lines = config.template().decode().split("[push]")
    assert config._says_the_defaults((lines[0] + "[keys]" + lines[1].split("[keys]")[1]).encode())


@pytest.mark.parametrize("line", ["gas-limit = 7", "[other]", 'sender = "me"', "[host]"])
def test_a_file_that_says_anything_else_is_parsed(line: str) -> None:
    assert not config._says_the_defaults(config.template() + line.encode())


def test_without_a_file_or_with_an_empty_one_all_is_default(path: Path) -> None:
    assert config.load(path) == Config()
    path.touch()
    assert config.load(path) == Config()


def test_what_stands_there_counts_and_the_rest_is_default(path: Path) -> None:
    path.write_text('[process]\ngas-limit = 5\n[host]\nlock-timeout = 1.5\n[keys]\nscheduler = "node"\n')
    assert config.load(path) == Config(gas_limit=5, lock_timeout_s=1.5, scheduler_key="node")


def test_every_setting_can_be_set(path: Path) -> None:
    tables = tomllib.loads(config.template().decode())
    lines = []
    for table, settings in tables.items():
        lines += [f"[{table}]"]
        lines += [f'{key} = "x"' if isinstance(value, str) else f"{key} = 7" for key, value in settings.items()]
    image = "i" * 43
    path.write_text("\n".join([*lines, "[modules]", f'aos = "{image}"']))
    loaded = config.load(path)._asdict()
    assert loaded.pop("modules") == {"aos": image}
    assert set(loaded.values()) == {7, "x"}


@pytest.mark.parametrize("line", ["modules = 5", '[modules]\naos = "x"', "[modules]\naos = 5", "[modules.aos]\nx = 1"])
def test_a_module_is_named_by_its_image_id(path: Path, line: str) -> None:
    path.write_text(line)
    with pytest.raises(Refused, match=r"modules(\.aos)? must be"):
        config.load(path)


@pytest.mark.parametrize(
    ("text", "name", "near"),
    [
        ("[process]\ngas_limit = 1\n", "process.gas_limit", "process.gas-limit"),
        ("[host]\nlock-timeout-s = 1\n", "host.lock-timeout-s", "host.lock-timeout"),
        ("[hosts]\nlock-timeout = 1\n", "hosts", "host"),
        ("gas-limit = 1\n", "gas-limit", "host"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_there_is(path: Path, text: str, name: str, near: str) -> None:
    path.write_text(text)
    with pytest.raises(Refused, match=f"there is no setting '{name}'") as refused:
        config.load(path)
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("did you mean ")
    assert name == "gas-limit" or refused.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize(
    "line",
    [
        "gas-limit = 0",
        "gas-limit = -1",
        "gas-limit = 1.5",
        "gas-limit = true",
        'gas-limit = "1"',
        "gas-limit = [1]",
        f"gas-limit = {2**62 + 1}",
        "memory-limit = 65537",
        "memory-limit = nan",
        "result-limit = 1979-05-27",
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused(path: Path, line: str) -> None:
    path.write_text(f"[process]\n{line}\n")
    with pytest.raises(Refused, match=rf"process.{line.split(maxsplit=1)[0]} must be a number, 1 to \d+, got"):
        config.load(path)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.5", "0", "true"])
def test_a_time_that_is_none_is_refused(path: Path, value: str) -> None:
    path.write_text(f"[host]\nlock-timeout = {value}\n")
    with pytest.raises(Refused, match=r"host\.lock-timeout must be a number"):
        config.load(path)


@pytest.mark.parametrize("value", ['""', "7", f'"{"x" * 65}"'])
def test_a_key_that_has_no_name_is_refused(path: Path, value: str) -> None:
    path.write_text(f"[keys]\nsender = {value}\n")
    with pytest.raises(Refused, match=r"keys\.sender must be a text of 1 to 64 characters"):
        config.load(path)


@pytest.mark.parametrize("content", [b"[process", b"\xff", b"a = 1\na = 2", b"a = " + b"[" * 5000, b"#" * 2_000_000])
def test_what_is_not_toml_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"config.toml is (not TOML|larger)"):
        config.load(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_is_said(path: Path) -> None:
    path.mkdir()
    with pytest.raises(HomeUnusable, match="cannot read"):
        config.load(path)
