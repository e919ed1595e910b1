"""`hb key`: make and show the keys that sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, completion
from hb_cli.terminal import output

if TYPE_CHECKING:
    import hb

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Make and show the keys that sign messages.

    \b
    Examples:
      hb key new alice
      hb send counter Increment --as alice
    """,
)


@app.command("new", cls=arguments.Command)
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the key.", show_default=False)],
) -> None:
    """Make a key and print its address.

    \b
    Example:
      hb key new alice
    """
    session = context.session_of(ctx)
    home = context.writable_home(session)
    home.new_key(name)
    key = home.public_key(name)
    if session.json:
        output.json_line(_fields(key))
    else:
        output.line(key.address)


@app.command("list", cls=arguments.Command)
def list_keys(ctx: typer.Context) -> None:
    """List the home's keys and their addresses.

    \b
    Example:
      hb key list
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    keys = [home.public_key(name) for name in home.key_names()]
    if session.for_person:
        from hb_cli.views import render

        output.show(render.keys([(key.name, key.address) for key in keys]))
        return
    for key in keys:
        output.json_line(_fields(key))


@app.command("show", cls=arguments.Command)
def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The key.", autocompletion=completion.keys, show_default=False),
    ],
    *,
    secret: Annotated[
        bool, typer.Option("--secret", help="Print the whole key as a JSON Web Key. Whoever has it can sign with it.")
    ] = False,
) -> None:
    """Show the public part of a key: address and keyid. The secret is shown only with --secret.

    \b
    Examples:
      hb key show alice
      hb key show alice --secret > alice.json     a copy to keep in a safe place
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    if secret:
        output.json_line(home.secret_key(name))
        return
    key = home.public_key(name)
    if session.for_person:
        from hb_cli.views import render

        output.show(render.fields(_fields(key), title="key"))
        return
    output.json_line(_fields(key))


def _fields(key: hb.PublicKey) -> dict[str, str]:
    from hb import ids

    return {"name": key.name, "address": key.address, "keyid": ids.encode(key.public), "algorithm": "ed25519"}
