"""What words on a command line and lines of a batch mean as messages.

Invariants:
    Nothing is signed, sent or verified here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import Refused
from hb_cli.inputs import arguments

if TYPE_CHECKING:
    import hb
    from hb.protocol.message import Message, Value

# The keys that a line of a batch may have, and what each must be.
_LINE_KEYS = {
    "action": (str, "text"),
    "anchor": (str, "text"),
    "data": (str | bytes, 'text, or bytes as {"$bytes": ...}'),
    "parameters": (list, "a list"),
    "tags": (dict, "an object"),
}


def build(action: str | None, words: list[str], *, anchor: str | None, tags: Message) -> Message:
    """Return the message that ACTION and the PARAMETER words of a command line make."""
    from hb.protocol.request import build_message

    return build_message(action, [arguments.parameter(word) for word in words], tags=tags, anchor=anchor)


def data(word: str, settings: hb.Config) -> str | bytes:
    """Return the data that TEXT, @FILE or `-` gives.

    Raises:
        Refused: the file cannot be read, or is larger than a message may be.
    """
    return arguments.binary(arguments.text_or_file(word, limit_bytes=settings.message_limit_bytes, what="data"))


def read_batch(name: str, settings: hb.Config) -> dict[int, Message]:
    """Return the messages of a batch by the numbers of their lines. All are read before any is sent.

    Raises:
        Refused: the batch is too large, or a line of it is not a message; the sentence names the line.
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
            raise at_line(number, error) from error
    return messages


def at_line(number: int, error: Refused) -> Refused:
    """Return the refusal of line `number` of a batch, for the reason that `error` has."""
    return Refused(
        f"line {number} of the batch: {error.reason}", hint=error.hint or "nothing of the batch was scheduled"
    )


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
    from hb.protocol.request import build_message

    return build_message(action, parameters or [], data=data, tags=tags, anchor=anchor)
