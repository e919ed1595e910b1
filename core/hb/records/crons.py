"""Crons: messages that a home sends on time; their records, their ticks, and what definitions say of them.

A cron has ticks at `first_ms`, and every `every_ms` after it. A tick is one message of the process, with an anchor
made of the cron's ID and the tick's time. So a tick is the same message whoever sends it.

Invariants:
    Nothing is scheduled here, and no clock is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from hb import ids
from hb.errors import IntegrityError, NotFound, Refused
from hb.protocol import bounds, interval
from hb.protocol.message import Message, dumps
from hb.protocol.request import build_message
from hb.records import keys
from hb.records.cache import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hb.storage.store import Store

SKIP, RUN = "skip", "run"
"""What becomes of several ticks that were missed: only the newest is sent, or all are."""

MISSED = (SKIP, RUN)
ACTION = "Cron"
"""The action of a tick, unless another is given: as on the AO network."""

MOST_CRONS = 1000
"""Maximum crons of a home. All of them are read whenever one may be due."""

LATEST_MS = 253_402_300_799_999
"""The latest time of a tick: the end of the year 9999, in milliseconds since 1970."""

PREFIX_CHARACTERS = 6
"""Minimum characters of a cron's ID that may stand for it."""

CRON_KEY, TICK_KEY = "cron", "cron-tick"
"""Keys of a tick's message: the cron's ID, and the tick's time in milliseconds."""

_NOT_IN_MESSAGES = ("anchor", "commitments", "target", "from-process", "pushed-for", CRON_KEY, TICK_KEY)
_ANCHOR_CHARACTERS, _ANCHOR_DIGITS = 12, 15
_PREFIX = r"[A-Za-z0-9_-]+"

INTERVAL_TAG, TAG_PREFIX = "cron-interval", "cron-tag-"
_INTERVAL_MARK = b'"%s":' % INTERVAL_TAG.encode()

_KEY_CHARACTERS = 64
_MAX_COUNT = 2**63 - 1


class Cron(NamedTuple):
    """A cron: an unsigned `message` that `process` gets at each tick, signed by the home's key called `key`.

    A cron without `every_ms` has one tick. `next_ms` is the tick that is next, and `last_ms` the last that was sent; it
    got the slot `last_slot`. `sent` and `skipped` count ticks. `nonce` tells two crons apart that are equal otherwise.
    `is_defined` says that the process's definition asks for it. Times are in milliseconds since 1970.
    """

    id: str
    process: str
    key: str
    message: Message
    every_ms: int | None
    first_ms: int
    missed: str
    created_ms: int
    nonce: str
    is_defined: bool
    next_ms: int
    last_ms: int | None = None
    last_slot: int | None = None
    sent: int = 0
    skipped: int = 0

    def encode(self) -> bytes:
        """Return the stored bytes."""
        fields = _content(self)
        fields |= {"next-ms": self.next_ms, "sent": self.sent, "skipped": self.skipped}
        for key, value in (("last-ms", self.last_ms), ("last-slot", self.last_slot)):
            if value is not None:
                fields[key] = value
        return dumps(fields)

    def after(self, tick_ms: int) -> int | None:
        """Return the tick after the tick `tick_ms`, or None if that is the last."""
        if self.every_ms is None or tick_ms + self.every_ms > LATEST_MS:
            return None
        return tick_ms + self.every_ms

    def newest(self, now_ms: int) -> int:
        """Return the newest tick up to `now_ms`, if the next one is due."""
        if self.every_ms is None:
            return self.next_ms
        until_ms = min(now_ms, LATEST_MS)
        return self.next_ms + (until_ms - self.next_ms) // self.every_ms * self.every_ms

    def tick(self, tick_ms: int) -> Message:
        """Return the message of the tick `tick_ms`, yet to be signed."""
        anchor = f"{self.id[:_ANCHOR_CHARACTERS]}{tick_ms:0{_ANCHOR_DIGITS}}"
        return {**self.message, "anchor": anchor, CRON_KEY: self.id, TICK_KEY: tick_ms}


class Defined(NamedTuple):
    """The cron that a definition asks for: its interval, and the message that its `cron-tag-` keys make.

    If it cannot run here, `every_ms` or `message` is None, and `trouble` says why.
    """

    interval: str
    every_ms: int | None
    message: Message | None
    trouble: Refused | None


# Making one


def make(
    process: str,
    key: str,
    message: Message,
    *,
    every_ms: int | None,
    first_ms: int,
    next_ms: int,
    missed: str,
    created_ms: int,
    nonce: str,
    is_defined: bool = False,
) -> Cron:
    """Return a new cron. Its ID is the digest of all that never changes of it.

    Raises:
        Refused: an interval or a time is out of range, or `message` cannot be a cron's.
    """
    if every_ms is not None:
        interval.check(every_ms)
    for time_ms in (first_ms, next_ms):
        _check_time(time_ms)
    if missed not in MISSED:
        raise Refused(f"what becomes of missed ticks is {SKIP!r} or {RUN!r}, got {missed!r}")
    for reserved in _NOT_IN_MESSAGES:
        if reserved in message:
            raise Refused(f"a cron's message cannot have the key {reserved!r}")
    cron = Cron("", process, key, message, every_ms, first_ms, missed, created_ms, nonce, is_defined, next_ms)
    content = dumps(_content(cron))
    bounds.check(content, "a cron's message", values=bounds.MESSAGE_VALUES)
    return cron._replace(id=ids.digest(content))


