"""What `scripts/bench --compare CLONE` makes of what it measured."""

from __future__ import annotations

from benchmarks.turns import Time, table


def test_a_row_has_the_median_of_the_ratios_of_its_rounds_and_the_ratios_of_the_best_times() -> None:
    rounds = [[Time(1.0, 0.5), Time(1.2, 0.5)], [Time(2.0, 1.0), Time(2.2, 1.1)], [Time(4.0, 1.0), Time(8.0, 1.2)]]
    *_, row, _, sentence = table({"list": rounds})
    assert row == "| list | 2,000 | 2,200 | 1.200 | 0.450 | 1.200 | 1.000 |"
    assert sentence.endswith(": list")


def test_what_is_slower_in_the_middle_alone_met_other_programs() -> None:
    rounds = [[Time(1.0, 0.5), Time(1.02, 0.5)], [Time(1.1, 0.5), Time(1.3, 0.5)], [Time(1.2, 0.5), Time(1.5, 0.5)]]
    assert table({"list": rounds})[-1].endswith(": none")
