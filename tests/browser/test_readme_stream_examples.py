"""The stream examples of `src/market_data/streaming/README.md`, run unchanged."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fake_service import Reply, fake_service
from helpers.service import eventually, running
from helpers.support import PROJECT
from playwright.sync_api import Browser, ConsoleMessage

SECTION = (PROJECT / "src/market_data/streaming/README.md").read_text()


@pytest.fixture(scope="module")
def base(session_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a service with a fast feed."""
    settings = {"DATABASE_URL": session_database, "INGESTION_INTERVAL_SECONDS": "0.2"}
    with running(tmp_path_factory.mktemp("service"), **settings) as (_, client):
        yield str(client.base_url).rstrip("/")


def example(language: str, base: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    return code.replace("http://127.0.0.1:8000", base)


def expect_output(command: list[str], folder: Path, *expected: str) -> None:
    """Start a command that does not end by itself, wait until its output contains all expected texts, and kill it."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: all(text in log.read_text() for text in expected))
    finally:
        process.kill()
        process.wait()


def test_curl_example(base: str, tmp_path: Path):
    (command,) = re.findall(r"^    (curl -N .*)$", SECTION, re.MULTILINE)
    command = command.replace("http://127.0.0.1:8000", base)
    expect_output(["bash", "-c", f"exec {command}"], tmp_path, "event: trade", "event: candle", '"symbol":"MSFT"')


def test_python_example(base: str, tmp_path: Path):
    expect_output([sys.executable, "-c", example("python", base)], tmp_path, "heartbeat", "trade {'symbol': 'AAPL'")


def test_python_example_ends_with_the_problem_if_the_symbol_is_unknown(base: str):
    code = example("python", base).replace("symbols=AAPL", "symbols=NOPE")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert json.loads(ended.stderr)["detail"].startswith("There is no symbol NOPE")


def test_python_example_reports_why_it_reconnects(tmp_path: Path):
    with fake_service(Reply("{}", 503, {"Retry-After": "1"}), Reply("{}", 429)) as service:
        code = example("python", service.url)
        expect_output([sys.executable, "-c", code], tmp_path, "503 Service Unavailable", "429 Too Many Requests")


def test_javascript_example(browser: Browser, base: str):
    received: set[tuple[str, bool]] = set()

    def on_console(message: ConsoleMessage) -> None:
        for argument in message.args:
            data = argument.json_value()
            received.add((data["symbol"], "interval" in data))

    page = browser.new_page(bypass_csp=True)  # JSON responses have a CSP that allows no scripts
    page.goto(f"{base}/health")
    page.on("console", on_console)
    page.evaluate(example("js", base))
    expected = {("AAPL", False), ("AAPL", True)}
    for _ in range(200):
        if received == expected:
            break
        page.wait_for_timeout(50)
    page.close()
    assert received == expected
