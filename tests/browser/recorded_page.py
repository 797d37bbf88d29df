"""A browser page without network access, whose requests and console messages are recorded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium")

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@dataclass
class RecordedPage:
    """A page with the URLs it requested, those that its CSP blocked, and its console errors and warnings."""

    page: Page
    requests: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def third_party_requests(self, address: str) -> list[str]:
        """Return the requests to other hosts that the CSP allowed; they fail only because the tests have no network."""
        own = (f"{address}/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own) and url not in self.blocked]

    def requests_with(self, text: str) -> list[str]:
        return [url for url in self.requests if text in url]

    def on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def on_request_failed(self, request: Request) -> None:
        if request.failure == "csp":
            self.blocked.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)


@contextmanager
def recorded_page(browser: Browser, address: str, **options: Any) -> Iterator[RecordedPage]:
    """Open a page in a new browser context, without cookies or storage of other tests."""
    with browser.new_context(base_url=address, **options) as context:
        recorded = RecordedPage(context.new_page())
        context.on("request", recorded.on_request)
        context.on("requestfailed", recorded.on_request_failed)
        recorded.page.on("console", recorded.on_console)
        recorded.page.on("pageerror", lambda error: recorded.problems.append(str(error)))
        yield recorded
