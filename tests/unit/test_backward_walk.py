"""Random walk backward in time, and its trades as binary COPY data."""

import math
from itertools import pairwise

import numpy as np
import pytest

from market_data.cli.data.backfill import CHUNK, slices
from market_data.cli.data.backward_walk import BackwardWalk, copy_data
from market_data.feed.random_walk import LISTINGS, YEAR_SECONDS, Listing

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND


def walk(listing: Listing = LISTINGS[0], step: int = SECOND, cents: float = 270_00, seed: int = 1) -> BackwardWalk:
    return BackwardWalk(listing, step, time=NOW, cents=cents, seed=seed)


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.symbol)
def test_volatility_is_that_of_the_listing(listing: Listing):
    _, cents, _ = walk(listing, 60 * SECOND, 500_00).back_to(NOW - 365 * DAY)
    steps = np.diff(np.log(cents[::60]))  # hourly steps, for which rounding to cents is negligible
    assert steps.std() * math.sqrt(YEAR_SECONDS / 3600) == pytest.approx(listing.volatility, rel=0.05)


def test_the_newest_trade_is_one_step_before_the_existing_one():
    times, cents, _ = walk().back_to(NOW - DAY)
    assert times[0] == NOW - SECOND
    assert times[-1] == NOW - DAY
    assert set(np.diff(times)) == {-SECOND}
    deviation = 270_00 * LISTINGS[0].volatility * math.sqrt(1 / YEAR_SECONDS)
    assert abs(cents[0] - 270_00) <= 6 * deviation + 1
    assert np.abs(np.diff(cents)).max() <= 8 * deviation + 2


def test_slices_join_without_a_gap_or_a_jump():
    whole = walk()
    first = whole.back_to(NOW - 1000 * SECOND - 1)
    second = whole.back_to(NOW - 2500 * SECOND)
    assert list(first[0]) + list(second[0]) == [NOW - n * SECOND for n in range(1, 2501)]
    assert abs(int(second[1][0]) - int(first[1][-1])) < 30
    assert whole.steps_to(NOW - 2500 * SECOND) == 0
    assert len(whole.back_to(NOW)[0]) == 0


def test_a_cheap_symbol_never_falls_below_one_and_keeps_moving():
    _, cents, volumes = walk(Listing("PENNY", "Penny", 1_00, 3.0), 3600 * SECOND, 1_00).back_to(NOW - 365 * DAY)
    assert cents.min() == 100
    assert len(set(cents)) > 100
    assert volumes.min() >= 1


def test_a_seed_repeats_the_walk():
    assert copy_data([walk()], NOW - DAY) == copy_data([walk()], NOW - DAY)
    assert copy_data([walk()], NOW - DAY) != copy_data([walk(seed=2)], NOW - DAY)


@pytest.mark.parametrize("rows_per_chunk", [1, 3_024_000, 777_777])
@pytest.mark.parametrize(
    "since", [NOW, NOW - 1, NOW - DAY, NOW - 30 * DAY, NOW // CHUNK * CHUNK, NOW // CHUNK * CHUNK - CHUNK]
)
def test_slices_end_at_the_start_of_the_history_and_at_each_chunk(rows_per_chunk: int, since: int):
    found = list(slices(NOW, since, rows_per_chunk))
    assert found == sorted(set(found), reverse=True)
    assert found[-1] == since
    assert set(range(since // CHUNK * CHUNK + CHUNK, NOW + 1, CHUNK)) <= set(found)
    edges = [NOW, *found]
    widest = max(newer - older for newer, older in pairwise(edges))
    assert widest * rows_per_chunk / CHUNK <= 250_001
