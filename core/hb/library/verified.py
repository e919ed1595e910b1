"""Files of histories and witnesses, verified without a home.

It must never hold AO logic, nor read the user's environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hb.errors import IntegrityError

if TYPE_CHECKING:
    import os

    from hb.verify.evidence import Finding


class VerifiedFile(NamedTuple):
    """What came of verifying a file: `findings`, all that is wrong with it.

    Of a witness that is right there are the process, the slot, its hashpath, and the addresses of those who attest it.
    """

    findings: list[Finding]
    process: str | None = None
    slot: int | None = None
    hashpath: str | None = None
    attested_by: tuple[str, ...] = ()


def verify_file(path: str | os.PathLike[str], *, replay: bool = False) -> VerifiedFile:
    """What is wrong with the history or the witness in a file. A witness is always run again, a history with `replay`.

    >>> counter.export(scratch / "counter.history")
    >>> hb.verify_file(scratch / "counter.history", replay=True).findings
    []

    Raises:
        NotFound: there is no such file.
        Refused, HomeUnusable: it is neither, or cannot be read.
        Interrupted: Ctrl-C came.
    """
    from hb.files import challenge, staging
    from hb.files import opening as files
    from hb.verify import evidence

    try:
        with files.reading(Path(path)) as opened:
            is_witness = opened.form == "witness"
        if is_witness:
            found = challenge.challenge_file(Path(path), staging.bare_machine)
            return VerifiedFile(found.findings, found.process, found.slot, found.hashpath, tuple(found.attested_by))
        return VerifiedFile(list(staging.verify(Path(path), staging.bare_machine, replay=replay)))
    except IntegrityError as error:
        return VerifiedFile([evidence.finding_of(error)])
