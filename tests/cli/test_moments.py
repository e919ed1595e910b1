"""Times on the command line."""

from __future__ import annotations

from datetime import datetime

import pytest

from hb.errors import Refused
from hb_cli.inputs.moments import since

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("word", "before_ms"),
    [("0s", 0), ("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("3d", 259_200_000), ("1w", 604_800_000)],
)
def test_so_long_ago(word: str, before_ms: int) -> None:
    assert since(word, NOW_MS) == NOW_MS - before_ms


def test_a_date_and_time() -> None:
    assert since("1970-01-01T00:00:02Z", NOW_MS) == 2000
    assert since("1970-01-01T01:00:02.5+01:00", NOW_MS) == 2500
    assert since("2026-03-01 18:30", NOW_MS) == datetime(2026, 3, 1, 18, 30).astimezone().timestamp() * 1000
    assert since("2026-03-01", NOW_MS) == datetime(2026, 3, 1).astimezone().timestamp() * 1000


@pytest.mark.parametrize("word", ["", "yesterday", "10", "m", "-5m", "1.5h", "2026-13-01", "9999999999d", "٣d"])
def test_what_is_no_time(word: str) -> None:
    with pytest.raises(Refused, match="a time is a date"):
        since(word, NOW_MS)
