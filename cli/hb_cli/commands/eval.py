"""`hb eval`: have a process evaluate code, and print what it answers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hb_cli import context, evaluate, exits
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Code = Annotated[
    str | None,
    typer.Argument(
        metavar="CODE|@FILE|-",
        help="The code, a file that contains it, or - for standard input. Default: standard input.",
        show_default=False,
    ),
]


@app.command("eval", cls=arguments.Command)
def eval_code(
    ctx: typer.Context,
    *,
    process: options.Process,
    code: _Code = None,
    tag: options.Tags = None,
    as_key: options.AsKey = None,
    anchor: options.Anchor = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> int:
    """Have a process evaluate code, and print what it answers.

    This sends a message like any other, with the action Eval and the code as its data. It is signed, it has a slot, and
    what it changes stays changed. What the program printed is shown first. If the outcome is an error, it is shown on
    stderr, and the exit code is 15.

    \b
    Examples:
      hb eval me 'return 1 + 1'
      hb eval me @handlers.lua --as alice
      echo 'return Inbox' | hb eval me
      hb eval me 'return x' --json | jq .results
    """
    session = context.session_of(ctx)
    if code is None and output.is_terminal(sys.stdin):
        raise arguments.misuse("give CODE, @FILE, or - for standard input; `hb repl` has a prompt")
    with progress.Bar() as bar:
        home = context.existing_home(session, bar.advance)
        tags = arguments.tags(tag or [])
        found = home.process(process)  # a wrong name is told before standard input is waited for
        limit_bytes = home.settings.message_limit_bytes
        evaluated = evaluate.evaluate(
            found,
            arguments.text_or_file("-" if code is None else code, limit_bytes=limit_bytes, what="the code"),
            signer=home.signer(as_key),
            timestamp_ms=timestamp,
            block_height=block_height,
            anchor=anchor,
            tags=tags,
        )
    if not evaluated.sent.fresh:
        session.note(f"slot {evaluated.sent.slot} has this message already; it was not scheduled again")
    evaluate.show(session, evaluated)
    return exits.DONE if evaluated.result.ok else exits.PROGRAM_FAILED
