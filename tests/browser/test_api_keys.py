"""API keys on the dashboard and the documentation page, with `auth="required"`."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from browser.contrast import low_contrast_texts
from browser.recorded_page import RecordedPage, recorded_page
from browser.settings import page_settings
from helpers.api_keys import revoke, store_key
from helpers.support import Connection, create_patient_app, serving, store
from playwright.sync_api import Browser, Page, expect

from market_data.auth.api_keys import generate_key

UNAUTHORIZED = "the server responded with a status of 401"
"""Console message that the browser logs for each 401."""


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = page_settings(session_database, assets, auth="required")
    with serving(create_patient_app(settings)) as address:
        yield address


@pytest.fixture
def recorded(browser: Browser, address: str, connection: Connection) -> Iterator[RecordedPage]:
    store(connection, (datetime.now(UTC), "AAPL", 1, Decimal("189.44"), Decimal(1)))
    with recorded_page(browser, address, viewport={"width": 1024, "height": 768}, color_scheme="dark") as recorded:
        yield recorded
    assert recorded.third_party_requests(address) + recorded.blocked == []
    assert [problem for problem in recorded.problems if UNAUTHORIZED not in problem] == []


@pytest.fixture
def key(database_url: str) -> str:
    return store_key(database_url, "read")


def submit_key(page: Page, key: str) -> None:
    page.get_by_label("API key", exact=True).fill(key)
    page.keyboard.press("Enter")


def test_dashboard_asks_for_a_key_and_connects_with_it(recorded: RecordedPage, key: str, connection: Connection):
    page = recorded.page
    page.goto("/dashboard")
    dialog = page.get_by_role("dialog", name="API key required")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("API key", exact=True)).to_be_focused()
    expect(page.locator("#connection")).to_have_text("Waiting for an API key")
    submit_key(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(dialog).to_be_hidden()
    expect(page.locator("#price")).to_have_text("189.44")
    store(connection, (datetime.now(UTC), "AAPL", 2, Decimal("190.5"), Decimal(1)))
    expect(page.locator("#price")).to_have_text("190.50")
    assert not recorded.requests_with(key)


def test_invalid_key_is_rejected_with_a_reason(recorded: RecordedPage, key: str):
    page = recorded.page
    page.goto("/dashboard")
    submit_key(page, "secret")
    error = page.get_by_role("dialog").get_by_role("alert")
    expect(error).to_contain_text("begins with md_")
    submit_key(page, generate_key())
    expect(error).to_contain_text("does not know this key")
    expect(page.get_by_label("API key", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("API key", exact=True)).to_be_focused()
    submit_key(page, f"  {key} ")
    expect(page.locator("#connection")).to_have_text("Live")


def test_key_is_stored_for_the_tab_only(recorded: RecordedPage, key: str):
    page = recorded.page
    page.goto("/dashboard")
    submit_key(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    assert page.evaluate("Object.values({...sessionStorage})") == [key]
    assert key not in str(page.evaluate("[{...localStorage}, document.cookie, location.href]"))
    other = page.context.new_page()
    other.goto("/dashboard")
    expect(other.get_by_role("dialog", name="API key required")).to_be_visible()


def test_dashboard_asks_again_when_its_key_is_revoked(recorded: RecordedPage, key: str, database_url: str):
    page = recorded.page
    page.goto("/dashboard")
    submit_key(page, key)
    expect(page.locator("#connection")).to_have_text("Live")
    revoke(database_url, key)
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no longer valid")
    submit_key(page, store_key(database_url, "read"))
    expect(page.locator("#connection")).to_have_text("Live")


def test_dialog_stays_open_without_a_key_and_no_requests_are_sent(recorded: RecordedPage):
    page = recorded.page
    page.goto("/dashboard")
    dialog = page.get_by_role("dialog", name="API key required")
    expect(dialog).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.wait_for_timeout(500)
    requests_before = len(recorded.requests)
    page.wait_for_timeout(4000)
    assert recorded.requests[requests_before:] == []


OPEN_WEBSOCKET = """([protocols, message]) => new Promise((resolve) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws?symbols=AAPL", protocols);
    const events = [];
    socket.onopen = () => message && socket.send(message);
    socket.onmessage = ({ data }) => {
        events.push(JSON.parse(data).event);
        if (events.at(-1) === "heartbeat") resolve({ protocol: socket.protocol, events });
    };
    socket.onclose = ({ code }) => resolve({ protocol: socket.protocol, events, code });
})"""


def test_a_page_opens_a_websocket_with_its_key(recorded: RecordedPage, key: str):
    page = recorded.page
    page.goto("/dashboard")
    unknown = generate_key()

    def opened(protocols: list[str], message: dict[str, str] | None = None) -> Any:
        return page.evaluate(OPEN_WEBSOCKET, [protocols, message and json.dumps(message)])

    assert opened(["bearer", key]) == {"protocol": "bearer", "events": ["heartbeat"]}
    assert opened(["bearer", unknown]) == {"protocol": "bearer", "events": ["error"], "code": 1008}
    authenticated = opened([], {"action": "authenticate", "key": key})
    assert authenticated == {"protocol": "", "events": ["authenticated", "heartbeat"]}
    rejected = opened([], {"action": "authenticate", "key": unknown})
    assert rejected == {"protocol": "", "events": ["error"], "code": 1008}


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dialog_text_has_contrast(recorded: RecordedPage, scheme: str):
    page = recorded.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # the parameters are "dark" and "light"
    page.goto("/dashboard")
    submit_key(page, "secret")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("begins with md_")
    assert low_contrast_texts(page) == []


def test_documentation_page_sends_the_key(recorded: RecordedPage, key: str):
    page = recorded.page
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#auth-bearer-value").fill(key)
    page.locator(".auth-btn-wrapper .authorize").first.click()
    page.get_by_role("button", name="Close", exact=True).last.click()
    page.locator('.opblock-get .opblock-summary-path[data-path="/symbols"]').click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