def _check_time(time_ms: object) -> None:
    if type(time_ms) is not int:
        raise Refused(f"a time is a whole number of milliseconds since 1970, got {str(time_ms)[:80]!r}")
    if not 0 <= time_ms <= LATEST_MS:
        raise Refused("the time of a tick must be from 1970 to the year 9999")


def _content(cron: Cron) -> Message:
    """Return what never changes of a cron. Its ID is the digest of this."""
    content: Message = {
        "created-ms": cron.created_ms,
        "first-ms": cron.first_ms,
        "key": cron.key,
        "message": cron.message,
        "missed": cron.missed,
        "nonce": cron.nonce,
        "process": cron.process,
    }
    if cron.every_ms is not None:
        content["every-ms"] = cron.every_ms
    if cron.is_defined:
        content["defined"] = True
    return content


# Reading


def parse_cron(raw: bytes, name: str) -> Cron:
    """Return the cron in the stored bytes of the record of the cron with the ID `name`.

    Raises:
        IntegrityError: they are damaged.
    """
    fields = parse(raw, f"record of cron {name}", None, None)
    try:
        cron = _cron_of(fields, name)
    except _WrongError as error:
        raise IntegrityError(f"the {error} of cron {name} is not what it must be") from error
    got = ids.digest(dumps(_content(cron)))
    if got != name:
        raise IntegrityError(f"the record of cron {name} is another one's", expected=name, got=got)
    return cron


class _WrongError(Exception):
    """A field is not what it must be; the text is its key."""


def _cron_of(fields: Message, name: str) -> Cron:
    every_ms = _number(fields, "every-ms", interval.MAX_MS) if "every-ms" in fields else None
    first_ms, next_ms = _number(fields, "first-ms", LATEST_MS), _number(fields, "next-ms", LATEST_MS)
    ahead_ms = next_ms - first_ms
    if every_ms == 0 or ahead_ms < 0 or (ahead_ms if every_ms is None else ahead_ms % every_ms):
        raise _WrongError("next-ms")
    process, key, missed, message = (fields.get(field) for field in ("process", "key", "missed", "message"))
    for field, is_right in (
        ("process", isinstance(process, str) and ids.is_id(process)),
        ("key", isinstance(key, str) and 0 < len(key) <= _KEY_CHARACTERS),
        ("missed", missed in MISSED),
        ("message", isinstance(message, dict) and not message.keys() & set(_NOT_IN_MESSAGES)),
        ("nonce", isinstance(fields.get("nonce"), str)),
        ("defined", fields.get("defined", True) is True),
    ):
        if not is_right:
            raise _WrongError(field)
    return Cron(
        name,
        str(process),
        str(key),
        cast(Message, message),
        every_ms,
        first_ms,
        str(missed),
        _number(fields, "created-ms", _MAX_COUNT),
        str(fields["nonce"]),
        "defined" in fields,
        next_ms,
        _number(fields, "last-ms", LATEST_MS) if "last-ms" in fields else None,
        _number(fields, "last-slot", keys.LAST_SLOT) if "last-slot" in fields else None,
        _number(fields, "sent", _MAX_COUNT),
        _number(fields, "skipped", _MAX_COUNT),
    )


def _number(fields: Message, key: str, most: int) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise _WrongError(key)
    return value


def stored(store: Store) -> Iterator[tuple[str, bytes]]:
    """Return the ID and the stored bytes of every cron, in the order of the IDs."""
    return _named(store, "")


def _named(store: Store, prefix: str) -> Iterator[tuple[str, bytes]]:
    for key, raw in store.scan(*keys.crons(prefix)):
        yield key[2:].decode("ascii", "backslashreplace"), raw


def get_stored(store: Store, name: str) -> tuple[str, bytes]:
    """Return the ID and the stored bytes of the cron with the ID `name`, or whose ID alone begins with `name`.

    Raises:
        NotFound: there is none.
        Refused: several IDs begin so, or `name` is too short, or not the beginning of an ID.
    """
    if not (PREFIX_CHARACTERS <= len(name) <= ids.ID_CHARACTERS and re.fullmatch(_PREFIX, name)):
        raise Refused(f"a cron is named by its ID, or by the first {PREFIX_CHARACTERS} or more characters of it")
    found = list(_named(store, name))
    if not found:
        raise NotFound(f"no cron {name} here", hint="`hb cron list` shows those there are")
    if len(found) > 1:
        raise Refused(f"{name!r} is the beginning of {len(found)} cron IDs: {', '.join(at for at, _ in found[:10])}")
    return found[0]


# What definitions say


def may_define(definition: bytes) -> bool:
    """Whether a stored definition may ask for a cron. If not, it need not be parsed."""
    return _INTERVAL_MARK in definition


def find_defined(definition: Message) -> Defined | None:
    """Return the cron that a definition asks for with `cron-interval`, or None.

    Its message has the keys `cron-tag-*` without that beginning, and the action `Cron` unless they say another.

    Source: AO's compute unit (`parseCrons`); aos, which spawns with `Cron-Tag-Action: Cron`.
    """
    if INTERVAL_TAG not in definition:
        return None
    written = definition[INTERVAL_TAG]
    try:
        if not isinstance(written, str):
            raise Refused(f"a definition's {INTERVAL_TAG} must be one text")
        tags = {key.removeprefix(TAG_PREFIX): value for key, value in definition.items() if key.startswith(TAG_PREFIX)}
        action = tags.pop("action", ACTION)
        if not isinstance(action, str):
            raise Refused(f"a definition's {TAG_PREFIX}action must be a text")
        return Defined(written, interval.parse(written), build_message(action, tags=tags), None)
    except Refused as error:
        return Defined(written if isinstance(written, str) else "", None, None, error)
