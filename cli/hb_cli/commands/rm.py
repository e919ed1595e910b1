"""`hb rm`: remove a process from the home."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output
from hb_cli.views.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import hb
    from hb.protocol.message import Message

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SHOWN = 10


@app.command("rm", cls=arguments.Command)
def remove(
    ctx: typer.Context,
    *,
    process: options.Process,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
    keep_shared: Annotated[
        bool,
        typer.Option(
            "--keep-shared", help="Keep the slots that forks share, as a process without a name.", show_default=False
        ),
    ] = False,
) -> None:
    """Remove a process from the home.

    Its messages, states, memory, names and crons are deleted, and what no other process needs of its module. There is
    no way back but a file that `hb export` wrote. What others sent to it is held as missing.

    It asks first. Where nobody can answer, as in a script, --yes is needed.

    Forks share the slots of their origin. While forks are here, their origin is not removed. With --keep-shared, all
    but the slots that they share is.

    The space comes back when the store next merges its files.

    \b
    Examples:
      hb rm counter
      hb export counter -o counter.history && hb rm counter --yes
    """
    session = context.session_of(ctx)
    asks = not yes
    if asks and (session.json or not output.is_terminal(sys.stdin)):
        raise arguments.misuse("nobody can be asked here: give --yes to remove the process")
    found = context.existing_home(session).process(process, look_up=False)
    if asks:
        would_go = found.removable()
        would_go.check_shared(keep_shared)
        for line in _would_go(would_go):
            output.note(line)
        if not _is_sure():
            output.note("nothing was removed")
            raise typer.Exit(exits.FAILED)
    gone = found.remove(keep_shared=keep_shared)
    if session.json:
        output.json_line(_fields(gone))
        return
    kept = "" if gone.last_shared is None else f"; slots up to {gone.last_shared} stay, for its forks"
    session.note(f"removed process {gone.process}{kept}")


def _is_sure() -> bool:
    sys.stderr.write("Remove it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _would_go(found: hb.Removable) -> Iterator[str]:
    from hb_cli.views import anatomy

    names = f" ({', '.join(found.names)})" if found.names else ""
    size = anatomy.size(found.size_bytes)
    crons = f", {counted(found.crons, 'cron')}" if found.crons else ""
    yield f"process {found.process}{names}: {counted(found.slots, 'slot')}, about {size}{crons}"
    for processes, what in (
        (found.forks, f"forks that share its slots up to {found.last_shared}, which stay"),
        (found.spawned, "processes that it spawned, which stay"),
    ):
        if processes:
            more = f", and {len(processes) - _SHOWN} more" if len(processes) > _SHOWN else ""
            yield f"{what}: {', '.join(processes[:_SHOWN])}{more}"


def _fields(gone: hb.Removable) -> Message:
    fields: Message = {
        "process": gone.process,
        "names": list(gone.names),
        "slots": gone.slots,
        "bytes": gone.size_bytes,
        "crons": gone.crons,
        "forks": list(gone.forks),
        "spawned": list(gone.spawned),
    }
    return fields if gone.last_shared is None else {**fields, "kept": gone.last_shared}
