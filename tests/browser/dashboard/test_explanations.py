"""A click on a candle, or Enter, opens its explanation."""

from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage
from playwright.sync_api import Page, expect

PRICE_SCALE_PX, TIME_SCALE_PX, RIGHT_MARGIN_PX = 68, 28, 48


def click_column(page: Page, slot: int, height: float) -> None:
    """Click the column of one of three candles, at a share of the height of the panes."""
    box = page.locator("#chart").bounding_box()
    assert box
    width = (box["width"] - PRICE_SCALE_PX - RIGHT_MARGIN_PX) / 3
    page.mouse.click(box["x"] + (slot + 0.5) * width, box["y"] + height * (box["height"] - TIME_SCALE_PX))


def rows_of(page: Page, heading: str) -> list[str]:
    table = page.get_by_role("heading", name=heading, exact=True).locator("xpath=following-sibling::table[1]")
    return [" ".join(row.split()) for row in table.locator("tbody tr").all_inner_texts()]


def test_click_on_a_candle_explains_it(recorded: RecordedPage, market: Market):
    market.trade_each_minute(3)
    market.late_trade("108", at=market.minute(ago=2))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)
    dialog = page.get_by_role("dialog")
    click_column(page, 1, 0.95)  # of the volumes
    expect(dialog.get_by_role("heading").first).to_have_text(f"AAPL, 1 minute, {market.minute(ago=2):%Y-%m-%d %H:%M}")
    expect(dialog).to_contain_text("The figures are those of its 2 trades.")
    expect(dialog.get_by_role("row", name="High")).to_contain_text("108.00108.00")
    expect(dialog.get_by_role("row", name="Trades 2 2")).to_be_visible()
    late = rows_of(page, "2 late trades")  # both were stored after their minute
    assert ["101.00 1" in late[0], "108.00 1" in late[1], len(late)] == [True, True, 2]
    revisions = rows_of(page, "2 revisions")
    assert "Late trades no candle 101.00 101.00 101.00 101.00, 1 trade" in revisions[0]
    assert "Late trades 101.00 101.00 101.00 101.00, 1 trade 101.00 108.00" in revisions[1]
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    click_column(page, 0, 0.5)  # below the candle, whose price is 102
    click_column(page, 2, 0.02)  # above the candle, whose price is 100
    expect(dialog).to_have_count(0)


def test_enter_explains_the_candle_that_the_keyboard_has_chosen(recorded: RecordedPage, market: Market):
    market.trade_each_minute(3)
    market.correct("101", "101.5")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)
    chart = page.locator("#chart")
    chart.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The figures are those of its 1 trade.")
    (changed,) = rows_of(page, "1 changed trade")
    assert "101.00 \u00d7 1 101.50 \u00d7 1 postgres" in changed
    page.keyboard.press("Escape")
    expect(chart).to_be_focused()


def test_explanation_that_can_not_be_read_says_why(recorded: RecordedPage, market: Market):
    market.trade_each_minute(3)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)
    page.route("**/candles/explain*", lambda route: route.fulfill(status=404, json={"detail": "No such bucket."}))
    page.locator("#chart").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Can't read the explanation. No such bucket.")
    assert ["404" in problem for problem in recorded.problems] == [True]
    recorded.problems.clear()
