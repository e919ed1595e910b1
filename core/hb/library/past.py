"""The past of a process: what is asked of slots that are scheduled. Nothing here schedules or makes a process.

Invariants:
    No AO logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hb import ids

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from hb.environment import Environment
    from hb.files.summary import Exported
    from hb.files.witness import Witness
    from hb.history.difference import Difference
    from hb.history.rerun import Change, Rerun
    from hb.history.selection import Filter
    from hb.history.trace import Trace
    from hb.history.tree import Node
    from hb.history.views import ProcessView, SlotView, StateView
    from hb.library.scope import Scope
    from hb.protocol.commitment import Key


class Past:
    """What a process of `home` was at each of its slots. `name` is what it was asked for by."""

    def __init__(self, home: Scope, process: str) -> None:
        """`process` is an ID, a name, or the beginning of an ID; see `Home.process`."""
        self.home = home
        self.name = process
        self._id = process if ids.is_id(process) else None

    @property
    def id(self) -> str:
        """The process ID.

        Raises:
            NotFound: no process has this name, or an ID that begins with it.
            Refused: several IDs begin with it.
        """
        return self.look_up() if self._id is None else self._id

    def look_up(self) -> str:
        """Look up the process; return its ID.

        Raises:
            NotFound, Refused: as `id`.
        """
        from hb.records import names

        with self.home.context.session() as store:
            self._id = names.resolve(store, self.name)
        return self._id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Past) and (self.home.place, self.id) == (other.home.place, other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def _environment(self, timestamp_ms: int | None = None, block_height: int = 0) -> Environment:
        return self.home.environment(timestamp_ms, block_height)

    @property
    def definition(self) -> dict[str, Any]:
        """The message that spawned it and says what it is."""
        from hb.records import lineage, names

        with self.home.context.session() as store:
            self._id = process = names.resolve(store, self.name)
            return lineage.get_definition(store, process)

    @property
    def slots(self) -> int:
        """How many messages are scheduled, the one that spawned it included: the newest has slot `slots - 1`."""
        return self.view().slots

    def view(self) -> ProcessView:
        """Return the process as a list shows it: names, slots, image, devices, times, origin.

        Raises:
            IntegrityError: what is stored of it is damaged.
        """
        from hb.history import views
        from hb.records import names

        with self.home.context.session() as store:
            self._id = process = names.resolve(store, self.name)
            return views.process_view(store, process, names.read_all(store))

    def functions(self) -> dict[str, int] | None:
        """Return the functions that its messages can call, each with its number of parameters.

        None for a program of the AO ABI, which decides itself what it answers.

        Raises:
            NotFound: there is no such process.
            IntegrityError: what is stored of it is damaged.
        """
        from hb.history import functions

        return functions.exported(self.home.context.session, self.name)

    # -- states

    def state(self, slot: int | str = "now") -> dict[str, Any]:
        """Return the state at `slot`, computed if it was not: public keys, `at-slot`, `process`, that slot's `results`.

        >>> ledger.state(slot=1)["results"]["type"]
        'ok'

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        return self.state_view(slot).state

    def hashpath(self, slot: int | str = "now") -> str:
        """Return the hashpath at `slot`. It commits to the definition and to every message up to there.

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        return self.state_view(slot).hashpath

    def state_view(self, slot: int | str = "now") -> StateView:
        """Return the state at `slot` with its hashpath and record, computed if it was not.

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        from hb.history import references, views
        from hb.records import names

        context = self.home.context
        located = references.locate(context.session, self.name, slot)
        with context.session() as store:
            self._id = process = names.resolve(store, self.name)
            number = views.resolve_slot(store, process, located)
            found = views.find_state(store, process, number)
        if found is None:
            self._compute(process, number)
            with context.session() as store:
                found = views.find_state(store, process, number)
        assert found is not None
        return found

    def compute(self, slot: int | str = "now") -> int:
        """Compute up to `slot`; return its number.

        Raises:
            NotFound: there is no such slot.
            Interrupted: it was cancelled; what was computed until then is kept.
            IntegrityError: what is stored is damaged.
        """
        from hb.history import references, views
        from hb.records import cache, names

        context = self.home.context
        located = references.locate(context.session, self.name, slot)
        with context.session() as store:
            self._id = process = names.resolve(store, self.name)
            number = views.resolve_slot(store, process, located)
            is_computed = cache.is_computed(store, process, number)
        if not is_computed:
            self._compute(process, number)
        return number

    def _compute(self, process: str, slot: int) -> None:
        from hb.compute import driver

        self.home.context.run(lambda context: driver.compute(context, process, slot))

    # -- slots

    def history(self, first: int | str = 0, last: int | str = "now") -> Iterator[SlotView]:
        """Yield the slots `first` to `last`, both included, as they are. Nothing is computed.

        >>> [(slot.slot, slot.action) for slot in ledger.history(1, 2)]
        [(1, 'Mint'), (2, 'Mint')]

        Raises:
            NotFound: there is no such slot.
            IntegrityError: what is stored is damaged.
        """
        return self.select(first, last)

    def select(
        self,
        first: int | str = 0,
        last: int | str = "now",
        *,
        since_ms: int | None = None,
        wanted: Filter | None = None,
        reverse: bool = False,
    ) -> Iterator[SlotView]:
        """Yield the `wanted` slots from `first` to `last`, both included, that were assigned at `since_ms` or later.

        With `reverse`, the newest comes first. Nothing is computed.

        Raises:
            NotFound: there is no such slot.
            IntegrityError: what is stored is damaged.
        """
        from hb.history import references, selection

        session = self.home.context.session
        process, start, end = references.resolve_range(session, self.name, first, last)
        self._id = process
        if since_ms is not None:
            start = max(start, selection.first_since(session, process, since_ms))
        return selection.select(session, process, start, end, wanted or selection.Filter(), reverse=reverse)

    def watch(
        self, first: int | str | None = None, *, since_ms: int | None = None, wanted: Filter | None = None
    ) -> Iterator[SlotView]:
        """Yield the `wanted` slots as others compute them; it never ends. Nothing is computed here.

        It begins with slot `first`, or the first one since `since_ms`; without both, after the newest computed slot.

        Raises:
            Interrupted: it was cancelled; this is how it ends.
            NotFound: there is no such slot.
            IntegrityError: what is stored is damaged.
        """
        from hb.history import references, selection

        context = self.home.context
        start = None if first is None else references.resolve(context.session, self.id, first)[1]
        if since_ms is not None:
            start = max(start or 0, selection.first_since(context.session, self.id, since_ms))
        filter_ = wanted or selection.Filter()
        return selection.follow(context.session, self.id, start, filter_, context.storage.signal, context.cancellation)

    # -- what caused what

    def tree(self, slot: int | str = "now") -> Iterator[Node]:
        """Yield the message of `slot`, and all that it caused, each message before its children.

        It is as far as it is delivered and computed. A delivery that was not made is a node without a slot, which says
        why.

        Raises:
            NotFound: there is no such slot.
            IntegrityError: what is stored is damaged.
        """
        from hb.history import references, tree

        session = self.home.context.session
        return tree.walk(session, *references.resolve(session, self.name, slot))

    def path(self, slot: int | str = "now") -> list[Node]:
        """Return the messages that led to the one of `slot`, from the root on: each caused the next.

        Raises:
            NotFound, IntegrityError: as `tree`.
        """
        from hb.history import references, tree

        session = self.home.context.session
        return tree.path_to(session, *references.resolve(session, self.name, slot))

    def cycle(self, slot: int | str = "now") -> list[str]:
        """Return the processes that the messages up to the one of `slot` went round in at last; [] if in no circle.

        If two processes answer each other, it is one of them, the other, and the first again.

        Raises:
            NotFound, IntegrityError: as `tree`.
        """
        from hb.history import references, tree

        session = self.home.context.session
        return tree.cycle_at(session, *references.resolve(session, self.name, slot))

    # -- questions

    def trace(self, slot: int | str = "now", *, host_calls: int = 20) -> Trace:
        """Execute one slot again, and return what happened: calls, gas, changes, and where a trap was.

        The first `host_calls` host calls of each call are recorded, and all are counted. Nothing is stored.

        >>> (call,) = ledger.trace(slot=1).calls
        >>> call.function, call.arguments, call.results
        ('Mint', [1, 100], [100])

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        from hb.history import trace

        return trace.trace(self.home.context, self.name, slot, host_calls=host_calls)

    def diff(self, before: int | str, after: int | str = "now") -> Difference:
        """Return how the states at two slots differ: public keys, globals, memory to the byte, results, gas.

        >>> found = ledger.diff(1, 2)
        >>> found.keys, found.memory.changed_pages
        ([], 1)

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        from hb.history import difference

        return difference.difference(self.home.context, self.name, before, after)

    def replay(
        self, module: bytes | str | os.PathLike[str], to: int | str = "now", *, every: bool = False
    ) -> list[Change]:
        """Run the schedule up to `to` against other code. Return the first slot that differs, if any, in a list.

        With `every`, return each such slot. Nothing is stored.

        >>> ledger.replay("samples/ledger.wat")
        []

        Raises:
            Refused: the module is not acceptable, has another ABI, or cannot start from the definition.
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
        """
        changes: list[Change] = []
        self.rerun(module, to, on_change=changes.append, every=every)
        return changes

    def rerun(
        self,
        module: bytes | str | os.PathLike[str],
        to: int | str = "now",
        *,
        on_change: Callable[[Change], None],
        every: bool = False,
    ) -> Rerun:
        """Do what `replay` does. Call `on_change` with each slot that differs, and return a summary.

        Raises:
            Refused, NotFound, Interrupted, IntegrityError: as `replay`.
        """
        from hb.history import rerun

        other = self.home.module(module)
        return rerun.rerun(self.home.context, self.name, other, to, on_change=on_change, every=every)

    # -- files

    def export(self, path: str | os.PathLike[str], to: int | str = "now", *, every_image: bool = False) -> Exported:
        """Write the history up to `to` to a file, for `Home.import_history`. An existing file is replaced.

        With `every_image` the file has all stored memory images, not only those that are needed.

        Raises:
            NotFound: there is no such slot.
            Refused, HomeUnusable: the file cannot be written.
            IntegrityError: what is stored is damaged.
        """
        from hb.files import transfer

        return transfer.export(self.home.context, self.name, to, Path(path), every_image=every_image)

    def witness(
        self, path: str | os.PathLike[str], slot: int | str = "now", *, attest: Sequence[str | Key] = ()
    ) -> Witness:
        """Write to a file what it takes to run one slot again anywhere: `hb.verify_file` does. An existing file is
        replaced.

        Each key in `attest` signs what the witness claims, after it was run again.

        >>> made = ledger.witness(scratch / "ledger.witness", slot=2, attest=["auditor"])
        >>> found = hb.verify_file(scratch / "ledger.witness")
        >>> found.slot, found.hashpath == ledger.hashpath(2), found.attested_by == (home.address("auditor"),)
        (2, True, True)

        Raises:
            NotFound, Interrupted, IntegrityError: as `Process.compute`.
            Refused, HomeUnusable: the file cannot be written.
        """
        from hb.files import challenge, witness

        context = self.home.context
        made = witness.make(context, self.name, slot)
        for each in attest:
            made = challenge.attest(made, self.home.signer(each), context.machine)
        witness.write(made, Path(path))
        return made
