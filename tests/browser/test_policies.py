"""What the content policies of the pages keep a browser from."""

from collections.abc import Iterator

import pytest
from browser.visits import Visit, visiting
from helpers.support import serving
from playwright.sync_api import Browser

from market_data.app import create_app
from market_data.settings import Settings

INJECT = """() => {
    const script = document.createElement('script')
    script.textContent = 'window.injected = true'
    document.body.append(script)
    document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.injected = true">')
    const elsewhere = document.createElement('script')
    elsewhere.src = 'data:text/javascript,window.injected = true'
    document.body.append(elsewhere)
}"""


@pytest.fixture(scope="module")
def address(session_database: str, assets: str) -> Iterator[str]:
    settings = Settings(database_url=session_database, feed_enabled=False, docs_assets=assets)
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, address: str, database_url: str) -> Iterator[Visit]:
    assert database_url
    with visiting(browser, address) as visit:
        yield visit


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard"])
def test_a_script_that_gets_into_a_page_does_not_run(visit: Visit, path: str):
    page = visit.page
    page.goto(path)
    page.evaluate(INJECT)
    page.wait_for_timeout(500)
    assert page.evaluate("window.injected") is None
    stopped = [
        complaint for complaint in visit.complaints if "script" in complaint and "Content Security Policy" in complaint
    ]
    assert len(stopped) >= 3


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard", "/symbols"])
def test_no_page_can_be_framed(visit: Visit, address: str, path: str):
    visit.page.set_content(f'<iframe src="{address}{path}"></iframe>', wait_until="networkidle")
    (frame,) = visit.page.main_frame.child_frames
    frame.wait_for_url("chrome-error://chromewebdata/", wait_until="commit")
    assert any("frame-ancestors" in complaint for complaint in visit.complaints)
