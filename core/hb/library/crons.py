"""Crons from the front door: the keys, the clock and the settings of a home, put together to run them.

Invariants:
    No AO logic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.errors import Refused, Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hb.compute.context import Context
    from hb.environment import Environment
    from hb.library.scope import Scope
    from hb.protocol.message import Message
    from hb.records.crons import Cron
    from hb.schedule.cron import Tick, Tools, Trouble
    from hb.schedule.crontab import CronView


def tools(context: Context, environment: Environment) -> Tools:
    """Return what crons are run with in the home of `context`."""
    from hb.schedule.cron import Tools

    return Tools(
        context.session,
        context.keys.key,
        context.settings.scheduler_key,
        environment,
        context.settings.message_limit_bytes,
        context.storage.announce,
        context.cancellation,
    )


def add(
    scope: Scope, process: str, message: Message, time_ms: int, *, is_once: bool, missed: str, signer: str | None
) -> Cron:
    """Make a cron: `Process.every` and `Process.at` are this.

    Raises:
        NotFound, Refused: as these.
    """
    from hb.schedule import crontab

    key = _key(scope, signer)
    return crontab.add(_own(scope), process, message, time_ms=time_ms, is_once=is_once, missed=missed, key=key)


def accept(scope: Scope, process: str, *, missed: str, signer: str | None) -> Cron:
    """Make the cron that a definition asks for: `Process.accept_cron` is this.

    Raises:
        NotFound, Refused: as that.
    """
    from hb.schedule import crontab

    return crontab.accept(_own(scope), process, missed=missed, key=_key(scope, signer))


def views(scope: Scope, process: str | None) -> list[CronView]:
    """Return the crons of a process, or of all.

    Raises:
        NotFound, Refused: as `Home.process`.
    """
    from hb.schedule import crontab

    return crontab.views(_own(scope), process)


def remove(scope: Scope, cron: str) -> str:
    """Remove a cron.

    Raises:
        NotFound, Refused: as `Home.remove_cron`.
    """
    from hb.schedule import crontab

    return crontab.remove(scope.context.session, cron)


def run(
    scope: Scope,
    process: str | None,
    on_tick: Callable[[Tick], None] | None,
    on_trouble: Callable[[Trouble], None] | None,
) -> list[Tick]:
    """Send every tick that is due now.

    Raises:
        Unfinished, NotFound, Refused, Interrupted: as `Home.run_crons`.
    """
    from hb.records import names
    from hb.schedule import cron

    own, troubles = _own(scope), list[cron.Trouble]()
    if process is not None:
        with own.session() as store:
            process = names.resolve(store, process)
    sent = cron.run(own, process=process, on_tick=on_tick or cron.ignore, on_trouble=on_trouble or troubles.append)
    if troubles:
        first = troubles[0]
        raise Unfinished(
            f"{len(troubles)} of the crons cannot send, among them {first.cron}: {first.error.message}",
            done=sent,
            hint=first.error.hint,
        )
    return sent


def running(
    scope: Scope, context: Context, chosen: Collection[str] | None, on_trouble: Callable[[Trouble], None] | None
) -> Callable[[], float | None]:
    """Return what sends ticks that are due, of the `chosen` processes or of all, whenever it is called.

    It returns after how many seconds the next tick is due, or None. It tells a trouble once in a while.
    """
    from hb.schedule import cron

    troubles: dict[str, Trouble] = {}

    def run() -> float | None:
        environment = scope.environment()
        next_ms = cron.run_due(
            tools(context, environment), troubles, chosen=chosen, on_trouble=on_trouble or cron.ignore
        )
        return None if next_ms is None else max(0, next_ms - cron.now(environment)) / 1000

    return run


def _own(scope: Scope) -> Tools:
    return tools(scope.context, scope.environment())


def _key(scope: Scope, signer: str | None) -> str:
    if signer is not None and not isinstance(signer, str):
        raise Refused("a cron is signed by a key of the home, which is given by its name")
    return signer or scope.settings.sender_key
