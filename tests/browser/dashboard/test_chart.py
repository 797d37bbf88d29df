"""Drawing of the chart: candles, gaps, scales, zoom, themes, touch and print."""

import re
from datetime import timedelta
from itertools import groupby

from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_property, expect_chart, legend_value, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.service import eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Page, expect

DRAWN_PRICES = "document.querySelector('#chart').drawnSeries[0]"
NUMBER_OF_COLOURS = """(selector) => {
    const colours = new Set();
    for (const canvas of document.querySelectorAll(`${selector} canvas`)) {
        if (!canvas.width || !canvas.height) continue;
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const drawing = copy.getContext("2d", { willReadFrequently: true });
        drawing.drawImage(canvas, 0, 0);
        for (const pixel of new Uint32Array(drawing.getImageData(0, 0, copy.width, copy.height).data.buffer))
            colours.add(pixel);
    }
    return colours.size;
}"""
MANY_COLOURS = 20
"""A drawn chart has more, because edges of text are blended; a blank one has one or two."""


def visible_indexes(page: Page) -> tuple[float, float]:
    indexes = chart_property(page, "visibleIndexes")
    return indexes["from"], indexes["to"]


def test_few_candles_fill_the_pane(recorded: RecordedPage, market: Market, connection: Connection):
    market.trade_each_minute(3)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)

    def shows_all_of(count: int) -> bool:
        first, last = visible_indexes(page)
        return -1 < first <= 0 and count - 1 <= last < count

    eventually(lambda: shows_all_of(3), 20)  # with the next frame
    market.late_trade("100", at=market.minute(ago=0))  # after a gap, there would be one more column
    expect_chart(page, candles=4)
    eventually(lambda: shows_all_of(4), 20)
    page.set_viewport_size({"width": 1300, "height": 900})
    eventually(lambda: shows_all_of(4), 20)
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('NEW', 'Listed today')")
    open_dashboard(page, "?symbol=NEW&interval=1m")
    for ago in (3, 2, 1):
        market.trade("100", at=market.minute(ago), symbol="NEW")
        market.refresh()
    expect_chart(page, symbol="NEW", candles=3)
    eventually(lambda: shows_all_of(3), 20)


def test_zoom_keeps_the_right_edge(recorded: RecordedPage, market: Market):
    market.trade_each_minute(500)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=500)

    def margin() -> float:
        """Return the share of the width that is right of the newest candle."""
        first, last = visible_indexes(page)
        return (last - 499) / (last - first + 1)

    eventually(lambda: 0.02 < margin() < 0.08, 20)
    initial, before = margin(), visible_indexes(page)
    chart = page.locator("#chart")
    chart.focus()
    for key in ("+", "+", "+", "-"):
        page.keyboard.press(key)
        eventually(lambda: abs(margin() - initial) < 0.001, 20)
    eventually(lambda: visible_indexes(page)[0] > before[0] + 20, 20)  # the chart zooms with the next frame
    chart.hover(position={"x": 300, "y": 100})
    for delta in (-200, -200, 100):
        page.mouse.wheel(0, delta)
    eventually(lambda: visible_indexes(page)[0] > before[0] + 40, 20)
    assert abs(margin() - initial) < 0.001
    page.keyboard.press("Home")
    right = visible_indexes(page)[1]
    page.keyboard.press("+")
    assert abs(visible_indexes(page)[1] - right) < 0.01


def test_quiet_minutes_leave_a_gap(recorded: RecordedPage, market: Market):
    for ago in (9, 8, 2, 1):
        market.trade("10", at=market.minute(ago))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=4)
    first, last = visible_indexes(page)
    assert first <= 0
    assert 8 <= last < 9
    width = page.evaluate("document.querySelector('#chart canvas').getBoundingClientRect().width")
    middle = (4 - first + 0.5) / (last - first + 1) * width  # of the gap
    page.locator("#chart").hover(position={"x": middle, "y": 120})
    expect(page.locator("#legend [data-field=time] dd")).to_have_text(f"{market.minute(ago=5):%Y-%m-%d %H:%M}")
    assert [legend_value(page, field) for field in ("open", "close", "volume", "trades")] == ["—", "—", "0", "0"]


