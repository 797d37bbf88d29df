"""The documentation pages work without access to other hosts."""

from browser.recorded_page import RecordedPage
from playwright.sync_api import expect

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
    # Redoc requests its publisher's logo, which the CSP blocks; nothing else may be in the console.
    assert recorded.blocked == ["https://cdn.redoc.ly/redoc/logo-mini.svg"]
    assert [text for text in recorded.problems if "Content Security Policy" not in text or "cdn.redoc.ly" not in text] == []
