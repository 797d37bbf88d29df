"""The trades of the selected symbol: rows that stay, scrolling, pausing, and times in milliseconds."""

import re
from datetime import timedelta

from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage
from helpers.service import eventually
from playwright.sync_api import expect

MARK_ROWS = "document.querySelectorAll('#tape tr').forEach((row) => (row.marked = true))"
UNMARKED_PRICES = """[...document.querySelectorAll("#tape tr")]
    .filter((row) => !row.marked).map((row) => row.cells[1].textContent)"""


def test_rows_stay_in_the_document_while_trades_arrive_and_change(recorded: RecordedPage, market: Market):
    market.trade_each_minute(30)
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#tape tr")).to_have_count(30)
    page.evaluate(MARK_ROWS)
    market.trade("90")
    expect(page.locator("#tape tr").first).to_contain_text("▼ 90.00")
    market.correct("110", to="111")
    expect(page.locator("#tape")).to_contain_text("111.00")
    market.cancel("120")
    expect(page.locator("#tape")).not_to_contain_text("120.00")
    assert page.locator("#tape tr").count() == 30
    assert page.evaluate(UNMARKED_PRICES) == ["▼ 90.00"]


def test_times_have_milliseconds(recorded: RecordedPage, market: Market):
    newest = market.minute(ago=0) + timedelta(milliseconds=7)
    older = market.minute(ago=2000) + timedelta(microseconds=125999)
    market.trade("10", at=newest)
    market.trade("9", at=older)
    open_dashboard(recorded.page)
    times = recorded.page.locator("#tape td:first-child")
    expect(times).to_have_text([re.compile(rf"{newest:%H:%M}:00.007$"), f"{older:%Y-%m-%d %H:%M}:00.125"])


def test_scrolling_reads_older_trades_and_holds_the_newest(recorded: RecordedPage, market: Market):
    market.trade_each_minute(400)
    page = recorded.page
    open_dashboard(page)
    rows = page.locator("#tape tr")
    expect(rows).to_have_count(60)
    page.locator("#tape-scroller").focus()

    def scroll_to_the_end() -> bool:
        page.keyboard.press("End")
        return "499.00" in rows.last.inner_text()

    eventually(scroll_to_the_end, 10)
    expect(rows).to_have_count(400)
    page.keyboard.press("End")
    expect(rows.last).to_be_in_viewport()
    market.trade("90")
    expect(page.locator("#price")).to_have_text("90.00")
    expect(page.get_by_role("button", name="Continue (1 new)")).to_be_visible()
    expect(rows.last).to_be_in_viewport()
    page.keyboard.press("Home")
    expect(rows.first).to_contain_text("90.00")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(rows).to_have_count(60)


def test_paused_tape_counts_new_trades_and_shows_changes_of_old_ones(recorded: RecordedPage, market: Market):
    market.trade_each_minute(5)
    page = recorded.page
    open_dashboard(page)
    rows = page.locator("#tape tr")
    expect(rows).to_have_count(5)
    page.keyboard.press("s")
    expect(page.locator("#announcer")).to_have_text("Trades paused.")
    market.trade("90")
    market.trade("91")
    market.cancel("102")
    market.import_trades("95", at=[market.minute(ago=2) + timedelta(seconds=30)])  # the tape is read again
    expect(page.get_by_role("button", name="Continue (2 new)")).to_be_visible()
    expect(page.locator("#tape")).to_contain_text("95.00")
    expect(page.locator("#tape")).not_to_contain_text("102.00")
    expect(page.locator("#tape")).not_to_contain_text(re.compile("9[01].00"))
    page.get_by_role("button", name="Continue (2 new)").click()
    expect(rows.first).to_contain_text("91.00")
    expect(rows).to_have_count(7)
    page.keyboard.press("s")
    market.trade_each_minute(3, "MSFT")
    page.get_by_role("row", name="MSFT").click()
    expect_chart(page, symbol="MSFT")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
