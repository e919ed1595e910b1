"""What words on a command line mean as a time: a date, a date and time, or how long ago.

Invariants:
    The time of now comes from the caller.
"""

from __future__ import annotations

import re
from datetime import datetime

from hb.errors import Refused

_AGO = r"([0-9]{1,9})(s|m|h|d|w)"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def since(word: str, now_ms: int) -> int:
    """Return the time that `word` means, in milliseconds since 1970.

    `word` is a date or a date and time as in ISO 8601, or a time before `now_ms`, as `10m` or `3d`. A time without a
    zone is local. A date means its first moment.

    Raises:
        Refused: it is none of these.
    """
    if ago := re.fullmatch(_AGO, word, re.ASCII):
        return now_ms - int(ago[1]) * _SECONDS[ago[2]] * 1000
    try:
        return round(datetime.fromisoformat(word).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(
            f"a time is a date, a date and time, or how long ago, as 10m, 2h or 3d, got {word!r}",
            hint="as in: --since 2026-03-01, --since '2026-03-01 18:30', --since 2026-03-01T18:30:00Z",
        ) from error
