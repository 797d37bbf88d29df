"""Candles that were revised are marked in the chart, and the legend says so."""

from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage
from playwright.sync_api import Page, expect

MARKED = """
    ([times, until]) => {
      const [, , marks] = document.querySelector("#chart").drawnSeries;
      return JSON.stringify(marks.map(({ time }) => time).filter((time) => time < until)) === JSON.stringify(times);
    }
"""


def wait_for_marks(page: Page, market: Market, *ago: int) -> None:
    """Wait until these minutes are marked, of all but the last one, whose trade may be less than 30 seconds late."""
    times, until = [market.minute(each).timestamp() for each in ago], market.minute(ago=1).timestamp()
    page.wait_for_function(MARKED, arg=[times, until])


def test_revised_candles_are_marked_also_when_another_one_is_revised(recorded: RecordedPage, market: Market):
    market.trade_each_minute(4)  # long after the end of the first three minutes
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=4)
    wait_for_marks(page, market, 4, 3, 2)
    legend = page.locator("#legend")
    chart = page.locator("#chart")
    chart.focus()
    page.keyboard.press("Home")
    expect(legend).to_contain_text("revised")
    open_dashboard(page, "?style=line")  # another series
    wait_for_marks(page, market, 4, 3, 2)
    market.late_trade("108", at=market.minute(ago=6))
    wait_for_marks(page, market, 6, 4, 3, 2)


def test_marks_are_read_again_after_the_service_had_failed(recorded: RecordedPage, market: Market):
    market.trade_each_minute(4)
    page = recorded.page
    page.route(
        "**/candles/revised*", lambda route: route.fulfill(status=503, json={"detail": "The service is busy."}), times=1
    )
    open_dashboard(page)
    expect_chart(page, candles=4)
    expect(page.get_by_text("Can't read which candles were revised. The service is busy.")).to_be_visible()
    wait_for_marks(page, market, 4, 3, 2)
    expect(page.get_by_text("Can't read which candles were revised")).to_have_count(0)
    assert ["503" in problem for problem in recorded.problems] == [True]
    recorded.problems.clear()