def test_candles_of_a_single_trade_are_neutral(recorded: RecordedPage, market: Market):
    for ago, prices in ((3, ["10"]), (2, ["10", "11"]), (1, ["11", "10"])):
        for second, price in enumerate(prices):
            market.trade(price, at=market.minute(ago) + timedelta(seconds=second))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=3)
    assert [("color" in point) for point in page.evaluate(DRAWN_PRICES)] == [True, False, False]
    volumes = page.evaluate("document.querySelector('#chart').drawnSeries[1].map(({ color }) => color)")
    assert len(set(volumes)) == 3


TOP_OF_VOLUME_BAR = """(index) => {
    const chart = document.querySelector("#chart");
    const panes = [...chart.querySelectorAll("tr")].map((row) => row.querySelector("td:nth-child(2) canvas"));
    const canvas = panes.filter((each) => each?.height > 30)[1];
    const { from, to } = chart.visibleIndexes;
    const x = ((index - from + 0.5) / (to - from + 1)) * canvas.width;
    const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 20 });
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(canvas, -Math.floor(x), 0);
    return [...new Uint32Array(drawing.getImageData(0, 0, 1, 20).data.buffer)];
}"""
"""Colours of the uppermost pixels of the volume pane in the middle of a bar."""


def test_volumes_that_are_cut_off_have_a_gap(recorded: RecordedPage, market: Market):
    market.trade_each_minute(50)
    market.trade("100", at=market.minute(ago=30) + timedelta(seconds=1), volume="1000")
    market.refresh()
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=50)

    def runs(index: int) -> list[int]:
        """Return the numbers of pixels of the same colour, from the top."""
        return [len([*same]) for _, same in groupby(page.evaluate(TOP_OF_VOLUME_BAR, index))]

    eventually(lambda: runs(20) == [6, 3, 11], 20)
    assert runs(30) == [20]


HEIGHTS_OF_AVERAGE = """(indexes) => {
    const chart = document.querySelector("#chart");
    const canvas = chart.querySelector("td:nth-child(2) canvas");
    const sample = getComputedStyle(document.querySelector("[data-indicator=sma20] dt"), "::before");
    const colour = sample.borderTopColor.match(/[0-9]+/g).map(Number);
    const { from, to } = chart.visibleIndexes;
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(canvas, 0, 0);
    return indexes.map((index) => {
        const x = Math.floor(((index - from + 0.5) / (to - from + 1)) * canvas.width);
        const { data } = drawing.getImageData(x, 0, 1, canvas.height);
        const distances = Array.from({ length: canvas.height }, (_, y) =>
            colour.reduce((sum, value, channel) => sum + Math.abs(value - data[4 * y + channel]), 0));
        return distances.indexOf(Math.min(...distances));
    });
}"""
"""Distances of the line of SMA 20 from the top of the chart, at some candles."""


def test_indicators_keep_their_place_among_the_candles_in_percent(recorded: RecordedPage, market: Market):
    market.trade_each_minute(60)
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1m&indicators=sma20")
    expect_chart(page, candles=60)
    expect(page.locator("[data-indicator=sma20]")).to_contain_text("109.50")

    def heights() -> list[int]:
        chart_property(page, "visibleIndexes")
        return page.evaluate(HEIGHTS_OF_AVERAGE, [22, 40, 58])

    eventually(lambda: heights() == sorted(heights()) and heights()[2] > heights()[0] + 100, 20)
    linear = heights()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Scale").select_option("Percent")
    page.keyboard.press("Escape")
    expect_chart(page, scale="percent")
    eventually(lambda: all(abs(one - other) <= 2 for one, other in zip(heights(), linear, strict=True)), 20)


