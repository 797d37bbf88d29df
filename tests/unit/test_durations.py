"""Durations on the command line."""

import argparse
from datetime import timedelta

import pytest

from market_data.cli.durations import duration_between, format_long, number_between


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1s", 1), ("15m", 900), ("1h", 3600), ("90d", 90 * 86400), ("12w", 84 * 86400), ("2y", 730 * 86400)],
)
def test_a_number_with_a_unit_is_a_duration(text: str, seconds: float):
    assert duration_between("1ms", "100y")(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "1 d", "1D", "9999999d", "٣d", "1d\n"])
def test_other_texts_are_rejected(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a duration; give a number and a unit \(ms, s"):
        duration_between("1ms", "100y")(text)


@pytest.mark.parametrize("text", ["7d", "101y", "0s"])
def test_durations_out_of_range_are_rejected_with_the_range(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="give 8d to 100y"):
        duration_between("8d", "100y")(text)


@pytest.mark.parametrize("text", ["0", "65", "-1", "+1", "1.0", "", "٣", "9" * 5000])
def test_numbers_out_of_range_are_rejected_with_the_range(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="give a whole number from 1 to 64"):
        number_between(1, 64)(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("64", 64)])
def test_numbers_in_range_are_accepted(text: str, number: int):
    assert number_between(1, 64)(text) == number


def test_long_durations_are_shown_in_days():
    assert format_long(timedelta(days=1)) == "1 day"
    assert format_long(timedelta(days=1200, hours=4)) == "1,200 days 4 h"
