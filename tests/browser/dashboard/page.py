"""Reads and checks the dashboard page."""

import re
from typing import Any

from playwright.sync_api import Page, expect

CHART_PROPERTY = """async (name) => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    return document.querySelector("#chart")[name];
}"""
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Script that hides the page, or shows it."""


def open_dashboard(page: Page, query: str = "", *, connection: str = "live") -> None:
    page.goto(f"/dashboard{query}")
    expect(page.locator("html")).to_have_attribute("data-connection", connection)
    expect(page.locator("#overlay.loading:visible")).to_have_count(0)


def chart_state(page: Page, attribute: str) -> str:
    return page.locator("#chart").get_attribute(f"data-{attribute}") or ""


def expect_chart(page: Page, **expected: object) -> None:
    for attribute, value in expected.items():
        expect(page.locator("#chart")).to_have_attribute(f"data-{attribute}", str(value))


def legend_value(page: Page, field: str) -> str:
    return page.locator(f"#legend [data-field={field}] dd").inner_text()


def watch_list_row(page: Page, symbol: str = "AAPL") -> str:
    """Return the text of a row in one line."""
    return " ".join(page.get_by_role("row", name=re.compile(rf"^{symbol} ")).inner_text().split())


def chart_property(page: Page, name: str) -> Any:
    """Return a property of the chart's element after two frames, because the chart shows a new range with the next one."""
    return page.evaluate(CHART_PROPERTY, name)
