"""Files of histories and witnesses: what is in one, and whether it is what it must be.

Invariants:
    No AO logic.
    The user's environment is not read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import IntegrityError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from hb.devices.device import Machine
    from hb.verify.evidence import Finding, OnSlot
    from hb.verify.replay import Note

    MakeMachine = Callable[[Mapping[str, bytes]], Machine]
    OnNote = Callable[[Note], None]


class VerifiedFile(NamedTuple):
    """What verifying a file gave: `findings`, everything that is wrong with it.

    If it is a witness that is right, the process, the slot, its hashpath, and the addresses of those who attest it are
    known too. `notes` name engines other than this one that computed slots: their gas is not compared.
    """

    findings: list[Finding]
    process: str | None = None
    slot: int | None = None
    hashpath: str | None = None
    attested_by: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def verify_file(path: str | os.PathLike[str], *, replay: bool = False) -> VerifiedFile:
    """Return what is wrong with the history or the witness in a file. No home is needed.

    A witness is always run again, a history with `replay`. `Home.verify_file` does the same, and keeps the modules that
    it compiles.

    >>> exported = counter.export(scratch / "counter.history")
    >>> hb.verify_file(scratch / "counter.history", replay=True).findings
    []

    Raises:
        NotFound: there is no such file.
        Refused, HomeUnusable: it is neither, or cannot be read.
        Interrupted: Ctrl-C came.
    """
    return verified(Path(path), _bare(), replay=replay)


def find_file_damage(
    path: str | os.PathLike[str],
    *,
    replay: bool = False,
    on_slot: OnSlot | None = None,
    on_note: OnNote | None = None,
) -> Iterator[Finding]:
    """Yield what `verify_file` finds in a history, as it is found, and call `on_slot(slot, last)` after each slot.

    With `replay`, `on_note` is told of slots that another engine computed, whose gas is not compared.

    Raises:
        NotFound, Refused, HomeUnusable, Interrupted: as `verify_file`.
    """
    return damage(Path(path), _bare(), replay=replay, on_slot=on_slot, on_note=on_note)


def file_form(path: str | os.PathLike[str]) -> str:
    """Return what is in a file, "history" or "witness". Its digest is checked, nothing else.

    Raises:
        NotFound: there is no such file.
        Refused, HomeUnusable: it is neither, or cannot be read.
        IntegrityError: it is cut or altered.
    """
    from hb.files import opening

    with opening.reading(Path(path)) as opened:
        return opened.form


def is_history_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a plain file that begins as a history or a witness does."""
    from hb.files import opening

    return opening.is_file(Path(path))


def verified(path: Path, make_machine: MakeMachine, *, replay: bool, on_slot: OnSlot | None = None) -> VerifiedFile:
    """Do what `verify_file` does, with modules of `make_machine`."""
    from hb.files import challenge
    from hb.verify.evidence import finding_of

    try:
        if file_form(path) != "witness":
            notes: list[Note] = []
            findings = list(damage(path, make_machine, replay=replay, on_slot=on_slot, on_note=notes.append))
            return VerifiedFile(findings, notes=tuple(notes))
    except IntegrityError as error:
        return VerifiedFile([finding_of(error)])
    found = challenge.challenge_file(path, make_machine)
    return VerifiedFile(
        found.findings, found.process, found.slot, found.hashpath, tuple(found.attested_by), tuple(found.notes)
    )


def damage(
    path: Path,
    make_machine: MakeMachine,
    *,
    replay: bool,
    on_slot: OnSlot | None = None,
    on_note: OnNote | None = None,
) -> Iterator[Finding]:
    """Do what `find_file_damage` does, with modules of `make_machine`."""
    from hb.compute.context import ignore
    from hb.files import staging
    from hb.verify import replay as replays
    from hb.verify.evidence import finding_of

    try:
        yield from staging.verify(
            path, make_machine, replay=replay, on_slot=on_slot or ignore, on_note=on_note or replays.ignore
        )
    except IntegrityError as error:
        yield finding_of(error)


def _bare() -> MakeMachine:
    from hb.files import staging

    return staging.bare_machine
