"""Keyboard, screen reader, contrast and reduced motion."""

import re
from datetime import timedelta

from browser.contrast import low_contrast_texts
from browser.dashboard.market import Market, now
from browser.dashboard.page import chart_state, expect_chart, open_dashboard
from browser.recorded_page import RecordedPage, recorded_page
from helpers.service import eventually
from playwright.sync_api import Browser, FloatRect, Page, expect


def test_keyboard_reaches_all_controls(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "GOOGL", "MSFT"):
        market.trade_each_minute(90, symbol)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="AAPL", interval="1m")
    page.keyboard.press("2")
    expect_chart(page, interval="5m")
    page.keyboard.press("]")
    expect_chart(page, interval="15m")
    page.keyboard.press("[")
    expect_chart(page, interval="5m")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_be_focused()
    page.keyboard.type("goo1")
    expect(page.locator("#watch-list-note")).to_have_text("No symbol matches “goo1”.")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect_chart(page, symbol="GOOGL", interval="5m")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^GOOGL 100\.00.*\. Candles of 5 minutes\.$"))
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_have_value("")
    grid = page.get_by_role("grid", name="Watch list")
    grid.focus()
    page.keyboard.press("ArrowDown")
    expect_chart(page, symbol="MSFT")
    expect(grid).to_have_attribute("aria-activedescendant", "row-MSFT")
    page.keyboard.press("Home")
    expect_chart(page, symbol="AAPL")
    page.keyboard.press("1")
    expect_chart(page, interval="1m", candles=90)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("101.00")
    expect(page.locator("#announcer")).to_contain_text("close 101.00")
    page.keyboard.press("Home")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("189.00")
    page.keyboard.press("Escape")
    expect(page.locator("#legend [data-field=close] dd")).to_have_text("100.00")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("2")  # ignored while the dialog is open
    page.get_by_role("button", name="Close").press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert chart_state(page, "interval") == "1m"


