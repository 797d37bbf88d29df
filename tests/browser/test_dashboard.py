"""The dashboard in a browser, on a service without a feed: what happens is what the tests store."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import httpx
import pytest
from browser.visits import Visit, visiting
from helpers.service import Service, eventually
from helpers.support import Connection, serving, store
from playwright.sync_api import Browser, Page, Route, expect

from market_data.api import dashboard
from market_data.app import create_app
from market_data.settings import Settings

INTERVAL_SECONDS = 1
"""Of the ingestion. Data is stale after three of them."""
DESKTOPS = [(1440, 900), (1024, 768)]
PHONES = [(390, 844), (320, 640)]
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = Settings(
        database_url=session_database,
        feed_enabled=False,
        ingestion_interval_seconds=INTERVAL_SECONDS,
        docs_assets=assets,
    )
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, address: str, connection: Connection) -> Iterator[Visit]:
    """A visit of a page that asks nobody else for anything, and has nothing to complain of."""
    assert connection
    with visiting(browser, address, viewport={"width": 1440, "height": 900}, color_scheme="dark") as visit:
        yield visit
    assert visit.sent_elsewhere(address) + visit.stopped == []
    assert visit.complaints == []


def now() -> datetime:
    return datetime.now(UTC)


class Start:
    """When the test began: its minutes are counted from there, also when another one begins meanwhile."""

    time = now()


@pytest.fixture(autouse=True)
def start() -> None:
    Start.time = now()


def minute(ago: int) -> datetime:
    """The start of a minute."""
    return Start.time.replace(second=0, microsecond=0) - timedelta(minutes=ago)


_ids = iter(range(1, 1_000_000))


def sell(connection: Connection, price: str, *, at: datetime | None = None, symbol: str = "AAPL", volume: str = "1") -> None:
    """Store a trade; now, where no time is given."""
    store(connection, (at or now(), symbol, next(_ids), Decimal(price), Decimal(volume)))


SYMBOL = "INSERT INTO symbols (symbol, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
MINUTES = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT %(last)s - n * INTERVAL '1 minute', %(symbol)s, 0, 100 + n, 1 FROM generate_series(0, %(count)s - 1) AS n
"""


def sell_each_minute(connection: Connection, count: int, symbol: str = "AAPL") -> None:
    """Store a trade in each of so many minutes; the price n minutes before the last one is 100 + n."""
    connection.execute(SYMBOL, (symbol, f"{symbol} Ltd."))
    connection.execute(MINUTES, {"last": minute(ago=1), "symbol": symbol, "count": count})


def sell_late(connection: Connection, price: str, at: datetime) -> None:
    """Store a trade of a minute that is over, and say that its candle has been refreshed, which no job does here."""
    sell(connection, price, at=at)
    connection.execute("DELETE FROM stale_ranges")


def visit_dashboard(page: Page, query: str = "", *, until: str = "live") -> None:
    page.goto(f"/dashboard{query}")
    expect(page.locator("html")).to_have_attribute("data-connection", until)


def drawn(page: Page, attribute: str) -> str:
    return page.locator("#chart").get_attribute(f"data-{attribute}") or ""


def expect_drawn(page: Page, **expected: object) -> None:
    for attribute, value in expected.items():
        expect(page.locator("#chart")).to_have_attribute(f"data-{attribute}", str(value))


def legend(page: Page, part: str) -> str:
    return page.locator(f"#legend [data-part={part}] dd").inner_text()


def row(page: Page, symbol: str = "AAPL") -> str:
    """What the watch list says of a symbol, in one line."""
    return " ".join(page.get_by_role("row", name=re.compile(rf"^{symbol} ")).inner_text().split())


