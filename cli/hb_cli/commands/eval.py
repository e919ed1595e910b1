"""`hb eval`: has a process evaluate code, and prints what it answers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hb_cli import arguments, context, evaluate, exits, options, output, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Code = Annotated[
    str | None,
    typer.Argument(
        metavar="CODE|@FILE|-",
        help="The code, a file that has it, or - for standard input. Default: standard input.",
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

    It is a message like any other, with the action Eval and the code as its data: it is signed, it has a slot, and
    what it changes stays changed. What the program printed comes first. If the outcome is an error, that is said on
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
        raise arguments.misuse("give CODE, @FILE, or - for standard input; `hb repl` asks for one line after the other")
    home = context.existing_home(session)
    tags = arguments.tags(tag or [])
    with progress.Bar() as bar:
        node = context.open_node(session, home, bar.advance)
        # A wrong name is told before standard input is waited for.
        pid = node.resolve(process)
        limit_bytes = context.settings(home).message_limit_bytes
        evaluated = evaluate.evaluate(
            node,
            pid,
            arguments.text_or_file("-" if code is None else code, limit_bytes=limit_bytes, what="the code"),
            signer=context.signer(home, as_key),
            environment=context.surroundings(timestamp, block_height),
            anchor=anchor,
            tags=tags,
        )
    if not evaluated.scheduled.fresh:
        session.note(f"slot {evaluated.scheduled.slot} has this message already; it was not scheduled again")
    evaluate.show(session, evaluated)
    return exits.PROGRAM_FAILED if evaluated.failed else exits.DONE
