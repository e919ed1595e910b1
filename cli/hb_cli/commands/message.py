"""`hb message`: show and make IDs and signatures of messages, and show stored ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Refused
from hb_cli import context
from hb_cli.inputs import arguments, options
from hb_cli.terminal import output

if TYPE_CHECKING:
    from hb.protocol.message import Message

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Work with single messages: IDs, signatures, stored messages.

    \b
    Examples:
      echo '{"action": "Increment"}' | hb message id -
      hb message sign letter.json --as alice | hb message verify -
    """,
)

_LIMIT_BYTES = 64 * 1024 * 1024


@app.command("id", cls=arguments.Command)
def message_id(
    ctx: typer.Context,
    file: options.File,
    which: Annotated[
        str,
        typer.Option(
            "--which",
            metavar="all|every|none",
            help="The commitments that the ID covers: signed ones, every one, or none (an unsigned ID over all keys).",
        ),
    ] = "all",
) -> None:
    """Print the ID of a message given as JSON.

    \b
    Examples:
      echo '{"action": "Increment"}' | hb message id -
      hb message id signed.json --which none
    """
    from hb.protocol import commitment, message

    if which not in ("all", "every", "none"):
        raise arguments.misuse(f"--which is all, every or none, got {which!r}")
    given = _read(file)
    identifier = commitment.message_id(message.normalise(given), which)  # type: ignore[arg-type]
    if context.session_of(ctx).json:
        output.json_line({"id": identifier, "which": which})
    else:
        output.line(identifier)


@app.command("verify", cls=arguments.Command)
def verify(ctx: typer.Context, file: options.File) -> None:
    """Check every signature of a message, and print the addresses of the signers.

    \b
    Example:
      hb message verify signed.json && echo good
    """
    from hb.protocol import commitment

    given = _read(file)
    signers = commitment.verify(given)
    if not signers:
        raise Refused("nobody signed this message", hint="hb message sign signs one")
    if context.session_of(ctx).json:
        output.json_line({"id": commitment.message_id(given), "signers": signers})
        return
    for address in signers:
        output.line(address)


@app.command("sign", cls=arguments.Command)
def sign(ctx: typer.Context, file: options.File, as_key: options.AsKey = None) -> None:
    """Sign a message given as JSON, and print it with its commitments.

    To send it as it is, give it a `target`: the ID of the process.

    \b
    Examples:
      hb message sign letter.json --as alice > signed.json
      hb send counter --batch signed.json
    """
    from hb.protocol import commitment

    home = context.existing_home(context.session_of(ctx))
    output.json_line(commitment.sign(_read(file), home.signer(as_key)))


@app.command("show", cls=arguments.Command)
def show(
    ctx: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The ID of a message.", show_default=False)],
) -> None:
    """Show a message from a schedule of this home.

    \b
    Example:
      hb message show "$(hb send counter Increment --json | jq -r .message)"
    """
    session = context.session_of(ctx)
    found = context.existing_home(session).message(identifier)
    if session.for_person:
        from hb_cli.views import render

        output.show(render.value(found))
    else:
        output.json_line(found)


def _read(file: str) -> Message:
    return arguments.json_message(arguments.read(file, limit_bytes=_LIMIT_BYTES, what="the message"), "the message")
