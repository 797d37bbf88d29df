"""Content security policies block injected scripts and frames."""

import pytest
from browser.recorded_page import RecordedPage

INJECT_SCRIPTS = """() => {
    const script = document.createElement('script')
    script.textContent = 'window.injected = true'
    document.body.append(script)
    document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.injected = true">')
    const elsewhere = document.createElement('script')
    elsewhere.src = 'data:text/javascript,window.injected = true'
    document.body.append(elsewhere)
}"""


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard"])
def test_injected_scripts_do_not_run(recorded: RecordedPage, path: str):
    page = recorded.page
    page.goto(path)
    page.evaluate(INJECT_SCRIPTS)
    page.wait_for_timeout(500)
    assert page.evaluate("window.injected") is None
    blocked = [problem for problem in recorded.problems if "script" in problem and "Content Security Policy" in problem]
    assert len(blocked) >= 3


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard", "/symbols"])
def test_pages_can_not_be_framed(recorded: RecordedPage, address: str, path: str):
    recorded.page.set_content(f'<iframe src="{address}{path}"></iframe>', wait_until="networkidle")
    (frame,) = recorded.page.main_frame.child_frames
    frame.wait_for_url("chrome-error://chromewebdata/", wait_until="commit")
    assert any("frame-ancestors" in problem for problem in recorded.problems)
