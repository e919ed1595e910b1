"""The Typer app: global options, the table of commands, and how one command line is run.

A command's module is imported only when the command is named, so that `hb state` loads nothing that it does not need.

Invariants:
    No AO logic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hb_cli import exits, failure
from hb_cli.context import Session, session_of
from hb_cli.inputs import arguments

# In the order in which a newcomer needs them.
COMMANDS = (
    "init",
    "spawn",
    "send",
    "push",
    "tree",
    "call",
    "eval",
    "repl",
    "compute",
    "cron",
    "state",
    "result",
    "diff",
    "inspect",
    "trace",
    "fork",
    "replay",
    "export",
    "import",
    "attest",
    "verify",
    "list",
    "name",
    "rm",
    "key",
    "message",
    "module",
    "completion",
)

# Commands whose name cannot be the name of a module.
_MODULES = {"import": "import_"}

# What Typer raises for a command line that it cannot parse. Its versions keep it in different places.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


class _LazyCommands(MutableMapping[str, Any]):
    """The commands by name. Each is imported and built when it is first asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}
        self.shared_options: list[Any] = []

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._built:
            module = import_module(f"hb_cli.commands.{_MODULES.get(name, name)}")
            command = typer.main.get_command(module.app)
            command.name = name
            self._share(command)
            self._built[name] = command
        return self._built[name]

    def _share(self, command: Any) -> None:
        command.params.extend(self.shared_options)
        for child in getattr(command, "commands", {}).values():
            self._share(child)

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    """A group of lazy commands. Each takes the global options of the group too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        lazy = _LazyCommands()
        lazy.shared_options = [option for option in self.params if option.name != "version"]
        self.commands = lazy

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that `args` begin with. `help COMMAND` is COMMAND --help, and `version` is --version."""
        if args[:1] == ["version"]:
            _print_version(True)
        if args[:1] == ["help"]:
            if args[1:] in ([], ["help"], ["version"]):
                _print_help(ctx)
            args = [*args[1:], "--help"]
        return super().resolve_command(ctx, args)


def _remember_home(ctx: typer.Context, value: str | None) -> None:
    if value is not None:
        session_of(ctx).home = value


def _remember_json(ctx: typer.Context, value: bool) -> None:
    if value:
        session_of(ctx).json = True


def _remember_lock_timeout(ctx: typer.Context, value: float | None) -> None:
    if value is None:
        return
    if value != value:  # noqa: PLR0124  not a number, which no range excludes
        raise arguments.misuse("--lock-timeout is a number of seconds, got nan")
    session_of(ctx).lock_timeout_s = value


def _print_help(ctx: Any) -> None:
    from hb_cli.terminal import output

    output.line(ctx.get_help())
    raise typer.Exit


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        from hb_cli.terminal import output

        output.line(f"hb {version('hb-ao')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def hb(
    ctx: typer.Context,
    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="The home to use. Default: $HB_HOME, else the nearest .hb above, else your data directory.",
            callback=_remember_home,
            expose_value=False,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: one object, or one per line. Errors too.",
            callback=_remember_json,
            expose_value=False,
            show_default=False,
        ),
    ] = False,
    lock_timeout: Annotated[
        float | None,
        typer.Option(
            "--lock-timeout",
            metavar="SECONDS",
            min=0,
            max=1_000_000,
            help="Give up (exit 11) if another hb holds the home for longer.",
            callback=_remember_lock_timeout,
            expose_value=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_print_version,
            expose_value=False,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Run AO processes on this machine: spawn, send, compute, and look at any state a process ever had.

    \b
    Examples:
      hb init
      PID=$(hb spawn counter.wasm --name counter --initial-state '{"counter": 0}')
      hb send counter Increment
      hb state counter counter
      hb inspect counter

    \b
    PROCESS is a name, a process ID, or the first 4 or more characters of an ID.
    A slot (REF) is a number, `now`, `now~1` (the one before), or the ID of its message or assignment.
    `hb help COMMAND` says how a command is used.
    """
    if ctx.invoked_subcommand is None:
        from hb_cli.terminal import output

        output.say(ctx.get_help())
        raise typer.Exit(exits.USAGE)


def run(arguments: list[str], session: Session) -> int:
    """Parse and run one command line. Return its exit code.

    Raises:
        HbError: the command failed; `failure.report` prints it. Anything else that it raises is a bug.
    """
    command = typer.main.get_command(app)
    if "_HB_COMPLETE" in os.environ:
        from hb_cli.inputs import completion

        return completion.answer(command, session)
    try:
        with command.make_context("hb", list(arguments), obj=session) as ctx:
            code = command.invoke(ctx)
    except typer.Exit as done:
        return done.exit_code
    except _CommandLineError as error:
        return failure.report_usage(error, session, arguments)
    return code if isinstance(code, int) else exits.DONE
