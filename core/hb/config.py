"""config.toml: the settings of a home.

Limits under `[process]` can decide an outcome. They are written into a definition at spawn, so a change here is for
the next process only. Limits under `[host]` protect this machine and decide no outcome.

Invariants:
    A file that is there is never changed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hb import ids
from hb.errors import HomeUnusable, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE_LIMIT_BYTES = 1024 * 1024
_PAGES_PER_MB = 16


class Config(NamedTuple):
    """The settings of a home. The table below says what each one is for."""

    gas_limit: int = 10_000_000_000
    memory_limit_pages: int = 16_384
    result_limit_bytes: int = 16 * 1024 * 1024
    message_limit_bytes: int = 16 * 1024 * 1024
    module_limit_bytes: int = 64 * 1024 * 1024
    batch_limit_messages: int = 100_000
    batch_limit_bytes: int = 64 * 1024 * 1024
    compile_limit_s: int = 60
    compile_limit_mb: int = 2048
    program_memory_mb: int = 4096
    pool_limit_mb: int = 1024
    lock_timeout_s: float = 30.0
    push_depth: int = 64
    push_messages: int = 1000
    push_gas: int = 1_000_000_000_000
    sender_key: str = "default"
    scheduler_key: str = "default"
    modules: Mapping[str, str] = MappingProxyType({})

    @property
    def host_memory_pages(self) -> int:
        """The memory that one program may have on this machine, in pages of 64 KiB."""
        return self.program_memory_mb * _PAGES_PER_MB


class _Setting(NamedTuple):
    table: str
    key: str
    field: str
    kind: type[int] | type[float] | type[str]
    most: int
    comment: str


# The order is the file's.
_SETTINGS = (
    _Setting("process", "gas-limit", "gas_limit", int, 2**62, "gas that one message may use"),
    _Setting("process", "memory-limit", "memory_limit_pages", int, 65_536, "pages of 64 KiB that a program may have"),
    _Setting(
        "process", "result-limit", "result_limit_bytes", int, 2**31, "bytes that the results of one slot may have"
    ),
    _Setting("host", "message-limit", "message_limit_bytes", int, 2**31, "bytes of one message"),
    _Setting("host", "module-limit", "module_limit_bytes", int, 2**31, "bytes of one module"),
    _Setting("host", "batch-messages", "batch_limit_messages", int, 1_000_000, "messages that one batch may have"),
    _Setting("host", "batch-bytes", "batch_limit_bytes", int, 2**31, "bytes that one batch may have"),
    _Setting(
        "host", "compile-seconds", "compile_limit_s", int, 86_400, "seconds of processor time to compile one module"
    ),
    _Setting("host", "compile-memory", "compile_limit_mb", int, 1_000_000, "megabytes of memory to compile one module"),
    _Setting(
        "host", "program-memory", "program_memory_mb", int, 65_536, "megabytes of memory that one program may have"
    ),
    _Setting("host", "pool-memory", "pool_limit_mb", int, 1_000_000, "megabytes of memory of live processes"),
    _Setting("host", "lock-timeout", "lock_timeout_s", float, 1_000_000, "seconds to wait while others use the home"),
    _Setting("push", "depth", "push_depth", int, 1_000_000_000, "deliveries between a root and a message"),
    _Setting("push", "messages", "push_messages", int, 1_000_000_000, "deliveries of one root"),
    _Setting("push", "gas", "push_gas", int, 2**62, "gas that the messages of one root may use"),
    _Setting("keys", "sender", "sender_key", str, 64, "signs what you send and spawn, unless --as names another"),
    _Setting("keys", "scheduler", "scheduler_key", str, 64, "signs the assignments of processes spawned here"),
)
_TABLE_COMMENTS = {
    "process": "Limits of new processes: written into the definition at spawn, where they never change.",
    "host": "Limits that protect this machine. They decide no outcome.",
    "push": "Budgets of a push for each root, the message that began it all. The next push goes on.",
    "keys": "Keys by name, of those in keys/.",
}
_MODULES = "modules"
"""The table of names that programs may use for images, in a spawn: each with an image ID."""

_DEFAULTS = Config()


def template() -> bytes:
    """Return the file that a new home gets: every setting with its default and what it is for."""
    lines = ["# Settings of this home. A line that is missing has its default."]
    table = None
    for setting in _SETTINGS:
        if setting.table != table:
            table = setting.table
            lines += ["", f"# {_TABLE_COMMENTS[table]}", f"[{table}]"]
        lines.append(f"{f'{setting.key} = {_shown(getattr(_DEFAULTS, setting.field))}':<32} # {setting.comment}")
    return ("\n".join(lines) + "\n").encode()


def load(path: Path) -> Config:
    """Return the settings in the file `path`, or the defaults if there is no such file.

    Raises:
        Refused: it is not TOML, or has an unknown setting, or one of a wrong type or size.
        HomeUnusable: the operating system does not let it be read.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return _DEFAULTS
    except OSError as error:
        raise HomeUnusable(f"cannot read {path}: {error.strerror}") from error
    if _says_the_defaults(content):
        return _DEFAULTS
    return _parse(content, path)


