"""A browser that can reach nothing but this machine, and what a page did while it was visited."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium")

QUIET = [
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
class Visit:
    """A page, what it asked for, what of that its content policy stopped, and what it complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def sent_elsewhere(self, address: str) -> list[str]:
        """What went out to another host, or would have if there were a network."""
        own = (f"{address}/", "data:", "blob:")
        return [url for url in self.asked if not url.startswith(own) and url not in self.stopped]

    def note_failure(self, request: Request) -> None:
        if request.failure == "csp":
            self.stopped.append(request.url)

    def note_request(self, request: Request) -> None:
        self.asked.append(request.url)

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@contextmanager
def visiting(browser: Browser, address: str, **options: Any) -> Iterator[Visit]:
    """A page of its own, without cookies or storage of others."""
    with browser.new_context(base_url=address, **options) as context:
        visit = Visit(context.new_page())
        context.on("request", visit.note_request)
        context.on("requestfailed", visit.note_failure)
        visit.page.on("console", visit.note)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        yield visit
