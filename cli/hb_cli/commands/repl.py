"""`hb repl`: talk to a process at a prompt. Each line is a message and has a slot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from hb.errors import HomeBusy, Interrupted, Refused
from hb_cli import context, evaluate, exits
from hb_cli.inputs import arguments, lua, options
from hb_cli.terminal import output, progress
from hb_cli.views import results

if TYPE_CHECKING:
    from collections.abc import Iterator

    import hb
    from hb.protocol.message import Message
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = """Every line is a signed message with the action Eval: it has a slot, and what it changes stays changed.
Enter sends the line. If its Lua is not complete, Enter begins a new line; an empty line sends it anyway.
Alt-Enter always begins a new line. Up and Down show what was sent before, Ctrl-R searches it.
Ctrl-C drops the line, or stops what runs. Ctrl-D ends.
.load FILE  sends a file        .help  this        .exit  ends"""


@app.command(cls=arguments.Command)
def repl(ctx: typer.Context, process: options.Process, as_key: options.AsKey = None) -> int:
    """Talk to a process: every line is a message, and has a slot.

    A line is signed, sent and evaluated as by `hb eval`. Lua that is not complete continues on the next line. Ctrl-C
    drops a line or stops what runs, Ctrl-D ends. What was typed is kept in the home.

    If standard input is not a terminal, it is read line by line to its end, and the answers are printed. If an outcome
    is an error, the exit code is 15.

    \b
    Examples:
      hb repl me
      hb repl me --as alice
      hb repl me < session.lua
      hb repl me --json < session.lua | jq .results.data
    """
    session = context.session_of(ctx)
    talk = _Talk(session, process, as_key)
    if session.for_person and output.is_terminal(sys.stdin):
        return _converse(talk, process)
    return _read_to_the_end(talk)


class _Talk:
    """What stays the same from line to line, and the progress bar of the current line."""

    def __init__(self, session: Session, process: str, key_name: str | None) -> None:
        self.session = session
        self._bar = progress.Bar()
        self.home: hb.Home = context.existing_home(session, self._advance, keep_open=True)
        self.signer = self.home.signer(key_name)
        self.limit_bytes = self.home.settings.message_limit_bytes
        self.process = self.home.process(process)

    def _advance(self, slot: int, target: int) -> None:
        self._bar.advance(slot, target)

    def say(self, code: bytes) -> evaluate.Evaluated:
        """Have `code` evaluated, and show the answer."""
        self._bar = progress.Bar()
        with self._bar:
            evaluated = evaluate.evaluate(self.process, code, signer=self.signer)
        evaluate.show(self.session, evaluated)
        return evaluated


def _read_to_the_end(talk: _Talk) -> int:
    code = exits.DONE
    for piece in _pieces(talk.limit_bytes):
        if not talk.say(piece).result.ok:
            code = exits.PROGRAM_FAILED
    return code


def _pieces(limit_bytes: int) -> Iterator[bytes]:
    """Yield standard input line by line. Lines of Lua that belong together are one piece."""
    lines: list[str] = []
    piece, size, number = lua.Piece(), 0, 0
    stream = sys.stdin.buffer if sys.stdin is not None else None
    while stream is not None and (line := stream.readline(limit_bytes + 1)):
        number += 1
        size += len(line)
        if size > limit_bytes:
            raise Refused(f"line {number} of standard input: a message may have {limit_bytes:,} bytes, this has more")
        lines.append(arguments.text(line, f"line {number} of standard input"))
        piece.add(lines[-1])
        if not piece.is_open:
            if whole := "".join(lines).strip():
                yield whole.encode()
            lines, piece, size = [], lua.Piece(), 0
    if whole := "".join(lines).strip():
        yield whole.encode()


def _converse(talk: _Talk, name: str) -> int:
    """Ask and answer until Ctrl-D. That is how it ends: it is not an error."""
    from hb_cli.terminal import prompt

    assert talk.home.typed is not None
    ask = prompt.Prompt(talk.home.typed)
    shown = _prompt_at_start(talk) or f"{name}>"
    talk.session.signals.listen(once=False)
    talk.session.note(f"{talk.process.id}; .help says what the keys do, Ctrl-D ends")
    while True:
        try:
            line = ask.line(output.coloured(shown) + " ")
        except KeyboardInterrupt:
            _go_on(talk)
            continue
        except EOFError:
            return exits.DONE
        if line.strip() == ".exit":
            return exits.DONE
        if found := _answer(talk, line.strip()):
            shown = results.prompt(found) or shown


def _prompt_at_start(talk: _Talk) -> str | None:
    newest = talk.process.view().computed
    if newest is None:
        return None
    return results.prompt(next(talk.process.history(newest, newest)).results)


def _answer(talk: _Talk, line: str) -> Message | None:
    """Answer one line; return the results, if there are any. Only an error of the home itself ends the conversation."""
    from hb_cli import failure

    try:
        if line == ".help":
            output.line(_HELP)
        elif line.startswith(".load "):
            content = arguments.read(line[6:].strip(), limit_bytes=talk.limit_bytes, what="the file")
            return talk.say(content).result.raw
        elif line:
            return talk.say(arguments.encoded(line, "the line")).result.raw
    except (Refused, Interrupted, HomeBusy, KeyboardInterrupt) as error:
        failure.report(error, talk.session, [])
        _go_on(talk)
    return None


def _go_on(talk: _Talk) -> None:
    """Make sure that it was Ctrl-C after which the talk goes on.

    Raises:
        KeyboardInterrupt: it was SIGTERM, which ends it.
    """
    if talk.session.signals.is_terminated:
        raise KeyboardInterrupt