def test_tab_stops_have_a_name_and_a_visible_focus(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=1)
    stops: list[tuple[str, bool]] = []
    page.locator("body").press("Tab")
    for _ in range(50):
        name, outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const name = active.getAttribute("aria-label") || active.labels?.[0]?.innerText || active.innerText;
                const shown = active.hasAttribute("aria-activedescendant")
                    ? document.getElementById(active.getAttribute("aria-activedescendant")) : active;
                const isOutlined = getComputedStyle(shown).outlineStyle === "solid"
                    || getComputedStyle(shown.parentElement, "::after").borderTopStyle === "solid";
                return [active === document.body ? "" : name.trim(), isOutlined];
            }"""
        )
        if not name:
            break
        if (name, outlined) not in stops:  # a date field has several
            stops.append((name, outlined))
        page.keyboard.press("Tab")
    names = [name for name, _ in stops]
    assert [name for name, outlined in stops if not outlined] == []
    assert {
        *("Skip to the chart", "Use the light theme", "Keyboard shortcuts", "1m, 1 minute", "1W, 1 week"),
        *("Edit watch lists", "Find a symbol", "Symbol", "24 h change", "Pause"),
    } <= set(names)
    assert "AAPL, candles of 1 minute, times in UTC" in names


def test_elements_have_accessible_names_roles_and_descriptions(recorded: RecordedPage, market: Market):
    market.trade("100", at=market.minute(ago=600))
    market.trade("110", at=now() - timedelta(hours=1))
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=2)
    chart = page.get_by_role("application", name="AAPL, candles of 1 minute, times in UTC")
    expect(chart).to_have_accessible_description(
        re.compile(r"Open 110\.00.*High 110\.00.*Close 110\.00.*Left and right move")
    )
    grid = page.get_by_role("grid", name="Watch list")
    expect(grid).to_have_attribute("aria-rowcount", "2")
    expect(grid.get_by_role("row", name="AAPL AAPL Ltd. 110.00 ▲ +10.00%", selected=True)).to_be_visible()
    expect(grid.get_by_role("columnheader", name="24 h change")).to_have_attribute("title", re.compile("24 hours ago"))
    expect(page.get_by_role("group", name="Interval").get_by_role("button", pressed=True)).to_have_accessible_name(
        "1m, 1 minute"
    )
    expect(page.get_by_role("region", name="Trades").get_by_role("columnheader")).to_have_count(3)
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("contentinfo")).to_contain_text(
        "TradingView Lightweight Charts™, Copyright © 2026 TradingView, Inc."
    )
    expect(page.get_by_role("link", name="https://www.tradingview.com/")).to_be_visible()
    announcer = page.locator("#announcer")
    expect(announcer).to_have_attribute("aria-live", "polite")
    page.keyboard.press("p")
    expect(announcer).to_have_text("AAPL 110.00, ▲ +10.00 (+10.00%) since the first trade")
    market.trade("111")
    expect(page.locator("#price")).to_have_text("111.00")
    page.wait_for_timeout(1300)  # longer than the minimum time between announcements
    assert "111" not in announcer.inner_text()


def test_focus_ring_of_the_chart_is_drawn_above_the_canvas(recorded: RecordedPage, market: Market):
    market.trade_each_minute(5)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, candles=5)
    box = page.locator("#chart").bounding_box()
    assert box
    edge: FloatRect = {"x": box["x"], "y": box["y"] + box["height"] / 2, "width": 2, "height": 9}
    before = page.screenshot(clip=edge)
    page.locator("#intervals button").last.focus()
    page.keyboard.press("Tab")
    expect(page.locator("#chart")).to_be_focused()
    assert page.screenshot(clip=edge) != before


def test_each_subject_is_announced_once_with_its_latest_text(recorded: RecordedPage, market: Market):
    market.trade("10", at=now() - timedelta(hours=1))
    open_dashboard(recorded.page)
    expect_chart(recorded.page, candles=1)
    recorded.page.evaluate(
        """async () => {
            const { announce } = await import("/assets/dashboard/announcer.js");
            const region = document.getElementById("announcer");
            window.announced = [];
            new MutationObserver(() => announced.push(region.textContent)).observe(region, { childList: true });
            announce("1 of 3 symbols");
            announce("The data is stale.", "data");
            announce("2 of 3 symbols");
        }"""
    )
    eventually(lambda: recorded.page.evaluate("announced.length") >= 2, 10)
    assert recorded.page.evaluate("announced") == ["The data is stale.", "2 of 3 symbols"]


def test_search_announces_its_result_and_returns_the_focus(recorded: RecordedPage, market: Market):
    for symbol in ("AAPL", "AMZN", "MSFT"):
        market.trade("10", at=now() - timedelta(hours=1), symbol=symbol)
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, symbol="AAPL", candles=1)
    search, announcer = page.get_by_role("searchbox"), page.locator("#announcer")
    page.locator("#chart").focus()
    page.keyboard.press("/")
    page.keyboard.type("a")
    expect(announcer).to_have_text("2 of 3 symbols")
    page.keyboard.type("x")
    expect(announcer).to_have_text("No symbol matches “ax”.")
    page.keyboard.press("Enter")
    expect(search).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#chart")).to_be_focused()
    expect(search).to_have_value("")
    search.click()
    page.keyboard.type("ms")
    page.keyboard.press("Enter")
    expect_chart(page, symbol="MSFT")
    expect(search).to_have_value("")
    expect(page.get_by_role("grid")).to_be_focused()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "4")


SHORTCUT_HINTS = """[...document.querySelectorAll("[aria-keyshortcuts], [title$=')']")]
    .map((element) => [element.getAttribute("aria-keyshortcuts"), element.title])
    .filter(([shortcut, title]) => shortcut || / \\(.\\)$/.test(title))"""


def test_single_key_shortcuts_can_be_switched_off(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    expect_chart(page, interval="1m", candles=1)
    page.keyboard.press("?")
    page.get_by_role("checkbox", name="Use single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    for _ in range(2):
        page.keyboard.type("2]lst?")
        assert chart_state(page, "interval") == "1m"
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="theme").click()
        assert page.evaluate(SHORTCUT_HINTS) == []
        page.reload()
        expect_chart(page, interval="1m", candles=1)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_role("checkbox", name="Use single-key shortcuts").check()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect_chart(page, interval="5m")
    hints = page.evaluate(SHORTCUT_HINTS)
    assert ["2", "5 minutes (2)"] in hints
    assert {shortcut for shortcut, _ in hints} == {*"12345678/?lst"}
    assert all(title.endswith(f" ({shortcut})") for shortcut, title in hints if title)


def test_forced_colours_show_one_selected_row_and_interval(browser: Browser, address: str, market: Market):
    for symbol in ("AAPL", "MSFT"):
        market.trade("10", symbol=symbol)
    with recorded_page(browser, address, forced_colors="active") as recorded:
        page = recorded.page
        open_dashboard(page)
        expect_chart(page, symbol="AAPL", candles=1)

        def edge(selector: str) -> bytes:
            box = page.locator(selector).bounding_box()
            assert box
            return page.screenshot(clip={"x": box["x"], "y": box["y"] + 12, "width": 2, "height": 9})

        assert edge("#row-AAPL") != edge("#row-MSFT")
        assert edge("#intervals [data-interval='1m']") != edge("#intervals [data-interval='5m']")


def expect_contrast_in_both_themes(page: Page) -> None:
    eventually(lambda: page.evaluate("document.getAnimations().length === 0"), 10)  # they keep the colours of a theme
    page.emulate_media(color_scheme="dark")
    assert low_contrast_texts(page) == []
    page.emulate_media(color_scheme="light")
    assert low_contrast_texts(page) == []


def test_text_has_contrast_in_both_themes_fresh_and_stale(recorded: RecordedPage, market: Market):
    market.trade("100", at=now() - timedelta(hours=5), symbol="MSFT")
    market.trade("99", at=now() - timedelta(hours=4), symbol="MSFT")
    market.trade("10", at=now() - timedelta(hours=5))
    page = recorded.page
    open_dashboard(page)
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("▼ \N{MINUS SIGN}1.00%")
    market.trade("11")
    expect(page.locator("html")).to_have_attribute("data-freshness", "fresh")
    expect_contrast_in_both_themes(page)
    page.get_by_role("row", name="MSFT").click()
    expect(page.locator("html")).to_have_attribute("data-freshness", "stale")
    expect(page.locator("#chart-as-of")).to_be_visible()
    expect_contrast_in_both_themes(page)


def test_reduced_motion_disables_animations(recorded: RecordedPage, market: Market):
    market.trade("10")
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#price")).to_have_text("10.00")
    animation = "getComputedStyle(document.querySelector('#price span') ?? document.body).animationName"
    market.trade("11")
    eventually(lambda: page.evaluate(animation) == "flash-up", 5)
    page.emulate_media(reduced_motion="reduce")
    market.trade("10.5")
    expect(page.locator("#price")).to_have_text("10.50")
    assert page.evaluate(animation) == "none"


def test_highlight_of_changed_digits_goes_out_at_a_high_trade_rate(recorded: RecordedPage, market: Market):
    market.trade("10.25")
    page = recorded.page
    open_dashboard(page)
    expect(page.locator("#price")).to_have_text("10.25")
    page.evaluate(
        """async () => {
            const { showPrice } = await import("/assets/dashboard/dom.js");
            const price = Object.assign(document.createElement("data"), { textContent: "10.00" });
            document.body.append(price);
            const highlighted = () => [...price.querySelectorAll("span")].find((each) => each.getAnimations().length);
            let [lit, dark] = [0, 0];
            for (let n = 1; n <= 20; n++) {
                showPrice(price, (10 + n / 100).toFixed(2), 0.01);
                if (n === 1 && highlighted().textContent !== "1") throw Error(`highlights ${highlighted().textContent}`);
                if (price.textContent !== (10 + n / 100).toFixed(2)) throw Error(`shows ${price.textContent}`);
                if (highlighted()) lit++; else dark++;
                await new Promise((resolve) => setTimeout(resolve, 200));
            }
            price.remove();
            if (lit < 4 || dark < 8) throw Error(`lit ${lit}, dark ${dark}`);
        }"""
    )
