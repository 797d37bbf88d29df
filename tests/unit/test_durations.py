"""Durations on the command line."""

import argparse
from datetime import timedelta

import pytest

from market_data.cli.durations import duration_between, in_words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1s", 1), ("15m", 900), ("1h", 3600), ("90d", 90 * 86400), ("12w", 84 * 86400), ("2y", 730 * 86400)],
)
def test_a_number_and_a_unit_are_a_duration(text: str, seconds: float):
    assert duration_between("1ms", "100y")(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "1 d", "1D", "9999999d", "٣d", "1d\n"])
def test_anything_else_is_none(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is no duration; give a number with one of ms, s"):
        duration_between("1ms", "100y")(text)


@pytest.mark.parametrize("text", ["7d", "101y", "0s"])
def test_bounds_are_named(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="give 8d at the least, 100y at the most"):
        duration_between("8d", "100y")(text)


def test_durations_are_told_in_days():
    assert in_words(timedelta(days=1)) == "1 day"
    assert in_words(timedelta(days=1200, hours=4)) == "1,200 days 4 h"