def test_first_paint_has_the_price_the_candles_and_the_watch_list(visit: Visit, connection: Connection):
    sell(connection, "80", at=now() - timedelta(hours=25), symbol="AAPL")
    sell(connection, "100", at=minute(ago=600), symbol="AAPL")
    sell(connection, "110.5", at=minute(ago=2), volume="3")
    sell(connection, "125", at=minute(ago=2) + timedelta(seconds=20), volume="5")
    sell(connection, "7.25", symbol="MSFT")
    page = visit.page
    visit_dashboard(page)
    expect(page.get_by_role("heading", name="AAPL", exact=True)).to_be_visible()
    expect(page.locator("#price")).to_have_text("125.00")
    expect(page.locator("#change")).to_have_text("▲ +25.00 (+25.00%) in 24 h")
    expect_drawn(page, symbol="AAPL", interval="1m", candles=3, last=int(minute(ago=2).timestamp()))
    assert legend(page, "time") == f"{minute(ago=2):%Y-%m-%d %H:%M}"
    assert [legend(page, part) for part in ("open", "high", "low", "close", "volume", "trades")] == [
        "110.50",
        "125.00",
        "110.50",
        "125.00",
        "8",
        "2",
    ]
    expect(page.get_by_role("row", name="AAPL")).to_contain_text("+25.00%")
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("0.00%")
    assert row(page) == "AAPL AAPL Ltd. 125.00 ▲ +25.00%"
    assert row(page, "MSFT") == "MSFT MSFT Ltd. 7.25 ■ 0.00%"
    expect(page.locator("#day-high")).to_have_text("125.00")
    expect(page.locator("#day-low")).to_have_text("100.00")
    expect(page).to_have_title("125.00 AAPL · Market Data")
    assert "symbol=AAPL&interval=1m" in page.url


def test_before_there_is_data_nothing_claims_to_be_live(visit: Visit):
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    visit.page.route(re.compile(r":\d+/(symbols|prices|stream|status|candles)"), hold)
    visit.page.goto("/dashboard")
    expect(visit.page.get_by_role("button", name="1 week")).to_be_visible()
    expect(visit.page.locator("#connection")).to_have_text("Connecting…")
    expect(visit.page.locator("#freshness")).to_have_text("No data yet")
    expect(visit.page.locator("#cover-text")).to_have_text("Loading candles…")
    expect(visit.page.locator("#price")).to_have_text("—")
    assert held


def test_a_trade_shows_at_once_wherever_its_price_is(visit: Visit, connection: Connection):
    sell_each_minute(connection, 3)
    sell(connection, "50", symbol="MSFT")
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, candles=3)
    sell(connection, "101.5")
    expect(page.locator("#price")).to_have_text("101.50")
    expect(page.locator("#legend [data-part=close] dd")).to_have_text("101.50")
    expect(page.locator("#tape tr").first).to_contain_text("▲ 101.50")
    expect(page.get_by_role("row", name="AAPL")).to_contain_text("101.50")
    expect(page.locator("#freshness")).to_have_text(re.compile(r"last trade \d s ago$", re.IGNORECASE))
    assert int(drawn(page, "candles")) == 4
    sell(connection, "49.875", symbol="MSFT")
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("49.875▼ \N{MINUS SIGN}0.25%")
    assert page.locator("#price").inner_text() == "101.50"


def test_a_late_trade_changes_its_candle_and_not_the_price(visit: Visit, connection: Connection):
    sell_each_minute(connection, 5)
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, candles=5)
    page.locator("#chart").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-part=close] dd")).to_have_text("102.00")
    sell_late(connection, "250", at=minute(ago=3) + timedelta(seconds=30))
    expect(page.locator("#legend [data-part=high] dd")).to_have_text("250.00")
    assert page.locator("#price").inner_text() == "100.00"
    expect_drawn(page, candles=5)


def test_a_database_without_symbols_fills_before_ones_eyes(visit: Visit, connection: Connection):
    page = visit.page
    visit_dashboard(page)
    expect(page.locator("#cover-text")).to_have_text("No symbols yet. They appear with the first trades.")
    expect(page.locator("#watch-note")).to_have_text("There are no symbols yet.")
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('SHIB', 'Small')")
    expect(page.get_by_role("heading", name="SHIB", exact=True)).to_be_visible()
    expect(page.locator("#cover-text")).to_have_text("No trades yet. Candles appear with the first one.")
    expect(page.locator("#freshness")).to_have_text("Feed disabled · no trades yet")
    sell(connection, "0.00001234", symbol="SHIB")
    expect(page.locator("#price")).to_have_text("0.00001234")
    expect(page.locator("#cover")).to_be_hidden()
    expect_drawn(page, candles=1)
    assert legend(page, "open") == "0.00001234"


