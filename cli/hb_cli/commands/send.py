"""`hb send`: gives a process a message, or a batch of them, and prints the slots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Refused
from hb_cli import arguments, context, exits, options, output, progress
from hb_cli.views import fields as views

if TYPE_CHECKING:
    from hb.config import Config
    from hb.node import Node, Scheduled
    from hb.protocol.message import Message, Value
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

# What a line of a batch may have, and what each must be.
_LINE_KEYS = {
    "action": (str, "text"),
    "anchor": (str, "text"),
    "data": (str | bytes, 'text, or bytes as {"$bytes": ...}'),
    "parameters": (list, "a list"),
    "tags": (dict, "an object"),
}


_Wait = Annotated[bool, typer.Option("--wait", help="Compute the slot, and print its results too.")]
_Batch = Annotated[
    str | None,
    typer.Option("--batch", metavar="FILE|-", help="Take the messages from a file, as JSON, one a line."),
]


@app.command(cls=arguments.Command)
def send(
    ctx: typer.Context,
    *,
    process: options.Process,
    action: options.Action = None,
    parameter: options.Parameters = None,
    data: options.Data = None,
    tag: options.Tags = None,
    as_key: options.AsKey = None,
    wait: _Wait = False,
    batch: _Batch = None,
    anchor: options.Anchor = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> int:
    """Send a message to a process, and print its slot alone.

    The slot is on disk when it is printed. With --wait the slot is computed, and its results are printed too; if they
    are an error, the exit code is 15.

    \b
    Examples:
      hb send counter Increment
      hb send counter Add 5 --as alice --wait
      hb send ledger Say --data @letter.txt --tag Subject=Hello
      hb send counter --batch messages.ndjson

    \b
    A line of a batch (all keys are optional; a message with `commitments` is taken as it is signed):
      {"action": "Add", "parameters": [5], "data": "...", "tags": {"Subject": "Hello"}, "anchor": "..."}
    """
    session = context.session_of(ctx)
    if batch is not None and (action is not None or data is not None or tag or anchor is not None):
        raise arguments.misuse(
            "--batch takes the messages from its file alone: no ACTION, --data, --tag or --anchor beside it"
        )
    home = context.existing_home(session)
    limit_bytes = context.settings(home).message_limit_bytes
    bar = progress.Bar()
    node = context.open_node(session, home, bar.advance)
    if batch is None:
        message = build(action, parameter or [], anchor=anchor, tags=arguments.tags(tag or []))
        if data is not None:
            message["data"] = arguments.binary(arguments.text_or_file(data, limit_bytes=limit_bytes, what="data"))
        numbered = {0: message}
    else:
        node.resolve(process)  # a wrong process is told before a wrong line
        numbered = _batch(batch, context.settings(home))
    environment = context.surroundings(timestamp, block_height)
    try:
        sent = node.send(process, list(numbered.values()), signer=context.signer(home, as_key), environment=environment)
    except Refused as error:
        raise _placed(error, list(numbered)) from error
    _tell_retries(session, sent)
    if wait:
        return _wait(session, node, sent, bar)
    _print_slots(session, sent)
    return exits.DONE


def build(action: str | None, words: list[str], *, anchor: str | None, tags: Message) -> Message:
    """The message that ACTION and the PARAMETER words of a command line make."""
    from hb.node import build_message

    return build_message(action, [arguments.parameter(word) for word in words], tags=tags, anchor=anchor)


def _batch(name: str, settings: Config) -> dict[int, Message]:
    """Return the messages of a batch by the numbers of their lines. All are read before any is sent.

    Raises:
        Refused: the batch is too large, or a line of it is no message; names the line.
    """
    content = arguments.read(name, limit_bytes=settings.batch_limit_bytes, what="the batch")
    messages: dict[int, Message] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        if len(messages) == settings.batch_limit_messages:
            raise Refused(
                f"the batch has more messages than the limit of {settings.batch_limit_messages:,}",
                hint="split it, or raise batch-messages in the home's config.toml",
            )
        try:
            messages[number] = _line_message(line)
        except Refused as error:
            raise _at_line(number, error.message, error.hint) from error
    return messages


def _placed(error: Refused, lines: list[int]) -> Refused:
    """`error` with the line of the batch in place of the message's position; line 0 is the command line."""
    found = re.match(r"message (\d+): ", error.message)
    if found is None:
        return error
    number = lines[int(found[1]) - 1]
    sentence = error.message[found.end() :]
    return _at_line(number, sentence, error.hint) if number else Refused(sentence, hint=error.hint)


