"""The page says when the market of a symbol opens and closes, and shades its extended hours with enough contrast."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from browser.contrast import low_contrast_texts
from browser.dashboard.closing_market import HOUR, add_open_market
from browser.dashboard.market import Market, now
from browser.dashboard.page import expect_chart, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from browser.wcag import wcag_violations
from helpers.service import eventually
from helpers.support import Connection
from playwright.sync_api import Browser, Page, Route, expect

from market_data.queries.schedules import TradingSession


def answer(page: Page, **fields: Any) -> None:
    """Answer the requests for the state of the market."""

    def fulfill(route: Route) -> None:
        route.fulfill(
            json={name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
        )

    page.unroute_all()
    page.route("**/market/status?*", fulfill)


def test_the_page_says_when_the_market_opens_and_closes(recorded: RecordedPage, market: Market, connection: Connection):
    """The state of the market is an answer of this test; the time at which it changes is the real one."""
    market.trade("10")
    add_open_market(connection, market)
    page = recorded.page
    note = page.locator("#market")
    later = market.minute(ago=0) + timedelta(days=2, hours=3, minutes=30)
    answer(page, status="closed", next_open=later, next_close=later + HOUR)
    open_dashboard(page)
    expect(note).to_have_text(re.compile(rf"^Market closed, opens {later:%a %H:%M} UTC \(in 2 d 3 h\)$"))
    far = later + timedelta(days=10)
    soon = now() + timedelta(seconds=4)
    answer(page, status="pre", next_open=soon, next_close=far)
    page.reload()
    expect(note).to_have_text(re.compile(r"^Pre-market, opens .* UTC \(in \d s\)$"))
    answer(page, status="open", next_open=far, next_close=later)
    expect(note).to_have_text(f"Market open, closes {later:%a %H:%M} UTC")
    expect(page.locator("#announcer")).to_have_text(f"AAPL: Market open, closes {later:%a %H:%M} UTC")
    assert now() >= soon
    answer(page, status="closed", next_open=far, next_close=far + HOUR)
    page.reload()
    expect(note).to_have_text(re.compile(f"^Market closed, opens {far:%Y-%m-%d %H:%M} UTC"))
    answer(page, status="closed", next_open=None, next_close=None)
    page.reload()
    expect(note).to_have_text("Market closed")


STATES = """async ([start, ...minutes]) => {
    const { followReplay, now } = await import("/assets/dashboard/service_clock.js");
    const { MarketHours } = await import("/assets/dashboard/market_hours.js");
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const hours = new MarketHours(() => (reads += 1));
    let reads = 0;
    hours.listings = [{ symbol: "IBM", calendar: "XNYS" }, { symbol: "COIN" }];
    const states = [hours.of("COIN")];
    for (const minute of minutes) {
        followReplay(Date.parse(start) + minute * 60_000, 0); // the clock stands
        const before = reads;
        const known = hours.of("IBM");
        const isOver = !known || now() >= known.until;
        while (isOver && reads === before) await sleep(10);
        states.push([minute, hours.of("IBM")?.status, reads]);
    }
    return states;
}"""


def test_state_of_the_market_is_read_when_it_changes_or_may_have_changed(recorded: RecordedPage):
    """The answers are those of the service on a day in New York; it is asked before 4:00, and until after the close."""
    page = recorded.page
    page.goto("/dashboard")
    opens, closes = "2026-02-09T14:30:00Z", "2026-02-09T21:00:00Z"
    night = {"next_open": opens, "next_close": closes}
    answers = [
        {"status": "closed", **night},
        {"status": "pre", **night},
        {"status": "pre", **night},
        {"status": "open", "next_open": "2026-02-10T14:30:00Z", "next_close": closes},
        {"status": "post", "next_open": "2026-02-10T14:30:00Z", "next_close": "2026-02-10T21:00:00Z"},
    ]
    page.route("**/market/status?*", lambda route: route.fulfill(json=answers.pop(0)))
    states = page.evaluate(STATES, ["2026-02-09T08:59:30Z", 0, 0.9, 1, 330, 331, 500, 720.4, 720.5])
    assert states == [
        None,
        [0, "closed", 1],
        [0.9, "closed", 1],
        [1, "pre", 2],
        [330, "pre", 3],
        [331, "open", 4],
        [500, "open", 4],
        [720.4, "open", 4],
        [720.5, "post", 5],
    ]
    assert answers == []


def test_replay_has_candles_of_sessions_but_no_state_of_the_market(
    recorded: RecordedPage, market: Market, connection: Connection
):
    market.trade("10", at=market.minute(ago=80))
    market.refresh()
    add_open_market(connection, market)
    page = recorded.page
    open_dashboard(page, f"?symbol=AAPL&interval=15m&replay={market.minute(ago=70):%Y-%m-%dT%H:%M:%SZ}")
    expect(page.locator("#connection")).to_have_text("Replay")
    expect(page.get_by_label("Sessions")).to_be_visible()
    expect(page.locator("#market")).to_be_hidden()


PIXELS = """(indexes) => {
    const chart = document.querySelector("#chart");
    const canvas = chart.querySelector("td:nth-child(2) canvas");
    const { from, to } = chart.visibleIndexes;
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(canvas, 0, 0);
    return indexes.map((index) => {
        const x = Math.floor(((index - from + 0.5) / (to - from + 1)) * canvas.width) + 3;
        return [1, 6].map((y) => [...drawing.getImageData(x, y, 1, 1).data].slice(0, 3).join());
    });
}"""
"""Colours of the strip on top of some columns, and of their background."""
COLOURS = """async () => {
    const { chartColours } = await import("/assets/dashboard/chart_colours.js");
    return chartColours();
}"""


def rgb(colour: str) -> list[float]:
    return [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [part / 255 for part in rgb(colour)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shaded_columns_have_their_colour_and_candles_contrast_with_it(
    browser: Browser, address: str, sessions: Sequence[TradingSession], scheme: Any
):
    with recorded_page(browser, address, color_scheme=scheme, viewport={"width": 1440, "height": 900}) as recorded:
        page = recorded.page
        open_dashboard(page, "?symbol=IBM&interval=1h")
        expect_chart(page, candles=17 * len(sessions))
        colours = page.evaluate(COLOURS)
        strip, pre, post, panel = [
            ",".join(f"{part:.0f}" for part in rgb(colours[name])) for name in ("session-strip", "pre", "post", "panel")
        ]
        eventually(lambda: page.evaluate(PIXELS, [20])[0] == [strip, pre], 20)
        background = [column[1] for column in page.evaluate(PIXELS, [17, 22, 23, 29, 30, 33, 34])]
        assert background == [pre, pre, panel, panel, post, post, pre]
        names = ["up", "down", "flat", "compared", "session-strip", *(f"line-{number}" for number in range(1, 6))]
        assert {
            (name, part) for name in names for part in ("pre", "post") if contrast(colours[name], colours[part]) < 3
        } == set()
        assert low_contrast_texts(page) == []
        assert recorded.problems == []


SCREENS: list[dict[str, Any]] = [
    {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}},
    {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True},
    {"forced_colors": "active", "viewport": {"width": 1440, "height": 900}},
]


@pytest.mark.parametrize("screen", SCREENS, ids=["light", "dark phone", "forced colours"])
def test_sessions_have_no_violations_of_wcag(
    browser: Browser, address: str, sessions: Sequence[TradingSession], screen: dict[str, Any]
):
    with recorded_page(browser, address, **screen) as recorded:
        page = recorded.page
        open_dashboard(page, "?symbol=IBM&interval=1h")
        expect_chart(page, candles=17 * len(sessions))
        assert wcag_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert recorded.problems == []
