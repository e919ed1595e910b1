"""What a home keeps of a process beside its history: its names, and whether it is here at all.

Invariants:
    No AO logic: a verb here calls a function of a room, with the home's context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hb.library.past import Past

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hb.schedule.removal import Removable
    from hb.storage.store import Store


class Kept(Past):
    """A process as its home keeps it."""

    def rename(self, name: str, *, also: bool = False, replace: bool = False) -> list[str]:
        """Give the process another name. Return the names that it lost.

        It loses the name that this object calls it by, or, if that is an ID, its only one. With `also`, it loses none.
        With `replace`, the new name moves here from the process that has it.

        Raises:
            NotFound: there is no such process.
            Refused: no process can have that name; or another has it; or it is not clear which name is to go.
        """
        from hb.records import names
        from hb.storage.store import Batch, retrying

        def write(store: Store) -> tuple[str, list[str]]:
            batch = Batch(sync=True)
            done = names.rename(store, batch, self.name, name, also=also, replace=replace)
            store.commit(batch)
            return done

        pid, lost = retrying(self.home.context.session, write)
        self._id = pid
        self.name = pid
        return lost

    def take_name(self) -> str:
        """Take the name away that this object calls the process by. Return what it stood for: a process ID.

        The process need not be here: so a name that is left over can go.

        Raises:
            NotFound: there is no such name.
        """
        from hb.records import names
        from hb.storage.store import Batch, retrying

        def write(store: Store) -> str:
            batch = Batch(sync=True)
            stood_for = names.remove(store, batch, self.name)
            store.commit(batch)
            return stood_for

        return retrying(self.home.context.session, write)

    def removable(self) -> Removable:
        """Return what `remove` deletes, and which processes it concerns. Nothing is changed.

        Raises:
            NotFound: there is no such process.
            IntegrityError: the store is damaged.
        """
        from hb.schedule import removal

        return removal.survey(self._unviewed, self._stored_id())

    def remove(self, *, keep_shared: bool = False) -> Removable:
        """Delete the process from the home, with all that belongs to it alone. Return what was there.

        What other processes sent to it is held as missing. With `keep_shared`, the slots that forks share stay, as a
        shorter process without a name. If it is interrupted, a shorter process is there, and another call goes on.

        Raises:
            NotFound: there is no such process.
            Refused: forks here share its slots, and `keep_shared` is not set; nothing was deleted.
            HomeBusy: another program computes it.
            Interrupted, IntegrityError: as other verbs.
        """
        from hb.schedule import removal

        context, pid = self.home.context, self._stored_id()
        with context.room(pid, 0), context.lease(pid):
            context.pool.take(pid)
            done = removal.remove(self._unviewed, pid, keep_shared=keep_shared)
        context.lineages.pop(pid, None)
        context.storage.announce()
        return done

    def _stored_id(self) -> str:
        from hb.schedule import removal

        with self._unviewed() as store:
            return removal.find(store, self.name)

    def _unviewed(self) -> AbstractContextManager[Store]:
        """Open the store as it is: the slots that a fork shares do not show under its own ID."""
        from hb.storage.storage import Patience

        context = self.home.context
        return context.storage.session(Patience(context.timeout_s, context.cancellation))
