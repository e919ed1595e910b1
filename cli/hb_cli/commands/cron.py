"""`hb cron`: messages that a home sends on time."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import HbError, IntegrityError, Refused, Unfinished
from hb_cli import context
from hb_cli.inputs import arguments, completion, messages, options
from hb_cli.terminal import output

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message
    from hb_cli.context import Session

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Send messages on time.

    A cron sends a message to a process at each of its ticks. Its ticks are sent by `hb cron run`, or by a program that
    lives long, as `hb compute --follow --push` does. Each tick is sent at most once.

    \b
    Examples:
      hb cron add counter --every 10m Increment
      hb cron list
      hb cron run
    """,
)

_MILLISECONDS = r"[0-9]{1,18}"

_Process = Annotated[
    str | None,
    typer.Argument(
        metavar="PROCESS",
        help="Only this process. Default: all.",
        autocompletion=completion.processes,
        show_default=False,
    ),
]
_Every = Annotated[
    str | None,
    typer.Option(
        "--every", metavar="INTERVAL", help="Tick at this interval: 30s, 10m, 1-hour, 7d ...", show_default=False
    ),
]
_At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="Tick once, at a date and time as in ISO 8601, or in milliseconds since 1970.",
        show_default=False,
    ),
]
_Defined = Annotated[
    bool, typer.Option("--defined", help="Run the cron that the process's definition asks for (Cron-Interval).")
]
_Missed = Annotated[
    str, typer.Option("--missed", metavar="skip|run", help="Of several missed ticks, send only the newest, or all.")
]


@app.command("add", cls=arguments.Command)
def add(
    ctx: typer.Context,
    *,
    process: options.Process,
    action: options.Action = None,
    parameter: options.Parameters = None,
    every: _Every = None,
    at: _At = None,
    defined: _Defined = False,
    data: options.Data = None,
    tag: options.Tags = None,
    as_key: options.AsKey = None,
    missed: _Missed = "skip",
) -> None:
    """Make a cron and print its ID.

    Its message is signed and sent by this home at each tick: ACTION (by default Cron), with an anchor made of the
    cron's ID and the tick's time, and the tags `cron` and `cron-tick`, which say the same. Two equal adds make two
    crons.

    \b
    Examples:
      hb cron add counter --every 10m Increment
      hb cron add ledger --every 1d --missed run Pay 5 --as alice
      hb cron add counter --at 2030-01-01T00:00:00Z Add 100
      hb cron add game --defined
    """
    session = context.session_of(ctx)
    if [every is not None, at is not None, defined].count(True) != 1:
        raise arguments.misuse("give one of --every, --at and --defined")
    if missed not in ("skip", "run"):
        raise arguments.misuse(f"--missed is skip or run, got {missed[:40]}")
    if defined and (action is not None or parameter or data is not None or tag):
        raise arguments.misuse(
            "--defined takes its message from the definition: it goes with no ACTION, --data or --tag"
        )
    home = context.existing_home(session)
    target = home.process(process, look_up=False)
    if defined:
        made = target.accept_cron(missed=missed, signer=as_key)
    else:
        words, given = [arguments.parameter(word) for word in parameter or []], arguments.tags(tag or [])
        content = None if data is None else messages.data(data, home.settings)
        said = action or "Cron"
        if every is not None:
            from hb.protocol import interval

            made = target.every(
                interval.parse(every), said, *words, data=content, tags=given, missed=missed, signer=as_key
            )
        else:
            made = target.at(_moment(at or ""), said, *words, data=content, tags=given, signer=as_key)
            if made.next_ms <= made.created_ms:
                session.note("that time has passed: the next run sends it")
    if session.json:
        output.json_line({"cron": made.id, **_cron_fields(made)})
    else:
        output.line(made.id)


