"""A replay of a day: the page shows what the service knew at the virtual time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from browser.dashboard.market import Market, now
from browser.dashboard.page import HIDE, expect_chart, legend_value, open_dashboard, watch_list_row
from browser.recorded_page import RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.api_keys import store_key
from helpers.support import Connection, create_patient_app, one, serving
from helpers.tcp_proxy import Proxy
from playwright.sync_api import Browser, Locator, Page, expect

COMMITTED = "UPDATE commits SET committed_at = %s WHERE version > %s"
NEWEST = "SELECT newest_version()"
DAY = timedelta(days=1)


class Past:
    """Commits of the past, each an hour after the one before; long after the start, which a slow page plays meanwhile."""

    def __init__(self, connection: Connection, market: Market) -> None:
        self._connection = connection
        self.start = market.minute(ago=31 * 60)
        self._hours = 0
        self._commit(0, self.start - timedelta(days=9))  # of the empty database
        with self._next_hour() as time:
            market.trade("100", at=time)
        with self._next_hour() as time:
            market.trade("101", at=time)
        with self._next_hour():
            market.late_trade("50", at=self.hour(1) + timedelta(seconds=5))
        with self._next_hour():
            market.correct("101", "105")

    def hour(self, number: float) -> datetime:
        """Return the time of a commit, or one between two of them."""
        return self.start + timedelta(hours=5 + number)

    @contextmanager
    def _next_hour(self) -> Iterator[datetime]:
        self._hours += 1
        before = one(self._connection, NEWEST)
        yield self.hour(self._hours)
        self._commit(before, self.hour(self._hours))

    def _commit(self, after: int, time: datetime) -> None:
        self._connection.execute(COMMITTED, (time, after))


@pytest.fixture
def past(connection: Connection, market: Market) -> Past:
    return Past(connection, market)


def open_replay(page: Page, start: datetime) -> None:
    open_dashboard(page, f"?replay={start:%Y-%m-%dT%H:%M:%SZ}")
    expect(page.locator("#connection")).to_have_text("Replay")


def pause(page: Page) -> None:
    bar(page, "Pause").click()
    expect(bar(page, "Play")).to_be_visible()


def bar(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name="Replay").get_by_role("button", name=name)


def seek(page: Page, time: datetime) -> None:
    page.locator("#replay-time").fill(str(round(time.timestamp()) * 1000))
    expect(page.locator("#replay-clock")).to_have_text(re.compile(f"^{time:%Y-%m-%d %H:%M}:"))


def step_until(page: Page, shown: Locator, text: str) -> None:
    """Step to the commit that changes a text: closed or revised candles may be a commit before it."""
    for _ in range(4):
        bar(page, "Step").click()
        with suppress(AssertionError):
            return expect(shown).to_have_text(text, timeout=7000)
    raise AssertionError(f"no commit has led to {text}")


def expect_tape(page: Page, *prices: str) -> None:
    expect(page.locator("#tape tr td:nth-child(2)")).to_contain_text(list(prices))


def test_page_shows_what_was_known_at_each_time(recorded: RecordedPage, past: Past):
    page = recorded.page
    open_replay(page, past.start)
    pause(page)
    expect(page.locator("#freshness")).to_contain_text("no trades yet")
    seek(page, past.hour(1.5))
    expect(page.locator("#price")).to_have_text("100.00")
    expect_chart(page, candles=1)
    expect_tape(page, "100.00")
    seek(page, past.hour(2.5))
    expect(page.locator("#price")).to_have_text("101.00")
    expect_chart(page, candles=2)
    assert watch_list_row(page).startswith("AAPL AAPL Ltd. 101.00")
    step_until(page, page.locator("#day-low"), "50.00")
    expect_tape(page, "101.00", "50.00", "100.00")
    expect(page.locator("#replay-clock")).to_have_text(f"{past.hour(3):%Y-%m-%d %H:%M:%S} UTC")
    step_until(page, page.locator("#price"), "105.00")
    seek(page, past.hour(1.5))
    expect(page.locator("#price")).to_have_text("100.00")
    expect_tape(page, "100.00")
    expect(page.locator("#day-low")).to_have_text("100.00")
    page.get_by_role("button", name="1h, 1 hour").click()
    expect_chart(page, interval="1h", candles=1)
    assert legend_value(page, "low") == "100.00"
    page.locator("#chart").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("The figures are those of its 1 trade.")
    page.keyboard.press("Escape")
    assert parse_qs(urlsplit(page.url).query)["interval"] == ["1h"]
    bar(page, "Back to live").click()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#price")).to_have_text("105.00")
    expect(page.locator("#replay")).to_be_hidden()
    assert "replay" not in page.url


def test_day_is_played_to_its_end_and_again(recorded: RecordedPage, past: Past):
    page = recorded.page
    open_replay(page, past.start)
    seek(page, past.hour(0.99))
    expect(page.locator("#price")).to_have_text("100.00")
    page.get_by_label("Speed").select_option("600")
    page.locator("#replay-time").fill(str(round((past.start + DAY).timestamp()) * 1000 - 5000))
    expect(page.locator("#connection")).to_have_text("Replay ended")
    expect(page.locator("#replay-clock")).to_have_text(f"{past.start + DAY:%Y-%m-%d %H:%M:%S} UTC")
    expect(page.locator("#price")).to_have_text("105.00")
    bar(page, "Play").click()
    expect(page.locator("#connection")).to_have_text("Replay")
    expect(page.locator("#freshness")).to_contain_text("no trades yet")


def test_virtual_time_stands_while_the_tab_is_hidden(recorded: RecordedPage, past: Past):
    page = recorded.page
    page.clock.install()
    open_replay(page, past.start)
    page.evaluate(HIDE, True)
    page.clock.fast_forward(61_000)
    expect(page.locator("html")).to_have_attribute("data-connection", "paused")
    time = int(page.locator("#replay-time").input_value())
    page.clock.fast_forward(600_000)
    assert int(page.locator("#replay-time").input_value()) == time
    page.evaluate(HIDE, False)
    expect(page.locator("#connection")).to_have_text("Replay")
    assert int(page.locator("#replay-time").input_value()) < time + 4 * 3_600_000


def test_day_is_chosen_below_the_chart(recorded: RecordedPage, past: Past):
    page = recorded.page
    open_dashboard(page)
    date = page.locator("#replay-date")
    assert date.input_value() == f"{now() - DAY:%Y-%m-%d}"
    date.fill(f"{past.start:%Y-%m-%d}")
    page.locator("#replay-form").get_by_role("button", name="Play").click()
    expect(page.locator("#replay-clock")).to_have_text(re.compile(f"^{past.start:%Y-%m-%d} 00:"))
    expect(page.locator("#connection")).to_have_text("Replay")


def test_replay_continues_after_a_lost_connection(browser: Browser, proxy: Proxy, past: Past):
    with recorded_page(browser, f"http://127.0.0.1:{proxy.port}") as recorded:
        page = recorded.page
        open_replay(page, past.start)
        pause(page)
        seek(page, past.hour(2.5))
        expect(page.locator("#price")).to_have_text("101.00")
        proxy.cut()
        expect(page.locator("html")).to_have_attribute("data-connection", re.compile("reconnecting|offline"))
        proxy.restore()
        expect(page.locator("#connection")).to_have_text("Replay")
        step_until(page, page.locator("#day-low"), "50.00")
        expect_tape(page, "101.00", "50.00", "100.00")


def test_time_that_can_not_be_played_is_explained(recorded: RecordedPage, market: Market):
    market.trade("100")
    page = recorded.page
    page.goto(f"/dashboard?replay={now() + DAY:%Y-%m-%dT%H:%M:%SZ}")
    expect(page.get_by_role("alert").first).to_contain_text("Can't play the past. from: is in the future")


def test_replay_of_a_service_that_needs_keys(
    browser: Browser, session_database: str, assets: str, past: Past, database_url: str
):
    settings = page_settings(session_database, assets, auth="required")
    with serving(create_patient_app(settings)) as address, recorded_page(browser, address) as recorded:
        page = recorded.page
        page.goto(f"/dashboard?replay={past.start:%Y-%m-%dT%H:%M:%SZ}")
        page.get_by_label("API key", exact=True).fill(store_key(database_url, "read"))
        page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("Replay")
        pause(page)
        seek(page, past.hour(1.5))
        expect(page.locator("#price")).to_have_text("100.00")
