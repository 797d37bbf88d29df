"""The documentation pages work without access to other hosts."""

from base64 import b64encode
from contextlib import nullcontext

import pytest
from browser.recorded_page import RecordedPage, recorded_page
from browser.wcag import wcag_violations
from helpers.support import Connection, store, trade
from playwright.sync_api import Browser, Page, expect

OPERATIONS = ["/health", "/symbols", "/price/latest", "/price", "/trades", "/candles", "/stream"]


def test_swagger_ui_lists_and_executes_operations(recorded: RecordedPage, address: str):
    page = recorded.page
    page.goto("/docs", wait_until="networkidle")
    for path in OPERATIONS:
        expect(page.locator(f'.opblock-get .opblock-summary-path[data-path="{path}"]')).to_be_visible()
    page.locator('.opblock-get .opblock-summary-path[data-path="/symbols"]').click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    assert recorded.third_party_requests(address) == []
    assert recorded.blocked + recorded.problems == []


def test_redoc_lists_operations_without_third_party_requests(recorded: RecordedPage, address: str):
    page = recorded.page
    page.goto("/redoc", wait_until="networkidle")
    expect(page.locator("h1").first).to_contain_text("Market Data Platform")
    for path in OPERATIONS:
        expect(page.get_by_role("button", name=path, exact=False).first).to_be_visible()
    assert recorded.third_party_requests(address) == []
    assert recorded.blocked + recorded.problems == []


DARKNESS = """async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const dark = data.filter((value, index) => index % 4 === 1 && value < 110);
    return (4 * dark.length) / data.length;
}"""


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_have_a_language_and_follow_the_theme(browser: Browser, address: str, path: str):
    with recorded_page(browser, address, color_scheme="dark") as recorded:
        page = recorded.page
        page.goto(path, wait_until="networkidle")
        assert page.locator("html").get_attribute("lang") == "en"
        assert darkness(page) > 0.8
        loads_again = path == "/redoc"  # takes its colours from options
        with page.expect_navigation(wait_until="networkidle") if loads_again else nullcontext():
            page.emulate_media(color_scheme="light")
        assert darkness(page) < 0.5  # ReDoc has a dark panel for examples
        page.evaluate("localStorage.setItem('market-data.theme', 'dark')")  # as the button of the dashboard does
        page.goto(path, wait_until="networkidle")
        assert darkness(page) > 0.8
        assert recorded.blocked + recorded.problems == []


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_swagger_ui_has_no_violations_of_wcag(browser: Browser, address: str, scheme: str, width: int):
    with recorded_page(browser, address, color_scheme=scheme, viewport={"width": width, "height": 900}) as recorded:
        page = recorded.page
        page.goto("/docs", wait_until="networkidle")
        for operation in ("Candles-getCandles", "Trades-storeTrades"):
            page.locator(f"#operations-{operation} .opblock-summary-control").press("Enter")
            page.locator(f"#operations-{operation}").get_by_role("button", name="Try it out").click()
        expect(page.locator("#operations-Candles-getCandles").get_by_label("order", exact=True)).to_be_visible()
        assert wcag_violations(page) == []
        assert recorded.blocked + recorded.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_redoc_has_no_violations_of_wcag(browser: Browser, address: str, scheme: str):
    with recorded_page(browser, address, color_scheme=scheme, viewport={"width": 1440, "height": 900}) as recorded:
        recorded.page.goto("/redoc", wait_until="networkidle")
        expect(recorded.page.locator("pre[tabindex]").first).to_be_visible()
        assert wcag_violations(recorded.page) == []
        assert recorded.blocked + recorded.problems == []


def darkness(page: Page) -> float:
    """Return the share of dark pixels."""
    screenshot = b64encode(page.screenshot()).decode()
    return page.evaluate(DARKNESS, f"data:image/png;base64,{screenshot}")


def test_swagger_ui_sends_times_and_choices_as_typed(recorded: RecordedPage, connection: Connection):
    store(connection, trade(0, "104.9"))
    page = recorded.page
    page.goto("/docs", wait_until="networkidle")
    operation = page.locator("#operations-Candles-getCandles")
    operation.locator(".opblock-summary-path").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator('tr[data-param-name="interval"] select').last.select_option("15m")
    for name, text in (("start", "2026-02-08T10:30:00+01:00"), ("end", "2026-02-09")):
        operation.locator(f'tr[data-param-name="{name}"]').locator("input, textarea").fill(text)
    with page.expect_response("**/candles?*") as response:
        operation.get_by_role("button", name="Execute").click()
    assert response.value.url.partition("?")[2] == (
        "interval=15m&symbol=AAPL&start=2026-02-08T10%3A30%3A00%2B01%3A00&end=2026-02-09"
    )
    assert response.value.json()["count"] == 1
