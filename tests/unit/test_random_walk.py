"""Distribution, bounds and rounding of the random walk."""

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import fmean, pstdev

import pytest
from helpers.support import T0
from hypothesis import given
from hypothesis import strategies as st

from market_data.feed.random_walk import LISTINGS, MAX_STEP, YEAR_SECONDS, FeedTrade, Listing, RandomWalk

CENT = Decimal("0.01")
ONE = Listing("ONE", "One", 500_00, 0.3)


def walk(
    steps: int, *, price: str = "500.00", volatility: float = 0.3, step_seconds: float = 3, seed: int = 1
) -> list[FeedTrade]:
    """Return the trades of one symbol, starting at a price."""
    walking = RandomWalk((replace(ONE, volatility=volatility),), step_seconds=step_seconds, seed=seed)
    walking.resume({ONE.symbol: Decimal(price)})
    return [next(walking.tick(T0 + timedelta(seconds=step_seconds) * number)) for number in range(steps)]


def steps_of(trades: list[FeedTrade]) -> list[float]:
    """Return the relative change of each step."""
    return [float(after.price / before.price) - 1 for before, after in pairwise(trades)]


@given(
    cents=st.integers(100, 10_000) | st.integers(100, 10**9),
    volatility=st.floats(0.01, 50),
    step_seconds=st.floats(0.05, 3600),
    seed=st.integers(),
)
def test_no_step_exceeds_two_percent_after_rounding_to_cents(cents: int, volatility: float, step_seconds: float, seed: int):
    first = Decimal(cents).scaleb(-2)
    trades = walk(20, price=str(first), volatility=volatility, step_seconds=step_seconds, seed=seed)
    for before, after in pairwise([first, *(each.price for each in trades)]):
        assert abs(after - before) <= before * Decimal("0.02")


@given(price=st.decimals("0.01", "1.50", places=2), seed=st.integers())
def test_price_never_falls_below_one(price: Decimal, seed: int):
    assert min(each.price for each in walk(20, price=str(price), volatility=50, step_seconds=3600, seed=seed)) >= 1


@given(seed=st.integers())
def test_prices_are_in_cents_and_volumes_are_positive_hundredths(seed: int):
    for each in RandomWalk(LISTINGS, step_seconds=3, seed=seed).tick(T0):
        assert each.price == each.price.quantize(CENT)
        assert each.volume == each.volume.quantize(CENT)
        assert each.volume >= CENT


def test_volumes_are_log_normal():
    logarithms = [math.log(each.volume) for each in walk(20_000)]
    middle, deviation = fmean(logarithms), pstdev(logarithms)
    assert 0.5 < deviation < 2
    within = fmean(abs(each - middle) < deviation for each in logarithms)
    assert within == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("volatility", [0.25, 0.58])
@pytest.mark.parametrize("step_seconds", [3, 60, 3600])
def test_steps_are_normal_with_the_annual_volatility_scaled_to_the_interval(step_seconds: float, volatility: float):
    steps: list[float] = []
    for seed in range(10):
        steps += steps_of(walk(2_000, volatility=volatility, step_seconds=step_seconds, seed=seed))
    deviation = pstdev(steps)
    assert deviation * math.sqrt(YEAR_SECONDS / step_seconds) == pytest.approx(volatility, rel=0.05)
    assert abs(fmean(steps)) < 4 * deviation / math.sqrt(len(steps)), "the walk drifts"
    # 0.683 of a normal distribution, 0.577 of a uniform one; rounding small steps to whole cents shifts it a little.
    assert fmean(abs(each) < deviation for each in steps) == pytest.approx(0.683, abs=0.05)
    assert max(map(abs, steps)) > 3 * deviation


def test_too_large_steps_are_drawn_again_instead_of_clamped():
    steps = steps_of(walk(5_000, volatility=3, step_seconds=3600))
    assert max(map(abs, steps)) <= MAX_STEP
    assert fmean(abs(each) > 0.99 * MAX_STEP for each in steps) < 0.02, "steps pile up at the bounds"
    assert fmean(abs(each) < MAX_STEP / 2 for each in steps) > 0.4


def test_price_of_a_cheap_symbol_with_small_steps_changes():
    prices = [each.price for each in walk(20_000, price="1.50")]
    assert len(set(prices)) > 5
    assert sum(before != after for before, after in pairwise(prices)) > 100


def test_trades_depend_on_the_seed_alone():
    def first(seed: int) -> list[FeedTrade]:
        walking = RandomWalk(LISTINGS, step_seconds=3, seed=seed)
        return [trade for _ in range(3) for trade in walking.tick(T0)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_tick_yields_one_trade_a_symbol_at_the_given_time():
    trades = list(RandomWalk(LISTINGS, step_seconds=3).tick(T0))
    assert [each.symbol for each in trades] == [listing.symbol for listing in LISTINGS]
    assert {(each.time, each.trade_id) for each in trades} == {(T0, 0)}


def test_walk_begins_at_the_first_prices_and_resumes_from_the_last_ones():
    walking = RandomWalk(LISTINGS, step_seconds=3, seed=1)
    walking.resume({"MSFT": Decimal("77.70")})
    for listing, each in zip(LISTINGS, walking.tick(T0), strict=True):
        origin = Decimal("77.70") if listing.symbol == "MSFT" else Decimal(listing.first_cents).scaleb(-2)
        assert abs(each.price - origin) < origin * Decimal("0.01")