@app.command("list", cls=arguments.Command)
def list_crons(ctx: typer.Context, process: _Process = None) -> None:
    """List crons, and those that definitions ask for.

    Those that run come first, by their next tick. What only a definition asks for does not run until
    `hb cron add PROCESS --defined`. A cron that cannot send is listed with the reason. If a record is damaged, the
    exit code is 14.

    \b
    Examples:
      hb cron list
      hb cron list counter --json | jq -r .cron
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    views = home.crons(process)
    if session.for_person:
        from hb_cli.views import crons

        now_ms = home.environment().now_ms()
        output.show(crons.table(views, _names(home), now_ms, output.screen_width()))
    else:
        for view in views:
            output.json_line(_fields(view))
    damaged = [view.trouble for view in views if isinstance(view.trouble, IntegrityError)]
    if damaged:
        raise damaged[0]


@app.command("remove", cls=arguments.Command)
def remove(
    ctx: typer.Context,
    cron: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The cron's ID, or the first 6 or more characters of it.", show_default=False
        ),
    ],
) -> None:
    """Remove a cron. What it has sent stays.

    \b
    Example:
      hb cron remove IFLg3KOJ
    """
    session = context.session_of(ctx)
    removed = context.existing_home(session).remove_cron(cron)
    if session.json:
        output.json_line({"cron": removed})
    else:
        session.note(f"removed cron {removed}")


@app.command("run", cls=arguments.Command)
def run(ctx: typer.Context, process: _Process = None) -> None:
    """Send every tick that is due now, and print one line for each.

    If nothing is due, nothing is printed. A cron that cannot send is told on stderr, and keeps no other from sending;
    then the exit code is 1.

    \b
    Examples:
      hb cron run
      hb cron run counter
      while sleep 60; do hb cron run; done
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    names = _names(home) if session.for_person else {}
    troubles: list[hb.CronTrouble] = []

    def trouble(found: hb.CronTrouble) -> None:
        troubles.append(found)
        session.note(f"cron {found.cron} cannot send: {found.error.message}")

    home.run_crons(process, on_tick=lambda tick: _print_tick(session, tick, names), on_trouble=trouble)
    if troubles:
        first = troubles[0]
        reason = f": {first.cron}: {first.error.message}" if session.json else ""
        raise Unfinished(f"{len(troubles)} of the crons cannot send{reason}", hint="`hb cron list` says why")


def _print_tick(session: Session, tick: hb.Tick, names: dict[str, str]) -> None:
    if session.for_person:
        from hb_cli.views import crons

        output.show(crons.tick_line(tick, names.get(tick.process, tick.process)))
        return
    output.json_line(
        {
            "cron": tick.cron,
            "process": tick.process,
            "slot": tick.slot,
            "message": tick.message,
            "tick": tick.tick_ms,
        }
    )


def _moment(word: str) -> int:
    """Return the time that `word` means, in milliseconds since 1970. A time without a zone is local.

    Raises:
        Refused: it means none.
    """
    if re.fullmatch(_MILLISECONDS, word, re.ASCII):
        return int(word)
    try:
        return round(datetime.fromisoformat(word).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(
            f"a time is a date and time as in ISO 8601, or milliseconds since 1970, got {word[:80]!r}",
            hint="as in: --at 2030-01-01T18:30:00Z",
        ) from error


def _names(home: hb.Home) -> dict[str, str]:
    """Return the first name of each process that has one."""
    try:
        named = home.names()
    except HbError:
        return {}  # a damaged name must not hide the crons
    return {process.id: name for name, process in sorted(named.items(), reverse=True)}


def _fields(view: hb.CronView) -> Message:
    fields: Message = {"cron": view.id, "process": view.process, "state": view.state}
    if view.cron is not None:
        fields |= _cron_fields(view.cron)
    if view.defined is not None:
        defined = view.defined
        fields |= {"interval": defined.interval, "every": defined.every_ms, "message": defined.message}
    if view.trouble is not None:
        fields["trouble"] = view.trouble.message
    return fields


def _cron_fields(cron: hb.Cron) -> Message:
    """Return what is known of a cron. Times are milliseconds since 1970."""
    return {
        "process": cron.process,
        "every": cron.every_ms,
        "first": cron.first_ms,
        "next": cron.next_ms,
        "last": cron.last_ms,
        "last-slot": cron.last_slot,
        "sent": cron.sent,
        "skipped": cron.skipped,
        "missed": cron.missed,
        "key": cron.key,
        "message": cron.message,
    }
