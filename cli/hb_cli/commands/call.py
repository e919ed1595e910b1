"""`hb call`: ask what a process would answer. The message takes no slot and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context, exits
from hb_cli.inputs import arguments, messages, options
from hb_cli.terminal import output, progress

if TYPE_CHECKING:
    import hb
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Signed = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="KEY",
        help="The key that signs. Default: none; the message only claims to be from the sender in the settings.",
        autocompletion=options.completion.keys,
        show_default=False,
    ),
]
_At = Annotated[
    int | None,
    typer.Option(
        "--timestamp",
        metavar="MS",
        min=0,
        help="The time of the assignment. Default: that of the slot; at the newest slot, the clock's.",
    ),
]


@app.command(cls=arguments.Command)
def call(
    ctx: typer.Context,
    *,
    process: options.Process,
    action: options.Action = None,
    parameter: options.Parameters = None,
    slot: options.Slot = "now",
    data: options.Data = None,
    tag: options.Tags = None,
    as_key: _Signed = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="TEXT", help="The message's anchor. Default: none.")
    ] = None,
    timestamp: _At = None,
    block_height: options.BlockHeight = 0,
) -> int:
    """Ask what a process would answer, at any slot.

    The message takes no slot, and nothing is stored. Slots up to REF that are not computed are computed in memory each
    time; `hb compute` does that once. The message is not signed, except with --as. If the outcome is an error, the exit
    code is 15.

    \b
    Examples:
      hb call counter ReadValue
      hb call counter ReadValue --slot 1
      hb call ledger Transfer 1 2 30 --slot now~1
      hb call me Eval --data 'return Balances'
      hb call me Pay --data 100 --as bob --json | jq .results.outbox
    """
    session = context.session_of(ctx)
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        message = messages.build(action, parameter or [], anchor=anchor, tags=arguments.tags(tag or []))
        # A wrong name is told before the data is read, which may wait for standard input.
        found = home.process(process, look_up=data is not None)
        if data is not None:
            message["data"] = messages.data(data, home.settings)
        answer = found.ask(message, slot, signer=as_key, environment=home.environment(timestamp, block_height))
    _show(session, answer)
    return exits.DONE if answer.ok else exits.PROGRAM_FAILED


def _show(session: Session, answer: hb.Answer) -> None:
    if session.json:
        output.json_line(
            {
                "process": answer.process,
                "slot": answer.slot,
                "message": answer.message,
                "results": answer.raw,
                "state": answer.state,
            }
        )
    elif session.for_person:
        from hb_cli.views import render

        output.show(render.results_panel(answer.slot, answer.raw, title="it would answer, at slot"))
    else:
        output.json_line(answer.raw)
