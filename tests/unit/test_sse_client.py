"""Client of the stream: parsing, lost connections, resumption."""

import json
import socket
import time
from itertools import islice

import pytest
from helpers.fake_service import PROBLEM, FakeService, Reply, fake_service

from market_data.cli.operate import sse_client
from market_data.cli.operate.service_client import open_client
from market_data.cli.operate.sse_client import Event, parse_events, read_stream
from market_data.errors import CommandFailed


def message(name: str, number: int, **data: object) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


def read_events(service: FakeService, count: int) -> list[Event]:
    """Return the first events of a stream of one symbol."""
    with open_client(service.url) as client:
        return list(islice(read_stream(client, {"symbols": "AAPL"}), count))


def problem(status: int, detail: str, **headers: str) -> Reply:
    body = json.dumps({"type": "about:blank", "title": "", "status": status, "detail": detail})
    return Reply(body, status, {**PROBLEM, **{name.replace("_", "-"): value for name, value in headers.items()}})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_client, "MIN_PAUSE", 0.01)


def test_lines_are_parsed_into_events():
    lines = [
        ": a comment",
        "retry: 100",
        "id: 7",
        "event: trade",
        "data: {",
        "data:  }",
        "",
        "event: nothing",
        "",
        "data:x",
        "",
        "data: unfinished",
    ]
    assert list(parse_events(lines, "6")) == [Event("trade", "{\n }", "7"), Event("message", "x", "7")]


def test_a_stream_that_ends_is_resumed_after_its_last_event():
    with fake_service(Reply(message("trade", 1) + message("trade", 2)), Reply(message("trade", 3), holds=True)) as service:
        names = [(event.name, event.id) for event in read_events(service, 6)]
    assert names == [("open", ""), ("trade", "1"), ("trade", "2"), ("lost", ""), ("open", ""), ("trade", "3")]
    assert service.requests == [("/stream?symbols=AAPL", None), ("/stream?symbols=AAPL", "2")]


def test_a_bye_event_is_a_lost_connection_with_its_reason():
    goodbye = message("bye", 1, reason="the service is stopping")
    with fake_service(Reply(goodbye, holds=True), Reply(message("trade", 2), holds=True)) as service:
        assert read_events(service, 4)[1:3] == [Event("lost", "the service is stopping"), Event("open", "")]


def test_a_silent_connection_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse_client, "SILENCE_SECONDS", 0.3)
    with fake_service(Reply(message("trade", 1), holds=True), Reply(message("trade", 2), holds=True)) as service:
        assert [event.name for event in read_events(service, 5)] == ["open", "trade", "lost", "open", "trade"]
    assert service.requests[1][1] == "1"


def test_a_busy_service_is_retried_after_its_retry_after():
    with fake_service(problem(503, "Too busy.", Retry_After="1"), Reply(message("trade", 1), holds=True)) as service:
        started = time.monotonic()
        assert read_events(service, 3) == [
            Event("refused", "503 Service Unavailable: Too busy."),
            Event("open", ""),
            Event("trade", "{}", "1"),
        ]
    assert time.monotonic() - started >= 1


def test_a_rejected_request_fails_with_the_reason_of_the_service():
    with (
        fake_service(problem(404, "There is no symbol AAPL.")) as service,
        pytest.raises(CommandFailed, match="no symbol AAPL"),
    ):
        read_events(service, 1)


def test_a_response_of_another_server_fails_with_the_reason():
    with (
        fake_service(Reply("<html>", headers={"Content-Type": "text/html"})) as service,
        pytest.raises(CommandFailed, match="not a response of this service"),
    ):
        read_events(service, 1)


def test_an_unreachable_service_fails_with_the_remedy():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with open_client(url) as client, pytest.raises(CommandFailed, match=f"{url} .*refused.*market-data serve.*--url"):
            next(read_stream(client, {}))


def test_a_stopped_service_is_retried_forever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse_client, "MAX_PAUSE", 0.02)
    with fake_service(Reply(message("trade", 1))) as service, open_client(service.url) as client:
        stream = read_stream(client, {})
        assert [next(stream).name for _ in range(3)] == ["open", "trade", "lost"]
        service.server_close()
        assert [next(stream).name for _ in range(3)] == ["lost", "lost", "lost"]


def test_a_proxy_of_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with fake_service(Reply(message("trade", 1), holds=True)) as service:
        assert read_events(service, 1) == [Event("open", "")]
