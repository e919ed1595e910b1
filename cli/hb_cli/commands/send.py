"""`hb send`: give a process a message, or a batch of messages, and print their slots."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hb.errors import Refused
from hb.protocol import outcome
from hb_cli import context, exits, pushing
from hb_cli.inputs import arguments, messages, options
from hb_cli.terminal import output, progress
from hb_cli.views import fields

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message
    from hb_cli.context import Session

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Push = Annotated[
    bool, typer.Option("--push", help="Deliver what its results ask for, and what follows from that; print the tree.")
]
_Wait = Annotated[bool, typer.Option("--wait", help="Compute the slot, and print its results too.")]
_Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Send nothing (exit 13) that names no function of the program, or has not its parameters."
    ),
]
_Batch = Annotated[
    str | None,
    typer.Option("--batch", metavar="FILE|-", help="Take the messages from a file: JSON, one per line."),
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
    push: _Push = False,
    depth: options.Depth = None,
    messages_: options.Messages = None,
    gas: options.Gas = None,
    strict: _Strict = False,
    batch: _Batch = None,
    anchor: options.Anchor = None,
    timestamp: options.Timestamp = None,
    block_height: options.BlockHeight = 0,
) -> int:
    """Send a message to a process, and print its slot.

    The message is on disk when its slot is printed. With --wait, the slot is computed and its results are printed too;
    if the outcome is an error, the exit code is 15.

    With --push, what its results ask for is delivered too, as `hb push` does it. Its tree is printed after its slot; in
    a pipe, --wait adds all of its results to that. The exit code is 15 if an outcome in the tree is an error, and 1 if
    --depth, --messages or --gas stopped it: `hb push` goes on. It is 14 if a process is damaged.

    A message has its slot for good, even if the program has no function for it. With --strict, such a message is
    refused and nothing is sent. On a terminal, a line says so before it is sent. A program of the AO ABI decides itself
    what it answers, and is not asked.

    \b
    Examples:
      hb send counter Increment
      hb send counter Add 5 --as alice --wait
      hb send ledger Say --data @letter.txt --tag Subject=Hello
      hb send counter --batch messages.ndjson
      hb send ping Start --push

    \b
    A line of a batch (all keys are optional; a message with `commitments` is sent as it is):
      {"action": "Add", "parameters": [5], "data": "...", "tags": {"Subject": "Hello"}, "anchor": "..."}
    """
    session = context.session_of(ctx)
    if batch is not None and (action is not None or data is not None or tag or anchor is not None):
        raise arguments.misuse(
            "--batch takes all messages from its file: it goes with no ACTION, --data, --tag or --anchor"
        )
    if not push and (depth, messages_, gas) != (None, None, None):
        raise arguments.misuse("--depth, --messages and --gas go with --push: nothing else delivers")
    bar, tally = progress.Bar(), progress.Tally()
    warns = not session.json and output.is_terminal(sys.stderr)
    home = context.existing_home(session, tally.count_slot if push else bar.advance, keep_open=push or strict or warns)
    if batch is None:
        target = home.process(process, look_up=False)
        message = messages.build(action, parameter or [], anchor=anchor, tags=arguments.tags(tag or []))
        if data is not None:
            message["data"] = messages.data(data, home.settings)
        numbered = {0: message}
    else:
        target = home.process(process)  # a wrong name is told before a wrong line
        numbered = messages.read_batch(batch, home.settings)
    if strict or warns:
        _doubt(session, target, numbered, strict=strict)
    try:
        sent = target.send_all(
            list(numbered.values()), signer=as_key, timestamp_ms=timestamp, block_height=block_height
        )
    except Refused as error:
        raise _placed(error, list(numbered)) from error
    _tell_retries(session, sent)
    if push:
        settings = pushing.Settings(
            depth=depth, messages=messages_, gas=gas, timestamp_ms=timestamp, block_height=block_height
        )
        return _push(session, home, target, sent, settings, tally, with_results=wait)
    if wait:
        return _wait(session, target, sent, bar)
    _print_slots(session, sent)
    return exits.DONE


def _doubt(session: Session, process: hb.Process, numbered: dict[int, Message], *, strict: bool) -> None:
    """Say which message the program cannot answer: the first one, by its line in the batch.

    Raises:
        Refused: it is `strict`.
    """
    from hb_cli import functions

    doubt = functions.doubter(process)
    for number, message in numbered.items():
        if (why := doubt(message)) is not None:
            error = Refused(why, hint="nothing was sent; without --strict it is, and its outcome is an error")
            if strict:
                raise messages.at_line(number, error) if number else error
            where = f"line {number} of the batch: " if number else ""
            session.note(f"{where}{why}; the outcome will be an error")
            return


def _placed(error: Refused, lines: list[int]) -> Refused:
    """Return `error` with the line of the batch in place of the message's number. Line 0 is the command line."""
    if error.place is None:
        return error
    number = lines[error.place - 1]
    return messages.at_line(number, error) if number else Refused(error.reason, hint=error.hint)