def _at_line(number: int, sentence: str, hint: str | None) -> Refused:
    return Refused(f"line {number} of the batch: {sentence}", hint=hint or "nothing of the batch was scheduled")


def _line_message(line: bytes) -> Message:
    given = arguments.json_message(line, "a message")
    if "commitments" in given:
        return given  # it is verified when it is sent, before anything is scheduled
    unknown = sorted(set(given) - set(_LINE_KEYS))
    if unknown:
        raise Refused(f"a message has no key {unknown[0]!r}; it may have {', '.join(_LINE_KEYS)}")
    for key, (kinds, wanted) in _LINE_KEYS.items():
        if not isinstance(given.get(key), kinds | None):
            raise Refused(f"`{key}` must be {wanted}")
    return _build_line(**given)  # type: ignore[arg-type]  # the table has checked them


def _build_line(
    *,
    action: str | None = None,
    parameters: list[Value] | None = None,
    data: str | bytes | None = None,
    tags: Message | None = None,
    anchor: str | None = None,
) -> Message:
    from hb.node import build_message

    return build_message(action, parameters or [], data=data, tags=tags, anchor=anchor)


def _tell_retries(session: Session, sent: list[Scheduled]) -> None:
    here = [scheduled.slot for scheduled in sent if not scheduled.fresh]
    if len(here) == 1:
        session.note(f"slot {here[0]} has this message already; it was not scheduled again")
    elif here:
        session.note(
            f"{len(here):,} of {len(sent):,} messages have slots already, from {min(here)} to {max(here)}; "
            "they were not scheduled again"
        )


def _print_slots(session: Session, sent: list[Scheduled]) -> None:
    output.json_lines([views.scheduled_fields(each) if session.json else each.slot for each in sent])


def _wait(session: Session, node: Node, sent: list[Scheduled], bar: progress.Bar) -> int:
    """Computes what was sent and prints the results; returns the exit code that they call for."""
    if not sent:
        return exits.DONE
    slots = [scheduled.slot for scheduled in sent]
    if not session.json and len(sent) == 1:
        # Known before the compute begins, so that an interrupt leaves it on the screen.
        _print_slots(session, sent)
    try:
        with bar:
            node.compute(sent[0].process, max(slots))
    except BaseException:
        if session.json or len(sent) > 1:
            _print_slots(session, sent)
        raise
    wanted = set(slots)
    views = {view.slot: view for view in node.history(sent[0].process, min(slots), max(slots)) if view.slot in wanted}
    for scheduled in sent:
        view = views[scheduled.slot]
        _print_results(session, scheduled, view.results or {}, view.state or {}, slot_too=len(sent) > 1)
    failed = any((view.results or {}).get("type") == "error" for view in views.values())
    return exits.PROGRAM_FAILED if failed else exits.DONE


def _print_results(session: Session, scheduled: Scheduled, results: Message, state: Message, *, slot_too: bool) -> None:
    if session.json:
        output.json_line({**views.scheduled_fields(scheduled), "results": results, "state": state})
        return
    if slot_too:
        output.line(str(scheduled.slot))
    if session.for_person:
        from hb_cli.views import render

        output.show(render.results_panel(scheduled.slot, results))
    else:
        output.json_line(results)