def test_symbol_and_interval_switch_and_the_address_follows(visit: Visit, connection: Connection):
    sell_each_minute(connection, 120)
    sell_each_minute(connection, 7, "MSFT")
    page = visit.page
    visit_dashboard(page, "?symbol=aapl&interval=1m")
    expect_drawn(page, symbol="AAPL", candles=120)
    page.get_by_role("button", name="1 hour", exact=True).click()
    expect_drawn(page, symbol="AAPL", interval="1h", candles=len({minute(ago=n + 1).hour for n in range(120)}))
    expect(page.get_by_role("button", name="1 hour", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1h$"))
    page.get_by_role("row", name="MSFT").click()
    expect(page.get_by_role("heading", name="MSFT", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?symbol=MSFT&interval=1h$"))
    expect_drawn(page, symbol="MSFT", interval="1h")
    page.get_by_role("button", name="1 minute", exact=True).click()
    expect_drawn(page, symbol="MSFT", interval="1m", candles=7)
    sell(connection, "300", symbol="MSFT")
    expect_drawn(page, symbol="MSFT", interval="1m", candles=8)
    assert legend(page, "close") == "300.00"
    page.go_back()
    expect_drawn(page, symbol="MSFT", interval="1h")
    page.go_back()
    expect_drawn(page, symbol="AAPL", interval="1h")
    page.go_forward()
    expect_drawn(page, symbol="MSFT", interval="1h")
    expect(page.get_by_role("row", name="MSFT")).to_have_attribute("aria-selected", "true")
    expect(page.locator("html")).to_have_attribute("data-connection", "live")


def test_an_address_that_leads_nowhere_is_said_to(visit: Visit, connection: Connection):
    sell(connection, "10")
    visit_dashboard(visit.page, "?symbol=ACME&interval=7m")
    notice = visit.page.locator("#notices")
    expect(notice).to_contain_text("There is no symbol ACME; this is AAPL. There is no interval 7m; this is 1 minute.")
    expect(visit.page).to_have_url(re.compile(r"\?symbol=AAPL&interval=1m$"))
    visit.page.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_empty()


def test_history_loads_as_one_scrolls_back_and_the_view_stays(visit: Visit, connection: Connection):
    sell_each_minute(connection, 1700)
    page = visit.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    visit_dashboard(page)
    expect_drawn(page, candles=600)
    page.route(re.compile(r"/candles\?.*limit=1000"), hold)
    frame = page.locator("#chart").bounding_box()
    assert frame
    left, right, middle = frame["x"] + 60, frame["x"] + frame["width"] - 160, frame["y"] + frame["height"] / 3

    drags: list[str] = []

    def drag() -> None:
        drags.append(legend(page, "time"))
        page.mouse.move(left, middle)
        page.mouse.down()
        page.mouse.move(right, middle, steps=3)
        page.mouse.up()

    while not held and len(drags) < 30:
        drag()
    page.mouse.move((left + right) / 2, middle)
    page.wait_for_timeout(400)  # the view may glide on
    page.mouse.move((left + right) / 2 + 1, middle)
    before = legend(page, "time")
    held.pop(0).continue_()
    expect_drawn(page, candles=1600)
    page.mouse.move((left + right) / 2 + 2, middle)
    assert legend(page, "time") == before
    page.unroute_all()
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    expect_drawn(page, candles=1700)
    expect(page.locator("#history")).to_have_text(re.compile(r"^1,700 candles of 1 minute since .*, all there are$"))
    assert drawn(page, "first") == str(int((minute(ago=1) - timedelta(minutes=1699)).timestamp()))
    assert [url for url in visit.asked if "page_token" in url] == []
    page.get_by_role("button", name="Latest").click()
    expect(page.get_by_role("button", name="Latest")).to_be_hidden()


def test_stale_is_shown_as_stale_and_a_trade_makes_it_fresh(visit: Visit, connection: Connection):
    sell(connection, "10", at=now() - timedelta(hours=2))
    page = visit.page
    visit_dashboard(page)
    html, freshness = page.locator("html"), page.locator("#freshness")
    expect(html).to_have_attribute("data-freshness", "stale")
    expect(freshness).to_have_text(re.compile(r"^Feed disabled · stale: last trade 2 h 0 min ago$"))
    stale = page.locator("#price").evaluate("element => getComputedStyle(element).color")
    sell(connection, "11")
    expect(html).to_have_attribute("data-freshness", "fresh")
    expect(page.locator("#as-of")).to_be_hidden()
    assert page.locator("#price").evaluate("element => getComputedStyle(element).color") != stale
    expect(html).to_have_attribute("data-freshness", "stale", timeout=10_000)
    expect(page.locator("#as-of")).to_have_text(re.compile(r"^as of \d\d:\d\d:\d\d$"))
    expect(page.locator("#old-chart")).to_contain_text("Stale, as of")
    assert page.locator("#price").evaluate("element => getComputedStyle(element).color") == stale
    expect(page.get_by_role("row", name="AAPL")).to_have_class(re.compile("old"))
    age = re.compile(r"last trade (\d+) s ago")
    first = age.search(freshness.inner_text())
    assert first
    assert int(first[1]) >= 3 * INTERVAL_SECONDS
    expect(freshness).to_contain_text(f"last trade {int(first[1]) + 1} s ago")


def test_a_late_heartbeat_is_not_live_and_a_dead_connection_is_replaced(visit: Visit, connection: Connection):
    sell(connection, "10")
    page = visit.page
    page.clock.install()
    visit_dashboard(page)
    streams = [url for url in visit.asked if "/stream?" in url]
    page.clock.fast_forward(15_000)
    assert page.locator("html").get_attribute("data-connection") == "late"
    assert re.match(r"No sign of life for 1[45] s", page.locator("#connection").inner_text())
    assert re.match(r"as of \d\d:\d\d:\d\d", page.locator("#as-of").inner_text())

    def is_replaced() -> bool:  # not where a heartbeat has come since
        page.clock.fast_forward(15_000)
        expect(page.locator("html")).to_have_attribute("data-connection", re.compile("live|late"))
        return len([url for url in visit.asked if "/stream?" in url]) > len(streams)

    eventually(is_replaced)
    expect(page.locator("html")).to_have_attribute("data-connection", "live")


def test_a_stream_that_is_refused_is_asked_for_again(browser: Browser, address: str, connection: Connection):
    sell(connection, "10")
    with visiting(browser, address) as visit:
        page = visit.page
        page.route(
            "**/stream?*", lambda route: route.fulfill(status=503, content_type="application/problem+json", body="{}")
        )
        visit_dashboard(page, until="connecting")
        expect(page.locator("#price")).to_have_text("10.00")
        assert page.locator("#connection").inner_text() == "Connecting…"
        expect(page.locator("#as-of")).to_be_visible()
        page.unroute_all()
        expect(page.locator("html")).to_have_attribute("data-connection", "live", timeout=15_000)


@pytest.mark.parametrize(("event", "minutes_ago"), [("heartbeat", 0), ("gap", 9)])
def test_what_a_stream_does_not_tell_is_read(
    browser: Browser, address: str, connection: Connection, event: str, minutes_ago: int
):
    """After each connection the newest candles; after a gap all of them."""
    sell_each_minute(connection, 5)
    sell(connection, "1", at=minute(ago=10))
    told = f'id: 1-0-0\nevent: {event}\ndata: {{"timestamp": "{now().isoformat()}", "reason": "a test"}}\n\n'
    with visiting(browser, address) as visit:
        visit.page.route("**/stream?*", lambda route: route.fulfill(content_type="text/event-stream", body=told))
        visit.page.goto("/dashboard")
        expect_drawn(visit.page, candles=6)
        sell(connection, "2", at=minute(minutes_ago) + timedelta(seconds=1))
        expect_drawn(visit.page, candles=7)


def test_a_restart_of_the_service_loses_nothing(
    browser: Browser, connection: Connection, database_url: str, assets: str, tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start() -> Service:
        environment = {"DATABASE_URL": database_url, "FEED_ENABLED": "false", "DOCS_ASSETS": assets}
        return Service(tmp_path, "--port", port, **environment)

    sell_each_minute(connection, 4)
    service = start()
    try:
        with visiting(browser, service.wait_until_ready()) as visit:
            page = visit.page
            visit_dashboard(page)
            expect_drawn(page, candles=4)
            sell(connection, "101")
            expect(page.locator("#price")).to_have_text("101.00")
            service.signal(signal.SIGKILL)
            service.wait()
            expect(page.locator("#connection")).to_have_text(re.compile(r"^Reconnecting since \d\d:\d\d:\d\d \(\d+ s\)$"))
            expect(page.locator("#as-of")).to_have_text(re.compile(r"^as of \d\d:\d\d:\d\d$"))
            expect(page.locator("#old-chart")).to_contain_text("Not live, as of")
            expect(page.locator("html")).not_to_have_attribute("data-freshness", "fresh")
            expect(page.get_by_role("row", name="AAPL")).to_have_class(re.compile("old"))
            sell_late(connection, "77", at=minute(ago=7))
            sell(connection, "102")
            asked = len(visit.asked)
            service = start()
            service.wait_until_ready()
            expect(page.locator("html")).to_have_attribute("data-connection", "live", timeout=15_000)
            expect(page.locator("#price")).to_have_text("102.00")
            expect(page.locator("#legend [data-part=close] dd")).to_have_text("102.00")
            ((minutes,),) = connection.execute("SELECT count(DISTINCT date_trunc('minute', time)) FROM trades").fetchall()
            expect_drawn(page, candles=minutes, first=int(minute(ago=7).timestamp()))
            assert [url for url in visit.asked[asked:] if "last_event_id=" in url]
            expect(page.locator("#old-chart")).to_be_hidden()
    finally:
        service.end()


def test_what_the_service_refuses_is_said_in_its_words(browser: Browser, address: str, connection: Connection):
    sell(connection, "10")
    problem = {"detail": "The database is too busy; try again in a moment.", "request_id": "abc123"}
    with visiting(browser, address) as visit:
        page = visit.page
        refuse = {"status": 503, "content_type": "application/problem+json", "body": json.dumps(problem)}
        page.route("**/candles?*", lambda route: route.fulfill(**refuse))
        visit_dashboard(page)
        expect(page.locator("#cover-text")).to_have_text(
            "Can't load the candles. The database is too busy; try again in a moment. (request abc123)"
        )
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#cover")).to_be_hidden()
        expect_drawn(page, candles=1)


def test_all_of_it_can_be_done_with_the_keyboard(visit: Visit, connection: Connection):
    for symbol in ("AAPL", "GOOGL", "MSFT"):
        sell_each_minute(connection, 90, symbol)
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, symbol="AAPL", interval="1m")
    page.keyboard.press("2")
    expect_drawn(page, interval="5m")
    page.keyboard.press("]")
    expect_drawn(page, interval="15m")
    page.keyboard.press("[")
    expect_drawn(page, interval="5m")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_be_focused()
    page.keyboard.type("goo1")
    expect(page.locator("#watch-note")).to_have_text("Nothing matches “goo1”.")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect_drawn(page, symbol="GOOGL", interval="5m")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^GOOGL 100\.00.*\. Candles of 5 minutes\.$"))
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox", name="Find a symbol")).to_have_value("")
    grid = page.get_by_role("grid", name="Watch list")
    grid.focus()
    page.keyboard.press("ArrowDown")
    expect_drawn(page, symbol="MSFT")
    expect(grid).to_have_attribute("aria-activedescendant", "row-MSFT")
    page.keyboard.press("Home")
    expect_drawn(page, symbol="AAPL")
    page.keyboard.press("1")
    expect_drawn(page, interval="1m", candles=90)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#legend [data-part=close] dd")).to_have_text("101.00")
    expect(page.locator("#announcer")).to_contain_text("close 101.00")
    page.keyboard.press("Home")
    expect(page.locator("#legend [data-part=close] dd")).to_have_text("189.00")
    page.keyboard.press("Escape")
    expect(page.locator("#legend [data-part=close] dd")).to_have_text("100.00")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("2")  # which is none of the dialog's keys
    page.get_by_role("button", name="Close").press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert drawn(page, "interval") == "1m"


def test_every_stop_of_the_tab_key_has_a_name_and_shows_where_it_is(visit: Visit, connection: Connection):
    sell(connection, "10")
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, candles=1)
    stops: list[tuple[str, bool]] = []
    page.locator("body").press("Tab")
    for _ in range(40):
        name, outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const name = active.getAttribute("aria-label") || active.labels?.[0]?.innerText || active.innerText;
                const shown = active.hasAttribute("aria-activedescendant")
                    ? document.getElementById(active.getAttribute("aria-activedescendant")) : active;
                return [active === document.body ? "" : name.trim(), getComputedStyle(shown).outlineStyle === "solid"];
            }"""
        )
        if not name or (name, outlined) in stops:
            break
        stops.append((name, outlined))
        page.keyboard.press("Tab")
    names = [name for name, _ in stops]
    assert [name for name, outlined in stops if not outlined] == []
    assert {"Skip to the chart", "Use the light theme", "Keyboard shortcuts", "1 minute", "1 week", "Find a symbol"} <= set(
        names
    )
    assert "AAPL, candles of 1 minute, times in UTC" in names


def test_a_screen_reader_finds_its_way(visit: Visit, connection: Connection):
    sell(connection, "100", at=minute(ago=600))
    sell(connection, "110", at=now() - timedelta(hours=1))
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, candles=2)
    chart = page.get_by_role("application", name="AAPL, candles of 1 minute, times in UTC")
    expect(chart).to_have_accessible_description(
        re.compile(r"Open 110\.00.*High 110\.00.*Close 110\.00.*Left and right move")
    )
    grid = page.get_by_role("grid", name="Watch list")
    expect(grid).to_have_attribute("aria-rowcount", "2")
    expect(grid.get_by_role("row", name="AAPL AAPL Ltd. 110.00 ▲ +10.00%", selected=True)).to_be_visible()
    expect(grid.get_by_role("columnheader", name="24 h change")).to_have_attribute("title", re.compile("24 hours ago"))
    expect(page.get_by_role("group", name="Interval").get_by_role("button", pressed=True)).to_have_accessible_name(
        "1 minute"
    )
    expect(page.get_by_role("region", name="Trades").get_by_role("columnheader")).to_have_count(3)
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("contentinfo")).to_contain_text(
        "TradingView Lightweight Charts™, Copyright © 2026 TradingView, Inc."
    )
    expect(page.get_by_role("link", name="https://www.tradingview.com/")).to_be_visible()
    said = page.locator("#announcer")
    expect(said).to_have_attribute("aria-live", "polite")
    page.keyboard.press("p")
    expect(said).to_have_text("AAPL 110.00, ▲ +10.00 (+10.00%) in 24 h")
    sell(connection, "111")
    expect(page.locator("#price")).to_have_text("111.00")
    page.wait_for_timeout(1300)  # longer than announcements are apart
    assert "111" not in said.inner_text()


def test_every_text_can_be_read_in_both_themes_fresh_and_old(visit: Visit, connection: Connection):
    sell(connection, "100", at=now() - timedelta(hours=5), symbol="MSFT")
    sell(connection, "99", at=now() - timedelta(hours=4), symbol="MSFT")
    sell(connection, "10", at=now() - timedelta(hours=5))
    page = visit.page
    visit_dashboard(page)
    expect(page.get_by_role("row", name="MSFT")).to_contain_text("▼ \N{MINUS SIGN}1.00%")
    sell(connection, "11")
    expect(page.locator("html")).to_have_attribute("data-freshness", "fresh")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
    page.get_by_role("row", name="MSFT").click()
    expect(page.locator("html")).to_have_attribute("data-freshness", "stale")
    expect(page.locator("#old-chart")).to_be_visible()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []


PIXEL = """(() => {
    const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(document.querySelector("#chart canvas"), -3, -3);
    return drawing.getImageData(0, 0, 1, 1).data.join();
})()"""
"""The chart's own ground."""


def test_the_theme_is_the_systems_until_one_is_chosen(visit: Visit, connection: Connection):
    sell(connection, "10")
    page = visit.page

    def grounds() -> tuple[str, str]:
        return page.evaluate("getComputedStyle(document.body).backgroundColor"), page.evaluate(PIXEL)

    def expect_ground(body: str, pixel: str) -> None:
        expect(page.locator("body")).to_have_css("background-color", body)
        eventually(lambda: page.evaluate(PIXEL) == pixel, 5)

    visit_dashboard(page)
    expect_drawn(page, candles=1)
    dark = grounds()
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).not_to_have_css("background-color", dark[0])
    page.wait_for_timeout(100)  # the canvas is drawn with the next frame
    light = grounds()
    assert light[1] == "255,255,255,255"
    assert dark[1] == "15,19,27,255"
    page.get_by_role("button", name="Use the dark theme").click()
    expect_ground(*dark)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    expect_ground(*dark)
    page.keyboard.press("t")
    expect_ground(*light)
    assert page.evaluate("localStorage.length") == 0  # the system's again


BEYOND = """() => [...document.querySelectorAll("button, input, h1, #price, .state, .row, .legend > div, footer a")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1)
    .map((each) => each.textContent)"""
SMALL = """() => [...document.querySelectorAll("button, input, .row")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 40)
    .map((each) => each.id || each.textContent)"""


def expect_fit(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(BEYOND) == []
    chart = page.locator("#chart").bounding_box()
    assert chart
    assert chart["width"] > 0.6 * min(width, 900)
    assert chart["height"] >= 300


def test_it_fits_a_desktop_without_scrolling(visit: Visit, connection: Connection):
    sell_each_minute(connection, 200)
    sell(connection, "1234.56", symbol="BRK.A")
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, candles=200)
    for width, height in DESKTOPS:
        expect_fit(page, width, height)
        assert page.evaluate("document.documentElement.scrollHeight") == height


def test_it_fits_a_phone_and_its_fingers(browser: Browser, address: str, connection: Connection):
    sell_each_minute(connection, 200)
    sell(connection, "1234.56", symbol="BRK.A")
    with visiting(browser, address, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as visit:
        page = visit.page
        visit_dashboard(page)
        expect_drawn(page, candles=200)
        page.locator("#freshness").evaluate("each => each.append(' and what else there may be to say')")
        for width, height in PHONES:
            expect_fit(page, width, height)
            assert page.evaluate(SMALL) == []
        page.get_by_role("row", name="BRK.A").tap()
        expect_drawn(page, symbol="BRK.A")
        assert visit.complaints == []


def test_motion_is_reduced_where_asked_for(visit: Visit, connection: Connection):
    sell(connection, "10")
    page = visit.page
    visit_dashboard(page)
    motion = "getComputedStyle(document.getElementById('price')).animationName"
    sell(connection, "11")
    eventually(lambda: page.evaluate(motion) == "flash-up", 5)
    page.emulate_media(reduced_motion="reduce")
    sell(connection, "10.5")
    expect(page.locator("#price")).to_have_text("10.50")
    assert page.evaluate(motion) == "none"


MANY = """
    WITH listed AS (
        INSERT INTO symbols (symbol, name)
        SELECT 'S' || to_char(n, 'FM0000'), 'Company ' || n FROM generate_series(1, 5000) AS n
        RETURNING symbol
    )
    SELECT count(*) FROM listed
"""
MANY_TRADES = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now() - INTERVAL '1 minute', symbol, 0, 10, 1 FROM symbols
"""


def test_five_thousand_symbols_do_not_weigh_it_down(visit: Visit, connection: Connection):
    connection.execute(MANY)
    connection.execute(MANY_TRADES)
    page = visit.page
    visit_dashboard(page)
    expect_drawn(page, symbol="S0001", candles=1)
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "5001")
    assert page.locator("[role=row][data-symbol]").count() < 40
    stream = [url for url in visit.asked if "/stream?" in url][-1]
    assert "S0001%2CS0002" in stream
    assert "S4000" not in stream
    assert len([url for url in visit.asked if url.endswith("/prices/latest")]) == 1
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect_drawn(page, symbol="S5000")
    expect(page.get_by_role("row", name="S5000")).to_be_in_viewport()
    sell(connection, "12", symbol="S5000")
    expect(page.get_by_role("row", name="S5000")).to_contain_text("12.00")
    page.keyboard.press("/")
    page.keyboard.type("s4321")
    page.keyboard.press("Enter")
    expect_drawn(page, symbol="S4321")
    assert len([url for url in visit.asked if "limit=1" in url.split("&")]) < 200


def test_the_page_is_held_to_itself_and_asked_for_again(address: str):
    with httpx.Client(base_url=address) as client:
        page = client.get("/dashboard")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        named = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text))
        assert {f"/assets/dashboard/{name}" for name in dashboard.PARTS if name != dashboard.PAGE} <= named
        for path in sorted(named):
            part = client.get(path)
            assert part.status_code == 200, path
            if path.startswith("/assets/dashboard/"):
                assert part.headers["x-content-type-options"] == "nosniff"
                again = client.get(path, headers={"If-None-Match": part.headers["etag"]})
                assert (again.status_code, part.headers["cache-control"]) == (304, "no-cache")
        assert client.get("/assets/dashboard/index.html").status_code == 404
