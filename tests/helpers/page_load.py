"""Loads of the dashboard in Chromium with an empty cache, counted and timed."""

from typing import Any, NamedTuple

from playwright.sync_api import Browser

FIRST_CANDLE = """
    new MutationObserver((_, observer) => {
        if (!Number(document.getElementById("chart")?.dataset.candles)) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => (document.documentElement.dataset.firstCandle = performance.now())));
    }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-candles"] });
"""
"""Set an attribute of the document to the time in milliseconds, once a candle is painted."""

SPIN = """() => {
    const start = performance.now();
    for (let n = 0, x = 0; n < 2e7; n++) x += n % 7;
    return performance.now() - start;
}"""
"""A fixed amount of work: its time in milliseconds shows the speed of the processor."""


class Conditions(NamedTuple):
    """Network and processor that a browser simulates."""

    megabits: float = 0
    """Downloads a second; 0 for no limit."""
    latency: float = 0
    """Milliseconds from a request to its response."""
    slowdown: float = 1


class Load(NamedTuple):
    """Figures of one load."""

    requests: list[str]
    """URLs that were requested."""
    bytes: int
    """Transferred in all responses that ended, with their headers."""
    first_candle: float
    """Milliseconds."""
    spin: float
    """Milliseconds of `SPIN`."""


def load(browser: Browser, address: str, conditions: Conditions) -> Load:
    """Open the dashboard and return once the first candle is painted and all requests but the stream have ended."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.add_init_script(FIRST_CANDLE)
        session = context.new_cdp_session(page)
        sizes: list[float] = []
        requests: list[str] = []

        def on_request(event: dict[str, Any]) -> None:
            if not event["request"]["url"].startswith("data:"):
                requests.append(event["request"]["url"])

        session.on("Network.requestWillBeSent", on_request)
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        session.send("Network.enable")
        throughput = conditions.megabits * 1e6 / 8 or -1
        network = {"offline": False, "latency": conditions.latency, "downloadThroughput": throughput, "uploadThroughput": -1}
        session.send("Network.emulateNetworkConditions", network)
        session.send("Emulation.setCPUThrottlingRate", {"rate": conditions.slowdown})
        page.goto(f"{address}/dashboard")
        page.wait_for_selector("html[data-first-candle][data-connection=live]", state="attached")
        page.wait_for_timeout(1000)
        first_candle = float(page.locator("html").get_attribute("data-first-candle") or 0)
        return Load(requests, round(sum(sizes)), first_candle, page.evaluate(SPIN))
