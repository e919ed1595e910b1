"""`hb spawn`: make a process from an image and a definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hb import ids
from hb.errors import Refused
from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output
from hb_cli.views import fields as views

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_DEFINITION_LIMIT_BYTES = 4 * 1024 * 1024

_Module = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE",
        help="A .wasm or .wat file, - for standard input, or a name under [modules] in config.toml.",
        show_default=False,
    ),
]
_Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name for the process.")]
_Replace = Annotated[
    bool, typer.Option("--replace", help="Move the name here from the process that has it.", show_default=False)
]
_InitialState = Annotated[
    str | None,
    typer.Option("--initial-state", metavar="JSON|@FILE|-", help="The state before the first message."),
]
_Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="An execution device. Several make a stack. Default: what the module asks for.",
        show_default=False,
    ),
]
_Definition = Annotated[
    str | None,
    typer.Option("--definition", metavar="FILE.toml", help="A file with these settings. Options override it."),
]
_Gas = Annotated[int | None, typer.Option("--gas-limit", metavar="N", min=1, help="Maximum gas of one message.")]
_Memory = Annotated[
    int | None,
    typer.Option("--memory-limit", metavar="PAGES", min=1, help="Maximum memory of the program, in pages of 64 KiB."),
]
_Results = Annotated[
    int | None,
    typer.Option("--result-limit", metavar="BYTES", min=1, help="Maximum bytes of the results of one slot."),
]


@dataclass
class _Request:
    """What is asked for. The image is its bytes, or the ID of a stored one. Limits have the names of `Limits`."""

    image: bytes | str | None = None
    name: str | None = None
    devices: list[str] = field(default_factory=list)
    initial_state: Message | None = None
    tags: Message = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    anchor: str | None = None
    authority: list[str] | None = None


@app.command(cls=arguments.Command)
def spawn(
    ctx: typer.Context,
    *,
    module: _Module = None,
    name: _Name = None,
    replace: _Replace = False,
    initial_state: _InitialState = None,
    tag: options.Tags = None,
    device: _Devices = None,
    definition: _Definition = None,
    anchor: options.Anchor = None,
    as_key: options.AsKey = None,
    gas_limit: _Gas = None,
    memory_limit: _Memory = None,
    result_limit: _Results = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> None:
    """Make a process, and print its ID.

    \b
    Examples:
      PID=$(hb spawn counter.wasm)
      hb spawn counter.wat --name counter --initial-state '{"counter": 0}' --as alice
      hb spawn --definition counter.toml

    \b
    A definition in TOML (`hb inspect PROCESS --definition` writes one):
      name = "counter"
      image = "counter.wasm"
      devices = ["wasm64@1.0"]
      [initial-state]
      counter = 0
    """
    session = context.session_of(ctx)
    if module is None and definition is None:
        raise arguments.misuse("give a MODULE, or a --definition that names an image")
    # No home is made for what can be refused without one.
    if module is not None:
        arguments.refuse_lua(module)
    table = {} if definition is None else _read_definition(definition)
    given_tags = arguments.tags(tag or [])
    home = context.writable_home(session)
    settings = home.settings
    asked = _from_table(table, Path(definition or "").parent, settings, wants_image=module is None)
    if module is not None:
        is_named = module in settings.modules and not Path(module).exists()
        asked.image = module if is_named else arguments.read_module(module, limit_bytes=settings.module_limit_bytes)
    if initial_state is not None:
        asked.initial_state = _state(initial_state, settings)
    given_limits = {"gas": gas_limit, "memory_pages": memory_limit, "result_bytes": result_limit}
    asked.limits |= {key: limit for key, limit in given_limits.items() if limit is not None}
    asked.tags |= given_tags
    asked.devices = device or asked.devices
    asked.name = name or asked.name
    asked.anchor = asked.anchor if anchor is None else anchor
    if replace and asked.name is None:
        raise arguments.misuse("--replace moves a name: give the --name")
    if asked.image is None:
        raise arguments.misuse("give a MODULE: the definition names no image")
    spawned = home.spawn(
        asked.image,
        name=asked.name,
        replace=replace,
        initial_state=asked.initial_state,
        tags=asked.tags,
        devices=asked.devices,
        gas_limit=asked.limits.get("gas"),
        memory_limit_pages=asked.limits.get("memory_pages"),
        result_limit_bytes=asked.limits.get("result_bytes"),
        anchor=asked.anchor,
        authority=asked.authority,
        signer=as_key,
        timestamp_ms=timestamp,
        block_height=block_height,
    )
    assert spawned.made is not None
    _tell(session, spawned.made, asked.name)


def _tell(session: Session, spawned: hb.Scheduled, name: str | None) -> None:
    if not spawned.fresh:
        session.note("this process is here already; nothing was spawned")
    if not session.json:
        output.line(spawned.process)
        return
    output.json_line(views.made_fields(spawned, name))


def _state(word: str, settings: hb.Config) -> Message:
    data = arguments.text_or_file(word, limit_bytes=settings.message_limit_bytes, what="the initial state")
    return arguments.json_message(data, "the initial state")


def _read_definition(name: str) -> dict[str, Any]:
    import tomllib

    from hb.protocol import bounds

    what = f"the definition {name!r}"
    text = arguments.text(arguments.read(name, limit_bytes=_DEFINITION_LIMIT_BYTES, what="the definition"), what)
    bounds.check_toml(text, what)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number too long, too
        raise Refused(f"{what} is not TOML: {error}") from error


def _from_table(table: dict[str, Any], directory: Path, settings: hb.Config, *, wants_image: bool) -> _Request:
    """Return what the TOML of a definition asks for. Its image is a file beside it, or the ID of a stored image."""
    from hb.protocol import definition as definitions

    given = definitions.from_table(table)
    image: bytes | str | None = given.get("image")
    if wants_image and isinstance(image, str) and not ids.is_id(image):
        image = arguments.read_module(str(directory / image), limit_bytes=settings.module_limit_bytes)
    return _Request(
        image=image,
        name=given.get("name"),
        devices=given.get("devices", []),
        initial_state=given.get("initial_state"),
        tags=given.get("tags", {}),
        limits=given.get("limits", {}),
        anchor=given.get("anchor"),
        authority=given.get("authority"),
    )
