"""`hb replay`: run the schedule of a process against other code, and show what would differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MOST_SHOWN = 20


@app.command(cls=arguments.Command)
def replay(
    ctx: typer.Context,
    *,
    process: options.Process,
    module: Annotated[
        str,
        typer.Option(
            "--module",
            metavar="NEW.wasm",
            help="The other code: a .wasm file, a .wat file, or - for standard input.",
            show_default=False,
        ),
    ],
    last: Annotated[str, typer.Option("--to", metavar="REF", help="The last slot.")] = "now",
    every: Annotated[
        bool, typer.Option("--all", help="Continue after the first slot that differs, and name each one.")
    ] = False,
) -> int:
    """Run the schedule of a process against other code.

    This names the first slot with another state or other results, and shows what they were and what they would be. It
    stops there, unless --all is given. Memory is not compared. Gas does not count as a difference; its sums are shown.

    Nothing is stored, and the process does not change. If slots are not computed yet, the old code runs too, each time;
    run `hb compute` first to avoid that.

    The exit code is 0 if no slot differs, and 1 if one does.

    \b
    Examples:
      hb replay counter --module counter2.wasm
      hb replay counter --module counter2.wasm --to 100 --all
      hb replay counter --module counter2.wasm --json | jq .differences
    """
    session = context.session_of(ctx)
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        wasm = arguments.read_module(module, limit_bytes=home.settings.module_limit_bytes)
        show = _show if session.for_person else _print

        def tell(change: hb.Change) -> None:
            bar.__exit__(None, None, None)
            show(change)

        found = home.process(process, look_up=False).rerun(wasm, last, on_change=tell, every=every)
    _sum_up(found, for_person=session.for_person)
    return exits.DIFFERS if found.changes else exits.DONE


def _print(change: hb.Change) -> None:
    output.json_line(
        {
            "slot": change.slot,
            "differences": [_fields(difference) for difference in change.differences],
            "gas": {"before": change.gas_before, "after": change.gas_after},
        }
    )


def _fields(difference: hb.ReplayDifference) -> Message:
    return {"path": difference.path, "before": difference.before, "after": difference.after}


def _show(change: hb.Change) -> None:
    from hb_cli.views import render

    output.show(render.replayed_slot(change, _MOST_SHOWN))


def _sum_up(found: hb.Rerun, *, for_person: bool) -> None:
    if not for_person:
        output.json_line(
            {
                "process": found.process,
                "to": found.last,
                "asked": found.asked,
                "differing": found.changes,
                "first": found.first,
                "gas": {"before": found.gas_before, "after": found.gas_after},
            }
        )
        return
    gas = f"gas {found.gas_before:,} → {found.gas_after:,}"
    said = {0: "no slot differs", 1: "1 slot differs"}.get(found.changes, f"{found.changes:,} slots differ")
    output.line(f"slots 0 to {found.last}: {said}; {gas}")
    if found.last < found.asked:
        rest = f"slot {found.asked}" if found.asked == found.last + 1 else f"slots {found.last + 1} to {found.asked}"
        output.line(f"stopped at the first slot that differs; --all looks at {rest} too")