def _says_the_defaults(content: bytes) -> bool:
    """Whether a file is what this version, or one with fewer settings, writes for a new home.

    Most homes have such a file. Then no parser needs to be loaded.
    """
    lines, of_new_home = (
        [bare for line in text.split(b"\n") if (bare := line.partition(b"#")[0].strip())]
        for text in (content, template())
    )
    remaining = iter(of_new_home)
    is_small = len(content) <= _FILE_LIMIT_BYTES
    return is_small and _tables_of(lines, of_new_home) <= set(lines) and all(line in remaining for line in lines)


def _tables_of(lines: list[bytes], of_new_home: list[bytes]) -> set[bytes]:
    """Return the tables that these lines stand in, in the file of a new home."""
    table, found = b"", set()
    for line in of_new_home:
        if line.startswith(b"["):
            table = line
        elif line in lines:
            found.add(table)
    return found


def _parse(content: bytes, path: Path) -> Config:
    import tomllib

    from hb.protocol import bounds

    if len(content) > _FILE_LIMIT_BYTES:
        raise Refused(f"{path} is larger than settings can be: more than {_FILE_LIMIT_BYTES} bytes")
    try:
        text = content.decode()
        bounds.check_toml(text, str(path))
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not TOML: {error}") from error
    by_name = {(setting.table, setting.key): setting for setting in _SETTINGS}
    values: dict[str, int | float | str] = {}
    modules = _checked_modules(tables.pop(_MODULES, {}), path)
    for table, settings in tables.items():
        if not isinstance(settings, dict) or table not in _TABLE_COMMENTS:
            raise _unknown(path, table, list(_TABLE_COMMENTS))
        for key, value in settings.items():
            setting = by_name.get((table, key))
            if setting is None:
                raise _unknown(path, f"{table}.{key}", [f"{known}.{name}" for known, name in by_name])
            values[setting.field] = _checked(value, setting, path)
    return Config(**values, modules=modules)  # type: ignore[arg-type]  # the table above gives each field its type


def _checked_modules(table: object, path: Path) -> Mapping[str, str]:
    if not isinstance(table, dict):
        raise Refused(f"{path}: modules must be a table of names, each with an image ID")
    for name, image in table.items():
        if not isinstance(image, str) or not ids.is_id(image):
            raise Refused(f"{path}: modules.{name[:80]} must be an image ID of 43 characters, got {str(image)[:80]!r}")
    return MappingProxyType(table)


def _checked(value: object, setting: _Setting, path: Path) -> int | float | str:
    wanted = (int, float) if setting.kind is float else (setting.kind,)
    size = len(value) if isinstance(value, str) else value
    # To Python, a bool is an int. `0 < NaN` is false.
    if isinstance(value, bool) or not isinstance(value, wanted) or not 0 < size <= setting.most:  # type: ignore[operator]
        described = (
            f"a text of 1 to {setting.most} characters" if setting.kind is str else f"a number, 1 to {setting.most}"
        )
        raise Refused(f"{path}: {setting.table}.{setting.key} must be {described}, got {str(value)[:80]!r}")
    return value


def _unknown(path: Path, name: str, known: list[str]) -> Refused:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.0)
    return Refused(f"{path}: there is no setting {name[:80]!r}", hint=f"did you mean {near[0]}?" if near else None)


def _shown(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:_}" if isinstance(value, int) else str(value)
