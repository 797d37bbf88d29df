"""Indicators and ranges of the chart, compared with computations in Python."""

import itertools
import math
import random
from datetime import UTC, datetime
from typing import Any

from browser.recorded_page import RecordedPage
from playwright.sync_api import Page

Bar = dict[str, Any]
DAY = 86_400

CALL = "async ([module, name, ...parameters]) => (await import(`/assets/dashboard/${module}.js`))[name](...parameters)"


def call(page: Page, module: str, name: str, *parameters: object) -> Any:
    """Call a function of a module of the page."""
    return page.evaluate(CALL, [module, name, *parameters])


def random_bars(count: int, step: int = 3600) -> list[Bar]:
    """Return candles that begin in the middle of a day, some without a volume."""
    source = random.Random(7)
    start = int(datetime(2026, 2, 8, 13, tzinfo=UTC).timestamp())
    closes = [round(50 + source.gauss(0, 3), 2) for _ in range(count)]
    return [
        {"time": start + n * step, "open": close, "close": close, "volume": volume, "vwap": close + 0.1 if volume else None}
        for n, close in enumerate(closes)
        for volume in [source.randrange(5)]
    ]


def assert_close(actual: list[float | None], expected: list[float | None]) -> None:
    assert len(actual) == len(expected)
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        assert (one is None) == (other is None), index
        assert one is None or other is None or math.isclose(one, other, rel_tol=1e-9), index


def test_moving_averages(recorded: RecordedPage):
    recorded.page.goto("/dashboard")
    bars = random_bars(60)
    closes = [bar["close"] for bar in bars]
    simple = [None if n < 19 else sum(closes[n - 19 : n + 1]) / 20 for n in range(60)]
    assert_close(call(recorded.page, "indicators", "simpleMovingAverage", bars, 20), simple)
    exponential: list[float | None] = [None] * 19 + [sum(closes[:20]) / 20]
    for close in closes[20:]:
        exponential.append(close * 2 / 21 + (exponential[-1] or 0) * 19 / 21)
    assert_close(call(recorded.page, "indicators", "exponentialMovingAverage", bars, 20), exponential)
    for name in ("simpleMovingAverage", "exponentialMovingAverage", "relativeStrengthIndex"):
        assert call(recorded.page, "indicators", name, bars[:14], 20) == [None] * 14
        assert call(recorded.page, "indicators", name, [], 20) == []


def test_relative_strength_index(recorded: RecordedPage):
    recorded.page.goto("/dashboard")
    bars = random_bars(60)
    changes = [after["close"] - before["close"] for before, after in itertools.pairwise(bars)]
    gain = sum(max(change, 0) for change in changes[:14]) / 14
    loss = sum(max(-change, 0) for change in changes[:14]) / 14
    expected: list[float | None] = [None] * 14 + [100 - 100 / (1 + gain / loss)]
    for change in changes[14:]:
        gain = (gain * 13 + max(change, 0)) / 14
        loss = (loss * 13 + max(-change, 0)) / 14
        expected.append(100 - 100 / (1 + gain / loss))
    assert_close(call(recorded.page, "indicators", "relativeStrengthIndex", bars, 14), expected)
    flat = [{**bar, "close": 5} for bar in bars]
    assert call(recorded.page, "indicators", "relativeStrengthIndex", flat, 14)[-1] == 50
    rising = [{**bar, "close": n} for n, bar in enumerate(bars)]
    assert call(recorded.page, "indicators", "relativeStrengthIndex", rising, 14)[-1] == 100


