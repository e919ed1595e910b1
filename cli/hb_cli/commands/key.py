"""`hb key`: make, take in and show the keys that sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hb_cli import context
from hb_cli.inputs import arguments, completion, options
from hb_cli.terminal import output

if TYPE_CHECKING:
    import hb

_LIMIT_BYTES = 1 << 20
"""Maximum size of what is read from standard input. A key is far smaller."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Make, take in and show the keys that sign messages.

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
    _say(session, home.public_key(name))


@app.command("import", cls=arguments.Command)
def import_key(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the key here.", show_default=False)],
    file: options.File,
) -> None:
    """Take in a key from a file and print its address.

    FILE is what `hb key show --secret` prints, or an Arweave wallet: an RSA key of 2048 to 4096 bits. The key is
    copied. A wallet cannot be the scheduler of a home: its signatures differ each time.

    \b
    Examples:
      hb key import alice alice.json
      hb key import wallet arweave-keyfile.json
      hb send counter Increment --as arweave-keyfile.json     without taking it in
    """
    session = context.session_of(ctx)
    home = context.writable_home(session)
    given = arguments.read(file, limit_bytes=_LIMIT_BYTES, what="the key") if file == "-" else file
    home.import_key(name, given)
    _say(session, home.public_key(name))


@app.command("list", cls=arguments.Command)
def list_keys(ctx: typer.Context) -> None:
    """List the home's keys, with their addresses and how they sign.

    \b
    Example:
      hb key list
    """
    session = context.session_of(ctx)
    home = context.existing_home(session)
    keys = [home.public_key(name) for name in home.key_names()]
    if session.for_person:
        from hb_cli.views import render

        output.show(render.keys([(key.name, f"{key.address}  {key.algorithm}") for key in keys]))
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


def _say(session: context.Session, key: hb.PublicKey) -> None:
    if session.json:
        output.json_line(_fields(key))
    else:
        output.line(key.address)


def _fields(key: hb.PublicKey) -> dict[str, str]:
    from hb import ids

    return {"name": key.name, "address": key.address, "keyid": ids.encode(key.public), "algorithm": key.algorithm}
