"""Themes and screen sizes."""

from browser.dashboard.market import Market
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.service import eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Page, expect

DESKTOPS = [(1440, 900), (1024, 768)]
PHONES = [(390, 844), (320, 640)]


CHART_BACKGROUND = """(() => {
    const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(document.querySelector("#chart canvas"), -3, -3);
    return drawing.getImageData(0, 0, 1, 1).data.join();
})()"""
"""Colour of a canvas pixel near the edge of the chart."""


def test_theme_follows_the_system_until_toggled(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page

    def backgrounds() -> tuple[str, str]:
        return page.evaluate("getComputedStyle(document.body).backgroundColor"), page.evaluate(CHART_BACKGROUND)

    def expect_backgrounds(body: str, pixel: str) -> None:
        expect(page.locator("body")).to_have_css("background-color", body)
        eventually(lambda: page.evaluate(CHART_BACKGROUND) == pixel, 5)

    open_dashboard(page)
    expect_chart(page, candles=1)
    dark = backgrounds()
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).not_to_have_css("background-color", dark[0])
    page.wait_for_timeout(100)  # the chart redraws in the next frame
    light = backgrounds()
    assert light[1] == "255,255,255,255"
    assert dark[1] == "15,19,27,255"
    page.get_by_role("button", name="Use the dark theme").click()
    expect_backgrounds(*dark)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    expect_backgrounds(*dark)
    page.keyboard.press("t")
    expect_backgrounds(*light)
    assert page.evaluate("localStorage.length") == 0  # the system's theme needs no override


def test_text_size_of_the_browser_enlarges_the_page(recorded: RecordedPage, market: Market):
    market.trade_each_minute(90)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=90)
    row = page.locator("#row-AAPL").bounding_box()
    client = page.context.new_cdp_session(page)
    client.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    expect(page.locator("#price")).to_have_css("font-size", "52px")
    assert page.evaluate("document.documentElement.scrollWidth") == 1440
    assert page.evaluate(OVERFLOWING) == []
    eventually(lambda: (page.locator("#row-AAPL").bounding_box() or {})["height"] > 1.9 * (row or {})["height"], 5)


def test_long_names_and_symbols_fit(recorded: RecordedPage, market: Market, connection: Connection):
    symbol, name = "BRK.B-WARRANTS-SERIES-2026-XYZ", "Berkshire Hathaway Incorporated Class B Preference Shares " * 2
    connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, %s)", (symbol, name.strip()))
    market.trade("1234567.25", symbol=symbol)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol=symbol, candles=1)
    for width, height in [*DESKTOPS, *PHONES, (1920, 1080), (3840, 2160)]:
        expect_fit(page, width, height)
    longest = "ABCDEFGH" * 8
    connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, %s)", (longest, name.strip()))
    market.trade("123456789.25", symbol=longest)
    expect(page.get_by_role("row", name=longest)).to_be_visible()
    page.get_by_role("row", name=longest).click()
    expect_chart(page, symbol=longest, candles=1)
    for width, height in [*PHONES, *DESKTOPS]:
        expect_fit(page, width, height)
    assert page.locator(".quote").evaluate("element => element.clientHeight") < 180


OVERFLOWING = """() => [
    ...document.querySelectorAll("button, input, h1, #price, .status, .row, .legend > div, .day > div, footer a")
]
    .filter((each) => {
        const right = each.closest(".instrument, body").getBoundingClientRect().right;
        return each.checkVisibility() && each.getBoundingClientRect().right > right + 1;
    })
    .map((each) => each.textContent)"""
SMALL_TOUCH_TARGETS = """() => [...document.querySelectorAll("button, input, .row")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 40)
    .map((each) => each.id || each.textContent)"""


def expect_fit(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (width, page.evaluate(OVERFLOWING)) == (width, [])
    chart = page.locator("#chart").bounding_box()
    assert chart
    assert chart["width"] > 0.6 * min(width, 900)
    assert chart["height"] >= 300


def test_desktop_layout_fits_without_scrolling(recorded: RecordedPage, market: Market):
    market.trade_each_minute(200)
    market.trade("1234.56", symbol="BRK.A")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=200)
    for width, height in DESKTOPS:
        expect_fit(page, width, height)
        assert page.evaluate("document.documentElement.scrollHeight") == height


def test_phone_layout_fits_and_has_large_touch_targets(browser: Browser, address: str, market: Market):
    market.trade_each_minute(200)
    market.trade("1234.56", symbol="BRK.A")
    with recorded_page(browser, address, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, candles=200)
        page.locator("#freshness").evaluate("each => each.append(' and a text long enough to wrap')")
        for width, height in PHONES:
            expect_fit(page, width, height)
            assert page.evaluate(SMALL_TOUCH_TARGETS) == []
        page.get_by_role("row", name="BRK.A").tap()
        expect_chart(page, symbol="BRK.A")
        assert recorded.problems == []