def test_volume_weighted_average_begins_with_each_day(recorded: RecordedPage):
    recorded.page.goto("/dashboard")
    bars = random_bars(60)

    def expected(first_known: int) -> list[float | None]:
        values: list[float | None] = []
        for bar in bars:
            day = bar["time"] // DAY
            so_far = [each for each in bars if each["time"] // DAY == day and each["time"] <= bar["time"] and each["volume"]]
            volume = sum(each["volume"] for each in so_far)
            known = volume and day >= first_known
            values.append(sum(each["vwap"] * each["volume"] for each in so_far) / volume if known else None)
        return values

    first = bars[0]["time"] // DAY
    assert_close(call(recorded.page, "indicators", "volumeWeightedAverage", bars, 3600, True), expected(first))
    # The start of the first day is not loaded.
    assert_close(call(recorded.page, "indicators", "volumeWeightedAverage", bars, 3600, False), expected(first + 1))


def test_gaps_trends_and_outliers(recorded: RecordedPage):
    page = recorded.page
    page.goto("/dashboard")
    assert call(page, "chart_points", "gap", 0, 240, 60) == [{"time": 60}, {"time": 120}, {"time": 180}]
    assert call(page, "chart_points", "gap", 0, 60, 60) == []
    assert len(call(page, "chart_points", "gap", 0, 30 * DAY, 60)) == 60  # a weekend does not empty the chart
    assert call(page, "chart_points", "gap", 0, 3 * DAY, DAY) == []
    trends = [call(page, "chart_points", "trend", {"open": 5, "close": close}) for close in (6, 4, 5)]
    assert trends == ["up", "down", "flat"]
    usual = [{"volume": n % 7 + 1} for n in range(100)]
    assert call(page, "chart_points", "maxVolume", usual) == 7
    assert call(page, "chart_points", "maxVolume", [*usual, {"volume": 100_000}]) == 21
    assert call(page, "chart_points", "maxVolume", [{"volume": 0}, {"volume": 0}, {"volume": 4}]) == 4
    assert call(page, "chart_points", "maxVolume", []) == 0


def test_ranges(recorded: RecordedPage):
    page = recorded.page
    page.goto("/dashboard")

    def start(name: str, end: datetime) -> str:
        return datetime.fromtimestamp(call(page, "ranges", "rangeStart", name, end.timestamp()), UTC).isoformat()[:16]

    end = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert start("1D", end) == "2026-03-30T12:00"
    assert start("5D", end) == "2026-03-26T12:00"
    assert start("1M", end) == "2026-02-28T12:00"
    assert start("6M", end) == "2025-09-30T12:00"
    assert start("YTD", end) == "2026-01-01T00:00"
    assert start("1Y", end.replace(year=2028, month=2, day=29)) == "2027-02-28T12:00"
    intervals = [call(page, "ranges", "intervalFor", days * DAY, 500)["name"] for days in (1, 5, 30, 183, 365, 9000)]
    assert intervals == ["5m", "15m", "4h", "1d", "1d", "1w"]


TICK_WEIGHTS = """
    async (times) => {
      const { createTimeAxis } = await import("/assets/dashboard/chart_time_axis.js");
      const { setTimeZone } = await import("/assets/dashboard/time_zone.js");
      const weights = (zone) => {
        setTimeZone(zone);
        const points = times.map((time) => ({ time, timeWeight: 0 }));
        createTimeAxis(() => 3600).fillWeightsForPoints(points, 0);
        return points.map(({ timeWeight }) => timeWeight);
      };
      return [weights("utc"), weights("local")];
    }
"""
DAY_WEIGHT = 50


def test_days_of_the_time_axis_begin_in_the_chosen_time_zone(recorded: RecordedPage):
    page = recorded.page
    page.goto("/dashboard")
    offset = page.evaluate("new Date(2026, 1, 10).getTimezoneOffset()")
    midnight = int(datetime(2026, 2, 9, tzinfo=UTC).timestamp())
    times = [midnight + hour * 3600 for hour in range(24)]
    utc, local = page.evaluate(TICK_WEIGHTS, times)
    assert [n for n, weight in enumerate(utc) if weight == DAY_WEIGHT] == [0]
    assert [n for n, weight in enumerate(local) if weight == DAY_WEIGHT] == [-(-offset // 60) % 24]