def test_log_and_percent_scale_need_positive_prices(recorded: RecordedPage, market: Market, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL', 'Crude oil', true)")
    market.trade("5", at=market.minute(2), symbol="CL")
    market.trade("7", symbol="AAPL")
    page = recorded.page
    open_dashboard(page, "?symbol=CL&interval=1m&scale=log")
    note = page.locator("#scale-note")
    expect_chart(page, symbol="CL", candles=1, scale="log")
    expect(note).to_be_hidden()
    market.trade("-5", symbol="CL")
    expect_chart(page, candles=2, scale="linear")
    expect(note).to_have_text("No log scale: CL has prices of zero or less.")
    page.get_by_role("row", name="AAPL").click()
    expect_chart(page, symbol="AAPL", scale="log")
    expect(note).to_be_hidden()


def test_contrast_theme_shows_the_chart(browser: Browser, address: str, market: Market):
    market.trade_each_minute(50)
    with recorded_page(browser, address, forced_colors="active") as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, candles=50)
        eventually(lambda: page.evaluate(NUMBER_OF_COLOURS, "#chart") > MANY_COLOURS, 20)
        page.emulate_media(forced_colors="none")
        eventually(lambda: page.evaluate(NUMBER_OF_COLOURS, "#chart") > MANY_COLOURS, 20)


def swipe(page: Page, x: float, y: float, by: tuple[float, float]) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for n in range(1, 11):
        point = {"x": x + by[0] * n / 10, "y": y + by[1] * n / 10}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_vertical_swipe_scrolls_the_page_and_a_horizontal_one_the_chart(browser: Browser, address: str, market: Market):
    market.trade_each_minute(200)
    with recorded_page(browser, address, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, candles=200)
        box = page.locator("#chart").bounding_box()
        assert box
        y = box["y"] + 260
        for share in (0.4, 0.95):  # on the candles, on the price scale
            page.evaluate("scrollTo(0, 0)")
            swipe(page, box["x"] + share * box["width"], y, by=(0, -250))
            eventually(lambda: page.evaluate("scrollY") > 100, 20)
        before = visible_indexes(page)

        def scrolls() -> bool:
            page.evaluate("scrollTo(0, 0)")  # the momentum of the page may have moved the chart again, or end a swipe
            swipe(page, box["x"] + 60, y, by=(200, 0))
            return visible_indexes(page)[0] < before[0] - 10

        eventually(scrolls, 40)


def test_print_shows_the_chart_on_one_page(recorded: RecordedPage, market: Market):
    market.trade_each_minute(50)
    page = recorded.page
    open_dashboard(page, "?symbol=AAPL&interval=1m&indicators=sma20")
    expect_chart(page, candles=50)
    page.emulate_media(media="print")
    eventually(lambda: page.evaluate(NUMBER_OF_COLOURS, "#chart-picture") > MANY_COLOURS, 20)
    expect(page.locator("#chart-caption")).to_have_text(re.compile(r"^AAPL · 1 minute · .* UTC$"))
    expect(page.locator("#chart-picture")).to_be_visible()
    for hidden in ("#intervals", ".chart-controls", "aside"):
        expect(page.locator(hidden)).to_be_hidden()
    page.emulate_media(media="screen")
    expect(page.locator("#chart-picture canvas")).to_have_count(0)
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    assert len(pages) == 1


def test_small_prices_have_all_their_decimals(recorded: RecordedPage, market: Market):
    market.trade("0.0000064", at=now() - timedelta(minutes=3), symbol="SHIB")
    market.trade("0.0000065", symbol="SHIB")
    page = recorded.page
    open_dashboard(page, "?symbol=SHIB&interval=1m&scale=percent&indicators=sma20")
    expect_chart(page, symbol="SHIB", candles=2, scale="percent")
    assert legend_value(page, "close") == "0.0000065"
    expect(page.locator("#tape td:nth-child(2)")).to_have_text(["▲ 0.0000065", "0.0000064"])
    market.trade("0.00000654", symbol="SHIB")
    expect(page.locator("#tape td:nth-child(2)")).to_have_text(["▲ 0.00000654", "▲ 0.00000650", "0.00000640"])
    expect(page.locator("[data-indicator=sma20]")).to_contain_text("—")