def _tell_retries(session: Session, sent: list[hb.Sent]) -> None:
    here = [each.slot for each in sent if not each.fresh]
    if len(here) == 1:
        session.note(f"slot {here[0]} has this message already; it was not scheduled again")
    elif here:
        session.note(
            f"{len(here):,} of {len(sent):,} messages have slots already, from {min(here)} to {max(here)}; "
            "they were not scheduled again"
        )


def _print_slots(session: Session, sent: list[hb.Sent]) -> None:
    output.json_lines([fields.sent_fields(each) if session.json else each.slot for each in sent])


def _push(
    session: Session,
    home: hb.Home,
    process: hb.Process,
    sent: list[hb.Sent],
    settings: pushing.Settings,
    tally: progress.Tally,
    *,
    with_results: bool,
) -> int:
    """Deliver what was sent asks for, and print the trees. Return the exit code for them."""
    if not sent:
        return exits.DONE
    is_one = len(sent) == 1
    if is_one:
        # Printed before the push begins, so that it is on the screen if that is interrupted.
        _print_slots(session, sent)
    last = max(each.slot for each in sent)
    try:
        with pushing.resumable(), tally:
            pushed = process.push(last, on_delivery=tally.count_delivery, is_last_root=is_one, **settings)
    except BaseException:
        if not is_one:
            _print_slots(session, sent)
        raise
    by_slot = {each.slot: each for each in sent}
    return pushing.show_trees(
        session,
        home,
        process,
        [each.slot for each in sent],
        pushed,
        before=None if is_one else lambda slot: _print_slots(session, [by_slot[slot]]),
        with_results=with_results,
    )


def _wait(session: Session, process: hb.Process, sent: list[hb.Sent], bar: progress.Bar) -> int:
    """Compute what was sent, and print the results. Return the exit code for them."""
    if not sent:
        return exits.DONE
    slots = [each.slot for each in sent]
    if not session.json and len(sent) == 1:
        # Printed before the compute begins, so that it is on the screen if that is interrupted.
        _print_slots(session, sent)
    try:
        with bar:
            process.compute(max(slots))
    except BaseException:
        if session.json or len(sent) > 1:
            _print_slots(session, sent)
        raise
    wanted = set(slots)
    views = {view.slot: view for view in process.history(min(slots), max(slots)) if view.slot in wanted}
    for each in sent:
        view = views[each.slot]
        _print_results(session, each, view.results or {}, view.state or {}, slot_too=len(sent) > 1)
    failed = any(outcome.failed(view.results) for view in views.values())
    return exits.PROGRAM_FAILED if failed else exits.DONE


def _print_results(session: Session, sent: hb.Sent, results: Message, state: Message, *, slot_too: bool) -> None:
    if session.json:
        output.json_line({**fields.sent_fields(sent), "results": results, "state": state})
        return
    if slot_too:
        output.line(str(sent.slot))
    if session.for_person:
        from hb_cli.views import render

        output.show(render.results_panel(sent.slot, results))
    else:
        output.json_line(results)
