"""What `scripts/bench --compare CLONE` makes of what it measured."""

from __future__ import annotations

from benchmarks.turns import Time, table


def test_a_row_has_the_median_of_the_ratios_of_its_rounds() -> None:
    rounds = [[Time(1.0, 0.5), Time(1.2, 0.5)], [Time(2.0, 1.0), Time(2.2, 1.1)], [Time(4.0, 1.0), Time(8.0, 1.2)]]
    *_, row, _, sentence = table({"list": rounds})
    assert row == "| list | 2,000 | 2,200 | 1.200 | 0.450 | 1.100 | 0.100 |"
    assert sentence == "Slower by more than 5%, by the clock and in processor time: list"


def test_what_is_slower_by_the_clock_alone_had_to_wait() -> None:
    assert "No row is slower" in table({"list": [[Time(1.0, 0.5), Time(1.5, 0.51)]]})[-1]
